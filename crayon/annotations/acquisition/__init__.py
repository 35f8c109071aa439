"""Acquisition functions: which maps to ask about next, given answers to some and networks refined with them.

One file each:

    boundary       uncertainty sampling: maps of which the answers given so far say least
    coverage       k-center greedy: maps that are unlike all answered ones
    disagreement   query by committee: images on which refined networks of several seeds disagree
    change         expected change: maps whose answer would change the refined networks most

The fixed orders of `crayon.annotations.sampling` (random, uncertain, diverse) need no answers, and can be used in
rounds as well. docs/results.md compares them.
"""

from crayon.annotations.acquisition.boundary import boundary
from crayon.annotations.acquisition.change import change
from crayon.annotations.acquisition.coverage import coverage
from crayon.annotations.acquisition.disagreement import disagreement
from crayon.annotations.acquisition.state import Acquisition, State

ACQUISITIONS: dict[str, Acquisition] = {
    "boundary": boundary,
    "coverage": coverage,
    "disagreement": disagreement,
    "change": change,
}
"""Name -> function from a `State` and a number to the positions of so many maps."""

__all__ = ["ACQUISITIONS", "Acquisition", "State"]

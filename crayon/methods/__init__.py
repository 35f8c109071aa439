"""The methods, by the name that params.yaml and the tables use."""

from importlib import import_module

from crayon.methods.base import Method
from crayon.utils.errors import MethodError
from crayon.utils.text import unknown

METHODS = {
    "erm": ("crayon.methods.erm", "ERM"),
    "jtt": ("crayon.methods.jtt", "JtT"),
    "masktune": ("crayon.methods.masktune", "MaskTune"),
    "lff": ("crayon.methods.lff", "LfF"),
    "softcon": ("crayon.methods.softcon", "SoftCon"),
    "flac": ("crayon.methods.flac", "FLAC"),
    "lc": ("crayon.methods.lc", "LC"),
    "cnc": ("crayon.methods.cnc", "CnC"),
    "rrr": ("crayon.methods.rrr", "RRR"),
    "gradmask": ("crayon.methods.gradmask", "GradMask"),
    "actdiff": ("crayon.methods.actdiff", "ActDiff"),
    "gradia": ("crayon.methods.gradia", "GradIA"),
    "bounding_box": ("crayon.methods.bounding_box", "BoundingBox"),
    "crayon_attention": ("crayon.methods.crayon_attention", "CrayonAttention"),
    "crayon_pruning": ("crayon.methods.crayon_pruning", "CrayonPruning"),
    "crayon_pruning_attention": ("crayon.methods.crayon_pruning_attention", "CrayonPruningAttention"),
}
"""Name -> (module, class); imported when asked for, so that a run depends on its own method's code alone."""


def method_class(name: str) -> type[Method]:
    """The class of the method `name`; MethodError if there is none."""
    if name not in METHODS:
        raise MethodError(unknown("method", name, METHODS))
    module, attribute = METHODS[name]
    return getattr(import_module(module), attribute)

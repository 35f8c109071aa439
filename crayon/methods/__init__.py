"""The methods by the names in params.yaml: Crayon's variants, two of our own, the paper's baselines, and others."""

from functools import cache
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
    "res": ("crayon.methods.res", "RES"),
    "crayon_attention": ("crayon.methods.crayon_attention", "CrayonAttention"),
    "crayon_pruning": ("crayon.methods.crayon_pruning", "CrayonPruning"),
    "crayon_pruning_attention": ("crayon.methods.crayon_pruning_attention", "CrayonPruningAttention"),
    "crayon_margin": ("crayon.methods.crayon_margin", "CrayonMargin"),
    "crayon_pruning_margin": ("crayon.methods.crayon_margin", "CrayonPruningMargin"),
    "rwy": ("crayon.methods.rwy", "RWY"),
    "rwg": ("crayon.methods.rwg", "RWG"),
    "group_dro": ("crayon.methods.group_dro", "GroupDRO"),
    "dfr": ("crayon.methods.dfr", "DFR"),
    "afr": ("crayon.methods.afr", "AFR"),
    "self": ("crayon.methods.self_", "SELF"),
    "slim": ("crayon.methods.slim", "SLIM"),
}
"""Name -> (module, class). A module is imported on demand, so that a run depends on the code of its own method only."""

OURS = frozenset({"crayon_margin", "crayon_pruning_margin"})
"""The methods that are neither the paper's nor published elsewhere."""

FURTHER = frozenset({"rwy", "rwg", "group_dro", "dfr", "afr", "self", "slim", "res"})
"""Published methods that the paper does not compare; most of them need groups."""

IN_PAPER = tuple(name for name in METHODS if name not in OURS | FURTHER)
"""The methods of the paper's Table 1."""


@cache
def method_class(name: str) -> type[Method]:
    """Return the class of the method `name`.

    Raises:
        MethodError: there is no method of that name.
    """
    if name not in METHODS:
        raise MethodError(unknown("method", name, METHODS))
    module, attribute = METHODS[name]
    method: type[Method] = getattr(import_module(module), attribute)
    return method

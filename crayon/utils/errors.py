"""Errors that a user can cause and fix.

Each is raised where the problem is detected, with one sentence that names the file, the row or key, and how to fix it.
The command line prints that sentence and exits with status 1; a traceback is a bug.
"""

from textwrap import shorten


class CrayonError(Exception):
    """Base class of all errors caused by the input or the machine, not by a bug in the program."""


class ParamsError(CrayonError):
    """params.yaml is malformed, or asks for something unknown."""


class ModelError(ParamsError):
    """params.yaml, or an argument of a library function, asks for a model of a kind that cannot be used."""


class DataError(CrayonError):
    """A data set, a manifest (list of images) or a packed array is missing or malformed."""


class AnnotationError(CrayonError):
    """An annotation CSV is malformed, or it answers an item that is not among the items to annotate."""


class CheckpointError(CrayonError):
    """A checkpoint cannot be read, or does not fit the network."""


class OtherNetworkError(CheckpointError):
    """A checkpoint belongs to another network than the one that params.yaml names."""


class MethodError(CrayonError):
    """A method is unknown, or needs an input that the benchmark lacks."""


class DivergedError(MethodError):
    """The loss of a training became infinite or NaN."""


class RecordError(CrayonError):
    """A record is missing or malformed, or a result is not up to date with the records of its inputs."""


class EditedError(RecordError):
    """A record was edited after it was written."""


class OutputError(CrayonError):
    """An output file cannot be written: no space, no permission."""


class MachineError(CrayonError):
    """The machine or the cluster lacks a resource: a GPU, GPU memory, a partition."""


def first_line(error: Exception) -> str:
    """The first line of an error's message, cut to about 200 characters. Without a message: the error's class name.

    If the first line ends in a colon, it is only a heading, so the second line is appended.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    whole = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return shorten(whole, 200, placeholder=" ...") if " " in whole[:200] else whole[:200]

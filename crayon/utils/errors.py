"""The errors that a user can cause and mend.

Each is raised where the fact is known, with one sentence that names the file, the row or key, and the mend. The
command line prints that sentence and exits with status 1; a traceback is a bug.
"""


class CrayonError(Exception):
    """Base of all errors that are the input's, not the program's."""


class ParamsError(CrayonError):
    """params.yaml is malformed, or asks for something unknown."""


class DataError(CrayonError):
    """A data set, a manifest or a packed array is missing or malformed."""


class AnnotationError(CrayonError):
    """An annotation CSV is malformed, or answers something that was not asked."""


class CheckpointError(CrayonError):
    """A checkpoint cannot be read, or does not fit the network."""


class MethodError(CrayonError):
    """A method is unknown, or needs what the benchmark lacks."""


class DivergedError(MethodError):
    """A training's loss is no longer finite."""


class RecordError(CrayonError):
    """A record, or the chain of records below a result, does not hold."""


class EditedError(RecordError):
    """A record is not what was written."""


class OutputError(CrayonError):
    """An output cannot be written (no space, no permission)."""


class MachineError(CrayonError):
    """The machine or the cluster lacks what is asked of it: a GPU, room on it, a partition."""


def first_line(error: Exception) -> str:
    """What a library's error says, short enough for a sentence."""
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__

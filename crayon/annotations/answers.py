"""The raw answers CSV: one answer a row, people's or simulated, kept as it was given."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import astuple, dataclass, fields
from difflib import get_close_matches
from pathlib import Path

from ..errors import AnnotationError
from ..files import read_csv, write_csv

ANSWERS = ("yes", "no", "unsure")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer.

    Attributes:
        item: the image id (attention) or the patch (neurons) that was shown.
        annotator: who answered; several may answer one item, each once.
        answer: yes, no or unsure.
        seconds: time taken, as text, or empty.
        timestamp: when, or empty.
        source: `simulated`, `people`, or the name of where it was collected.
        interface: version of what was shown.
        digest: sha256 of the maps or patches that were shown, or empty if unknown.
    """

    item: str
    annotator: str
    answer: str
    seconds: str = ""
    timestamp: str = ""
    source: str = ""
    interface: str = ""
    digest: str = ""


COLUMNS = tuple(field.name for field in fields(Answer))


def write_answers(path: str | Path, answers: Iterable[Answer]) -> None:
    """Publish an answers CSV."""
    write_csv(path, COLUMNS, map(astuple, answers))


def read_raw(path: str | Path) -> list[dict[str, str]]:
    """The rows of an answers CSV as text, whatever they answer; AnnotationError if it is no such CSV."""
    return read_csv(path, ("item", "annotator", "answer"), AnnotationError, optional=COLUMNS[3:])


def read_answers(path: str | Path, items: Collection[str], digest: str | None = None) -> list[Answer]:
    """Read and validate an answers CSV.

    Args:
        items: what could be asked; an answer to anything else is an error.
        digest: sha256 of the present maps or patches; an answer given to others is an error. None: not checked.

    Raises:
        AnnotationError: one sentence with the file, the line and the mend.
    """
    rows = read_raw(path)
    if not rows:
        raise AnnotationError(f"{path}: holds no answer; annotate first, or use a method that needs no annotation.")
    known = set(items)
    first: dict[tuple[str, str], int] = {}
    answers = []
    for line, row in enumerate(rows, start=2):
        answer = Answer(**row)
        where = f"{path}, line {line}"
        if answer.item not in known:
            near = get_close_matches(answer.item, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "; it is none of the items that were asked."
            raise AnnotationError(f"{where}: the item {answer.item!r} is unknown{hint}")
        if answer.answer not in ANSWERS:
            raise AnnotationError(f"{where}: the answer {answer.answer!r} is none of {', '.join(ANSWERS)}.")
        if not answer.annotator:
            raise AnnotationError(f"{where}: names no annotator.")
        if not _is_duration(answer.seconds):
            raise AnnotationError(f"{where}: seconds is {answer.seconds!r}, neither empty nor a number >= 0.")
        if digest and answer.digest and answer.digest != digest:
            raise AnnotationError(
                f"{where}: was given to other maps or patches (digest {answer.digest[:12]}, now {digest[:12]}); bring "
                "back the ones that were shown, or annotate the present ones."
            )
        key = (answer.item, answer.annotator)
        if key in first:
            raise AnnotationError(
                f"{where}: {answer.annotator!r} answered {answer.item!r} on line {first[key]} already; keep one."
            )
        first[key] = line
        answers.append(answer)
    return answers


def _is_duration(text: str) -> bool:
    if not text:
        return True
    try:
        return 0 <= float(text) < float("inf")
    except ValueError:
        return False

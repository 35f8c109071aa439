"""The raw answers CSV: one answer per row, from people or simulated, unchanged."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from crayon.annotations.vocabulary import ANSWERS, meaning
from crayon.utils.errors import AnnotationError
from crayon.utils.files import write_csv
from crayon.utils.tables import Table, check_columns, read_table


class Answer(NamedTuple):  # faster to create than a dataclass; there may be a million
    """One answer.

    Attributes:
        item: the image id (attention) or the patch (neurons) that was shown.
        annotator: who answered; several may answer one item, each once.
        answer: yes, no or unsure.
        seconds: time taken, as text, or empty.
        timestamp: time of the answer, or empty.
        source: `simulated`, `people`, or the name of the platform.
        interface: version of the page or export that showed the item.
        digest: sha256 of the maps or patches that were shown, or empty if unknown.
        given: a JSON object of all other fields that the platform delivered with the answer, or empty.
    """

    item: str
    annotator: str
    answer: str
    seconds: str = ""
    timestamp: str = ""
    source: str = ""
    interface: str = ""
    digest: str = ""
    given: str = ""


LONGEST = 80
"""Maximum number of characters that a message quotes from a file."""

_DIGEST = re.compile("[0-9a-f]{64}")

COLUMNS = Answer._fields
REQUIRED = COLUMNS[:3]


def write_answers(path: str | Path, answers: Iterable[Answer]) -> None:
    """Write an answers CSV."""
    write_csv(path, COLUMNS, answers)


def read_raw(path: str | Path) -> list[dict[str, str]]:
    """Read the rows of an answers CSV as text, without checking them; known words become yes, no or unsure.

    Raises:
        AnnotationError: the file is no answers CSV.
    """
    columns = _columns(_table(path))
    columns["answer"] = [meaning(word) or word for word in columns["answer"]]
    return [dict(zip(COLUMNS, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def read_answers(
    path: str | Path, items: Collection[str], digest: str | None = None, allow_stale: bool = False
) -> list[Answer]:
    """Read and validate an answers CSV.

    Args:
        items: the items of the benchmark; an answer to any other item is an error.
        digest: sha256 of the present maps or patches; an answer to other maps or patches is an error. None: not
            checked.
        allow_stale: accept answers to other maps or patches.

    Raises:
        AnnotationError: one sentence with the file, the line and the remedy.
    """
    table = _table(path)
    if not len(table):
        raise AnnotationError(f"{path}: holds no answer; annotate first, or use a method that needs no annotation.")
    columns = _columns(table)
    meanings = {word: meaning(word) for word in set(columns["answer"])}
    known = set(items)

    def refuse(column: str, wrong: Collection[str], sentence: Callable[[str], str]) -> None:
        """Raise an error that names the first row whose value in `column` is in `wrong`."""
        if wrong:
            row = next(row for row, value in enumerate(columns[column]) if value in wrong)
            raise AnnotationError(f"{table.where(row)}: {sentence(columns[column][row])}")

    refuse("item", set(columns["item"]) - known, lambda item: unknown_item(item, known))
    refuse("answer", {word for word, answer in meanings.items() if answer is None}, unknown_word)
    refuse("annotator", {""} & set(columns["annotator"]), lambda _: "names no annotator.")
    wrong = {name for name in set(columns["annotator"]) if not name.isprintable()}
    refuse(
        "annotator", wrong, lambda name: f"the annotator {short(name)} has control characters; rename the annotator."
    )
    wrong = {text for text in set(columns["seconds"]) if not is_duration(text)}
    refuse("seconds", wrong, lambda text: f"seconds is {text!r}, neither empty nor a number >= 0.")
    wrong = {text for text in set(columns["digest"]) if not is_digest(text)}
    refuse("digest", wrong, lambda text: f"the digest {short(text)} is no sha256; correct it, or leave it empty.")
    wrong = {text for text in set(columns["timestamp"]) if not is_moment(text)}
    refuse(
        "timestamp",
        wrong,
        lambda text: f"the timestamp {short(text)} is not in ISO 8601; correct it, or leave it empty.",
    )
    wrong = {text for text in set(columns["given"]) if not is_object(text)}
    refuse("given", wrong, lambda text: f"given is {short(text)}, no JSON object; correct it, or leave it empty.")
    if digest and not allow_stale:
        refuse("digest", set(columns["digest"]) - {"", digest}, lambda other: stale(other, digest))
    _refuse_repeated(table, columns)
    columns["answer"] = [meanings[word] or "" for word in columns["answer"]]  # `refuse` raised if one is None
    return list(map(Answer._make, zip(*columns.values(), strict=True)))


def _table(path: str | Path) -> Table:
    table = read_table(path, REQUIRED, AnnotationError)
    if {"HITId", "AssignmentId"} & set(table.columns):
        raise AnnotationError(
            f"{path}: is a results file of Mechanical Turk; `crayon mturk import` makes answers of it."
        )
    check_columns(table.path, table.columns, REQUIRED, AnnotationError, optional=COLUMNS[3:])
    return table


def _columns(table: Table) -> dict[str, list[str]]:
    """Column -> its values, in the order of `COLUMNS`; columns that the file lacks are empty."""
    absent = [""] * len(table)
    return {name: table.columns.get(name, absent) for name in COLUMNS}


def _refuse_repeated(table: Table, columns: dict[str, list[str]]) -> None:
    if len(set(zip(columns["item"], columns["annotator"], strict=True))) == len(table):
        return
    first: dict[tuple[str, str], int] = {}
    for row, key in enumerate(zip(columns["item"], columns["annotator"], strict=True)):
        if key in first:
            item, annotator = key
            raise AnnotationError(
                f"{table.where(row)}: {annotator!r} answered {item!r} on line {table.lines[first[key]]} already; "
                "keep one."
            )
        first[key] = row


def refuse_mixed(sources: Collection[str], made: Collection[str], path: str | Path) -> None:
    """Check that a file of people's answers contains no answer that the pipeline made.

    Args:
        sources: the sources of the answers in the file.
        made: the sources of answers that the pipeline makes.
        path: the file.

    Raises:
        AnnotationError: an answer has one of the sources in `made`.
    """
    if found := sorted(set(sources) & set(made)):
        aside = Path(path).with_suffix(f".{found[0]}.csv")
        raise AnnotationError(
            f"{path}: contains {found[0]} answers, but people's answers must not be mixed with others; move the file "
            f"away: `mv {path} {aside}`."
        )


def unknown_item(item: str, known: Collection[str]) -> str:
    """Return a message: the item is unknown. It suggests the item with the most similar name, if there is one."""
    near = get_close_matches(item[:LONGEST], known, n=1)
    return f"the item {short(item)} is unknown" + (
        f"; did you mean {near[0]!r}?" if near else "; it is none of the items that were asked."
    )


def unknown_word(word: str) -> str:
    """Return a message: the word is not a known answer."""
    return f"the answer {short(word)} is none of {', '.join(ANSWERS)}, nor a word for one of them (docs/annotation.md)."


def stale(other: str, digest: str) -> str:
    """Return a message: the answer was given to other maps or patches."""
    return (
        f"was given to other maps or patches (digest {other[:12]}, now {digest[:12]}); restore the ones that were "
        "shown (if a plain resize drew them, set `interpret.placement: resized`), or annotate the present ones, or "
        "set `allow_stale: true` in this benchmark's `annotation` in params.yaml. The record then states this."
    )


def short(text: str) -> str:
    """Shorten a text from a file for an error message: one line, without control characters, and not too long."""
    return repr(text if len(text) <= LONGEST else f"{text[:LONGEST]}...")


def is_digest(text: str) -> bool:
    """Whether a text is empty or a sha256 in hexadecimal digits."""
    return not text or _DIGEST.fullmatch(text) is not None


def is_moment(text: str) -> bool:
    """Whether a text is empty or a date and time in ISO 8601."""
    try:
        return not text or bool(datetime.fromisoformat(text))
    except ValueError:
        return False


def is_object(text: str) -> bool:
    """Whether a text is empty or a JSON object."""
    try:
        return not text or isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def is_duration(text: str) -> bool:
    """Whether a text is empty or a finite number >= 0."""
    if not text:
        return True
    try:
        return text.isascii() and "_" not in text and 0 <= float(text) < float("inf")
    except ValueError:
        return False


def parse(answers: str) -> dict[str, str]:
    """Parse one field of the column `answers` into a dictionary: annotator -> answer."""
    pairs = (pair.rsplit("=", 1) for pair in answers.split())
    return {unquote(annotator): answer for annotator, answer in pairs}

"""Amazon Mechanical Turk: reads batch results, and writes batch files of HITs (tasks).

A results file has columns of the HIT and the assignment; `Input.*`, copied from the batch file; `Answer.*`, named by
the form; and `Approve` and `Reject`, which a requester may fill in offline.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from crayon.annotations.io.buttons import button_groups, is_truth, split_column
from crayon.annotations.io.merge import Row
from crayon.annotations.io.pseudonyms import without_names
from crayon.annotations.io.spreadsheet import harmless, restored
from crayon.annotations.vocabulary import meaning
from crayon.utils.errors import AnnotationError
from crayon.utils.log import report
from crayon.utils.tables import Table, read_table
from crayon.utils.text import composed

SOURCE, INTERFACE = "mturk", "mturk 1"
ANSWER = "category.label"
"""Column of the label from `<crowd-classifier name="category">`, without the prefix `Answer.`."""

REQUIRED = ("AssignmentId", "WorkerId", "AssignmentStatus", "SubmitTime")
STATUSES = ("submitted", "approved", "rejected")
BATCH_COLUMNS = ("image_url", "question", "item", "digest", "interface")
REFUSED = "rejected by the requester"


def read_results(
    path: str | Path,
    pseudonym: Callable[[str], str],
    answer_column: str | None = None,
    items: Mapping[str, Mapping[str, str]] | None = None,
) -> list[Row]:
    """Read a batch results file.

    Args:
        path: the results file.
        pseudonym: function from a WorkerId to the annotator's pseudonym.
        answer_column: the column `Answer.*` with the answer. Radio buttons have several columns, which are read
            together: give one of them, or the common part of their names. If left out: `Answer.category.label`, or the
            only radio buttons.
        items: image_url -> row of the batch file, for results without the column Input.item; see `read_items`.

    Raises:
        AnnotationError: the file is not a results file, a status is unknown, or it is unclear which column has the
            answer.
    """
    table = read_table(path, (*REQUIRED, "Input.item", f"Answer.{ANSWER}"), AnnotationError)
    _check(table, items)
    rows = [dict(zip(table.columns, values, strict=True)) for values in zip(*table.columns.values(), strict=True)]
    answers = [_answers(row, table.where(number)) for number, row in enumerate(rows)]
    read = _reader(table.path, answers, answer_column)
    result = []
    for number, (row, answer) in enumerate(zip(rows, answers, strict=True)):
        status = row["AssignmentStatus"].casefold()
        if status not in STATUSES:
            raise AnnotationError(
                f"{table.where(number)}: the AssignmentStatus {row['AssignmentStatus']!r} is not one of Submitted, "
                "Approved, Rejected; use the results file as it was downloaded."
            )
        refused = REFUSED if status == "rejected" or row.get("Reject") else ""
        shown = {name: row.get(f"Input.{name}", "") for name in BATCH_COLUMNS}
        shown["item"] = restored(shown["item"])
        if items is not None:
            shown |= items.get(shown["image_url"], {"item": shown["image_url"]})
        result.append(
            Row(
                file=str(path),
                line=table.lines[number],
                record=f"assignment {row['AssignmentId']}",
                key=row["AssignmentId"],
                item=shown["item"],
                annotator=pseudonym(row["WorkerId"]),
                answer=read(answer),
                seconds=row.get("WorkTimeInSeconds", ""),
                time=row["SubmitTime"],
                digest=shown["digest"],
                interface=shown["interface"],
                given=_given(row, pseudonym),
                refused=refused,
                withdrawn=bool(refused),
            )
        )
    return result


def _check(table: Table, items: Mapping[str, Any] | None) -> None:
    """Raise AnnotationError if the table lacks a column that is needed."""
    columns = table.columns
    if missing := [name for name in REQUIRED if name not in columns]:
        raise AnnotationError(
            f"{table.path}: lacks the column {', '.join(missing)}; it is not a batch results file of Mechanical Turk."
        )
    if not any(name.startswith("Input.") for name in columns):
        raise AnnotationError(
            f"{table.path}: has no column Input.*, which states what was shown; download the results again, with all "
            "columns."
        )
    if items is None and "Input.item" not in columns:
        raise AnnotationError(
            f"{table.path}: lacks the column Input.item, which batch files of `crayon mturk export` have; name a CSV "
            "with the columns image_url and item: --items FILE."
        )
    if items is not None and "Input.image_url" not in columns:
        raise AnnotationError(f"{table.path}: lacks the column Input.image_url, which --items needs to find the items.")


def _answers(row: Mapping[str, str], where: str) -> dict[str, str]:
    """Name without `Answer.` -> value, including the values inside `taskAnswers`, which is a whole form as JSON.

    Two different values for one name give `Yes and No`, which is not a valid answer.
    """
    values_of = {name.removeprefix("Answer."): value for name, value in row.items() if name.startswith("Answer.")}
    if text := values_of.pop("taskAnswers", ""):
        try:
            values = json.loads(text)
            json.dumps(values, ensure_ascii=False).encode()  # raises an error for a lone surrogate
        except (ValueError, RecursionError) as cause:
            raise AnnotationError(f"{where}: Answer.taskAnswers is not JSON ({cause}); download it again.") from cause
        for one in values if isinstance(values, list) else [values]:
            for key, value in _flat(one).items():
                before = values_of.get(key, "")
                values_of[key] = f"{before} and {value}" if before and value and before != value else before or value
    return values_of


def _flat(value: Any, name: str = "") -> dict[str, str]:
    """Dotted name -> text, of all values in nested mappings."""
    if isinstance(value, Mapping):
        return {
            key: text
            for part, inner in value.items()
            for key, text in _flat(inner, f"{name}.{part}" if name else part).items()
        }
    if isinstance(value, list) and not any(isinstance(one, Mapping | list) for one in value):  # checkboxes
        return {composed(name): " and ".join(text for one in value for text in _flat(one).values())}
    text = "" if value is None else json.dumps(value) if isinstance(value, bool) else str(value)
    return {composed(name): composed(text)}


def _reader(path: Path, answers: Sequence[Mapping[str, str]], column: str | None) -> Callable[[Mapping[str, str]], str]:
    """Return the function that extracts the answer from a result of `_answers`.

    Args:
        path: the results file, for messages.
        answers: the results of all rows.
        column: the column with the answer; for radio buttons, their question or one of their columns. None: the column
            `ANSWER`; if it is missing, the only question with buttons, unless another column contains answers.

    Raises:
        AnnotationError: there is no such column, it is unclear which one is meant, or it states only whether one of the
            buttons was chosen.
    """
    if not answers:
        return lambda row: ""
    known = list(dict.fromkeys(name for row in answers for name in row))
    if not known:
        raise AnnotationError(f"{path}: has no column Answer.*; download the results again, with all columns.")
    wanted = composed((column or ANSWER).removeprefix("Answer."))
    groups = button_groups(answers)
    of_group = {name: group for group in groups for name in group.words}
    for name in (wanted, f"{wanted}.label"):
        if name in known and name not in of_group:
            _refuse_lone_button(path, name, answers)
            return lambda row: row.get(name, "")
    named = [group for group in groups if group.question and wanted.removesuffix(".label") == group.question]
    if wanted in of_group:
        named = [of_group[wanted]]
    if not named and column is None and len(groups) == 1 and not _look_like_answers(answers, of_group):
        named = groups
    if named:
        if column is None or wanted in of_group:
            report(f"{path}: reads {_columns(named[0].words)} together, as the buttons of one question")
        return named[0].answer
    several = ", but several questions of buttons" if column is None and len(groups) > 1 else ""
    raise AnnotationError(
        f"{path}: has no column Answer.{wanted}{several}; name the column with the answer by --answer-column: "
        f"{_columns(known)}."
    )


def _columns(names: Iterable[str]) -> str:
    return ", ".join(f"Answer.{name}" for name in names)


def _look_like_answers(answers: Sequence[Mapping[str, str]], of_group: Collection[str]) -> list[str]:
    """The columns that contain only words for yes, no or unsure; columns of button groups are left out."""
    values_of: dict[str, set[str]] = {}
    for row in answers:
        for name, value in row.items():
            if name not in of_group and value:
                values_of.setdefault(name, set()).add(value)
    return [name for name, values in values_of.items() if all(map(meaning, values))]


def _refuse_lone_button(path: Path, name: str, answers: Sequence[Mapping[str, str]]) -> None:
    """Raise AnnotationError if a column is one button, such as `yes`: its false may mean any other answer."""
    word = split_column(name)[1]
    values = {row.get(name, "") for row in answers} - {""}
    if meaning(word) and any(map(is_truth, values)):
        raise AnnotationError(
            f"{path}: Answer.{name} states only whether {word!r} was chosen, so false may mean any other answer; "
            "download the results again, with all columns. If true and false mean yes and no, rename the column to "
            "Answer.category.label."
        )


def _given(row: Mapping[str, str], pseudonym: Callable[[str], str]) -> dict[str, str]:
    """The other fields of a row, without empty ones and without the worker's id."""
    own = {"WorkerId", "WorkTimeInSeconds", "Input.item", "Input.digest", "Input.interface"}
    kept = {name: value for name, value in row.items() if value and name not in own}
    return without_names(kept, row["WorkerId"], pseudonym(row["WorkerId"]))


def read_items(path: str | Path) -> dict[str, dict[str, str]]:
    """Read a batch file, or a CSV with at least its columns image_url and item.

    Returns:
        image_url -> the columns item, digest and interface, if the file has them.

    Raises:
        AnnotationError: a column is missing, or an image occurs twice.
    """
    table = read_table(path, ("image_url", "item"), AnnotationError)
    if missing := [name for name in ("image_url", "item") if name not in table.columns]:
        raise AnnotationError(f"{path}: lacks the column {', '.join(missing)}; it must list the item of each image.")
    items: dict[str, dict[str, str]] = {}
    names = [name for name in BATCH_COLUMNS if name in table.columns and name not in ("image_url", "question")]
    for number, url in enumerate(table.columns["image_url"]):
        if restored(url) in items:
            raise AnnotationError(f"{table.where(number)}: lists the image {url!r} a second time; keep one.")
        items[restored(url)] = {name: restored(table.columns[name][number]) for name in names}
    return items


def batch_row(url: str, question: str, item: str, digest: str) -> list[str]:
    """A row of the batch file, with the columns of `BATCH_COLUMNS`.

    Args:
        url: address of the picture.
        question: HTML, since the site inserts it into the form.
        item: the image or patch.
        digest: sha256 of maps.npy or patches.csv.
    """
    return [harmless(text) for text in (url, question, item, digest, INTERFACE)]

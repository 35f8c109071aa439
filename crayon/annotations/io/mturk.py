"""Amazon Mechanical Turk: batch results into rows, and what a batch of HITs is made of.

Columns as the requester's site writes them: of the HIT and the assignment, `Input.*` as they were in the batch file,
`Answer.*` as the form named them, and `Approve` and `Reject`, which a requester may fill in offline.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from crayon.annotations.io.merge import Row
from crayon.annotations.io.pseudonyms import without_names
from crayon.annotations.io.spreadsheet import harmless, restored
from crayon.annotations.vocabulary import meaning
from crayon.utils.errors import AnnotationError
from crayon.utils.tables import Table, read_table

SOURCE, INTERFACE = "mturk", "mturk 1"
ANSWER = "category.label"
"""Where `<crowd-classifier name="category">` puts the label, after `Answer.`."""

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
    """The rows of a batch results file.

    Args:
        pseudonym: WorkerId -> the annotator's name.
        answer_column: the `Answer.*` that holds the answer, or begins the names of radio buttons; `Answer.category`
            if left out.
        items: image_url -> the row of the batch file, where the results do not name items.

    Raises:
        AnnotationError: it is no such file; a status is unknown; which column holds the answer cannot be told.
    """
    table = read_table(path, (*REQUIRED, "Input.item", f"Answer.{ANSWER}"), AnnotationError)
    _check(table, items)
    rows = [dict(zip(table.columns, values, strict=True)) for values in zip(*table.columns.values(), strict=True)]
    answers = [_answers(row, table.where(number)) for number, row in enumerate(rows)]
    read = _reader(table.path, answers, answer_column)
    found = []
    for number, (row, answer) in enumerate(zip(rows, answers, strict=True)):
        status = row["AssignmentStatus"].casefold()
        if status not in STATUSES:
            raise AnnotationError(
                f"{table.where(number)}: the AssignmentStatus {row['AssignmentStatus']!r} is none of Submitted, "
                "Approved, Rejected; take the results file as it is downloaded."
            )
        refused = REFUSED if status == "rejected" or row.get("Reject") else ""
        shown = {name: row.get(f"Input.{name}", "") for name in BATCH_COLUMNS}
        shown["item"] = restored(shown["item"])
        if items is not None:
            shown |= items.get(shown["image_url"], {"item": shown["image_url"]})
        found.append(
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
    return found


def _check(table: Table, items: Mapping[str, Any] | None) -> None:
    columns = table.columns
    if missing := [name for name in REQUIRED if name not in columns]:
        raise AnnotationError(
            f"{table.path}: lacks the column {', '.join(missing)}; it is no results file of a batch of Mechanical Turk."
        )
    if not any(name.startswith("Input.") for name in columns):
        raise AnnotationError(
            f"{table.path}: has no column Input.*, so that nobody knows what was shown; download the results anew, "
            "with all columns."
        )
    if items is None and "Input.item" not in columns:
        raise AnnotationError(
            f"{table.path}: lacks the column Input.item, which batch files of `crayon mturk export` have; name a CSV "
            "with the columns image_url and item: --items FILE."
        )
    if items is not None and "Input.image_url" not in columns:
        raise AnnotationError(f"{table.path}: lacks the column Input.image_url, by which --items names the items.")


def _answers(row: Mapping[str, str], where: str) -> dict[str, str]:
    """Name after `Answer.` -> value; `taskAnswers`, all of a form as JSON, is taken apart.

    Two values that differ are both in it, `Yes and No`, which is no word for an answer.
    """
    found = {name.removeprefix("Answer."): value for name, value in row.items() if name.startswith("Answer.")}
    if text := found.pop("taskAnswers", ""):
        try:
            values = json.loads(text)
            json.dumps(values, ensure_ascii=False).encode()  # half a surrogate is no text
        except (ValueError, RecursionError) as cause:
            raise AnnotationError(f"{where}: Answer.taskAnswers is not JSON ({cause}); download it anew.") from cause
        for one in values if isinstance(values, list) else [values]:
            for key, value in _flat(one).items():
                said = found.get(key, "")
                found[key] = f"{said} and {value}" if said and value and said != value else said or value
    return found


def _flat(value: Any, name: str = "") -> dict[str, str]:
    if isinstance(value, Mapping):
        return {
            key: text
            for part, inner in value.items()
            for key, text in _flat(inner, f"{name}.{part}" if name else part).items()
        }
    return {name: json.dumps(value) if isinstance(value, bool) else str(value)}


def _reader(path: Path, answers: Sequence[Mapping[str, str]], column: str | None) -> Callable[[Mapping[str, str]], str]:
    """How the answer is read from what `_answers` gives."""
    known = list(dict.fromkeys(name for row in answers for name in row))
    wanted = (column or ANSWER).removeprefix("Answer.")
    for name in (wanted, f"{wanted}.label"):
        if name in known:
            return lambda row: row.get(name, "")
    stem = f"{wanted.removesuffix('.label')}."
    words = {name: name.removeprefix(stem) for name in known if name.startswith(stem)}
    if len(words) > 1 and all(meaning(word) for word in words.values()):  # radio buttons: true or false each
        return lambda row: " and ".join(word for name, word in words.items() if row.get(name, "").casefold() == "true")
    if not answers:
        return lambda row: ""
    if not known:
        raise AnnotationError(f"{path}: has no column Answer.*; download the results anew, with all columns.")
    raise AnnotationError(
        f"{path}: has no column Answer.{wanted}; name the one that holds the answer with --answer-column: "
        f"{', '.join(f'Answer.{name}' for name in known)}."
    )


def _given(row: Mapping[str, str], pseudonym: Callable[[str], str]) -> dict[str, str]:
    """All of a row that is not an answer's own, without empty fields and without the worker's id."""
    own = {"WorkerId", "WorkTimeInSeconds", "Input.item", "Input.digest", "Input.interface"}
    kept = {name: value for name, value in row.items() if value and name not in own}
    return without_names(kept, row["WorkerId"], pseudonym(row["WorkerId"]))


def read_items(path: str | Path) -> dict[str, dict[str, str]]:
    """image_url -> the other columns of a batch file, or of one like it: `item`, and `digest` if it has it.

    Raises:
        AnnotationError: it is no such file, or names an image twice.
    """
    table = read_table(path, ("image_url", "item"), AnnotationError)
    if missing := [name for name in ("image_url", "item") if name not in table.columns]:
        raise AnnotationError(f"{path}: lacks the column {', '.join(missing)}; it should say which image shows which.")
    found: dict[str, dict[str, str]] = {}
    names = [name for name in BATCH_COLUMNS if name in table.columns and name not in ("image_url", "question")]
    for number, url in enumerate(table.columns["image_url"]):
        if restored(url) in found:
            raise AnnotationError(f"{table.where(number)}: names the image {url!r} a second time; keep one.")
        found[restored(url)] = {name: restored(table.columns[name][number]) for name in names}
    return found


def batch_row(url: str, question: str, item: str, digest: str) -> list[str]:
    """A row of the batch file, in the order of `BATCH_COLUMNS`; the question is HTML, since the site puts it there."""
    return [harmless(text) for text in (url, question, item, digest, INTERFACE)]

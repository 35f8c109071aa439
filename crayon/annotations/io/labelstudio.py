"""Label Studio: reads its JSON and JSON_MIN exports, and makes tasks to import into a project."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from crayon.annotations.io.merge import EMPTY, Row
from crayon.annotations.io.pseudonyms import without_names
from crayon.utils.errors import AnnotationError, first_line
from crayon.utils.tables import read_utf8
from crayon.utils.text import composed

SOURCE, INTERFACE = "labelstudio", "labelstudio 1"
CONTROL = "answer"
"""Name of the `<Choices>` in the labelling configuration of `crayon labelstudio export`."""

SKIPPED = "skipped"
OWN = ("item", "digest", "interface")

PERSONAL = frozenset(
    (
        *("annotator", "annotators", "assigned_to", "comment_authors", "completed_by", "created_by"),
        *("created_username", "drafts", "history", "reviewer", "reviewers", "reviews", "updated_by"),
    )
)
"""Fields that may contain names of people; they are left out of `given`."""


STANDARD = frozenset(
    (
        *("image", "question", *OWN, *PERSONAL, "id", "annotation_id", "created_at", "updated_at", "lead_time"),
        *("agreement", "was_cancelled"),
    )
)
"""Fields of JSON_MIN that are not controls."""


def read_export(path: str | Path, pseudonym: Callable[[str], str], control: str | None = None) -> list[Row]:
    """Read an export: one row for each annotation. Predictions, and tasks without annotations, give no row.

    Args:
        path: the export, JSON or JSON_MIN.
        pseudonym: function from a user to the annotator's pseudonym.
        control: name of the `<Choices>` with the answer. If left out: `answer`, or the name of the only `<Choices>`.

    Raises:
        AnnotationError: the file is not such an export, or it is ambiguous which control has the answer.
    """
    tasks, control = list(_tasks(Path(path))), control and composed(control)
    minimal = {line: "annotations" not in task and "completions" not in task for line, task in tasks}
    if len(set(minimal.values())) > 1:
        line = next(line for line, value in minimal.items() if value != minimal[tasks[0][0]])
        raise AnnotationError(f"{path}, line {line}: the file mixes tasks of JSON and JSON_MIN; export to one format.")
    if all(minimal.values()):
        control = _control(path, control, {name for _, task in tasks for name in task if name not in STANDARD})
        return [_minimal(str(path), line, task, pseudonym, control) for line, task in tasks]
    annotated = [
        (line, task, annotation)
        for line, task in tasks
        for annotation in _listed(path, line, task, "annotations" if "annotations" in task else "completions")
    ]
    results = [_listed(path, line, annotation, "result") for line, _, annotation in annotated]
    known = {str(result.get("from_name")) for own in results for result in own if _choices(result)}
    control = _control(path, control, known)
    return [
        _row(str(path), line, task, annotation, own, pseudonym, control)
        for (line, task, annotation), own in zip(annotated, results, strict=True)
    ]


def _listed(path: str | Path, line: int, of: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The list of mappings in a field, empty if it is missing; raises AnnotationError if it is anything else."""
    value = of.get(name) or []
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        raise AnnotationError(
            f"{path}, line {line}: {name} of {of.get('id', 'a task')} is no list of objects; export the project again, "
            "as JSON or JSON_MIN."
        )
    return value


def _choices(result: Mapping[str, Any]) -> list[str]:
    """The chosen options of a result."""
    value = result.get("value")
    chosen = value.get("choices") if isinstance(value, Mapping) else None
    return [str(choice) for choice in chosen] if isinstance(chosen, list) else []


def _tasks(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each task with the line on which it starts."""
    text = read_utf8(path, AnnotationError).decode()
    decoder = json.JSONDecoder(parse_constant=str)  # reads NaN, which is not valid JSON, as text
    escapes = "\\u" in text  # these may spell decomposed letters
    at = _skip(text, 0)
    if at == len(text):
        raise AnnotationError(f"{path}: is empty; export the project as JSON or JSON_MIN.")
    if text[at] != "[":
        raise AnnotationError(f"{path}: is no list of tasks; export the project as JSON or JSON_MIN.")
    line, seen = 1, 0
    at = _skip(text, at + 1)
    while text[at : at + 1] != "]":
        line, seen = line + text.count("\n", seen, at), at
        try:
            task, at = decoder.raw_decode(text, at)
            json.dumps(task, ensure_ascii=False).encode()
            task = _composed(task) if escapes else task
        except (ValueError, RecursionError) as cause:
            at_line = cause.lineno if isinstance(cause, json.JSONDecodeError) else line
            raise AnnotationError(
                f"{path}, line {at_line}: is not JSON ({first_line(cause)}); it is damaged or cut off: export it again."
            ) from cause
        if not isinstance(task, dict):
            raise AnnotationError(f"{path}, line {line}: {json.dumps(task)[:40]} is no task; export it again.")
        yield line, task
        at = _skip(text, at)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
        elif text[at : at + 1] != "]":
            raise AnnotationError(f"{path}, line {line}: the list of tasks is cut off after this one; export it again.")
    if _skip(text, at + 1) != len(text):
        raise AnnotationError(f"{path}: has text after its list of tasks; export it again.")


def _composed(value: Any) -> Any:
    """A JSON value with all its texts in Unicode's composed form."""
    if isinstance(value, dict):
        return {composed(name): _composed(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_composed(inner) for inner in value]
    return composed(value) if isinstance(value, str) else value


def _skip(text: str, at: int) -> int:
    """The position of the first character from `at` that is not JSON whitespace."""
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _control(path: str | Path, wanted: str | None, known: set[str]) -> str:
    """Choose the control with the answer among the `known` ones; returns its name."""
    names = ", ".join(sorted(known))
    if wanted is not None and wanted not in known:
        raise AnnotationError(f"{path}: has no choices named {wanted!r}; there are {names or 'none'}.")
    if wanted is not None or CONTROL in known or not known:
        return wanted or CONTROL
    if len(known) > 1:
        raise AnnotationError(
            f"{path}: has no choices named {CONTROL!r}; name the ones with the answer by --choices: {names}."
        )
    return known.pop()


def _row(
    file: str,
    line: int,
    task: Mapping[str, Any],
    annotation: Mapping[str, Any],
    results: list[Mapping[str, Any]],
    pseudonym: Callable[[str], str],
    control: str,
) -> Row:
    """The row of an annotation in a JSON export."""
    data = task.get("data")
    if not isinstance(data, Mapping):
        raise AnnotationError(f"{file}, line {line}: task {task.get('id', '?')} has no data; export the project again.")
    answers = [result for result in results if str(result.get("from_name")) == control]
    given = {
        "task": _kept(task, "data", "annotations", "completions", "predictions", "total_predictions"),
        "data": _kept(data, *OWN),
        "annotation": _kept(annotation, "result", "lead_time", "prediction", "parent_prediction"),
        "results": [_kept(result) for result in results if result not in answers],
    }
    return _made(
        file=file,
        line=line,
        names=(task.get("id"), annotation.get("id")),
        created=annotation.get("created_at"),
        data=data,
        user=annotation.get("completed_by"),
        pseudonym=pseudonym,
        chosen=[choice for result in answers for choice in _choices(result)],
        lead_time=annotation.get("lead_time"),
        given=given,
        refused=SKIPPED if annotation.get("was_cancelled") or annotation.get("skipped") else "",
    )


def _minimal(file: str, line: int, task: Mapping[str, Any], pseudonym: Callable[[str], str], control: str) -> Row:
    """The row of a task in a JSON_MIN export."""
    value = task.get(control)
    chosen: list[Any] = []
    for one in value if isinstance(value, list) else [] if value is None else [value]:
        chosen += _choices({"value": one}) if isinstance(one, Mapping) else [one]
    return _made(
        file=file,
        line=line,
        names=(task.get("id"), task.get("annotation_id")),
        created=task.get("created_at"),
        data=task,
        user=task.get("annotator"),
        pseudonym=pseudonym,
        chosen=[str(choice) for choice in chosen],
        lead_time=task.get("lead_time"),
        given=_kept(task, *OWN, control, "lead_time"),
        refused=EMPTY if task.get("annotation_id") is None and not chosen else "",
    )


def _made(*, names, created, data, user, pseudonym, chosen, lead_time, given, **place) -> Row:
    """Make a row of answers from the fields that Label Studio's formats JSON and JSON_MIN share."""
    task, annotation = (_text(name) for name in names)
    who = _user(user)
    given = without_names(given, who, pseudonym(who))
    return Row(
        record=f"annotation {annotation or '?'} of task {task or '?'}",
        key=f"{annotation} {_text(created)}" if annotation else "",  # annotation numbers are not unique across servers
        item=_text(data.get("item")),
        annotator=pseudonym(who),
        answer=" and ".join(chosen),
        seconds=_text(lead_time),
        time=_text(created),
        digest=_text(data.get("digest")),
        interface=_text(data.get("interface")),
        given={name: value for name, value in given.items() if value not in ({}, [])},
        **place,
    )


def _user(user: Any) -> str:
    """The user's id, or the e-mail address if there is no id."""
    if isinstance(user, Mapping):
        user = user.get("id", user.get("email"))
    return _text(user)


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _kept(fields: Mapping[str, Any], *own: str) -> dict[str, Any]:
    """The fields to keep: not empty, not in `own`, and without names of people."""
    return {
        name: value
        for name, value in fields.items()
        if name not in own and name not in PERSONAL and value not in (None, "", [], {})
    }


def task(url: str, question: str, item: str, digest: str) -> dict[str, Any]:
    """A task to import into a project.

    Args:
        url: address of the picture.
        question: what to ask.
        item: the image or patch.
        digest: sha256 of maps.npy or patches.csv.
    """
    return {
        "data": {"image": url, "question": question, "item": item, "digest": digest, "interface": INTERFACE},
    }

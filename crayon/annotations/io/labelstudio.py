"""Label Studio: its JSON and JSON_MIN exports into rows, and what a project's tasks are made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from crayon.annotations.io.merge import EMPTY, Row
from crayon.annotations.io.pseudonyms import without_names
from crayon.utils.errors import AnnotationError, first_line
from crayon.utils.tables import read_utf8

SOURCE, INTERFACE = "labelstudio", "labelstudio 1"
CONTROL = "answer"
"""Name of the `<Choices>` in the labelling config of `crayon labelstudio export`."""

SKIPPED = "skipped"
OWN = ("item", "digest", "interface")

PERSONAL = frozenset(
    (
        *("annotator", "annotators", "assigned_to", "comment_authors", "completed_by", "created_by"),
        *("created_username", "drafts", "history", "reviewer", "reviewers", "reviews", "updated_by"),
    )
)
"""Fields that may name people; they are left out of `given`."""


STANDARD = frozenset(
    (
        *("image", "question", *OWN, *PERSONAL, "id", "annotation_id", "created_at", "updated_at", "lead_time"),
        *("agreement", "was_cancelled"),
    )
)
"""Fields of JSON_MIN that are no control."""


def read_export(path: str | Path, pseudonym: Callable[[str], str], control: str | None = None) -> list[Row]:
    """The rows of an export, one an annotation; predictions are none. A task without annotations has none.

    Args:
        pseudonym: the user -> the annotator's name.
        control: name of the `<Choices>` that holds the answer; `answer` if left out, or the only one.

    Raises:
        AnnotationError: it is no such file, or which control holds the answer cannot be told.
    """
    tasks = list(_tasks(Path(path)))
    minimal = {line: "annotations" not in task and "completions" not in task for line, task in tasks}
    if len(set(minimal.values())) > 1:
        line = next(line for line, value in minimal.items() if value != minimal[tasks[0][0]])
        raise AnnotationError(
            f"{path}, line {line}: is a task of JSON_MIN among tasks of JSON, or the reverse; export each by itself."
        )
    if all(minimal.values()):
        control = _control(path, control, {name for _, task in tasks for name in task if name not in STANDARD})
        return [_minimal(str(path), line, task, pseudonym, control) for line, task in tasks]
    annotated = [
        (line, task, annotation)
        for line, task in tasks
        for annotation in _listed(path, line, task, "annotations" if "annotations" in task else "completions")
    ]
    results = [_listed(path, line, annotation, "result") for line, _, annotation in annotated]
    known = {str(result.get("from_name")) for found in results for result in found if _choices(result)}
    control = _control(path, control, known)
    return [
        _row(str(path), line, task, annotation, found, pseudonym, control)
        for (line, task, annotation), found in zip(annotated, results, strict=True)
    ]


def _listed(path: str | Path, line: int, of: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The mappings that a field lists; AnnotationError if it is anything else."""
    value = of.get(name) or []
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        raise AnnotationError(
            f"{path}, line {line}: {name} of {of.get('id', 'a task')} is no list of objects; export the project anew, "
            "as JSON or JSON_MIN."
        )
    return value


def _choices(result: Mapping[str, Any]) -> list[str]:
    value = result.get("value")
    chosen = value.get("choices") if isinstance(value, Mapping) else None
    return [str(choice) for choice in chosen] if isinstance(chosen, list) else []


def _tasks(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each task with the line that it begins on."""
    text = read_utf8(path, AnnotationError).decode()
    decoder = json.JSONDecoder(parse_constant=str)  # NaN is no JSON, and none may come of it
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
        except (ValueError, RecursionError) as cause:
            at_line = cause.lineno if isinstance(cause, json.JSONDecodeError) else line
            raise AnnotationError(
                f"{path}, line {at_line}: is not JSON ({first_line(cause)}); it is damaged or cut off: export it anew."
            ) from cause
        if not isinstance(task, dict):
            raise AnnotationError(f"{path}, line {line}: is no task, {json.dumps(task)[:40]}; export it anew.")
        yield line, task
        at = _skip(text, at)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
        elif text[at : at + 1] != "]":
            raise AnnotationError(f"{path}, line {line}: its list of tasks is cut off after this one; export it anew.")
    if _skip(text, at + 1) != len(text):
        raise AnnotationError(f"{path}: goes on after its list of tasks; export it anew.")


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _control(path: str | Path, wanted: str | None, known: set[str]) -> str:
    there = ", ".join(sorted(known))
    if wanted is not None and wanted not in known:
        raise AnnotationError(f"{path}: has no choice that is named {wanted!r}; there are {there or 'none'}.")
    if wanted is not None or CONTROL in known or not known:
        return wanted or CONTROL
    if len(known) > 1:
        raise AnnotationError(
            f"{path}: has no choice that is named {CONTROL!r}; say which one holds the answer with --choices: {there}."
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
    data = task.get("data")
    if not isinstance(data, Mapping):
        raise AnnotationError(f"{file}, line {line}: task {task.get('id', '?')} has no data; export the project anew.")
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
    value = task.get(control)
    chosen = []
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
    task, annotation = (_text(name) for name in names)
    who = _user(user)
    given = without_names(given, who, pseudonym(who))
    return Row(
        record=f"annotation {annotation or '?'} of task {task or '?'}",
        key=f"{annotation} {_text(created)}" if annotation else "",  # two servers may both have an annotation 1
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
    """What tells a user from others: the number, or else the address."""
    if isinstance(user, Mapping):
        user = user.get("id", user.get("email"))
    return _text(user)


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _kept(fields: Mapping[str, Any], *own: str) -> dict[str, Any]:
    """Fields without those that are an answer's own, that name people, or that say nothing."""
    return {
        name: value
        for name, value in fields.items()
        if name not in own and name not in PERSONAL and value not in (None, "", [], {})
    }


def task(url: str, question: str, item: str, digest: str) -> dict[str, Any]:
    """A task to import into a project."""
    return {
        "data": {"image": url, "question": question, "item": item, "digest": digest, "interface": INTERFACE},
    }

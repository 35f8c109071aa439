"""Import answers from Mechanical Turk, Label Studio and CSVs into annotations/<suite>/<benchmark>/<kind>.csv."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from crayon.annotations.answers import Answer, read_answers, refuse_mixed, write_answers
from crayon.annotations.io import labelstudio, mturk
from crayon.annotations.io.merge import Row, settle, write_merged, write_rejected
from crayon.annotations.io.pseudonyms import Pseudonyms
from crayon.annotations.io.published import neuron_item
from crayon.annotations.lockfile import taken
from crayon.data.dataset import training_images
from crayon.models.formats import channels_of
from crayon.pipeline.job import MADE
from crayon.pipeline.plan import Plan
from crayon.pipeline.steps.people import asks_people, digest_of_shown
from crayon.saliency.patches import read_patches
from crayon.utils.log import report


def import_mturk(
    plan: Plan,
    name: str,
    kind: str,
    files: Sequence[Path],
    *,
    answer_column: str | None = None,
    items: Path | None = None,
    salt: Path | None = None,
    reject_invalid: bool = False,
) -> None:
    """Add the answers in batch results of Mechanical Turk to a benchmark's answers.

    Args:
        plan: the plan of the active suite.
        name: the benchmark.
        kind: `attention` or `neurons`.
        files: the batch results, as CSV.
        answer_column: column with the answers; None to recognise it.
        items: CSV with the columns image_url and item, for results that do not name the items.
        salt: file with the secret from which annotators' pseudonyms are derived; None for .crayon/salt.
        reject_invalid: write rows with unknown answers or items to <kind>.rejected.csv instead of raising an error.

    Raises:
        ParamsError: the kind is unknown, or the benchmark does not take people's answers.
        AnnotationError: a file is malformed, or the answers cannot be merged.
    """
    asks_people(plan, name, kind)
    pseudonyms, table = Pseudonyms(salt), None if items is None else mturk.read_items(items)
    rows = [row for path in files for row in mturk.read_results(path, pseudonyms, answer_column, table)]
    _import(plan, name, kind, rows, mturk.SOURCE, pseudonyms, reject_invalid)


def import_labelstudio(
    plan: Plan,
    name: str,
    kind: str,
    files: Sequence[Path],
    *,
    choices: str | None = None,
    salt: Path | None = None,
    reject_invalid: bool = False,
) -> None:
    """Add the answers in exports of a Label Studio project to a benchmark's answers.

    Args:
        plan: the plan of the active suite.
        name: the benchmark.
        kind: `attention` or `neurons`.
        files: the exports, as JSON.
        choices: name of the control tag with the answers; None to recognise it.
        salt: file with the secret from which annotators' pseudonyms are derived; None for .crayon/salt.
        reject_invalid: write rows with unknown answers or items to <kind>.rejected.csv instead of raising an error.

    Raises:
        ParamsError: the kind is unknown, or the benchmark does not take people's answers.
        AnnotationError: a file is malformed, or the answers cannot be merged.
    """
    asks_people(plan, name, kind)
    pseudonyms = Pseudonyms(salt)
    rows = [row for path in files for row in labelstudio.read_export(path, pseudonyms, choices)]
    _import(plan, name, kind, rows, labelstudio.SOURCE, pseudonyms, reject_invalid)


def add(plan: Plan, name: str, kind: str, files: Sequence[Path]) -> None:
    """Add answers CSVs, such as those downloaded from the annotation page on a web host, to a benchmark's answers.

    Of several answers by one annotator to one item, the one with the latest timestamp counts.

    Args:
        plan: the plan of the active suite.
        name: the benchmark.
        kind: `attention` or `neurons`.
        files: the answers CSVs; they may overlap.

    Raises:
        ParamsError: the kind is unknown, or the benchmark does not take people's answers.
        AnnotationError: a file is malformed, or has simulated or published answers, or answers to other maps.
    """
    asks_people(plan, name, kind)
    path = Path(plan.find("ingest", benchmark=name, kind=kind).inputs["answers"])
    digest, known = digest_of_shown(plan, name, kind), _items(plan, name, kind)
    allow_stale = plan.params.active.benchmark(name).annotation.allow_stale
    read = [answer for file in files for answer in read_answers(file, known, digest, allow_stale)]
    with taken(path):
        existing = _existing(path, known)
        latest = {(answer.annotator, answer.item): answer for answer in existing}
        for answer in read:
            before = latest.get((answer.annotator, answer.item))
            if before is None or _moment(answer) > _moment(before):
                latest[answer.annotator, answer.item] = answer
        refuse_mixed({answer.source for answer in latest.values()}, MADE, path)
        if (answers := list(latest.values())) != existing:
            write_answers(path, answers)
    new = len(answers) - len(existing)
    changed = sum(one != other for one, other in zip(answers, existing, strict=False))
    report(f"{name}/annotations add {kind}  {len(read)} answers read, {new} new, {changed} changed -> {path}")


def _moment(answer: Answer) -> datetime:
    """When an answer was given; without a time, before all others. A time without a zone is taken as UTC."""
    if not answer.timestamp:
        return datetime.min.replace(tzinfo=UTC)
    time = datetime.fromisoformat(answer.timestamp)
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _import(
    plan: Plan, name: str, kind: str, rows: Sequence[Row], source: str, pseudonyms: Pseudonyms, reject_invalid: bool
) -> None:
    path = Path(plan.find("ingest", benchmark=name, kind=kind).inputs["answers"])
    rejected = path.with_suffix(".rejected.csv")
    digest, known = digest_of_shown(plan, name, kind), _items(plan, name, kind)
    allow_stale = plan.params.active.benchmark(name).annotation.allow_stale
    with taken(path):
        existing = _existing(path, known)
        settled = settle(rows, existing, known, digest, allow_stale=allow_stale, reject_invalid=reject_invalid)
        pseudonyms.keep()
        write_rejected(rejected, settled.rejected)
        if settled.withdrawn and not (settled.kept or settled.used):
            path.unlink()  # an answers file must contain at least one answer
        elif settled.used or settled.withdrawn:
            write_merged(path, settled.kept, settled.used, source)
    total = len(settled.kept) + len(settled.used)
    report(f"{name}/{source} import {kind}  {settled.line()} -> {rejected}; {path} holds {total} answers")


def _existing(path: Path, known: frozenset[str]) -> list[Answer]:
    """Read the existing answers.

    Raises:
        AnnotationError: some of them are simulated or published, not people's.
    """
    answers = read_answers(path, known) if path.exists() else []
    refuse_mixed({answer.source for answer in answers}, MADE, path)
    return answers


def _items(plan: Plan, name: str, kind: str) -> frozenset[str]:
    """Return the items that answers may refer to: those that the step `ingest` accepts."""
    inputs = plan.find("ingest", benchmark=name, kind=kind).inputs
    if kind == "attention":
        return frozenset(training_images(inputs["manifest"]))
    whole_neurons = map(neuron_item, range(channels_of(inputs["model"]))) if Path(inputs["model"]).exists() else ()
    return frozenset(patch.patch for patch in read_patches(inputs["shown"])).union(whole_neurons)

"""Import answers from Mechanical Turk and Label Studio into annotations/<suite>/<benchmark>/<kind>.csv."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from crayon.annotations.answers import Answer, read_answers, refuse_mixed
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

"""A model card of one network: data, answers, training, accuracy by group, where it looks, and limits.

The text is made from records and evaluations only, so that `crayon audit` can make it again and compare. The head is
YAML in the format of Hugging Face's model cards (https://huggingface.co/docs/hub/model-cards); nothing is uploaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from crayon.config.sections import Training, adapter, dump
from crayon.data.splits import gaps, without_validation
from crayon.methods import method_class
from crayon.pipeline.evaluations import Cell
from crayon.pipeline.job import KINDS, Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import read_record
from crayon.report.tables import answers_sentence, markdown, naming
from crayon.utils.errors import OutputError, RecordError
from crayon.utils.files import read_json, write_text
from crayon.utils.intervals import wilson
from crayon.utils.tables import read_text
from crayon.utils.version import __version__

KEY = "crayon"
"""Key of the card's head that says which network it describes."""


@dataclass(frozen=True)
class Card:
    """The network that a card describes.

    Attributes:
        benchmark, run: names of the benchmark and of the run; `original` is a run, too.
        seed: the run's seed; None for the Original.
        family: `last`, or `selected` for the epoch with the best validation metric.
    """

    benchmark: str
    run: str
    seed: int | None
    family: str = "last"

    def job(self, plan: Plan) -> Job:
        """The job that evaluates the network."""
        return plan.one("evaluate", self.benchmark, self.run, self.seed)

    def reads(self, plan: Plan) -> list[Job]:
        """The jobs whose outputs the card is made from: evaluations of the run's seeds and the Original, labels."""
        original = plan.one("evaluate", self.benchmark, "original", None)
        labels = [plan.find("ingest", benchmark=self.benchmark, kind=kind) for kind in _kinds(plan, self)]
        jobs = [self.job(plan), original, *_seeds(plan, self), *labels]
        return list({job.name: job for job in jobs}.values())


def text(plan: Plan, card: Card) -> str:
    """Write a card.

    Args:
        plan: the plan of the suite.
        card: the network.

    Raises:
        ParamsError: the benchmark or the run is unknown, or the run has several seeds and the card names none.
        RecordError: the network or its Original has not been evaluated, or has no selected epoch; or a record is
            damaged.
    """
    job, before = card.job(plan), plan.one("evaluate", card.benchmark, "original", None)
    own, original = (read_json(one.outputs["metrics"], RecordError) for one in (job, before))
    if card.family not in own:
        raise RecordError(f"{card.run}: has no checkpoint of a selected epoch; leave --selected out.")
    here, there = own[card.family], original["last"]
    record, path = read_record(job.record), job.inputs[card.family]
    benchmark = plan.params.active.benchmarks[card.benchmark]
    title = f"{naming(card.run)[0]} on {benchmark.title}"
    known = {
        "suite": plan.suite,
        "benchmark": card.benchmark,
        "run": card.run,
        **({} if card.seed is None else {"seed": card.seed}),
        "epoch": card.family,
        "checkpoint": {"path": path, "sha256": record["inputs"][path]},
        "evaluation": record["seal"],
        "version": __version__,
    }
    head = {
        "library_name": "pytorch",
        "pipeline_tag": "image-classification",
        "tags": ["crayon", "image-classification"],
        "model-index": [{"name": title, "results": [_index(benchmark.title, card.benchmark, here)]}],
        KEY: known,
    }
    sections = {
        "Use": _use(plan, card),
        "Data": _data(here, record, job),
        "Training": _training(plan, card, here, path),
        "Accuracy": _accuracy(plan, card, here, there),
        "Where it looks": _looks(here, there),
        "Limits": _limits(plan, card, here),
    }
    body = "\n\n".join(f"## {name}\n\n{content}" for name, content in sections.items() if content)
    front = yaml.safe_dump(head, sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n# {title}\n\n{_origin(plan, card)}\n\n{body}\n"


def write(plan: Plan, card: Card, path: Path | None = None) -> Path:
    """Write a card to a file, exports/<suite>/<benchmark>/<run>-<seed>.md if `path` is None; returns its path.

    Raises:
        OutputError: the file is not named as Markdown, or cannot be written.
        ParamsError, RecordError: see `text`.
    """
    if path is None:
        parts = [card.run, *([] if card.seed is None else [str(card.seed)]), *(["selected"] * (card.family != "last"))]
        path = Path("exports", plan.suite, card.benchmark, f"{'-'.join(parts)}.md")
    if path.suffix != ".md":
        raise OutputError(f"{path}: a model card is a Markdown file; name it {path.with_suffix('.md')}.")
    content = text(plan, card)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, content)
    return path


def described(path: str | Path) -> Card:
    """The network that an existing card describes, by its head.

    Raises:
        RecordError: the file is missing, or is no model card of Crayon.
    """
    content = read_text(Path(path), RecordError)
    try:
        _, head, _ = content.split("---\n", 2)
        own = yaml.safe_load(head)[KEY]
        return Card(own["benchmark"], own["run"], own.get("seed"), own["epoch"])
    except (ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise RecordError(
            f"{path}: is neither a result of the plan nor a model card of Crayon; `crayon card BENCHMARK METHOD` "
            "writes one."
        ) from error


def differences(plan: Plan, path: str | Path) -> list[str]:
    """The first line of a card that differs from what its records say now; empty if none does."""
    found = read_text(Path(path), RecordError).splitlines()
    wanted = text(plan, described(path)).splitlines()
    for number, (line, other) in enumerate(zip(found, wanted, strict=False), start=1):
        if line != other:
            return [f"line {number} is {line!r}, but the records say {other!r}"]
    if len(found) != len(wanted):
        return [f"has {len(found)} lines, but the records give {len(wanted)}"]
    return []


def _index(title: str, name: str, here: Mapping[str, Any]) -> dict[str, Any]:
    metrics = [{"type": key, "name": key, "value": round(value, 2)} for key, value in here["metrics"].items()]
    task = {"type": "image-classification", "name": "Image classification"}
    return {"task": task, "dataset": {"name": title, "type": name}, "metrics": metrics}


def _origin(plan: Plan, card: Card) -> str:
    benchmark = plan.params.active.benchmarks[card.benchmark]
    if card.run == "original":
        sentences = ["The Original: a classifier before refinement."]
    else:
        label, annotation = naming(card.run)
        sentences = [f"A classifier that was refined with {label}; what it needs besides labels: {annotation}."]
        labels = plan.runs[card.run].labels
        if labels is not None:
            sentences.append(f"It is a control experiment: the answers were replaced ({labels}). Do not use it.")
    if benchmark.annotation.source == "simulated" and _kinds(plan, card):
        sentences.append("The annotators are simulated: no person answered.")
    if "miniature" in benchmark.title:
        sentences.append("The images are drawn.")
    return " ".join(sentences)


def _kinds(plan: Plan, card: Card) -> list[str]:
    """The kinds of answers that the network was refined with."""
    if card.run == "original":
        return []
    return [kind for kind in KINDS if kind in method_class(plan.runs[card.run].method).needs]


def _use(plan: Plan, card: Card) -> str:
    benchmark, network = plan.params.active.benchmarks[card.benchmark], plan.network()
    mean, std = (
        ", ".join(f"{value:g}" for value in part)
        for part in (benchmark.normalisation.mean, benchmark.normalisation.std)
    )
    classes = ", ".join(f"{number} {name}" for number, name in enumerate(benchmark.classes))
    return "\n".join(
        [
            f"- Network: `{network.label}`. Classes: {classes}.",
            f"- Input: RGB in [0, 1], normalised by the mean ({mean}) and the standard deviation ({std}).",
            "- Intended for images like those of the data below; for others, measure first.",
        ]
    )


def _data(here: Mapping[str, Any], record: Mapping[str, Any], job: Job) -> str:
    rows = [
        [split, row["label"], row["group"], str(row["count"])] for split, own in here["splits"].items() for row in own
    ]
    digests = [
        f"`{job.inputs[key]}` (sha256 `{record['inputs'][job.inputs[key]][:16]}`)" for key in ("manifest", "images")
    ]
    return f"{markdown(['split', 'class', 'group', 'images'], rows)}\n\nFrom {' and '.join(digests)}."


def _training(plan: Plan, card: Card, here: Mapping[str, Any], path: str) -> str:
    record = read_record(plan.producers[path].record)
    commit = record["told"].get("commit")
    lines = [f"- Epoch {here['epoch']}, validation metric {here['validation']:.2f} %."]
    if card.seed is not None:
        training, method = plan.runs[card.run].settings(plan.params.active.benchmarks[card.benchmark])
        settings = adapter(Training).dump_python(training, mode="json", exclude_defaults=True) | dump(method)
        lines.append("- " + ", ".join(f"{key} {value}" for key, value in settings.items()) + f"; seed {card.seed}.")
    if kinds := _kinds(plan, card):
        sentence = answers_sentence(plan, plan.summaries([card.benchmark]), card.benchmark)
        lines.append(f"- {sentence} This method uses those about {' and '.join(kinds)}.")
    digest, seal = record["code"]["digest"][:16], record["seal"][:16]
    lines.append(f"- Code: digest `{digest}`, commit {commit or 'unknown'}; record `{seal}`.")
    return "\n".join(lines)


def _accuracy(plan: Plan, card: Card, here: Mapping[str, Any], there: Mapping[str, Any]) -> str:
    rows = [[key, f"{there['metrics'][key]:.2f}", f"{value:.2f}"] for key, value in here["metrics"].items()]
    header = ["metric", "Original", "this network"]
    seeds = [read_json(job.outputs["metrics"], RecordError)[card.family] for job in _seeds(plan, card)]
    if seeds:
        header.append(f"mean ± SD of {len(seeds)} seeds")
        for row in rows:
            row.append(str(Cell.of([one["metrics"][row[0]] for one in seeds])))
    groups = [
        [split, f"{row['label']}/{row['group']}", str(row["count"]), _share(other), _share(row)]
        for split, own in here["splits"].items()
        for row, other in zip(own, there["splits"][split], strict=True)
    ]
    table = markdown(["split", "group", "images", "Original", "this network"], groups)
    return (
        f"In percent.\n\n{markdown(header, rows)}\n\nBy group, with the 95 % interval that the number of images leaves "
        f"(Wilson); it does not include that networks of other seeds differ:\n\n{table}"
    )


def _seeds(plan: Plan, card: Card) -> list[Job]:
    """The jobs that evaluate all seeds of the run; empty if there is one only, or if they have not all run."""
    if card.seed is None:
        return []
    jobs = plan.select("evaluate", card.benchmark, [card.run])
    return jobs if len(jobs) > 1 and all(Path(job.outputs["metrics"]).exists() for job in jobs) else []


def _share(row: Mapping[str, Any]) -> str:
    share = row["correct"] / row["count"]
    low, high = wilson(share, row["count"])
    return f"{100 * share:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def _looks(here: Mapping[str, Any], there: Mapping[str, Any]) -> str:
    """The share of the map's energy on the object, by group; empty without masks."""
    before = {
        (split, row["label"], row["group"]): f"{row['energy']:.1f}"
        for split, own in there["attention"].items()
        for row in own
    }
    rows = [
        [
            split,
            f"{row['label']}/{row['group']}",
            before.get((split, row["label"], row["group"]), ""),
            f"{row['energy']:.1f}",
        ]
        for split, own in here["attention"].items()
        for row in own
    ]
    table = markdown(["split", "group", "Original", "this network"], rows)
    return f"Share of the Grad-CAM map's energy inside the object's mask, in percent:\n\n{table}" if rows else ""


def _limits(plan: Plan, card: Card, here: Mapping[str, Any]) -> str:
    benchmark = plan.params.active.benchmarks[card.benchmark]
    present = {split: {(row["label"], row["group"]) for row in own} for split, own in here["splits"].items()}
    sentences = gaps(present, benchmark)
    if card.seed is not None and (sentence := without_validation(benchmark)) is not None:
        sentences.append(f"{sentence}.")
    sentences += [
        "Groups that the data does not name may have a lower accuracy than any of the table.",
        "A map shows where the last feature map supports a class; it does not prove what the network relies on.",
    ]
    return "\n".join(f"- {sentence}" for sentence in sentences)

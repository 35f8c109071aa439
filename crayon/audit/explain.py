"""`crayon audit --cell`: explains one number by the tree of jobs that it depends on, down to the answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crayon.annotations.labels import derived_text, inferred_by
from crayon.audit.check import Verdict, evaluations_of, known, number_of
from crayon.pipeline.job import below
from crayon.pipeline.plan import Plan
from crayon.pipeline.provenance import Provenance, none_of, not_checked
from crayon.pipeline.record import read_record
from crayon.utils.errors import RecordError
from crayon.utils.files import read_json

SHORT = 12
"""How many digits of a digest are shown in the text output."""


@dataclass
class Node:
    """A node of the tree.

    Attributes:
        text: one line of text.
        facts: what `text` states, for the JSON output.
        below: the nodes of the jobs and files from which it was made.
    """

    text: str
    facts: dict[str, Any] = field(default_factory=dict)
    below: list[Node] = field(default_factory=list)

    def lines(self, first: str = "", rest: str = "") -> Iterator[str]:
        """The tree as text, one line per node.

        Args:
            first: prefix of the first line.
            rest: prefix of all other lines.
        """
        yield first + self.text
        for node in self.below:
            last = node is self.below[-1]
            yield from node.lines(rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))

    def content(self) -> dict[str, Any]:
        """The tree as JSON."""
        return self.facts | ({"from": [node.content() for node in self.below]} if self.below else {})


def explain(plan: Plan, target: str, cell: str, verdict: Verdict) -> Node:
    """Build the tree of everything that a number depends on.

    Args:
        plan: the plan.
        target: path of a table in results/.
        cell: name of the number, `benchmark/run/metric`, with `/seed` if the table lists runs.
        verdict: the findings of the audit of the target, which are shown at the top.

    Raises:
        RecordError: the table has no such number, or a record cannot be read.
    """
    row = known(target, cell)
    benchmark, run, metric = cell.split("/")[:3]
    jobs = evaluations_of(plan, cell)
    values = {name: read_json(job.outputs["metrics"], RecordError) for name, job in jobs.items()}
    head = f"{target}  {cell}  {_percent(row)} (suite {plan.suite}: {plan.params.active.title})"
    facts = {"result": target, "cell": cell, "row": row, "suite": plan.suite} | {"verdict": verdict.content()}
    audit = [line.strip() for line in verdict.lines()]
    root = Node(head, facts, [Node(audit[0], {"valid": not verdict.breaks}, [Node(line) for line in audit[1:]])])
    for name, evaluation in values.items():
        seed = name.split("/")[2] if name.count("/") == 2 else "-"
        value, epoch = evaluation["last"]["metrics"][metric], evaluation["last"]["epoch"]
        node = Node(
            f"{'the Original' if run == 'original' else f'seed {seed}'}: {value:.4f} after epoch "
            f"{epoch}{_worst(plan, benchmark, metric, evaluation)}",
            {"seed": seed, "value": value, "epoch": epoch, "file": jobs[name].outputs["metrics"]},
        )
        root.below.append(node)
    records = _Records(plan)
    root.below += _Tree(records).of([records.of(job.name) for job in jobs.values()])
    root.below += _software(records.of(job.name) for job in below(jobs.values(), plan.producers))
    return root


def recorded(plan: Plan, target: str, cell: str) -> Node | None:
    """Build the tree that `explain` returns from a table's provenance file alone, without the records.

    Args:
        plan: the plan.
        target: path of a table in results/.
        cell: name of the number, see `explain`.

    Returns:
        The tree; None if this folder has the records of all evaluations of the number, or no provenance file.

    Raises:
        RecordError: the table has no such number, the provenance file is malformed, or it lacks the number's runs.
    """
    path = f"{target.removesuffix('.csv')}.provenance.json"
    if all(Path(job.record).exists() for job in evaluations_of(plan, cell).values()) or not Path(path).exists():
        return None
    row = known(target, cell)
    benchmark, run, _, *seed = cell.split("/")
    provenance = Provenance.read(read_json(path, RecordError), path)
    names = provenance.evaluations(benchmark, run, *seed)
    if not names:
        raise RecordError(none_of(path, benchmark, run))
    head = f"{target}  {cell}  {_percent(row)} (suite {provenance.suite})"
    note = not_checked(path)
    root = Node(
        head, {"result": target, "cell": cell, "row": row, "suite": provenance.suite}, [Node(note, {"note": note})]
    )
    records = _Recorded(provenance)
    root.below += _Tree(records).of([records.of(name) for name in names])
    jobs = provenance.below([path for name in names for path in provenance.jobs[name]["outputs"]])
    root.below += _software(records.of(name) for name in jobs)
    return root


def _percent(row: dict[str, str]) -> str:
    """The value of a row as text; for a mean, with the number of runs."""
    over = f", mean over {row['seeds']} run{'s' * (row['seeds'] != '1')}" if "mean" in row else ""
    return f"{number_of(row)} percent{over}"


def _worst(plan: Plan, benchmark: str, metric: str, evaluation: dict[str, Any]) -> str:
    """The worst group of an evaluation as text, if the metric is a worst-group accuracy; otherwise empty."""
    kind = plan.params.active.benchmark(benchmark).metrics[metric]
    if kind.kind != "worst_group":
        return ""
    worst = min(evaluation["last"]["splits"][kind.splits[0]], key=lambda row: row["correct"] / row["count"])
    return f" ({worst['label']} on {worst['group']}: {worst['correct']} of {worst['count']})"


class _Records:
    """Reads the records of a plan's jobs from the files beside the jobs' outputs."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.makers = {path: job.name for path, job in plan.producers.items()}

    def of(self, name: str) -> dict[str, Any]:
        """The content of a job's record, and the path of the record under the key `record`."""
        path = self.plan.jobs[name].record
        return read_record(path) | {"record": path}


class _Recorded:
    """Reads the records of jobs from a table's provenance file. The outputs of these jobs need not exist here."""

    def __init__(self, provenance: Provenance) -> None:
        self.provenance = provenance
        self.makers = provenance.producers

    def of(self, name: str) -> dict[str, Any]:
        """The record of a job, put together from the parts of the provenance file: job, digests, environment."""
        job, files = self.provenance.jobs[name], self.provenance.files
        digests = {key: {path: files[path] for path in job[key]} for key in ("inputs", "outputs")}
        return job | digests | {"told": self.provenance.made[job["made"]]}


class _Tree:
    """Builds the nodes of jobs. If a job occurs again, its node has no subtree."""

    ORDER = ("refine", "ingest", "annotate", "interpret", "auxiliary", "stage_one", "original", "pretrain", "download")

    def __init__(self, records: _Records | _Recorded) -> None:
        self.records = records
        self.shown: set[str] = set()

    def of(self, records: list[dict[str, Any]]) -> list[Node]:
        """The nodes of the jobs that made the inputs of given jobs. Jobs that differ only in their seed share one node.

        Args:
            records: records of the given jobs.
        """
        makers = (self.records.makers.get(path) for record in records for path in record["inputs"])
        groups: dict[str, list[dict[str, Any]]] = {}
        for name in dict.fromkeys(filter(None, makers)):
            record = self.records.of(name)
            title = " ".join([record["rule"], *(v for k, v in record["wildcards"].items() if k != "seed")])
            groups.setdefault(title, []).append(record)
        ordered = sorted(groups.items(), key=lambda pair: self._rank(pair[1][0]["rule"]))
        return [self._node(name, found) for name, found in ordered]

    def _rank(self, rule: str) -> int:
        """Sorting key of a rule: its position in `ORDER`; other rules come last."""
        return self.ORDER.index(rule) if rule in self.ORDER else len(self.ORDER)

    def _node(self, name: str, records: list[dict[str, Any]]) -> Node:
        """The node of jobs that differ only in their seed."""
        if name in self.shown:
            return Node(f"{name}: see above", {"job": name, "see": "above"})
        self.shown.add(name)
        first = records[0]
        seeds = [record["wildcards"]["seed"] for record in records if "seed" in record["wildcards"]]
        made_of = self.of(records)
        summary = SUMMARIES[first["rule"]](first) if first["rule"] in SUMMARIES else ""
        title = name + (f", seeds {' '.join(seeds)}" if seeds else "")
        files = [
            _file(path, digest)
            for record in records
            for path, digest in record["outputs"].items()
            if Path(path).suffix in (".safetensors", ".csv", ".npy") and not path.endswith("history.csv")
        ]
        facts = {"job": name, "seeds": seeds, "summary": summary, "params": first["params"]}
        facts["records"] = [record["record"] for record in records if "record" in record]
        foreign = [_file(path, digest) for path, digest in first["inputs"].items() if path not in self.records.makers]
        return Node(title + (f": {summary}" if summary else ""), facts, [*files, *foreign, *made_of])


def _file(path: str, digest: str) -> Node:
    """The node of a file."""
    return Node(f"{path}  {digest[:SHORT]}", {"file": path, "sha256": digest})


# Summaries of a job, by rule: functions of its record.


def _refine(record: dict[str, Any]) -> str:
    params = record["params"]
    settings = ", ".join(
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in params["settings"].items()
    )
    control = f"; control: labels {params['labels']}" if "labels" in params else ""
    return "; ".join(filter(None, [settings, _training(params["training"])])) + control


def _ingest(record: dict[str, Any]) -> str:
    path = next(path for path in record["outputs"] if path.endswith(".summary.json"))
    if not Path(path).exists():
        return ""
    summary = read_json(path, RecordError)
    counts = ", ".join(f"{count} {label}" for label, count in summary["labels"].items())
    if record["wildcards"]["kind"] == "neurons":
        pruned = summary["labels"].get("irrelevant", 0)
        counts += f": {pruned} of {sum(summary['labels'].values())} neurons are pruned"
    shares = [f"{key} {summary[key]:.2f}" for key in ("kappa", "alpha") if summary.get(key) is not None]
    agreed = f" ({', '.join(shares)})" if shares else ""
    if summary["agreement"] is not None:
        agreed = f"; annotators agree on {summary['agreement']:.1%}{agreed}"
    return (
        f"{counts}; {summary['answers']} answers to {summary['items']} items by {', '.join(summary['annotators'])}"
        f"{agreed}; source: {', '.join(f'{count} {source}' for source, count in summary['sources'].items())}"
        + (f"; {summary['stale']} given to other maps or patches (allow_stale)" if "stale" in summary else "")
        + (f"; {how}" if (how := inferred_by(summary)) else "")
        + (f"; derived: {derived_text(summary['derived'])}" if "derived" in summary else "")
    )


def _annotate(record: dict[str, Any]) -> str:
    if "published" in record["params"]:
        return "the authors' published answers"
    params = dict(_flat(record["params"]))
    for section in record["params"].values():
        if isinstance(section, dict) and isinstance(flip := section.get("flip"), list):
            params["flip"] = " ".join(map(str, flip))  # one an annotator
    return "simulated annotators, " + ", ".join(f"{key} {value}" for key, value in params.items())


def _original(record: dict[str, Any]) -> str:
    params = record["params"]
    return f"imported from {params['imported']['file']}" if "imported" in params else _training(params["training"])


def _download(record: dict[str, Any]) -> str:
    return record["params"]["source"]["kind"]


SUMMARIES = {
    "refine": _refine,
    "ingest": _ingest,
    "annotate": _annotate,
    "original": _original,
    "auxiliary": _original,
    "stage_one": _original,
    "download": _download,
}
"""Rule -> function that summarises the record of one of its jobs in a line."""


def _flat(params: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield key and value of each param at any depth. Params that are lists are left out."""
    for key, value in params.items():
        if isinstance(value, dict):
            yield from _flat(value)
        elif not isinstance(value, list):
            yield key, value


def _training(training: dict[str, Any]) -> str:
    """The main hyper-parameters of a training, as text."""
    return (
        f"{training['optimiser']} {training['learning_rate']:g}, weight decay {training['weight_decay']:g}, "
        f"batches of {training['batch_size']}, {training['epochs']} epoch{'s' * (training['epochs'] != 1)}"
    )


def _software(records: Iterable[dict[str, Any]]) -> list[Node]:
    """One node for each combination of software, device and machine. Jobs that did not use torch are not counted."""
    keys = ("crayon", "commit", "dirty", "python", "packages", "device", "machine")
    runs: dict[str, tuple[dict[str, Any], int]] = {}
    for record in records:
        environment = record["told"]
        packages = {
            name: version
            for name, version in environment["packages"].items()
            if name in ("torch", "torchvision", "numpy")
        }
        commit = (
            "no commit"
            if environment["commit"] is None
            else f"commit {environment['commit'][:SHORT]}" + (" with changes" if environment["dirty"] else "")
        )
        if "torch" not in packages:
            continue
        text = f"crayon {environment['crayon']} ({commit}), python {environment['python']}, " + ", ".join(
            f"{n} {v}" for n, v in packages.items()
        )
        text += f", {environment.get('device') or 'cpu'}, {environment['machine']}"
        facts = {key: environment.get(key) for key in keys}
        runs[text] = (facts, runs.get(text, (None, 0))[1] + 1)
    return [Node(f"{count} jobs by {text}", facts | {"jobs": count}) for text, (facts, count) in runs.items()]

"""`crayon audit`: checks all jobs behind a result against records, dvc.lock and git, and recomputes its numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from crayon.annotations.answers import parse, read_raw
from crayon.audit import dvc_lock
from crayon.pipeline import fingerprint
from crayon.pipeline.evaluations import evaluations, number
from crayon.pipeline.job import Job, below
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Digests, read_record
from crayon.pipeline.validity import Ledger
from crayon.report import card
from crayon.report.registry import RESULTS
from crayon.training.metrics import Accuracies, measure
from crayon.utils.errors import CrayonError, RecordError
from crayon.utils.tables import read_csv
from crayon.utils.text import listed, unknown

KEYS = ("benchmark", "method", "run", "metric", "seed")
"""Columns whose values, in this order, name a number. The module of a table may define other `KEYS` for it."""

LISTED = 12
"""How many breaks of each kind are listed in the text output."""


@dataclass
class Verdict:
    """The findings of an audit.

    Attributes:
        results: path of a result -> number of jobs that it depends on, and how many of these are not valid.
        breaks: (kind, job or file, description) for each problem. Kinds are those of `Ledger.breaks`,
            `recomputed-differs` and `dirty code`.
        follow: number of jobs that are not valid only because they depend on a job that is not valid.
        notes: remarks on what is not a problem.
    """

    results: dict[str, tuple[int, int]] = field(default_factory=dict)
    breaks: list[tuple[str, str, str]] = field(default_factory=list)
    follow: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        """Exit status. 0: all valid. 1: something is broken. 2: a record is missing or unreadable."""
        return 2 if any(kind == "unrecorded" for kind, _, _ in self.breaks) else 1 if self.breaks else 0

    def lines(self) -> Iterator[str]:
        """The verdict as lines of text."""
        for path, (jobs, bad) in self.results.items():
            broken = bad or any(where == path or what.startswith(path) for _, where, what in self.breaks)
            if bad:
                yield f"{path}  broken: {bad} of {jobs} jobs are not valid"
            else:
                yield f"{path}  " + (f"broken, although its {jobs} jobs are valid" if broken else f"valid: {jobs} jobs")
        for kind in dict.fromkeys(kind for kind, _, _ in self.breaks):
            rows = [f"  {where}: {kind}: {what}" for own, where, what in self.breaks if own == kind]
            yield from rows[:LISTED]
            if len(rows) > LISTED:
                yield f"  and {len(rows) - LISTED} more {kind} (--json lists all)"
        if self.follow:
            yield f"  and {self.follow} jobs that depend on these"
        if any(kind in ("missing", "unrecorded") for kind, _, _ in self.breaks):
            yield "  `dvc pull` fetches what DVC has stored; `snakemake --cores 2 FILE` makes a result with its record"
        yield from (f"  note: {note}" for note in self.notes)

    def content(self) -> dict[str, Any]:
        """The verdict as JSON."""
        return {
            "valid": not self.breaks,
            "results": {path: {"jobs": jobs, "broken": bad} for path, (jobs, bad) in self.results.items()},
            "breaks": [{"kind": kind, "where": where, "what": what} for kind, where, what in self.breaks],
            "notes": self.notes,
        }


def check(
    plan: Plan, targets: Sequence[str], full: bool = False, allow_dirty: bool = False, cell: str | None = None
) -> Verdict:
    """Check all jobs that `targets` depend on.

    Args:
        plan: the plan.
        targets: paths of outputs of the plan, or of model cards; if empty, all results that exist. Of those, the ones
            without a record, such as results of git that DVC has not stored, are named, and their jobs not checked.
        full: recompute all digests, instead of using cached ones for unchanged files.
        allow_dirty: note uncommitted code, instead of reporting it as a break.
        cell: name of a number in the table `targets[0]`, the only target; check only the jobs that it depends on.

    Raises:
        RecordError: there is no target, a target is not in the plan, or dvc.lock cannot be read.
    """
    verdict = Verdict()
    if not targets:
        there = {path: plan.producers[path] for path in plan.results() if Path(path).exists()}
        if not there:
            raise RecordError(
                f"results/{plan.suite}: has no result yet; make one with `snakemake --cores 2 results/table1.csv`."
            )
        targets = [path for path, job in there.items() if Path(job.record).exists()]
        for job in {job.name: job for path, job in there.items() if path not in targets}.values():
            paths = listed([path for path, writer in there.items() if writer is job])
            verdict.breaks.append(("unrecorded", job.name, f"{job.record} is not here, so {paths} cannot be judged"))
    digests = Digests(full=full)
    ledger = Ledger(plan, digests)
    jobs: dict[str, Job] = {}
    chains: dict[str, list[Job]] = {}
    for target in targets:
        if is_card(plan, target):
            chains[target] = below(card.described(target).reads(plan), plan.producers)
        elif cell is not None:
            chains[target] = [*below(evaluations_of(plan, cell).values(), plan.producers), plan.producers[target]]
        else:
            chains[target] = plan.below(target)
        jobs |= {job.name: job for job in chains[target]}
    files = [path for job in jobs.values() for path in (*job.inputs.values(), *job.outputs.values(), job.record)]
    digests.read(files)
    for target, chain in chains.items():
        verdict.results[target] = (len(chain), sum(bool(ledger.breaks(job)) for job in chain))
    for job in jobs.values():
        reasons = [reason.split(": ", 1) for reason in ledger.breaks(job)]
        own = [(kind, what) for kind, what in reasons if kind != "follows"]
        if cell is not None and not own and job.rule in RESULTS and RESULTS[job.rule].recomputed:
            continue  # only other numbers of the table are affected
        verdict.follow += bool(reasons) and not own
        verdict.breaks += [(kind, job.name, what) for kind, what in own]
        if path := ledger.edited(job):
            behind = [name for name, reader in jobs.items() if path in reader.inputs.values() and ledger.breaks(reader)]
            if behind:
                verdict.breaks.append(("edited", job.name, f"{path}{_answers_changed(plan, job, path)}"))
            else:
                verdict.notes.append(f"edited by hand, and used in this state: {path}")
    broken_paths = {what.split(" ")[0].rstrip(":") for _, _, what in verdict.breaks}
    _name_swaps(verdict, list(jobs.values()), digests)
    for target, chain in chains.items():
        if is_card(plan, target):
            if not any(ledger.breaks(job) for job in chain):
                verdict.breaks += [("recomputed-differs", target, what) for what in card.differences(plan, target)]
            continue
        if broken_paths & set(_counted(plan.producers[target]).values()):
            continue  # the inputs must be repaired first
        differences = recomputed(plan, target)
        verdict.breaks += [("recomputed-differs", target, what) for what in differences if what.startswith(cell or "")]
    _check_lock(verdict, list(dict.fromkeys(files)), {job.record for job in jobs.values()}, broken_paths, digests)
    _check_code(verdict, jobs.values(), allow_dirty)
    digests.save()
    return verdict


def _check_lock(
    verdict: Verdict, files: Sequence[str], records: Collection[str], broken_paths: Collection[str], digests: Digests
) -> None:
    """Report files that differ from dvc.lock as breaks; if only the record of a job differs, add a note instead.

    A dvc.lock of another clone, whose data DVC has not stored here, describes other files, and is only noted.
    """
    outputs, rewritten = dvc_lock.here(), 0
    if dvc_lock.from_elsewhere(outputs):
        verdict.notes.append(
            f"{dvc_lock.LOCK} was written in another clone; `dvc pull` fetches what it describes, `dvc repro` records "
            "what is here"
        )
        return
    for path in dvc_lock.differing(outputs, files, digests):
        if path in records and path not in broken_paths:
            rewritten += 1
        elif not any(file == path or file.startswith(f"{path}/") for file in broken_paths):
            verdict.breaks.append(("stale", dvc_lock.LOCK, f"{path} is not what DVC recorded; `dvc repro` records it"))
    if rewritten:
        verdict.notes.append(f"{dvc_lock.LOCK} is older than {rewritten} of the records; `dvc repro` records them")


def _name_swaps(verdict: Verdict, jobs: Sequence[Job], digests: Digests) -> None:
    """If an edited file has the content of another job's output, add the path of that output to the description."""
    if not any(kind == "edited" for kind, _, _ in verdict.breaks):
        return
    wrote: dict[str | None, list[str]] = {}
    for job in jobs:
        with suppress(RecordError):
            for path, digest in read_record(job.record)["outputs"].items():
                wrote.setdefault(digest, []).append(path)
    for position, (kind, where, what) in enumerate(verdict.breaks):
        others = wrote.get(digests.of(what), []) if kind == "edited" else []
        if others and what not in others:
            same_name = [path for path in others if Path(path).name == Path(what).name]
            verdict.breaks[position] = (kind, where, f"{what} (its content is that of {(same_name or others)[0]})")


def _answers_changed(plan: Plan, job: Job, path: str) -> str:
    """List the answers in an edited file that differ from the suite's answers.csv; empty if a file cannot be read."""
    try:
        rows = read_csv(plan.find("answers").outputs["answers"], ("benchmark", "kind", "item", "answers"), RecordError)
        here = [row for row in rows if [row["benchmark"], row["kind"]] == list(job.wildcards.values())]
        before = {(row["item"], name): word for row in here for name, word in parse(row["answers"]).items()}
        now = {(row["item"], row["annotator"]): row["answer"] for row in read_raw(path)}
    except CrayonError:
        return ""
    changed = [key for key in dict.fromkeys([*before, *now]) if before.get(key) != now.get(key)]
    shown = [f"{' '.join(key)}: {before.get(key, 'none')} -> {now.get(key, 'none')}" for key in changed[:3]]
    return f" ({'; '.join(shown)}{f' and {len(changed) - 3} more' * (len(changed) > 3)})" if changed else ""


def _check_code(verdict: Verdict, jobs: Collection[Job], allow_dirty: bool) -> None:
    """Report uncommitted code that the jobs use."""
    modules = sorted({name for job in jobs for name in fingerprint.closure(job.code)})
    files = fingerprint.uncommitted(modules)
    if files is None:
        verdict.notes.append("the package is not in a git checkout, so the commit of its code is unknown")
    for file in files or ():
        what = f"{fingerprint.PACKAGE.name}/{file} differs from the last commit; commit it, so that others can get it"
        if allow_dirty:
            verdict.notes.append(f"dirty code: {what}")
        else:
            verdict.breaks.append(("dirty code", "git", what))


def is_card(plan: Plan, target: str) -> bool:
    """Whether a target is a model card instead of an output of the plan."""
    return target.endswith(".md") and target not in plan.producers and Path(target).exists()


def recomputed(plan: Plan, target: str) -> Iterator[str]:
    """Recompute a table from its runs, and each run's metrics from its counts; yield a message for each difference."""
    for rule, result in RESULTS.items():
        job = plan.jobs.get(rule) if result.recomputed else None
        if job is None or target not in job.outputs.values():
            continue
        module = import_module(result.source)
        inputs = _counted(job)
        if not all(Path(path).exists() for path in (target, *inputs.values())):
            return  # already reported as missing
        try:
            read = evaluations(inputs)
            yield from _recounted(plan, read)
            if target in (tables := module.tables(plan, read)):
                columns, rows = tables[target]
                yield from _compared(target, columns, rows, getattr(module, "KEYS", KEYS))
        except (RecordError, KeyError, TypeError, ValueError) as error:
            yield f"cannot be recomputed ({type(error).__name__}: {error})"


def _counted(job: Job) -> dict[str, str]:
    """The inputs from which a job's numbers are recomputed: the evaluations, or all inputs if none is an evaluation."""
    return {name: path for name, path in job.inputs.items() if path.endswith("/metrics.json")} or job.inputs


def _compared(
    path: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], named_by: Sequence[str]
) -> Iterator[str]:
    """Compare the table in a file with recomputed rows; yield a message for each difference."""
    keys = [name for name in named_by if name in columns]
    present = {"/".join(row[key] for key in keys): row for row in read_csv(path, columns, RecordError)}
    for values in rows:
        computed = dict(zip(columns, map(str, values), strict=True))
        name = "/".join(computed[key] for key in keys)
        if name not in present:
            yield f"{name}: is missing in the table"
        for column in columns:
            if name in present and present[name][column] != computed[column]:
                yield f"{name}: {column} is {present[name][column]}, but its runs give {computed[column]}"
    known = {"/".join(str(dict(zip(columns, values, strict=True))[key]) for key in keys) for values in rows}
    yield from (f"{name}: is in the table, but has no run" for name in present if name not in known)


def _recounted(plan: Plan, read: dict) -> Iterator[str]:
    """Recompute the metrics of evaluations from their counts; yield a message for each difference."""
    for (name, run), seeds in read.items():
        benchmark = plan.params.active.benchmark(name)
        for seed, epochs in seeds.items():
            for epoch in ("last", "selected"):
                if epoch not in epochs:  # an Original has no selected epoch
                    continue
                values = epochs[epoch]
                counts = {
                    split: Accuracies(
                        {(row["label"], row["group"]): row["correct"] for row in rows},
                        {(row["label"], row["group"]): row["count"] for row in rows},
                        {(row["label"], row["group"]): row.get("trained", 0) for row in rows},
                    )
                    for split, rows in values["splits"].items()
                }
                for key, metric in benchmark.metrics.items():
                    if number(measure(metric, counts)) != number(values["metrics"][key]):
                        yield f"{name}/{run}/{key}/{seed}: the value of the {epoch} epoch does not match its counts"


def cells(path: str) -> dict[str, dict[str, str]]:
    """Read the rows of a table by the names of their numbers.

    Returns:
        Name of a number, `benchmark/run/metric` or `benchmark/run/metric/seed` -> row.

    Raises:
        RecordError: the file is not a table whose numbers have such names.
    """
    if not path.endswith(".csv"):
        raise RecordError(f"{path}: has no cells; name a CSV table such as results/table1.csv.")
    if not named(path):
        raise RecordError(
            f"{path}: its numbers have no names like benchmark/run/metric; name a table such as results/table1.csv."
        )
    rows = read_csv(path, ("benchmark", "metric"), RecordError)
    keys = [key for key in KEYS if rows and key in rows[0] and not (key == "method" and "run" in rows[0])]
    return {"/".join(row[key] for key in keys): row for row in rows}


def number_of(row: dict[str, str]) -> str:
    """The number in a row of `cells`: mean and standard deviation over runs, or the value of one run's last epoch."""
    if "mean" not in row:
        return row["last"]
    return row["mean"] + (f" ± {row['std']}" if row["std"] else "")


def named(path: str) -> bool:
    """Whether the numbers of a CSV file have names, `benchmark/run/metric`: then each belongs to a run and a metric."""
    return any(Path(path).name in result.cells for result in RESULTS.values())


def known(path: str, cell: str) -> dict[str, str]:
    """The row of a table that has the number named `cell`; raises RecordError if there is none."""
    rows = cells(path)
    if cell not in rows:
        raise RecordError(f"{path}: " + unknown("cell", cell, rows))
    return rows[cell]


def evaluations_of(plan: Plan, cell: str) -> dict[str, Job]:
    """The jobs whose evaluations a number is computed from: `benchmark/run/seed` -> job."""
    benchmark, run, _, *seed = cell.split("/")
    return {
        name: plan.producers[path]
        for name, path in plan.evaluations([run]).items()
        if name.startswith(f"{benchmark}/") and (not seed or seed[0] in ("-", name.split("/")[-1]))
    }

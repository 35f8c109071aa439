"""Does the chain below a result hold? Params, code and files against records and dvc.lock, numbers against runs."""

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
from crayon.report.registry import RESULTS
from crayon.training.metrics import Accuracies, measure
from crayon.utils.errors import CrayonError, RecordError
from crayon.utils.tables import read_csv
from crayon.utils.text import unknown

KEYS = ("benchmark", "method", "run", "metric", "seed")
"""Columns that name a number, in this order; the others of a table are values. A table may have KEYS of its own."""

LISTED = 12
"""How many breaks of a kind are listed in words."""


@dataclass
class Verdict:
    """What the audit of some results found.

    Attributes:
        results: path -> how many jobs lie below it, and how many of them do not hold.
        breaks: (kind, where, what): kinds as in `Ledger.breaks`, and recomputed-differs, dirty code.
        follow: how many jobs do not hold only because one below them does not.
        notes: what is worth knowing and breaks nothing.
    """

    results: dict[str, tuple[int, int]] = field(default_factory=dict)
    breaks: list[tuple[str, str, str]] = field(default_factory=list)
    follow: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        """0: all holds. 1: something is broken. 2: something cannot be judged: no record, or none that can be read."""
        return 2 if any(kind == "unrecorded" for kind, _, _ in self.breaks) else 1 if self.breaks else 0

    def lines(self) -> Iterator[str]:
        """The verdict in words."""
        for path, (jobs, bad) in self.results.items():
            broken = bad or any(where == path or what.startswith(path) for _, where, what in self.breaks)
            yield f"{path}  " + (f"broken: {bad} of {jobs} jobs do not hold" if broken else f"holds: {jobs} jobs")
        for kind in dict.fromkeys(kind for kind, _, _ in self.breaks):
            found = [f"  {where}: {kind}: {what}" for own, where, what in self.breaks if own == kind]
            yield from found[:LISTED]
            if len(found) > LISTED:
                brings = "; `dvc pull` brings what DVC keeps" * (kind == "missing")
                yield f"  and {len(found) - LISTED} more {kind} (--json lists all){brings}"
        if self.follow:
            yield f"  and {self.follow} jobs that depend on these"
        yield from (f"  note: {note}" for note in self.notes)

    def content(self) -> dict[str, Any]:
        """The verdict as JSON."""
        return {
            "holds": not self.breaks,
            "results": {path: {"jobs": jobs, "broken": bad} for path, (jobs, bad) in self.results.items()},
            "breaks": [{"kind": kind, "where": where, "what": what} for kind, where, what in self.breaks],
            "notes": self.notes,
        }


def check(
    plan: Plan, targets: Sequence[str], full: bool = False, allow_dirty: bool = False, cell: str | None = None
) -> Verdict:
    """Examine all that lies below `targets`.

    Args:
        targets: outputs of the plan; the results that exist if empty.
        full: do not trust remembered digests.
        allow_dirty: code that no commit holds is noted, not a break.
        cell: only what lies below this number of the one target.

    Raises:
        RecordError: no target is given and none exists, a target is not the plan's, or dvc.lock cannot be read.
    """
    if not targets:
        targets = [path for path in plan.results() if Path(path).exists()]
        if not targets:
            raise RecordError("results/: holds no result yet; make one with `snakemake --cores 2 results/table1.csv`.")
    digests = Digests(full=full)
    ledger = Ledger(plan, digests)
    verdict = Verdict()
    jobs: dict[str, Job] = {}
    for target in targets:
        chain = plan.below(target)
        if cell is not None:
            chain = [*below(evaluations_of(plan, cell).values(), plan.producers), plan.producers[target]]
        jobs |= {job.name: job for job in chain}
    files = [path for job in jobs.values() for path in (*job.inputs.values(), *job.outputs.values(), job.record)]
    digests.read(files)
    for target in targets:
        chain = [job for job in plan.below(target) if job.name in jobs]
        verdict.results[target] = (len(chain), sum(bool(ledger.breaks(job)) for job in chain))
    for job in jobs.values():
        reasons = [reason.split(": ", 1) for reason in ledger.breaks(job)]
        own = [(kind, what) for kind, what in reasons if kind != "follows"]
        if cell is not None and not own and job.rule in RESULTS and RESULTS[job.rule].recomputed:
            continue  # follows from other numbers
        verdict.follow += bool(reasons) and not own
        verdict.breaks += [(kind, job.name, what) for kind, what in own]
        if path := ledger.edited(job):
            behind = [name for name, reader in jobs.items() if path in reader.inputs.values() and ledger.breaks(reader)]
            if behind:
                verdict.breaks.append(("edited", job.name, f"{path}{_answers_changed(plan, job, path)}"))
            else:
                verdict.notes.append(f"edited by hand, and used as it is: {path}")
    named = {what.split(" ")[0].rstrip(":") for _, _, what in verdict.breaks}
    _name_swaps(verdict, list(jobs.values()), digests)
    for target in targets:
        if named & set(_counted(plan.producers[target]).values()):
            continue  # these come first
        found = recomputed(plan, target)
        verdict.breaks += [("recomputed-differs", target, what) for what in found if what.startswith(cell or "")]
    _look_at_lock(verdict, list(dict.fromkeys(files)), {job.record for job in jobs.values()}, named, digests)
    _look_at_code(verdict, jobs.values(), allow_dirty)
    digests.save()
    return verdict


def _look_at_lock(
    verdict: Verdict, files: Sequence[str], records: Collection[str], named: Collection[str], digests: Digests
) -> None:
    """What DVC does not have as it is here; a record that was only written anew, of equal outputs, is noted."""
    anew = 0
    for path in dvc_lock.differing(files, digests):
        if path in records and path not in named:
            anew += 1
        elif not any(file == path or file.startswith(f"{path}/") for file in named):
            verdict.breaks.append(("stale", dvc_lock.LOCK, f"{path} is not what DVC recorded; `dvc repro` records it"))
    if anew:
        verdict.notes.append(f"{dvc_lock.LOCK} is older than {anew} of the records; `dvc repro` records them")


def _name_swaps(verdict: Verdict, jobs: Sequence[Job], digests: Digests) -> None:
    """Of an edited file whose content another job wrote, say which."""
    if not any(kind == "edited" for kind, _, _ in verdict.breaks):
        return
    wrote: dict[str | None, list[str]] = {}
    for job in jobs:
        with suppress(RecordError):
            for path, digest in read_record(job.record)["outputs"].items():
                wrote.setdefault(digest, []).append(path)
    for place, (kind, where, what) in enumerate(verdict.breaks):
        others = wrote.get(digests.of(what), []) if kind == "edited" else []
        if others and what not in others:
            alike = [path for path in others if Path(path).name == Path(what).name]
            verdict.breaks[place] = (kind, where, f"{what} (it holds {(alike or others)[0]})")


def _answers_changed(plan: Plan, job: Job, path: str) -> str:
    """Which answers of an edited file are others than those that results/answers.csv holds."""
    try:
        rows = read_csv(plan.find("answers").outputs["answers"], ("benchmark", "kind", "item", "answers"), RecordError)
        here = [row for row in rows if [row["benchmark"], row["kind"]] == list(job.wildcards.values())]
        before = {(row["item"], name): said for row in here for name, said in parse(row["answers"]).items()}
        now = {(row["item"], row["annotator"]): row["answer"] for row in read_raw(path)}
    except CrayonError:
        return ""
    changed = [key for key in dict.fromkeys([*before, *now]) if before.get(key) != now.get(key)]
    shown = [f"{' '.join(key)}: {before.get(key, 'none')} -> {now.get(key, 'none')}" for key in changed[:3]]
    return f" ({'; '.join(shown)}{f' and {len(changed) - 3} more' * (len(changed) > 3)})" if changed else ""


def _look_at_code(verdict: Verdict, jobs: Collection[Job], allow_dirty: bool) -> None:
    """Which code of the jobs no commit holds."""
    modules = sorted({name for job in jobs for name in fingerprint.closure(job.code)})
    files = fingerprint.uncommitted(modules)
    if files is None:
        verdict.notes.append("the package is in no git checkout, so that no commit can be named for its code")
    for file in files or ():
        what = f"{fingerprint.PACKAGE.name}/{file} differs from the last commit; commit it, so that others can have it"
        if allow_dirty:
            verdict.notes.append(f"dirty code: {what}")
        else:
            verdict.breaks.append(("dirty code", "git", what))


def recomputed(plan: Plan, target: str) -> Iterator[str]:
    """The numbers of a table that are not what its runs give, and runs' metrics that are not what their counts give."""
    for rule, result in RESULTS.items():
        job = plan.jobs.get(rule) if result.recomputed else None
        if job is None or target not in job.outputs.values():
            continue
        module = import_module(result.source)
        inputs = _counted(job)
        if not all(Path(path).exists() for path in (target, *inputs.values())):
            return  # named as missing already
        try:
            found = evaluations(inputs)
            yield from _recounted(plan, found)
            if target in (tables := module.tables(plan, found)):
                yield from _compared(target, *tables[target], getattr(module, "KEYS", KEYS))
        except (RecordError, KeyError, TypeError, ValueError) as error:
            yield f"cannot be recomputed ({type(error).__name__}: {error})"


def _counted(job: Job) -> dict[str, str]:
    """Those inputs that a job's numbers are recomputed from: the evaluations; all where it reads none."""
    return {name: path for name, path in job.inputs.items() if path.endswith("/metrics.json")} or job.inputs


def _compared(
    path: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], named_by: Sequence[str]
) -> Iterator[str]:
    keys = [name for name in named_by if name in columns]
    there = {}
    for row in read_csv(path, columns, RecordError):
        there["/".join(row[key] for key in keys)] = row
    for values in rows:
        row = dict(zip(columns, map(str, values), strict=True))
        name = "/".join(row[key] for key in keys)
        if name not in there:
            yield f"{name}: is not there"
        for column in columns:
            if name in there and there[name][column] != row[column]:
                yield f"{name}: {column} is {there[name][column]}, and {row[column]} from its runs"
    known = {"/".join(str(dict(zip(columns, values, strict=True))[key]) for key in keys) for values in rows}
    yield from (f"{name}: is there, and no run is" for name in there if name not in known)


def _recounted(plan: Plan, found: dict) -> Iterator[str]:
    for (name, run), seeds in found.items():
        benchmark = plan.params.active.benchmarks[name]
        for seed, epochs in seeds.items():
            for epoch, values in epochs.items():
                counts = {
                    split: Accuracies(
                        {(row["label"], row["group"]): row["correct"] for row in rows},
                        {(row["label"], row["group"]): row["count"] for row in rows},
                    )
                    for split, rows in values["splits"].items()
                }
                for key, metric in benchmark.metrics.items():
                    if number(measure(metric, counts)) != number(values["metrics"][key]):
                        yield f"{name}/{run}/{key}/{seed}: the {epoch} epoch's is not what its counts give"


def cells(path: str) -> dict[str, dict[str, str]]:
    """`benchmark/run/metric` (`/seed`) -> row, of a table of numbers.

    Raises:
        RecordError: it is none.
    """
    if not path.endswith(".csv"):
        raise RecordError(f"{path}: holds no cells; ask for those of a CSV table, results/table1.csv.")
    if not named(path):
        raise RecordError(
            f"{path}: its numbers have no name of the form benchmark/run/metric; ask for those of results/table1.csv."
        )
    rows = read_csv(path, ("benchmark", "metric"), RecordError)
    keys = [key for key in KEYS if rows and key in rows[0] and not (key == "method" and "run" in rows[0])]
    return {"/".join(row[key] for key in keys): row for row in rows}


def number_of(row: dict[str, str]) -> str:
    """The number of a row of `cells`: mean and standard deviation over runs, or that of one run's last epoch."""
    if "mean" not in row:
        return row["last"]
    return row["mean"] + (f" ± {row['std']}" if row["std"] else "")


def named(path: str) -> bool:
    """Whether the numbers of a CSV are those of a run and a metric, and have their names."""
    return any(Path(path).name in result.cells for result in RESULTS.values())


def known(path: str, cell: str) -> dict[str, str]:
    """The row of a table that holds a number; RecordError if there is none of the name."""
    rows = cells(path)
    if cell not in rows:
        raise RecordError(f"{path}: " + unknown("cell", cell, rows))
    return rows[cell]


def evaluations_of(plan: Plan, cell: str) -> dict[str, Job]:
    """`benchmark/run/seed` -> the evaluation, of those that a number is made of."""
    benchmark, run, _, *seed = cell.split("/")
    return {
        name: plan.producers[path]
        for name, path in plan.evaluations([run]).items()
        if name.startswith(f"{benchmark}/") and (not seed or seed[0] in ("-", name.split("/")[-1]))
    }

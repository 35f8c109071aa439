"""Check that the networks of a suite can be built, with the checkpoints that the user gives."""

from __future__ import annotations

from collections.abc import Collection

from crayon.config.sections import TORCHVISION, Network
from crayon.models import cache
from crayon.models.build import BUILT, build_classifier
from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import lacking
from crayon.pipeline.steps.download import raw_path
from crayon.pipeline.steps.published import original_state
from crayon.pipeline.validity import Ledger


def check(plan: Plan, benchmarks: Collection[str]) -> None:
    """Build the networks of some benchmarks and read their checkpoints, to find errors early; download nothing.

    Initial weights may be missing if every training that starts from them is up to date. An imported checkpoint that is
    not in raw/ yet is not checked.

    Args:
        plan: the plan of the active suite.
        benchmarks: names of the benchmarks.

    Raises:
        ParamsError: a network is unknown, or has no map that is averaged before a linear last layer.
        CheckpointError: torchvision has no weights of that name, or a checkpoint cannot be read or does not fit.
        CheckpointError, DataError: a job that is not up to date starts from weights that do not exist.
    """
    suite, seen, ledger = plan.params.active, list[tuple[Network, int]](), Ledger(plan)
    for name in benchmarks:
        job, benchmark = plan.find("original", benchmark=name), suite.benchmark(name)
        if benchmark.imported is not None and (path := raw_path(job, benchmark.imported.original)).exists():
            original_state(job, path)
        others = suite.studies.others.values()
        networks = [job.params.network, *(other.network for other in others if name in other.benchmarks)]
        if suite.auxiliary is not None and f"auxiliary {name}" in plan.jobs:
            networks.append(suite.auxiliary.network)
        for network in networks:
            of = network, len(benchmark.classes)
            if (network.name not in BUILT or network.file is not None) and of not in seen:
                seen.append(of)
                initial = network.initial
                build_classifier(*of, initial=initial is not None and ledger.digests.place(initial).exists())
    for reader, weights in needed(plan, benchmarks):
        if not ledger.digests.place(weights).exists() and ledger.breaks(reader):
            raise lacking(reader, weights)


def needed(plan: Plan, benchmarks: Collection[str]) -> list[tuple[Job, str]]:
    """The jobs of some benchmarks that start from initial weights, as pairs (job, path of the weights)."""
    jobs = (job for job in plan.jobs.values() if job.wildcards.get("benchmark") in (None, *benchmarks))
    return [(job, job.inputs["weights"]) for job in jobs if "weights" in job.inputs]


def fetch(plan: Plan) -> list[str]:
    """Download the weights of torchvision that the suite's trainings start from, unless they are in its cache.

    Returns:
        A line of text for each file.

    Raises:
        CheckpointError: torchvision has no weights of that name, or they cannot be downloaded.
    """
    paths = dict.fromkeys(path for _, path in needed(plan, plan.params.active.benchmarks))
    return [f"{path}: {cache.download(path)}" for path in paths if path.startswith(TORCHVISION)]

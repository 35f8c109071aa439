"""Check that the networks of a suite can be built, with the checkpoints that the user gives."""

from __future__ import annotations

from collections.abc import Iterable

from crayon.config.sections import Network
from crayon.models.build import BUILT, build_classifier
from crayon.pipeline.plan import Plan
from crayon.pipeline.steps.download import raw_path
from crayon.pipeline.steps.published import original_state


def check(plan: Plan, benchmarks: Iterable[str]) -> None:
    """Build the networks of some benchmarks as the steps would, and read their checkpoints; nothing is downloaded.

    Torchvision's own weights are not loaded, since they may not have been downloaded yet. An imported checkpoint that
    is not in raw/ yet is not checked.

    Args:
        plan: the plan of the active suite.
        benchmarks: names of the benchmarks.

    Raises:
        ParamsError: a network is unknown, or has no map that is averaged before a linear last layer.
        CheckpointError: torchvision has no weights of that name, or a checkpoint cannot be read or does not fit.
    """
    suite, seen = plan.params.active, list[tuple[Network, int]]()
    for name in benchmarks:
        job, benchmark = plan.find("original", benchmark=name), suite.benchmark(name)
        if benchmark.imported is not None and (path := raw_path(job, benchmark.imported.original)).exists():
            original_state(job, path)
        networks = [job.params.network]
        if suite.studies.transfer is not None and name in suite.studies.transfer.benchmarks:
            networks.append(suite.studies.transfer.network)
        if suite.auxiliary is not None and f"auxiliary {name}" in plan.jobs:
            networks.append(suite.auxiliary.network)
        for network in networks:
            of = network, len(benchmark.classes)
            if (network.name not in BUILT or network.file is not None) and of not in seen:
                seen.append(of)
                build_classifier(*of, initial=network.file is not None)

"""Check that the networks of a suite can be built, with the checkpoints that the user gives."""

from __future__ import annotations

from collections.abc import Iterable

from crayon.config.sections import Network
from crayon.models.build import BUILT, build_classifier, is_path
from crayon.pipeline.plan import Plan
from crayon.pipeline.steps.download import raw_path
from crayon.pipeline.steps.published import original_state


def check(plan: Plan, benchmarks: Iterable[str]) -> None:
    """Build every network that some benchmarks train or import, as the steps would; nothing is downloaded or written.

    Torchvision's own weights are not loaded, since they may not have been downloaded yet. An imported checkpoint that
    is not in raw/ yet is not checked.

    Args:
        plan: the plan of the active suite.
        benchmarks: names of the benchmarks.

    Raises:
        ParamsError: a network is unknown, or has no map that is averaged before a linear last layer.
        CheckpointError: torchvision has no weights of that name, or a checkpoint cannot be read or does not fit.
    """
    seen: list[tuple[Network, int]] = []
    for name in benchmarks:
        job = plan.find("original", benchmark=name)
        benchmark = plan.params.active.benchmark(name)
        if benchmark.imported is not None and (path := raw_path(job, benchmark.imported.original)).exists():
            original_state(job, path)
        network, classes = job.params.network, len(benchmark.classes)
        if network.name not in BUILT and (network, classes) not in seen:
            seen.append((network, classes))
            trained = benchmark.imported is None
            build_classifier(network, classes, initial=trained and is_path(network.weights or ""))

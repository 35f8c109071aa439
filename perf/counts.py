"""The true numbers of images of the releases over tiny images: seconds and peak memory of each step against them.

    python perf/counts.py                      each release whole, and a quarter of it
    python perf/counts.py --share 10 --share 1 a tenth, and whole
    python perf/counts.py --part forecast      what three runs forecast, and what the rest takes

Writes archives of the three releases' layouts with the numbers of images of the suite `paper` (11,788, 29,000 and
65,655, validation images included), each image of one colour, and runs the chain of the suite on them with a network of
few channels. What is measured is what an image costs apart from its pixels: rows of lists, file names, answers,
records. Images of Waterbirds and Backgrounds have one pixel; those of CelebA have their own size, 178x218, in whose
pixels its landmarks are.

    steps       each command in a process of its own, as in memory.py, with one epoch: CPU seconds, of all processes
                that a command starts, and peak memory
    forecast    `snakemake` trains three methods on Waterbirds, their records forecast all other jobs of Table 1 as
                in `crayon plan`, and `snakemake` runs these. `ratio` is forecast / actual CPU seconds (other programs
                change the time on the clock) of the jobs that can be forecast. For all of them together it must be
                between 1 / --allowed and --allowed, or this ends with exit status 1
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import chdir
from pathlib import Path
from typing import Any

from harness import Table, device_name, parser, positive, stop
from memory import ROOT, Peak, run

PIXELS = 16
"""Side of the packed images."""

NETWORK = {"name": "mini_resnet", "stem": 4, "channels": [4, 8], "strides": [2, 2], "kernels": [3, 3]}
METHOD = "crayon_pruning_attention"
"""Whose steps are timed: it needs answers about maps and about patches."""

THREE = ("crayon_attention", "crayon_pruning", "erm")
"""From whose runs the others are forecast."""

BENCHMARKS = ("waterbirds", "biased_celeba", "backgrounds")
FIRST = BENCHMARKS[0]
PARTS = ("steps", "forecast")


def lay(
    folder: Path, share: int, benchmarks: list[str], methods: tuple[str, ...], epochs: int | None
) -> tuple[Path, dict[str, int]]:
    """Write the archives and a project; people have answered about each training image.

    Args:
        folder: where to write them.
        share: of how many images of a release there is one.
        benchmarks: their names.
        methods: of Table 1; all if empty.
        epochs: of each training; None for those of the suite.

    Returns:
        The project's folder, and benchmark -> number of images.
    """
    sys.path.append(str(ROOT))
    from tests import paper, tiny

    content, suite = paper.suite()
    suite |= {"seeds": [0], "studies": {}, "network": NETWORK, "methods": list(methods or suite["methods"])}
    suite |= {"runs_per_job": 16, "evaluate_together": True}
    suite["auxiliary"]["network"]["stem"] = 2
    suite["benchmarks"] = {name: suite["benchmarks"][name] for name in benchmarks}
    numbers = {}
    for name, benchmark in suite["benchmarks"].items():
        source = benchmark["source"]
        source |= {"resize": PIXELS} if name == "biased_celeba" else {"resize": [PIXELS] * 2, "crop": [PIXELS] * 2}
        if name == "backgrounds":
            source["resize"] = PIXELS
        source["counts"] = paper.fewer(source["counts"], share)
        one = None if name == "biased_celeba" else (1, 1)
        paths = paper.release(name, folder / "project/raw/paper" / name, source, one)
        source["archives"] = {key: {"file": path.name} for key, path in paths.items()}
        trainings = [benchmark["original"], benchmark["refinement"], *benchmark["methods"].values()]
        for training in trainings if epochs else ():
            if "epochs" in training:
                training["epochs"] = epochs
            training.pop("milestones", None)
            training.pop("milestone_factor", None)
        answers = folder / "project/annotations/paper" / name
        answers.mkdir(parents=True)
        items = {"attention": training_images(name, paths, source), "neurons": [f"neuron {n}" for n in range(8)]}
        for kind, images in items.items():
            rows = (
                f"{item},{who},{'no' if n % 3 else 'yes'}" for n, item in enumerate(images) for who in ("ann", "bob")
            )
            (answers / f"{kind}.csv").write_text("\n".join(["item,annotator,answer", *rows, ""]), encoding="utf-8")
        splits = sum(sum(kinds.values()) for kinds in source["counts"].values())
        if name == "biased_celeba":
            splits += 4 * source["validation"]
        if name == "backgrounds":
            splits += sum(source["counts"]["original"].values())
        numbers[name] = splits
    return tiny.write(folder / "project", content), numbers


def laid(*arguments: Any) -> tuple[Path, dict[str, int]]:
    """As `lay`, in a process of its own: a child's peak starts as its parent's, which must stay small."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(lay, *arguments).result()


def training_images(name: str, paths: dict[str, Path], source: dict[str, Any]) -> Iterator[str]:
    """The ids of a release's training images."""
    if name == "waterbirds":
        metadata = paths["images"].parent / "waterbird_complete95_forest2water2/metadata.csv"
        rows = (line.split(",") for line in metadata.read_text(encoding="utf-8").splitlines()[1:])
        yield from (row[1] for row in rows if row[3] == "0")
    elif name == "biased_celeba":
        yield from (line.split()[0] for line in paths["train"].read_text(encoding="utf-8").splitlines()[1:])
    else:
        tree = paths["training"].parent / "original/train"
        for label, folder in zip(source["counts"]["train"], sorted(tree.iterdir()), strict=True):
            yield from (f"train/{label}/{image.name}" for image in sorted(folder.iterdir()))


def commands(names: list[str]) -> Iterator[tuple[str | None, str]]:
    """Benchmark and command, in the order in which they can be run; None for those of the whole suite."""
    for name in names:
        for verb in ("download", "original", "interpret", "ingest"):
            for kind in ("attention", "neurons") if verb == "ingest" else ("",):
                yield name, f"{verb} {name} {kind}".strip()
        yield name, f"evaluate {name} original"
        yield name, f"refine {name} {METHOD}"
        yield name, f"evaluate {name} {METHOD}"
    yield None, "render answers"
    yield None, "provenance table1"
    yield None, "render table1"
    yield None, "plan"
    yield None, "audit --allow-dirty results/paper/table1.csv"


def measure_steps(table: Table, work: Path, shares: list[int], benchmarks: list[str]) -> None:
    """Time each command at each size."""
    found: list[dict[str, tuple[float, Peak]]] = []
    counted: list[dict[str, int]] = []
    for share in shares:
        project, numbers = laid(work / f"share-{share}", share, benchmarks, (METHOD,), 1)
        counted.append(numbers | {"all": sum(numbers.values())})
        found.append({})
        for _, command in commands(list(numbers)):
            reached, seconds = run(["crayon", *command.split()], project)
            found[-1][command] = seconds, reached
            print(f"1/{share} of the images, crayon {command}: {seconds:.1f} CPU s, {reached}", flush=True)
    for name, command in commands([key for key in counted[-1] if key != "all"]):
        for numbers, values in zip(counted, found, strict=True):
            seconds, reached = values[command]
            count, memory = numbers[name or "all"], reached.anonymous or reached.resident
            table.add(f"crayon {command}", f"{count} images", [seconds], images=count, peak_mb=memory)


def measure_forecast(table: Table, work: Path, share: int, epochs: int | None, allowed: float) -> None:
    """Compare the forecast after three runs with what the rest takes."""
    from crayon.pipeline.finished import Finished  # not above: the peaks of `measure_steps` need a small parent
    from crayon.pipeline.job import TABLE1
    from crayon.pipeline.record import read_record
    from crayon.report.build import load_plan

    project, _ = laid(work / "forecast", share, list(BENCHMARKS), (), epochs)
    targets = [f"evaluations/paper/{FIRST}/{method}/0/metrics.json" for method in THREE]
    run(["snakemake", "--cores", "1", "--", *targets], project)
    with chdir(project):
        plan = load_plan()
        forecast = Finished(plan, {"cpu"}, clock="cpu_seconds")
        expected = [(job, forecast.seconds(job)) for job in plan.below(TABLE1) if not Path(job.record).exists()]
        run(["snakemake", "--cores", "1", "--", TABLE1], project)
        found = [(job.rule, seconds, read_record(job.record)["told"]["cpu_seconds"]) for job, seconds in expected]
    known: dict[str, list[tuple[float, float]]] = defaultdict(list)
    unknown: dict[str, float] = defaultdict(float)
    for rule, seconds, actual in found:
        if seconds is None:
            unknown[rule] += actual
        else:
            known[rule].append((seconds, actual))
    known["all that is known"] = [pair for pairs in known.values() for pair in pairs]
    for rule, pairs in known.items():
        predicted, took = map(sum, zip(*pairs, strict=True))
        total = predicted / took  # at last of all
        table.add(rule, "forecast", [predicted], ratio=total, actual=took)
    print(f"unknown: {', '.join(f'{rule} {seconds:.1f} s' for rule, seconds in unknown.items())}")
    if not 1 / allowed <= total <= allowed:
        table.finish(None)
        stop(f"the forecast is {total:.2f} times what the jobs took; allowed are {1 / allowed:.2g} to {allowed:g}.")


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--part", action="append", choices=PARTS, help="repeat for several; all if left out")
    made.add_argument(
        "--share", type=positive, action="append", help="one image of so many (default 4 and 1; forecast: 10)"
    )
    made.add_argument("--benchmark", action="append", choices=BENCHMARKS, help="of the steps; all if left out")
    made.add_argument("--epochs", type=positive, help="of each training of the forecast (default: the suite's)")
    made.add_argument("--allowed", type=float, default=2.0, help="factor that a forecast may be wrong by")
    options = made.parse_args()
    table = Table("counts", f"suite paper, images of {PIXELS} px", device_name(threads=1))
    with tempfile.TemporaryDirectory(prefix="crayon-counts-") as name:
        if "steps" in (options.part or PARTS):
            measure_steps(table, Path(name), options.share or [4, 1], options.benchmark or list(BENCHMARKS))
        if "forecast" in (options.part or PARTS):
            measure_forecast(table, Path(name), (options.share or [10])[0], options.epochs, options.allowed)
    table.finish(options.csv)


if __name__ == "__main__":
    main()

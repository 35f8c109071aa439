"""What each map shows, and what guidance gains if people are asked about it; answers are simulated.

    python perf/maps.py FOLDER --benchmark waterbirds backgrounds --seeds 0 1 2

FOLDER is a project in which `snakemake results/table1.csv` has trained the Originals; nothing in it is changed. For
each map (`interpret.map`), in percent:

- deletion, insertion: the mean probability of the map's class while the pixels, in the order of the map, are replaced
  by the mean colour, or brought back into an image of that colour, in steps of 1/16 (Petsiuk et al., RISE, BMVC 2018,
  who insert into a blurred image). Deletion is better low, insertion better high. `random` is a map of noise.
- energy inside: the share of the map inside the object's mask.
- answers changed: the share of simulated answers, without wrong ones, that differ from those to Grad-CAM.
- the benchmark's metrics after Crayon-Attention, asked about this map and guided by it; by Grad-CAM if the map is for
  asking only. alpha and beta are those of params.yaml, which were searched for Grad-CAM.
"""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
import yaml
from harness import parser, positive

from crayon.annotations.simulate import relevant_share
from crayon.config.suite import Params
from crayon.models.classifier import Classifier
from crayon.pipeline.plan import Plan
from crayon.pipeline.steps import evaluate, ingest, interpret, refine, simulate
from crayon.pipeline.steps.context import Context
from crayon.report.build import build_plan
from crayon.saliency.maps import OF_GRADIENT, OF_IMAGES
from crayon.saliency.placement import upsample
from crayon.saliency.scores import energy_inside
from crayon.utils.files import read_json, write_csv

METHOD = "crayon_attention"
MAPS = ("grad_cam", *sorted(OF_GRADIENT), *sorted(OF_IMAGES))
NOT_GUIDED = {*OF_IMAGES, "legrad"}
"""Maps that are asked about only; LeGrad, because the miniatures' vision transformer averages its map."""
STEPS = 16
COLUMNS = ("benchmark", "map", "trained_through", "measured", "seed", "percent")


@torch.no_grad()
def faithfulness(network: Classifier, images: torch.Tensor, target: torch.Tensor, ranked: torch.Tensor) -> list[float]:
    """Deletion and insertion: mean probability over steps and images, in [0, 1].

    Args:
        network: the classifier, in evaluation mode.
        images: (N, 3, H, W) float, normalised; 0 is the mean colour.
        target: (N,) int64, the class of each map.
        ranked: (N, H, W) float, the pixels' importance; among equal ones, the first in reading order is taken first.
    """
    count, pixels = len(images), ranked[0].numel()
    place = ranked.flatten(1).argsort(dim=1, descending=True, stable=True).argsort(1).view_as(ranked)
    sums = [0.0, 0.0]
    for step in range(STEPS + 1):
        first = (place < pixels * step / STEPS).unsqueeze(1)
        for number, kept in enumerate((~first, first)):
            probabilities = network(images * kept).softmax(1)
            sums[number] += float(probabilities.gather(1, target[:, None]).sum())
    return [value / count / (STEPS + 1) for value in sums]


def measure(
    content: dict[str, Any], name: str, names: list[str], seeds: list[int], count: int
) -> list[tuple[Any, ...]]:
    """The rows of a benchmark, in the working directory."""
    rows: list[tuple[Any, ...]] = []
    truth: np.ndarray | None = None
    for map_ in names:
        plan = planned(content, name, map_, seeds)
        job = plan.find("interpret", benchmark=name)
        interpret.run(job)
        context = Context(job)
        maps = np.load(job.outputs["maps"]).astype(np.float32)
        answers = context.benchmark.annotation.attention
        masks, size = context.data.masks[context.data.rows("train")], context.data.images.shape[1:3]
        relevant = relevant_share(maps, masks, answers, context.shift()) > answers.threshold
        truth = relevant if truth is None else truth
        inside = energy_inside(torch.from_numpy(maps), torch.from_numpy(masks), context.shift())
        network, labels = context.trained(job.inputs["model"]).eval(), context.labels("train")
        some = torch.randperm(len(maps), generator=torch.Generator().manual_seed(0))[:count]
        images = context.images("train")(some)
        if context.benchmark.interpret.target == "prediction":
            labels = torch.from_numpy(np.load(job.outputs["logits"])).argmax(1)
        ranked = {map_: upsample(torch.from_numpy(maps)[some], size, context.shift())}
        if map_ == names[0]:
            ranked["random"] = torch.rand(ranked[map_].shape, generator=torch.Generator().manual_seed(0))
        trainable = "no" if map_ in NOT_GUIDED else "yes"
        for shown, importance in ranked.items():
            values = faithfulness(network, images, labels[some], importance)
            for measured, value in zip(("deletion", "insertion"), values, strict=True):
                rows.append((name, shown, trainable if shown == map_ else "", measured, "", 100 * value))
        rows.append((name, map_, trainable, "energy inside", "", 100 * float(inside.nanmean())))
        rows.append((name, map_, trainable, "answers changed", "", 100 * float((relevant != truth).mean())))
        simulate.run(plan.find("annotate", benchmark=name, kind="attention"))
        ingest.run(plan.find("ingest", benchmark=name, kind="attention"))
        refine.run(plan.select("refine", name, [METHOD], seeds))
        jobs = plan.select("evaluate", name, [METHOD], seeds)
        evaluate.run(jobs)
        for seed, job in zip(seeds, jobs, strict=True):
            for metric, value in read_json(job.outputs["metrics"], OSError)["last"]["metrics"].items():
                rows.append((name, map_, trainable, metric, seed, value))
    return rows


def planned(content: dict[str, Any], name: str, map_: str, seeds: list[int]) -> Plan:
    """The plan in which people are asked about a map, which is also guided if it can be trained through."""
    changed = copy.deepcopy(content)
    suite = changed["suites"][changed["suite"]]
    benchmark = suite["benchmarks"][name]
    benchmark["interpret"]["map"] = map_
    benchmark["methods"][METHOD]["map"] = "grad_cam" if map_ in NOT_GUIDED else map_
    suite |= {"methods": [METHOD], "controls": {}, "studies": {}, "seeds": seeds, "benchmarks": {name: benchmark}}
    suite.pop("tuning", None)
    benchmark["methods"] = {METHOD: benchmark["methods"][METHOD]}
    benchmark["stage_one"] = None
    return build_plan(Params.model_validate(changed))


@contextmanager
def apart(folder: Path) -> Iterator[None]:
    """Work in a temporary directory that has the data and models of a project, whose files stay as they are."""
    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(temporary)
        for made_before in ("data", "models"):
            Path(made_before).symlink_to(folder / made_before)
        Path(".crayon").mkdir()
        yield


def main() -> None:
    """Measure each map on each benchmark, print means and standard deviations over the seeds, and write all values."""
    made = parser(__doc__ or "")
    made.add_argument("folder", type=Path, help="a project with Originals and simulated answers")
    made.add_argument("--benchmark", nargs="+", default=["waterbirds", "backgrounds"])
    convolutional = [name for name in MAPS if name != "legrad"]
    made.add_argument("--maps", nargs="+", choices=MAPS, default=convolutional, help="the first: Grad-CAM")
    made.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    made.add_argument("--images", type=positive, default=200, help="for deletion and insertion (default 200)")
    options = made.parse_args()
    folder, target = options.folder.resolve(), (options.csv or Path("build/perf/maps.csv")).absolute()
    content = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    rows: list[tuple[Any, ...]] = []
    with apart(folder):
        for name in options.benchmark:
            rows += measure(content, name, options.maps, options.seeds, options.images)
            show([row for row in rows if row[0] == name])
            write_csv(target, COLUMNS, [(*row[:-1], f"{row[-1]:.3f}") for row in rows])
    print(f"\nwritten: {target}")


def show(rows: list[tuple[Any, ...]]) -> None:
    """Print the table of a benchmark."""
    measured = list(dict.fromkeys(row[3] for row in rows))
    print(
        f"\n| {rows[0][0]}: map | trained through | {' | '.join(measured)} |\n| --- | --- |{' ---: |' * len(measured)}"
    )
    for map_ in dict.fromkeys(row[1] for row in rows):
        cells = []
        for column in measured:
            values = [row[5] for row in rows if row[1] == map_ and row[3] == column]
            spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{fmean(values):.1f}{spread}" if values else "-")
        trainable = next(row[2] for row in rows if row[1] == map_)
        print(f"| {map_} | {trainable or '-'} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

"""Why another asked map helps: the map in the losses, or the answers about it? On validation; answers are simulated.

    python perf/asked.py FOLDER --benchmark waterbirds backgrounds

FOLDER is a project in which `snakemake results/table1.csv` has trained the Originals; nothing in it is changed. People
are asked about Grad-CAM and about integrated gradients. Crayon-Attention is then trained with each of these two sets of
answers, and with each of these maps as P of the losses (alpha and beta are those of params.yaml):

- grad_cam and integrated_gradients: the map that was asked about, or the other one.
- broader: Grad-CAM to the power that gives it the mean of integrated gradients.
- blurred: Grad-CAM averaged over 3x3 cells.
- unsigned: |sum_k w_k A_k|, so that cells that speak against the class count as well.
- summed: integrated gradients with the signed sum over the pixels of a cell, of which only the positive part is kept.
- one point: integrated gradients with one point of the integral, halfway between the mean colour and the image.

`correlation` is with Grad-CAM, over all cells of all training images.
"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
import yaml
from harness import parser
from maps import METHOD, apart, planned

from crayon.models.inference import features_in_batches
from crayon.pipeline.steps import ingest, interpret, refine, simulate
from crayon.pipeline.steps.context import Context
from crayon.saliency.gradcam import normalise_stored
from crayon.saliency.maps.integrated_gradients import attribution
from crayon.saliency.placement import cell_shares
from crayon.utils.files import write_csv
from crayon.utils.tables import read_csv

ASKED = ("grad_cam", "integrated_gradients")
COLUMNS = ("benchmark", "map", "correlation", "answers", "seed", "validation")
SEEDS = [0, 1, 2, 3, 4]


def exponent(maps: torch.Tensor, mean: float) -> float:
    """The power in (0, 1] that gives maps (N, h, w) in [0, 1] this mean."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if float((maps**middle).mean()) < mean else (middle, high)
    return high


def further(context: Context, model: str) -> dict[str, torch.Tensor]:
    """The maps `unsigned`, `summed` and `one point` of all training images, (N, h, w) float32 in [0, 1]."""
    network, images, labels = context.trained(model).eval(), context.images("train"), context.labels("train")
    parts: dict[str, list[torch.Tensor]] = {"unsigned": [], "summed": [], "one point": []}
    for batch, features in features_in_batches(network, images, len(labels)):
        target = labels[batch]
        if context.benchmark.interpret.target == "prediction":
            target = network.classify(features).detach().argmax(1)
        map_, these = network.map(features), images(torch.arange(batch.start, batch.stop))
        size, shift = (map_.shape[2], map_.shape[3]), context.shift()
        weights = network.map_weights(features, target)[:, :, None, None]
        parts["unsigned"].append((weights * map_).sum(1).abs().detach())
        parts["summed"].append(torch.relu(cell_shares(attribution(network, these, target), size, shift)))
        parts["one point"].append(cell_shares(torch.relu(attribution(network, these, target, steps=1)), size, shift))
    return {name: normalise_stored(torch.cat(maps)) for name, maps in parts.items()}


def measure(content: dict[str, Any], name: str) -> list[tuple[Any, ...]]:
    """The rows of a benchmark, in the working directory."""
    maps, answers = {}, {}
    for asked in ASKED:
        plan = planned(content, name, asked, SEEDS)
        job = plan.find("interpret", benchmark=name)
        interpret.run(job)
        maps[asked] = torch.from_numpy(np.load(job.outputs["maps"]).astype(np.float32))
        simulate.run(plan.find("annotate", benchmark=name, kind="attention"))
        ingested = plan.find("ingest", benchmark=name, kind="attention")
        ingest.run(ingested)
        answers[asked] = Path(ingested.outputs["labels"]).read_bytes()
    first, second = (maps[asked] for asked in ASKED)
    maps["broader"] = first ** exponent(first, float(second.mean()))
    maps["blurred"] = normalise_stored(torch.nn.functional.avg_pool2d(first[:, None], 3, 1, 1)[:, 0])
    maps |= further(Context(job), job.inputs["model"])
    rows: list[tuple[Any, ...]] = []
    for kind, stored in maps.items():
        np.save(job.outputs["maps"], stored.half().numpy())
        correlation = float(np.corrcoef(stored.flatten(), first.flatten())[0, 1])
        for asked, labels in answers.items():
            Path(ingested.outputs["labels"]).write_bytes(labels)
            jobs = plan.select("refine", name, [METHOD], SEEDS)
            refine.run(jobs)
            values = []
            for seed, refined in zip(SEEDS, jobs, strict=True):
                *_, last = read_csv(refined.outputs["history"], ("validation",), ValueError)
                values.append(float(last["validation"]))
                rows.append((name, kind, f"{correlation:.3f}", asked, seed, f"{values[-1]:.2f}"))
            print(
                f"| {name} | {kind} | {correlation:.2f} | {asked} | {fmean(values):.1f} ± {stdev(values):.1f} |",
                flush=True,
            )
    return rows


def main() -> None:
    """Measure each benchmark, print means and standard deviations over the seeds, and write all values."""
    made = parser(__doc__ or "")
    made.add_argument("folder", type=Path, help="a project with Originals")
    made.add_argument("--benchmark", nargs="+", default=["waterbirds", "backgrounds"])
    options = made.parse_args()
    folder, target = options.folder.resolve(), (options.csv or Path("build/perf/asked.csv")).absolute()
    content = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    rows: list[tuple[Any, ...]] = []
    print(
        "| benchmark | map of the losses | correlation | answers about | validation |\n| --- | --- | --: | --- | --: |"
    )
    with apart(folder):
        for name in options.benchmark:
            rows += measure(content, name)
            write_csv(target, COLUMNS, rows)


if __name__ == "__main__":
    main()

"""Choose the hyper-parameters of the mini suite on the validation split, by one rule for all methods.

    python benchmarks/tune.py BENCHMARK

The rule, fixed beforehand: over the grid below, with two seeds that no table uses, take the setting with the greatest
mean of the benchmark's selection metric on the validation split after the last epoch; of equals the first. How the
whole network is trained (`refinement`) is common to all methods and not searched. Test images are never looked at. What
it finds is written into params.yaml by hand. Prints a line a setting and the choice; needs the benchmark's labels
(`snakemake --cores 2 -- stage_ingest`).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import product
from statistics import fmean

import numpy as np
import torch

from crayon.annotations.consensus import read_labels
from crayon.errors import DataError
from crayon.files import read_npy
from crayon.jobs import KINDS, Plan
from crayon.params import load
from crayon.steps.load import Workplace
from crayon.steps.refine import CODES, items
from crayon.training import Problem, train

SEEDS = (100, 101)
ALPHA, BETA = (1e3, 3e3, 1e4), (3e3, 1e4, 3e4)
GRID = {
    "crayon_attention": [{"alpha": a, "beta": b} for a, b in product(ALPHA, BETA)],
    "crayon_pruning": [{"learning_rate": rate} for rate in (1e-4, 3e-4, 1e-3, 3e-3)],
    "crayon_pruning_attention": [{"alpha": a, "beta": b} for a, b in product(ALPHA, BETA)],
}


def main(name: str) -> None:
    """Search the grid on one benchmark."""
    plan = Plan(load())
    place = Workplace(plan, name)
    for method_name, grid in GRID.items():
        base_training, base = place.benchmark.settings(method_name)
        found = []
        for setting in grid:
            own = {key: value for key, value in setting.items() if key in type(base).__dataclass_fields__}
            training = replace(base_training, **{k: v for k, v in setting.items() if k not in own})
            values = []
            for seed in SEEDS:
                monitor = place.monitor(lambda line: None)
                outcome = train(problem(plan, place, method_name), replace(base, **own), training, seed, monitor, name)
                values.append(outcome.history[-1]["validation"])
            found.append((fmean(values), setting))
            print(f"{name} {method_name} {setting} validation {found[-1][0]:.1f}", flush=True)
        best = max(found, key=lambda pair: pair[0])
        print(f"{name} {method_name} -> {best[1]} ({best[0]:.1f})", flush=True)


def problem(plan: Plan, place: Workplace, method: str) -> Problem:
    """A fresh problem: the Original, its maps and labels."""
    job = plan.find("refine", benchmark=place.name, run=method, seed=plan.params.active.seeds[0])
    made = Problem(
        network=place.trained(job.inputs["model"]), images=place.images("train"), labels=place.labels("train")
    )
    if "maps" in job.inputs:
        made.maps = torch.from_numpy(np.array(read_npy(job.inputs["maps"], DataError), np.float32))
    for kind in KINDS:
        if kind in job.inputs:
            labels = read_labels(job.inputs[kind], items(kind, place, made.network.channels))
            setattr(made, kind, torch.tensor([CODES[label] for label in labels], dtype=torch.int8))
    return made


if __name__ == "__main__":
    main(sys.argv[1])

"""Search the options of a miniature's images for those with which the answers matter, before methods are compared.

    python perf/design.py waterbirds
    python perf/design.py waterbirds --only 2 --seeds 110 111 112 # the second candidate once more, on fresh images
    python perf/design.py waterbirds --only 0 --map integrated_gradients # the suite's options; another map

A candidate is drawn at random from the choices of perf/design.yaml, and measured on images of several seeds that no
table uses, each with its own Original. Right answers and each control get the same random search of learning rate,
alpha and beta (`crayon tune`) by the benchmark's selection metric on the validation split, each trial with the suite's
seeds for tuning; so do pruning by the answers and random pruning. The best trial of each is then measured with other
seeds, since the best of several trials is partly luck. The criterion is the smallest lead of right answers over a
control, and the lead of pruning. Test images are never used. Everything is simulated.
"""

from __future__ import annotations

import copy
import itertools
import os
import random
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml
from harness import parser, positive

from crayon.config.suite import Params
from crayon.pipeline.plan import Plan
from crayon.pipeline.steps import compose, download, ingest, interpret, original, pretrain, simulate, tune
from crayon.report.build import build_plan
from crayon.saliency.maps import OF_GRADIENT, OF_IMAGES
from crayon.utils.files import write_csv
from crayon.utils.tables import read_csv

HERE = Path(__file__).resolve().parent
MAPS = ("grad_cam", *sorted(OF_GRADIENT), *sorted(OF_IMAGES))
GUIDED = ("crayon_attention", "shuffled_answers", "all_yes", "all_no")
PRUNED = ("crayon_pruning", "random_pruning")
METHOD = dict.fromkeys(GUIDED, GUIDED[0]) | dict.fromkeys(PRUNED, PRUNED[0]) | {"erm": "erm"}
"""Run -> the method whose search space it has."""

AGAIN = (200, 201, 202, 203)
"""Seeds with which the best trial of each run is measured."""

COLUMNS = ("benchmark", "map", "candidate", "options", "seed", "original", "erm", *GUIDED, *PRUNED, "yes", "pruned")


def main() -> None:
    """Measure candidates, print a line for each, and write the table, in the order in which they are drawn."""
    made = parser(__doc__ or "")
    made.add_argument("benchmark")
    made.add_argument("--map", choices=MAPS, default=MAPS[0], help="that people are asked about (default grad_cam)")
    made.add_argument("--candidates", type=positive, default=12, help="how many are drawn (default 12)")
    made.add_argument(
        "--only", type=int, nargs="+", help="numbers of the candidates to measure; 0: the suite's options"
    )
    made.add_argument("--runs", choices=METHOD, nargs="+", default=list(METHOD), help="to measure (default all)")
    made.add_argument("--trials", type=positive, default=6, help="of each search (default 6)")
    made.add_argument("--seeds", type=int, nargs="+", default=[100, 101], help="of the images (default 100 101)")
    options = made.parse_args()
    design = yaml.safe_load((HERE / "design.yaml").read_text(encoding="utf-8"))
    content = yaml.safe_load((HERE.parent / "params.yaml").read_text(encoding="utf-8"))
    content["suites"]["mini"]["benchmarks"][options.benchmark]["interpret"]["map"] = options.map
    target = (options.csv or Path("build/perf/design.csv")).absolute()
    rows: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        choices = design.get(options.benchmark, {})
        drawn = [{}, *candidates(choices, options.candidates)]
        if out := [number for number in options.only or () if not 0 <= number < len(drawn)]:
            made.error(f"--only {out[0]}: {options.benchmark} has the candidates 0 to {len(drawn) - 1}")
        for number in options.only or range(1, len(drawn)):
            changes = drawn[number]
            described = describe(choices, changes)
            found = [
                measure(content, options.benchmark, changes, seed, options.trials, options.runs)
                for seed in options.seeds
            ]
            rows += [
                [options.benchmark, options.map, number, described, seed, *values.values()]
                for seed, values in zip(options.seeds, found, strict=True)
            ]
            mean = {key: fmean(values[key] for values in found) for key in found[0] if found[0][key] is not None}
            if set(mean) >= set(METHOD):
                lead, pruning = leads(mean)
                print(f"{number}  answers {lead:+.1f}  pruning {pruning:+.1f}  ", end="")
            print(" ".join(f"{key} {value:.1f}" for key, value in mean.items()), described, flush=True)
            write_csv(
                target,
                COLUMNS,
                ([f"{value:.2f}" if isinstance(value, float) else value for value in row] for row in rows),
            )


def candidates(choices: dict[str, list[Any]], count: int) -> list[dict[str, Any]]:
    """Draw `count` different candidates: option of the source, dotted where it is nested, -> value."""
    drawn = [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]
    return random.Random(0).sample(drawn, min(count, len(drawn)))


def describe(choices: dict[str, list[Any]], changes: dict[str, Any]) -> str:
    """The values that differ between candidates; of a mapping, the training split's."""
    varied = {key: value for key, value in changes.items() if len(choices[key]) > 1}
    return " ".join(f"{key}={value['train'] if isinstance(value, dict) else value}" for key, value in varied.items())


def leads(values: dict[str, float]) -> tuple[float, float]:
    """The lead of right answers over the best control, and that of pruning by the answers over random pruning."""
    return values[GUIDED[0]] - max(values[name] for name in GUIDED[1:]), values[PRUNED[0]] - values[PRUNED[1]]


def measure(
    content: dict[str, Any], name: str, changes: dict[str, Any], seed: int, trials: int, runs: Iterable[str]
) -> dict[str, float | None]:
    """Draw the images of a seed, train the Original, simulate the answers, and search the settings of each run.

    Returns:
        In percent: the selection metric on the validation split of the Original and of the best trial of each run with
        the seeds in AGAIN, 0 if all trials diverged, None for a run that is not in `runs`; the share of yes among the
        labelled maps; that of pruned neurons.
    """
    plan = _plan(content, name, changes, seed, trials)
    for kept in ("models", ".crayon"):  # the pretrained backbone, where the cells lie
        Path(kept).mkdir(exist_ok=True)
    job = plan.find("pretrain")
    if not Path(job.outputs["model"]).exists():
        pretrain.run(job)
    if "compose" in plan.params.active.benchmarks[name].source:
        compose.run(plan.find("compose", benchmark=name), None)
    download.run(plan.find("download", benchmark=name), None)
    original.run([plan.find("original", benchmark=name)])
    interpret.run(plan.find("interpret", benchmark=name))
    labels = {}
    for kind in ("attention", "neurons"):
        simulate.run(plan.find("annotate", benchmark=name, kind=kind))
        job = plan.find("ingest", benchmark=name, kind=kind)
        ingest.run(job)
        labels[kind] = [row["label"] for row in read_csv(job.outputs["labels"], ("label",), ValueError)]
    best = {run: settings for run, (settings, _) in search(plan, name, runs).items()}
    again = copy.deepcopy(content)
    again["suites"]["mini"]["tuning"] |= {"seeds": list(AGAIN)}
    measured = {}
    for run, settings in best.items():
        space = {key: {"choice": [float(value)]} for key, value in (pair.split("=") for pair in settings.split())}
        again["suites"]["mini"]["tuning"]["spaces"] = {METHOD[run]: space}
        measured[run] = search(_plan(again, name, changes, seed, trials=1), name, [run])[run][1]
    history = read_csv(plan.find("original", benchmark=name).outputs["history"], ("validation",), ValueError)
    attention = [label for label in labels["attention"] if label in ("relevant", "irrelevant")]
    found: dict[str, float | None] = {"original": float(list(history)[-1]["validation"])}
    found |= {run: measured.get(run, 0.0) if run in runs else None for run in ("erm", *GUIDED, *PRUNED)}
    found["yes"] = 100 * attention.count("relevant") / max(1, len(attention))
    found["pruned"] = 100 * labels["neurons"].count("irrelevant") / len(labels["neurons"])
    for made in ("data", "annotations", "labels", "interpretations", "results", f"models/mini/{name}"):
        shutil.rmtree(made, ignore_errors=True)
    return found


def search(plan: Plan, name: str, runs: Iterable[str]) -> dict[str, tuple[str, float]]:
    """Search the settings of runs; returns run -> (settings, validation metric) of its best trial."""
    rows = read_csv(tune.run(plan, name, tuple(runs)), tune.COLUMNS, ValueError)
    return {row["method"]: (row["settings"], float(row["validation"])) for row in rows if row["chosen"] == "1"}


def _plan(content: dict[str, Any], name: str, changes: dict[str, Any], seed: int, trials: int) -> Plan:
    content = copy.deepcopy(content)
    suite = content["suites"]["mini"]
    suite["studies"], suite["tuning"]["trials"] = {}, trials
    suite["methods"] = ["erm", GUIDED[0], PRUNED[0]]
    suite["benchmarks"] = {name: suite["benchmarks"][name]}
    benchmark = suite["benchmarks"][name]
    for control in set(suite["controls"]) - set(METHOD):
        del suite["controls"][control], benchmark["methods"][control]
    benchmark["stage_one"] = None
    source = benchmark["source"].get("compose", benchmark["source"])
    for key, value in (changes | {"seed": seed}).items():
        *outer, last = key.split(".")
        section = source
        for part in outer:
            section = section.setdefault(part, {})
        section[last] = value
    return build_plan(Params.model_validate(content | {"suite": "mini"}))


if __name__ == "__main__":
    main()

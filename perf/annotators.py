"""What becomes of the answers of annotators who slip: labels by votes and by truth inference, and the refined network.

    python perf/annotators.py . --slips 0.05 0.1 0.2 0.4 0.5

FOLDER is a project in which `snakemake` has made the maps of the benchmark, whose answers must be simulated. Nothing in
it is changed. Each seed gives other slips. Labels are compared with those of one annotator who never slips. Networks
are measured on validation images, after the last epoch. Everything is simulated.
"""

from __future__ import annotations

import copy
import itertools
import os
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import yaml
from harness import parser
from scipy.stats import binom

from crayon.annotations.answers import Answer, read_raw
from crayon.annotations.gold import on_gold
from crayon.config.suite import Params
from crayon.pipeline.plan import Plan
from crayon.pipeline.steps import ingest, refine, simulate
from crayon.report.build import build_plan
from crayon.utils.files import read_json, write_csv
from crayon.utils.tables import read_csv

METHOD = "crayon_pruning_attention"
KINDS = ("attention", "neurons")
GOLD = {kind: f"gold/{kind}.csv" for kind in KINDS}
COLUMNS = ("labels", "seed", "maps_labelled", "maps_right", "neurons_right", "rate_error", "validation")


def main() -> None:
    """Measure each rule with each seed, print means and standard deviations, and write the table."""
    made = parser(__doc__ or "")
    made.add_argument("folder", type=Path, help="a project with maps")
    made.add_argument("--benchmark", default="waterbirds")
    made.add_argument("--slips", type=float, nargs="+", default=[0.05, 0.1, 0.2, 0.4, 0.5], help="one an annotator")
    made.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    made.add_argument("--gold", type=int, default=40, help="gold items of each kind, half of them yes (default 40)")
    made.add_argument("--only-labels", action="store_true", help="refine no network")
    options = made.parse_args()
    folder, target = options.folder.resolve(), (options.csv or Path("build/perf/annotators.csv")).absolute()
    content = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(temporary)
        for made_before in ("data", "models", "interpretations"):
            Path(made_before).symlink_to(folder / made_before)
        Path(".crayon").mkdir()
        for seed in options.seeds:
            rows += measure(content, options, seed)
    print("\n| labels by | maps labelled | of these right | neurons right | error rates off by | WGA, validation |")
    for name in dict.fromkeys(row["labels"] for row in rows):
        cells = []
        for column in COLUMNS[2:]:
            values = [row[column] for row in rows if row["labels"] == name and row[column] is not None]
            spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{fmean(values):.1f}{spread}" if values else "-")
        print(f"| {name} | {' | '.join(cells)} |")
    print(f"\nLeft out, of 100 annotators:\n| gold items | {' | '.join(f'slips {slip:g}' for slip in options.slips)} |")
    for count in (10, 20, 40, 80):
        print(f"| {count} | {' | '.join(f'{100 * left_out(count, slip):.0f}' for slip in options.slips)} |")
    write_csv(target, COLUMNS, ([_cell(row[column]) for column in COLUMNS] for row in rows))
    print(f"\nwritten: {target}")


def rules(annotators: int) -> dict[str, dict[str, Any]]:
    """Name -> `consensus` in params.yaml."""
    all_of_them = {"minimum_answers": annotators, "tie": "relevant"}
    return {
        "unanimity": all_of_them | {"agreement": 1.0},
        "majority": all_of_them | {"agreement": 0.51},
        "majority, gold": {
            "minimum_answers": 1,
            "tie": "relevant",
            "agreement": 0.51,
            "gold": GOLD | {"leave_out": True},
        },
        "dawid_skene": all_of_them | {"truth": "dawid_skene"},
        "one_coin": all_of_them | {"truth": "one_coin"},
        "one_coin, 0.9": all_of_them | {"truth": "one_coin", "confidence": 0.9},
    }


def measure(content: dict[str, Any], options: Any, seed: int) -> list[dict[str, Any]]:
    """A row for each rule, in percent; the first is of answers without slips."""
    name, slips = options.benchmark, options.slips
    plan = _plan(content, name, [0.0], {"minimum_answers": 1, "tie": "relevant"}, seed)
    right = {kind: labels_of(plan, name, kind) for kind in KINDS}
    for kind in KINDS:
        _write_gold(plan.answers_file(name, kind), GOLD[kind], options.gold, seed)
    rows = [_row("without slips", seed, right, right, None, plan, options)]
    for rule, consensus in rules(len(slips)).items():
        plan = _plan(content, name, slips, consensus, seed)
        found = {kind: labels_of(plan, name, kind) for kind in KINDS}
        summary = read_json(plan.find("ingest", benchmark=name, kind="attention").outputs["summary"], ValueError)
        errors = summary.get("truth", {}).get("errors")
        off = None
        if errors:
            off = 100 * fmean(
                abs(rate - slip)
                for number, slip in enumerate(slips, start=1)
                for rate in errors[f"simulated-{number}"].values()
            )
        rows.append(_row(rule, seed, found, right, off, plan, options))
    return rows


def labels_of(plan: Plan, name: str, kind: str) -> dict[str, str]:
    """Simulate the answers of a kind; image or neuron -> label."""
    simulate.run(plan.find("annotate", benchmark=name, kind=kind))
    job = plan.find("ingest", benchmark=name, kind=kind)
    ingest.run(job)
    column = "image" if kind == "attention" else "neuron"
    return {row[column]: row["label"] for row in read_csv(job.outputs["labels"], (column, "label"), ValueError)}


def _row(
    rule: str, seed: int, found: dict[str, Any], right: dict[str, Any], off: float | None, plan: Plan, options: Any
) -> dict[str, Any]:
    validation = None
    if not options.only_labels:
        job = plan.find("refine", benchmark=options.benchmark, run=METHOD, seed=seed)
        refine.run([job])
        validation = float(list(read_csv(job.outputs["history"], ("validation",), ValueError))[-1]["validation"])
    maps = {item: label for item, label in found["attention"].items() if label in ("relevant", "irrelevant")}
    return {
        "labels": rule,
        "seed": seed,
        "maps_labelled": 100 * len(maps) / len(right["attention"]),
        "maps_right": 100 * fmean(right["attention"][item] == label for item, label in maps.items()),
        "neurons_right": 100 * fmean(right["neurons"][item] == label for item, label in found["neurons"].items()),
        "rate_error": off,
        "validation": validation,
    }


def left_out(gold: int, slip: float) -> float:
    """The probability that an annotator fails on gold items, of which half have the answer yes."""
    half = gold // 2
    right = binom(half, 1 - slip).pmf(range(half + 1))
    known = {str(item): "yes" if item < half else "no" for item in range(gold)}
    share = 0.0
    for yes, no in itertools.product(range(half + 1), repeat=2):
        said = ["yes"] * yes + ["no"] * (half - yes) + ["no"] * no + ["yes"] * (half - no)
        answers = [Answer(str(item), "a", word) for item, word in enumerate(said)]
        share += right[yes] * right[no] * on_gold(answers, known)["a"].fails
    return share


def _write_gold(answers: str, path: str, count: int, seed: int) -> None:
    """Draw gold items from answers without slips, half of them yes."""
    drawn, chosen = random.Random(seed), []
    for word in ("yes", "no"):
        chosen += drawn.sample([row["item"] for row in read_raw(answers) if row["answer"] == word], count // 2)
    known = {row["item"]: row["answer"] for row in read_raw(answers)}
    write_csv(path, ("item", "answer"), [(item, known[item]) for item in chosen])


def _plan(content: dict[str, Any], name: str, slips: Sequence[float], consensus: dict[str, Any], seed: int) -> Plan:
    content = copy.deepcopy(content)
    suite = content["suites"][content["suite"]]
    suite |= {"studies": {}, "controls": {}, "methods": [METHOD], "seeds": [seed]}
    suite.pop("tuning", None)
    benchmark = suite["benchmarks"][name]
    suite["benchmarks"] = {name: benchmark}
    benchmark["methods"] = {METHOD: benchmark["methods"][METHOD]}
    benchmark["stage_one"], benchmark["consensus"] = None, consensus
    benchmark["annotation"]["seed"] = seed
    for kind in KINDS:
        benchmark["annotation"][kind] |= {"flip": list(slips), "annotators": len(slips)}
    return build_plan(Params.model_validate(content))


def _cell(value: Any) -> Any:
    return "" if value is None else f"{value:.2f}" if isinstance(value, float) else value


if __name__ == "__main__":
    main()

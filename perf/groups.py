"""How alike the answers are within the groups of the annotation page.

    python perf/groups.py FOLDER --grid 6 12 20

FOLDER is a project that has maps and simulated answers. For each benchmark and kind, the share of the first annotator's
answers that equal the majority of their group; and the mean share after these answers were shuffled among the items 20
times, with the same groups.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from harness import Table, device_name, parser, positive, stop

from crayon.annotations.answers import read_answers
from crayon.pipeline.steps.annotation_groups import groups_of
from crayon.pipeline.steps.load_items import load_items
from crayon.report.build import load_plan

SHUFFLES = 20


def alike(answers: Mapping[str, str], group_of: Mapping[str, str]) -> float:
    """The share of items with the most frequent answer of their group."""
    groups = defaultdict(list)
    for item, answer in answers.items():
        groups[group_of[item]].append(answer)
    return sum(max(Counter(own).values()) for own in groups.values()) / len(answers)


def main() -> None:
    made = parser(__doc__)
    made.add_argument("folder", type=Path)
    made.add_argument("--grid", type=positive, nargs="+", default=[6, 12, 20])
    options = made.parse_args()
    csv = options.csv and options.csv.resolve()
    os.chdir(options.folder)
    plan = load_plan()
    table = Table("groups", f"grid {options.grid}", device_name())
    for name, benchmark in plan.params.active.benchmarks.items():
        for kind in plan.kinds(name):
            if benchmark.annotation.source != "simulated" or not Path(plan.answers_file(name, kind)).exists():
                continue
            item_set = load_items(plan, name, kind)
            answers = read_answers(item_set.answers, item_set.known)
            first = answers[0].annotator
            said = {one.item: one.answer for one in answers if one.annotator == first and one.item in item_set.items}
            for grid in options.grid:
                group_of = groups_of(plan, name, item_set, grid)
                rng = np.random.default_rng(0)
                shuffled = [
                    alike(dict(zip(said, rng.permutation(list(said.values())), strict=True)), group_of)
                    for _ in range(SHUFFLES)
                ]
                mean = len(said) / len({group_of[item] for item in said})
                share = 100 * alike(said, group_of)
                more = {"items_per_group": mean, "shuffled": 100 * float(np.mean(shuffled))}
                table.add(f"{name}, {kind}", f"grid {grid}", [share], "percent", **more)
    if not table.rows:
        stop(f"{options.folder}: has no maps with simulated answers; make them with `snakemake results/table1.csv`.")
    table.finish(csv)


if __name__ == "__main__":
    main()

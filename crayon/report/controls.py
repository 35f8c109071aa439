"""Controls: the same trainings with the answers replaced. If these do as well, the answers do not do the work."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ..files import write_csv, write_text
from ..jobs import Plan
from ..progress import report
from ..records import Recording
from .tables import cell, evaluations, markdown, naming, number

COLUMNS = ("suite", "run", "method", "labels", "benchmark", "metric", "mean", "std", "seeds", "above_original")


def run(plan: Plan) -> None:
    """Write results/controls.csv and controls.md."""
    job = plan.find("controls")
    recording = Recording(job)
    suite, found = plan.params.active, evaluations(job.inputs)
    runs = dict.fromkeys(name for _, name in found)
    rows, parts = [], [f"# Controls: {suite.title} (suite `{plan.suite}`)\n"]
    for name, benchmark in suite.benchmarks.items():
        lines = []
        for run_name in runs:
            control = suite.controls.get(run_name)
            method = control.method if control else run_name
            labels = control.labels if control else "as answered"
            cells = {metric: cell(found[name, run_name], metric) for metric in benchmark.metrics}
            for metric, value in cells.items():
                gain = value.mean - cell(found[name, "original"], metric).mean
                numbers = (number(value.mean), number(value.std), value.seeds, number(gain))
                rows.append([plan.suite, run_name, method, labels, name, metric, *numbers])
            label = naming(method)[0]
            said = labels.replace("_", " ") if method not in ("original", "erm") else ""
            lines.append([label, said, *map(str, cells.values())])
        lines.sort(key=lambda line: ["Original", "ERM"].index(line[0]) if line[0] in ("Original", "ERM") else 2)
        parts.append(f"\n## {benchmark.title}\n\n" + markdown(["method", "answers", *benchmark.metrics], lines))
    recording.publish(
        {
            "table": partial(write_csv, columns=COLUMNS, rows=rows),
            "markdown": partial(write_text, text="\n".join(parts)),
        }
    )
    report(f"controls  {len(runs)} runs on {len(suite.benchmarks)} benchmarks -> {job.outputs['table']}")


def text(plan: Plan) -> str:
    """The table as it was written, for the screen."""
    return Path(plan.find("controls").outputs["markdown"]).read_text(encoding="utf-8")

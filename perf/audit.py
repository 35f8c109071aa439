"""Time the audit, and what both workflow tools take to find that there is nothing to do.

    python perf/audit.py                         1,000 runs with 5 GB of artefacts; 1,500 jobs of the paper suite
    python perf/audit.py --runs 100 --gigabytes 0.5 --jobs 150
    python perf/audit.py --csv perf/audit.csv

Lays two projects with made-up outputs and real records in a temporary folder, and runs the real commands there:

    audit            `crayon audit results/table1.csv`, each file's digest remembered
    audit --full     every file read again, against `sha256sum` over the same files (both after one unmeasured pass)
    snakemake        `snakemake -n results/paper/table1.csv`, which has nothing to do
    dvc              `dvc repro`, which has nothing to do but its last stage, the audit

Taken in turn; `ratio` is the seconds of sha256sum over those of the audit.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import yaml
from harness import Table, device_name, in_turn, parser, positive, stop

from crayon.pipeline import fingerprint
from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Digests, Recording
from crayon.pipeline.stages import HISTORY
from crayon.report import provenance
from crayon.report.build import load_plan
from crayon.report.registry import RESULTS
from crayon.report.render import render
from crayon.utils.files import write_csv

ROOT = Path(__file__).resolve().parents[1]
TABLE = "results/table1.csv"


def lay(folder: Path, suite: str, seeds: int) -> Plan:
    """A project of a suite with so many seeds, and its plan."""
    folder.mkdir(parents=True)
    for name in ("Snakefile", "workflow", "profiles", "dvc.yaml", ".dvcignore", "crayon"):
        (folder / name).symlink_to(ROOT / name)
    content = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    content["suite"] = suite
    controls = content["suites"][suite]["controls"]
    for section in (content["suites"][suite]["defaults"], *content["suites"][suite]["benchmarks"].values()):
        for control in controls:  # they are left out, and so are their settings
            section.get("methods", {}).pop(control, None)
    content["suites"][suite]["studies"].pop("originals", None)  # it names controls
    content["suites"][suite] |= {"seeds": list(range(seeds)), "controls": {}}
    (folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    os.chdir(folder)
    os.environ["TORCH_HOME"] = str(Path("torch").absolute())  # for the weights that `fill` makes up
    return load_plan()


def fill(plan: Plan, size: int) -> None:
    """Write outputs of all jobs below the table: checkpoints of runs of `size` random bytes, all else small."""
    fingerprint.commit = lambda: (None, None)  # asking git three thousand times is not what is measured
    digests = Digests()
    for benchmark in plan.params.active.benchmarks.values():
        if "path" in benchmark.source and "compose" not in benchmark.source:
            for part in ("images", "masks"):
                Path(benchmark.source["path"], part).mkdir(parents=True, exist_ok=True)
            Path(benchmark.source["path"], "manifest.csv").write_text("image,split,label,group\n", encoding="utf-8")
    for job in plan.below(TABLE):
        for path in map(digests.place, job.read_once):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"weights")
        if job.rule == "provenance":
            provenance.run(plan, job.wildcards["result"])
        elif job.rule in RESULTS:
            render(plan, job.rule)
        elif job.rule == "ingest" and not Path(job.inputs["answers"]).exists():
            _write(job, job.inputs["answers"], 0)  # people's
            Recording(job, digests).publish({n: lambda path, job=job: _write(job, path, size) for n in job.outputs})
        else:
            Recording(job, digests).publish({n: lambda path, job=job: _write(job, path, size) for n in job.outputs})


def _write(job: Job, path: str, size: int) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if path.endswith("metrics.json"):
        Path(path).write_text(json.dumps(_evaluation(job)), encoding="utf-8")
    elif path.endswith("summary.json"):
        Path(path).write_text(json.dumps({"sources": {"simulated": 1}, "labels": {"relevant": 1}}), encoding="utf-8")
    elif path.startswith("annotations/"):
        Path(path).write_text("item,annotator,answer\na,one,yes\n", encoding="utf-8")
    elif path.endswith("history.csv"):
        write_csv(path, HISTORY, [(1, 0.5, 50.0, 50.0)])
    elif Path(path).suffix == "":
        Path(path).mkdir(exist_ok=True)
        Path(path, "a.png").write_bytes(os.urandom(64))
    else:
        large = job.rule == "refine" and path.endswith(".safetensors")
        Path(path).write_bytes(os.urandom(size if large else 256))


def _evaluation(job: Job) -> dict:
    """Made-up counts of each split, and the metrics that they give."""
    from crayon.config.sections import Metric, adapter
    from crayon.training.metrics import Accuracies, measure

    metrics = {key: adapter(Metric).validate_python(value) for key, value in job.steering["metrics"].items()}
    classes, groups = job.steering["classes"], job.steering["groups"]
    pairs = [(label, group) for label in classes for group in groups]
    found = Accuracies(dict.fromkeys(pairs, 3), dict.fromkeys(pairs, 4), dict.fromkeys(pairs, 5))
    splits = {split for metric in metrics.values() for split in metric.splits}
    rows = [{"label": label, "group": group, "correct": 3, "count": 4, "trained": 5} for label, group in pairs]
    values = {key: measure(metric, dict.fromkeys(splits, found)) for key, metric in metrics.items()}
    epoch = {"epoch": 1, "metrics": values, "splits": dict.fromkeys(splits, rows)}
    return {"last": epoch} | ({} if job.wildcards["run"] == "original" else {"selected": epoch})


def environment() -> dict[str, str]:
    """This Python's tools first, and this checkout's package."""
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "DVC_NO_ANALYTICS": "1",
    }


def check_idle(folder: Path, table: str) -> None:
    """Stop unless snakemake has nothing to do: timing it would mean something else."""
    command = ["snakemake", "-n", "--quiet", "progress", "--", table]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    if "Nothing to be done" not in done.stdout + done.stderr:
        stop(f"snakemake would run jobs: {(done.stdout + done.stderr)[-2000:]}")


def seconds(command: Sequence[str], folder: Path) -> float:
    """Wall seconds of a command that must succeed."""
    start = time.monotonic()
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command[:4])} failed: {(done.stdout + done.stderr)[-2000:]}")
    return time.monotonic() - start


def main() -> None:
    made = parser(__doc__, "3")
    made.add_argument("--runs", type=positive, default=1000)
    made.add_argument("--gigabytes", type=float, default=5.0)
    made.add_argument("--jobs", type=positive, default=1500)
    options = made.parse_args()
    options.csv = options.csv and options.csv.absolute()  # the working folder changes
    here, repeats = Path.cwd(), options.repeats or 3
    setting = f"{options.runs} runs with {options.gigabytes:g} GB; {options.jobs} jobs of the paper suite"
    table = Table("audit", setting, device_name())

    with tempfile.TemporaryDirectory(prefix="crayon-audit-") as name:
        folder = Path(name, "runs")
        methods = 16 * 4
        plan = lay(folder, "mini", max(1, round(options.runs / methods)))
        runs = sum(job.rule == "refine" for job in plan.below(TABLE))
        fill(plan, int(options.gigabytes * 1e9 / runs / 2))
        time.sleep(2.5)  # a file changed just now is not remembered
        files = [
            path for job in plan.below(TABLE) for path in (*job.outputs.values(), job.record) if Path(path).is_file()
        ]
        size = sum(Path(path).stat().st_size for path in files) / 1e9
        what = f"{runs} runs, {len(files)} files, {size:.1f} GB"
        audit = ["crayon", "audit", "--allow-dirty", TABLE]
        (folder / "files.txt").write_text("\0".join(files), encoding="utf-8")
        summing = ["xargs", "-0", "-a", "files.txt", "sha256sum", "--"]
        seconds(audit, folder)
        seconds(summing, folder)
        takes = {
            "audit": lambda: seconds(audit, folder),
            "audit --full": lambda: seconds([*audit, "--full"], folder),
            "sha256sum": lambda: seconds(summing, folder),
        }
        table.add_compared(what, in_turn(takes, repeats), "sha256sum")
        os.chdir(ROOT)
        shutil.rmtree(folder)

        folder = Path(name, "paper")
        plan = lay(folder, "paper", max(1, round(options.jobs / (16 * 3 * 2))))
        fill(plan, 256)
        what = f"{len(plan.below(TABLE))} jobs"
        seconds(["git", "init", "-q"], folder)
        seconds(["dvc", "init", "-q"], folder)
        (folder / ".gitignore").write_text("/*/paper\n/results\n", encoding="utf-8")
        seconds(["dvc", "repro", "-q"], folder)
        check_idle(folder, plan.resolve(TABLE))
        takes = {
            "snakemake -n": lambda: seconds(["snakemake", "-n", "--quiet", "all", "--", plan.resolve(TABLE)], folder),
            "dvc repro": lambda: seconds(["dvc", "repro", "-q"], folder),
        }
        table.add_compared(what, in_turn(takes, repeats), None)
        os.chdir(here)
    table.finish(options.csv)


if __name__ == "__main__":
    main()

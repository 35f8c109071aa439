"""Every table and figure of the suite `paper` by `snakemake`, by `dvc repro`, and in a second clone.

The images are tiny and few, in the releases' layouts and proportions; see `tests/paper.py`. Answers are published
(Waterbirds), people's (Biased CelebA) or nobody's (Backgrounds). `test_slurm.py` runs some of it through Slurm.
"""

from __future__ import annotations

import csv
import io
from contextlib import suppress

import pytest

from crayon.pipeline import finished
from crayon.pipeline.record import read_record
from crayon.report.build import load_plan
from crayon.utils.errors import RecordError

from .conftest import Project, version
from .test_dvc_paths import made

pytestmark = [pytest.mark.slow, pytest.mark.whole]

TABLES = ("table1", "table2", "table3", "controls", "attention", "needs", "quick")
FIGURES = ("figure2", "figure3", "figure4", "figure5", "figure_order", "figure_runtime")
FIGURES += ("attention", "before_after", "needs", "quick")
ANSWERED = {
    "waterbirds": "attention: 49 published answers -> 16 irrelevant, 17 relevant, 16 unused; "
    "neurons: 8 published answers -> 4 irrelevant, 4 relevant.",
    "biased_celeba": "attention: 104 unknown answers -> 17 irrelevant, 35 relevant; "
    "neurons: 16 unknown answers -> 4 irrelevant, 4 relevant.",
    "backgrounds": "Answers: none. Left out: Crayon-Attention, Crayon-Pruning, Crayon-Pruning+Attention, GradIA (it "
    "needs answers, and nobody answers (annotation: none)).",
}


def rows(project: Project, path: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(project.read(path).decode())))


def test_every_table_and_figure_is_made_from_the_releases(whole):
    for name in TABLES:
        assert rows(whole, f"results/paper/{name}.csv")
        assert whole.read(f"results/paper/{name}.md")
    for name in FIGURES:
        assert whole.read(f"results/paper/{name}.png").startswith(b"\x89PNG")
        assert whole.read(f"results/paper/stored/{name}.pdf").startswith(b"%PDF")
    page = whole.read("results/paper/stored/report.html").decode()
    assert "has not been made" not in page
    assert page.count("missing: it needs answers, and nobody answers") == page.count("missing:") == 4  # Backgrounds
    assert page.count("data:image/png;base64,") == len(FIGURES) - 1  # Table 1 has the numbers of the first result
    text = whole.read("results/paper/table1.md").decode()
    for sentence in ANSWERED.values():
        assert sentence in text
    variants = ("validation", "mixed_same", "mixed_rand", "only_fg", "original")
    counts = {
        "waterbirds": {"train": 49, "validation": 12, "test": 58},
        "biased_celeba": {"train": 52, "validation": 8, "test": 20},
        "backgrounds": {"train": 27} | dict.fromkeys(variants, 9),
    }
    for name, splits in counts.items():
        found = [row["split"] for row in rows(whole, f"data/paper/{name}/manifest.csv")]
        assert {split: found.count(split) for split in dict.fromkeys(found)} == splits
    table = rows(whole, "results/paper/table1.csv")
    runs = {(row["benchmark"], row["method"]) for row in table if row["seeds"] == "1"}
    assert len(runs) == 16 + 16 + 12 + 3  # methods of each benchmark, and its Original


def test_nothing_is_left_to_do_and_the_audit_passes(whole):
    assert "Nothing to be done" in whole.snakemake("-n")
    text = whole.crayon("audit", "--allow-dirty")
    assert text.count("  valid: ") >= 12
    assert "broken" not in text


@pytest.mark.parametrize(
    "three",
    [
        [("waterbirds", "crayon_attention"), ("waterbirds", "crayon_pruning"), ("waterbirds", "erm")],
        [("waterbirds", "crayon_attention"), ("waterbirds", "jtt"), ("waterbirds", "lff")],
        [("waterbirds", "erm"), ("biased_celeba", "erm"), ("backgrounds", "erm")],
    ],
)
def test_three_runs_forecast_the_others_within_a_factor_of_two(whole, three, monkeypatch):
    """In CPU seconds, which other programs on the machine change less than the time on the clock."""
    monkeypatch.chdir(whole.folder)
    plan, actual = load_plan(), {}
    for job in plan.jobs.values():
        with suppress(RecordError):  # a record of a result has no time
            actual[job.record] = read_record(job.record)["told"].get("cpu_seconds")
    targets = [plan.find("evaluate", benchmark=name, run=run, seed=0).outputs["metrics"] for name, run in three]
    known = {job.record for target in targets for job in plan.below(target)}

    def read(path):
        if path not in known:
            raise RecordError(f"{path}: not finished yet")
        record = read_record(path)
        return record | {"told": record["told"] | {"wall_seconds": actual[path]}}

    monkeypatch.setattr(finished, "read_record", read)
    forecast = finished.Finished(plan, {"cpu"})
    pairs = [(forecast.seconds(job), actual.get(job.record)) for job in plan.jobs.values() if job.record not in known]
    pairs = [pair for pair in pairs if None not in pair]
    assert len(pairs) > 100
    assert 0.5 <= sum(expected for expected, _ in pairs) / sum(seconds for _, seconds in pairs) <= 2


def test_a_second_clone_has_all_of_it_by_dvc_pull(whole, tmp_path):
    """`version` checks that `dvc repro` after `snakemake` trains nothing."""
    version(whole, tmp_path / "stored")
    stored, clone = Project(tmp_path / "stored"), Project(tmp_path / "clone")
    stored.run("dvc", "remote", "add", "-q", "-d", "store", str(tmp_path / "remote"))
    stored.run("git", "commit", "-qam", "remote")
    stored.run("dvc", "push", "-q")
    stored.run("git", "clone", "-q", str(stored.folder), str(clone.folder))
    clone.run("dvc", "pull", "-q")
    assert not (clone.folder / "raw").exists()
    assert clone.numbers() == whole.numbers()
    assert "valid: 112 jobs" in clone.crayon("audit", "--allow-dirty", "--full", "results/paper/table1.csv")
    everything = clone.crayon("audit", "--allow-dirty")
    assert everything.count("  valid: ") == whole.crayon("audit", "--allow-dirty").count("  valid: ")
    assert clone.planned("results/paper/stored/report.html") == set()
    assert made(clone.run("dvc", "repro")) == []
    record = "results/paper/stored/table2.record.json"
    (clone.folder / record).unlink()  # as of a result that is in git, and that DVC has not stored
    text = clone.crayon("audit", "--allow-dirty", check=False)
    assert clone.status == 2
    assert f"  table2: unrecorded: {record} is not here, so results/paper/table2.csv, results/paper/table2.md " in text
    assert "  `dvc pull` fetches what DVC has stored; `snakemake --cores 2 FILE` makes a result with" in text
    assert text.count("  valid: ") == everything.count("  valid: ") - 3  # nor is the page that shows the table

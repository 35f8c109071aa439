"""`crayon track` writes curves of finished and of running trainings for DVCLive and MLflow, and repeats nothing."""

from __future__ import annotations

import csv
import json
import sys
from functools import partial
from pathlib import Path

import pytest

from crayon.cli.app import app
from crayon.pipeline.record import Recording
from crayon.pipeline.steps import download
from crayon.pipeline.steps.context import Context
from crayon.pipeline.steps.original import write_history
from crayon.pipeline.trackers import dvclive, mlflow
from crayon.pipeline.trackers.history import History, read_histories
from crayon.report.build import load_plan
from crayon.utils.errors import OutputError, RecordError
from crayon.utils.files import write_json

from .. import tiny

ROWS = [
    {"epoch": 0, "validation": 50.0},
    {"epoch": 1, "learning_rate": 0.1, "loss": 2.5, "validation": 60.0},
    {"epoch": 2, "learning_rate": 0.1, "loss": 1.5, "validation": 100 / 3},
]
NAME = "waterbirds/original"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A tiny project with the images of one benchmark."""
    folder = tiny.write(tmp_path_factory.mktemp("track"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        plan = load_plan()
        download.run(plan.find("download", benchmark="waterbirds"))
        write_json(plan.find("original", benchmark="waterbirds").inputs["pretrained"], {})
    return folder


def of(count: int, finished: bool = False, **settings) -> History:
    return History(
        name=NAME, params={"seed": 0, "settings": settings}, rows=[dict(row) for row in ROWS[:count]], finished=finished
    )


def runs_of_mlflow() -> list:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{mlflow.FILE}")
    return client.search_runs([client.get_experiment_by_name("mini").experiment_id])


def curve(run, column: str) -> list[tuple[int, float]]:
    from mlflow.tracking import MlflowClient

    values = MlflowClient(f"sqlite:///{mlflow.FILE}").get_metric_history(run.info.run_id, column)
    return sorted((value.step, value.value) for value in values)


def test_histories_of_a_running_and_of_a_finished_training(project, monkeypatch):
    monkeypatch.chdir(project)
    plan = load_plan()
    with pytest.raises(RecordError, match=r"^mini: no such training has finished or saved an epoch yet"):
        read_histories(plan)
    job = plan.find("original", benchmark="waterbirds")
    recording = Recording(job)
    saved = Context(job).saved(recording)
    saved.every = 0
    saved.save({"outcome": {"history": ROWS[:2]}})
    (running,) = read_histories(plan)
    assert (running.name, running.rows, running.finished) == (NAME, ROWS[:2], False)
    recording.publish(
        {"model": lambda path: write_json(path, {}), "history": partial(write_history, history=ROWS)}, device="cpu"
    )
    saved.remove()
    (finished,) = read_histories(plan, "waterbirds")
    assert finished == History(name=NAME, params=running.params, rows=ROWS, finished=True)
    with pytest.raises(RecordError, match="no such training"):
        read_histories(plan, "waterbirds", ["erm"])
    history = Path(job.outputs["history"])
    history.write_text(history.read_text().replace("60.0", "61.0"))
    with pytest.raises(RecordError, match=r"^models/mini/waterbirds/history\.csv: is not the file that .* describes"):
        read_histories(plan)


def test_dvclive_replaces_its_files(project, tmp_path, monkeypatch):
    from dvc.repo import Repo

    monkeypatch.chdir(tmp_path)
    Repo.init(no_scm=True)
    for _ in range(2):
        assert dvclive.write("mini", [of(3)]) == "dvclive/"
    with Path("dvclive/plots/metrics", NAME, "validation.tsv").open(newline="") as file:
        rows = [(int(row["step"]), float(row["validation"])) for row in csv.DictReader(file, delimiter="\t")]
    assert rows == [(0, 50.0), (1, 60.0), (2, 100 / 3)]
    latest = {"validation": 100 / 3, "learning_rate": 0.1, "loss": 1.5}
    assert json.loads(Path("dvclive/metrics.json").read_bytes()) == {"waterbirds": {"original": latest}, "step": 2}
    assert not Path("dvc.yaml").exists()
    assert Repo().metrics.show()[""]["data"]["dvclive/metrics.json"]["data"]["waterbirds"]["original"] == latest


def test_mlflow_appends_epochs_and_replaces_other_trainings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for history in (of(2, alpha=1.5), of(3, alpha=1.5, finished=True), of(3, alpha=1.5, finished=True)):
        assert mlflow.write("mini", [history]) == "mlflow.db"
        (run,) = runs_of_mlflow()
        rows = ROWS[: len(history.rows)]
        assert curve(run, "validation") == [(row["epoch"], row["validation"]) for row in rows]
        assert curve(run, "loss") == [(row["epoch"], row["loss"]) for row in rows[1:]]
        assert run.info.status == ("FINISHED" if history.finished else "RUNNING")
    assert (run.info.run_name, run.data.params) == (NAME, {"seed": "0", "alpha": "1.5"})
    mlflow.write("mini", [of(2, alpha=2.0)])
    (other,) = runs_of_mlflow()
    assert other.info.run_id != run.info.run_id
    assert other.data.params["alpha"] == "2.0"
    Path(mlflow.FILE).write_text("no database")
    with pytest.raises(OutputError, match=r"^mlflow\.db: MLflow cannot write it: "):
        mlflow.write("mini", [of(2)])


@pytest.mark.parametrize(
    ("tracker", "package", "extra"),
    [(dvclive, "dvclive", "dvclive"), (mlflow, "mlflow.tracking", "mlflow"), (mlflow, "alembic", "mlflow")],
)
def test_a_missing_package_is_named_with_its_extra(tracker, package, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(OutputError, match=rf"is not installed; run `pip install 'crayon-attention\[{extra}\]'`"):
        tracker.write("mini", [of(1)])


def test_an_unknown_tracker_is_refused():
    from typer.testing import CliRunner

    result = CliRunner().invoke(app, ["track", "--to", "mflow"])
    assert result.exit_code == 2
    assert "There is no tracker 'mflow'; did you mean 'mlflow'?" in result.output

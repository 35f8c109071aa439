"""MLflow: a run for each training, in a local SQLite file without a server (https://mlflow.org/docs/latest/ml/tracking)."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from crayon.pipeline.trackers.history import History
from crayon.utils.errors import OutputError, first_line

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

FILE = "mlflow.db"

EPOCHS, STORED = "crayon.epochs", "crayon.stored"
"""Tags of a run: how many epochs it has, and the digest of these epochs and of the params."""

AT_ONCE = 1000
"""How many values MLflow accepts at once."""


def write(suite: str, histories: Sequence[History]) -> str:
    """Add what mlflow.db lacks to the experiment `suite`; a training that was repeated with another result is replaced.

    Args:
        suite: name of the suite.
        histories: the curves; the run of each has its name.

    Returns:
        Where the curves are.

    Raises:
        OutputError: MLflow is not installed, or cannot write the file.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow is imported
    try:
        import alembic  # noqa: F401  # with SQLAlchemy, what mlflow-skinny lacks to write SQLite
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise OutputError(f"{error.name} is not installed; run `pip install 'crayon-attention[mlflow]'`.") from error
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    try:
        client = MlflowClient(f"sqlite:///{FILE}")
        found = client.get_experiment_by_name(suite)
        experiment = client.create_experiment(suite) if found is None else found.experiment_id
        runs = {run.info.run_name: run for run in client.search_runs([experiment], max_results=50_000)}
        for history in histories:
            _write(client, experiment, runs.get(history.name), history)
    except MlflowException as error:
        raise OutputError(f"{FILE}: MLflow cannot write it: {first_line(error)}") from error
    return FILE


def _write(client: MlflowClient, experiment: str, run: Run | None, history: History) -> None:
    """Create the run of a training, or append the epochs that it lacks."""
    from mlflow.entities import Metric, Param, RunTag

    stored = 0 if run is None else int(run.data.tags[EPOCHS])
    if run is not None and run.data.tags[STORED] != _digest(history, stored):
        client.delete_run(run.info.run_id)
        run, stored = None, 0
    if run is None:
        tags = {EPOCHS: "0", STORED: _digest(history, 0)}
        run = client.create_run(experiment, run_name=history.name, tags=tags)
        client.log_batch(run.info.run_id, params=[Param(key, str(value)) for key, value in _params(history)])
    # One timestamp, because MLflow ignores a value that it already has with the same step and timestamp.
    values = [
        Metric(column, row[column], run.info.start_time, int(row["epoch"]))
        for row in history.rows[stored:]
        for column in sorted(row.keys() - {"epoch"})
    ]
    for start in range(0, len(values), AT_ONCE):
        client.log_batch(run.info.run_id, metrics=values[start : start + AT_ONCE])
    if values:
        tags = {EPOCHS: str(len(history.rows)), STORED: _digest(history, len(history.rows))}
        client.log_batch(run.info.run_id, tags=[RunTag(key, value) for key, value in tags.items()])
    if history.finished and run.info.status == "RUNNING":
        client.set_terminated(run.info.run_id)


def _params(history: History) -> list[tuple[str, Any]]:
    """The name and value of each param of the training and of the method."""
    params = history.params
    single = [(str(key), params[key]) for key in ("method", "seed") if key in params]
    return [*single, *params.get("training", {}).items(), *params.get("settings", {}).items()]


def _digest(history: History, count: int) -> str:
    """The sha256 of the params and of the first `count` epochs."""
    content = json.dumps([history.params, history.rows[:count]], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()

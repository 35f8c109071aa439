"""DVCLive: files for `dvc plots`, `dvc exp show` and DVC's extension for VS Code (https://doc.dvc.org/dvclive)."""

from __future__ import annotations

from collections.abc import Sequence

from crayon.pipeline.trackers.history import History
from crayon.utils.errors import OutputError

FOLDER = "dvclive"


def write(suite: str, histories: Sequence[History]) -> str:
    """Replace the curves in dvclive/, which has a dvc.yaml of its own; no experiment is saved.

    Args:
        suite: name of the suite.
        histories: the curves; a value of an epoch has the name `waterbirds/erm/0/validation`.

    Returns:
        Where the curves are.

    Raises:
        OutputError: DVCLive is not installed.
    """
    try:
        from dvclive import Live
    except ImportError as error:
        raise OutputError("DVCLive is not installed; run `pip install 'crayon-attention[dvclive]'`.") from error
    with Live(FOLDER, save_dvc_exp=False, dvcyaml=f"{FOLDER}/dvc.yaml") as live:
        for history in histories:
            for row in history.rows:
                live.step = int(row["epoch"])
                for column, value in row.items():
                    if column != "epoch":
                        live.log_metric(f"{history.name}/{column}", value)
    return f"{FOLDER}/"

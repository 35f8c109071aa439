"""Load params.yaml and build the plan of all jobs: the jobs of the steps and the jobs of the results."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from crayon.config.load import load
from crayon.config.suite import Params
from crayon.pipeline.plan import Plan
from crayon.pipeline.validate import validate
from crayon.report.registry import RESULTS
from crayon.utils.errors import ParamsError


def load_plan(path: str | Path = "params.yaml", suite: str | None = None, only: Collection[str] | None = None) -> Plan:
    """Read and check a params file, and plan the jobs of its active suite.

    Args:
        path: the params file.
        suite: plan this suite instead of the active one.
        only: see `build_plan`.

    Raises:
        ParamsError: the file is not valid; the message is one sentence with file, key and remedy.
    """
    params = load(path, suite)
    try:
        return build_plan(params, only)
    except ParamsError as error:
        raise ParamsError(f"{path}: {error}") from error


def build_plan(params: Params, only: Collection[str] | None = None) -> Plan:
    """Check params, and plan the jobs of the active suite.

    Args:
        params: the params.
        only: plan the steps of these benchmarks and no results, as the command of one step needs it; None for all jobs.

    Raises:
        ParamsError: a param is not valid; the message is one sentence that begins with the key.
    """
    validate(params)
    plan = Plan(params, only)
    for result in RESULTS.values() if only is None else ():
        plan.add(result.jobs(plan))
    return plan

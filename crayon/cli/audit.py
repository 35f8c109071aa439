"""The verb `crayon audit`: which question, and its answer as words or JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from crayon.cli.common import Printable, show
from crayon.pipeline.plan import Plan
from crayon.utils.errors import RecordError


def run(
    plan: Callable[[], Plan],
    targets: Sequence[str],
    *,
    cell: str | None = None,
    source: str | None = None,
    item: str | None = None,
    annotator: str | None = None,
    diff: tuple[str, str] | None = None,
    ro_crate: Path | None = None,
    full: bool = False,
    allow_dirty: bool = False,
    as_json: bool = False,
) -> int:
    """Answer one question on standard output; gives the exit status.

    Args:
        plan: gives the plan; not asked for where two revisions are compared.
        targets: results.
        cell: explain this number of the one target.
        source, item, annotator: list what this file, or these answers of it, reach.
        diff: compare the target in two revisions.
        ro_crate: export the one target there.
    """
    found: Printable
    if diff is not None:
        from crayon.audit.diff import compare

        found = compare(*diff, _one(targets or ["results/table1.csv"], "--diff"))
    elif source is not None:
        from crayon.audit.trace import reached

        found = reached(plan(), source, item, annotator)
    else:
        from crayon.audit.check import check, known

        planned = plan()
        if cell is not None or ro_crate is not None:
            targets = [_one(targets or ["results/table1.csv"], "--cell" if cell else "--ro-crate")]
        if cell is not None:
            known(targets[0], cell)
        verdict = check(planned, targets, full=full, allow_dirty=allow_dirty, cell=cell)
        if cell is not None:
            from crayon.audit.explain import explain

            found = explain(planned, targets[0], cell, verdict)
        elif ro_crate is not None:
            from crayon.audit.ro_crate import export

            if verdict.breaks:
                print("\n".join(verdict.lines()))
                return verdict.status
            found = export(planned, targets[0], ro_crate)
        else:
            found = verdict
        show(found, as_json)
        return verdict.status
    show(found, as_json)
    return 0


def _one(targets: Sequence[str], option: str) -> str:
    if len(targets) != 1:
        raise RecordError(f"{option}: takes one result, not {', '.join(targets)}.")
    return targets[0]

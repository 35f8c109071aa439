"""The command `crayon audit`: computes what its options ask for, and prints it as text or JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from crayon.cli.common import Answer, show
from crayon.pipeline.plan import Plan
from crayon.utils.errors import RecordError
from crayon.utils.text import composed

TABLE1 = "results/table1.csv"
"""Table 1 of the active suite, see `Plan.resolve`."""


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
    """Audit results, or explain, trace, compare or export one; print the outcome, and return the exit status.

    Args:
        plan: function that loads the plan; not called if `diff` is given.
        targets: paths of results.
        cell: name of a cell of the result's table; explain the number in it. Needs exactly one target.
        source: list the results that depend on this file.
        item: with `source`, only answers to this item.
        annotator: with `source`, only answers of this annotator.
        diff: two revisions between which the target is compared. Needs exactly one target.
        ro_crate: export the target into this folder. Needs exactly one target.
        full: hash every file again.
        allow_dirty: report uncommitted code without failing.
        as_json: print JSON.
    """
    answer: Answer
    cell, item, annotator = (text and composed(text) for text in (cell, item, annotator))
    if diff is not None:
        from crayon.audit.diff import compare

        answer = compare(*diff, _one(targets or [TABLE1], "--diff"))
    elif source is not None:
        from crayon.audit.trace import reached

        planned = plan()
        answer = reached(planned, planned.resolve(source), item, annotator)
    else:
        from crayon.audit.check import check, known

        planned = plan()
        if cell is not None or ro_crate is not None:
            targets = [_one(targets or [TABLE1], "--cell" if cell else "--ro-crate")]
        targets = [planned.resolve(target) for target in targets]
        if cell is not None:
            from crayon.audit.explain import explain, recorded

            known(targets[0], cell)
            if (tree := recorded(planned, targets[0], cell)) is not None:
                show(tree, as_json)
                return 2
        verdict = check(planned, targets, full=full, allow_dirty=allow_dirty, cell=cell)
        if cell is not None:
            answer = explain(planned, targets[0], cell, verdict)
        elif ro_crate is not None:
            from crayon.audit.ro_crate import export

            if verdict.breaks:
                print("\n".join(verdict.lines()))
                return verdict.status
            answer = export(planned, targets[0], ro_crate)
        else:
            answer = verdict
        show(answer, as_json)
        return verdict.status
    show(answer, as_json)
    return 0


def _one(targets: Sequence[str], option: str) -> str:
    if len(targets) != 1:
        raise RecordError(f"{option}: takes one result, not {', '.join(targets)}.")
    return targets[0]

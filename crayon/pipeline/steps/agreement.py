"""How well a benchmark's annotators agree, and whose answers should be looked at."""

from __future__ import annotations

from pathlib import Path

from crayon.annotations.agreement import COLUMNS, Annotator, agreement, as_rows, by_annotator
from crayon.pipeline.job import KINDS
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Digests
from crayon.pipeline.steps.ingest import read
from crayon.utils.errors import AnnotationError
from crayon.utils.files import write_csv, write_json


def run(plan: Plan, name: str, kind: str | None = None) -> str:
    """Write annotations/<suite>/<benchmark>/<kind>.annotators.csv, an annotator a row, and <kind>.agreement.json.

    Gives what is to be printed.

    Args:
        kind: attention or neurons; both, as far as there are answers, if left out.

    Raises:
        AnnotationError: nobody answers here, or the answers are malformed.
    """
    if name not in plan.annotated:
        plan.params.active.benchmark(name)
        raise AnnotationError(f"{name}: nobody answers here (annotation: none in params.yaml).")
    jobs = [plan.find("ingest", benchmark=name, kind=one) for one in ([kind] if kind else KINDS)]
    there = [job for job in jobs if Path(job.inputs["answers"]).exists()]
    allow_stale = plan.params.active.benchmark(name).annotation.allow_stale
    parts = []
    if not there:
        plan.answers(name, kind or KINDS[0])  # says how to get them
    for job in there or jobs[:1]:
        answers = read(job, Digests().of(job.inputs["shown"]) or "", allow_stale).answers
        annotators = by_annotator(answers)
        path = Path(job.inputs["answers"]).with_suffix(".annotators.csv")
        shares = agreement(answers)
        write_csv(path, COLUMNS, as_rows(annotators))
        write_json(path.with_suffix("").with_suffix(".agreement.json"), {"answers": len(answers), **shares})
        parts.append("\n".join([_overall(job.inputs["answers"], len(answers), shares), *_table(annotators), f"{path}"]))
    return "\n\n".join(parts)


def _overall(path: str, answers: int, shares: dict[str, float | None]) -> str:
    if shares["agreement"] is None:
        return f"{path}: {answers} answers, one an item, so that there is nothing to agree on"
    words = [f"{shares['agreement']:.1%} of the items that several answered have one answer"]
    words += [
        f"{label} {shares[key]:.2f}"
        for key, label in (("kappa", "Cohen's kappa"), ("alpha", "Krippendorff's alpha"))
        if shares[key] is not None
    ]
    return f"{path}: {answers} answers; {', '.join(words)}"


def _table(annotators: list[Annotator]) -> list[str]:
    """A line an annotator, in columns."""
    rows = [("annotator", "answers", "median s", "yes", "unsure", "agrees with others", "")]
    for one in annotators:
        seconds = "-" if one.seconds is None else f"{one.seconds:.1f}"
        agrees = "-" if one.agrees is None else f"{one.agrees:.0%} of {one.shared}"
        rows.append(
            (
                one.annotator if one.annotator.isprintable() else ascii(one.annotator),
                str(one.answers),
                seconds,
                f"{one.yes:.0%}",
                f"{one.unsure:.0%}",
                agrees,
                one.remark,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]

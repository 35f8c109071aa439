"""Measure how well a benchmark's annotators agree, and list the annotators with unusual answers."""

from __future__ import annotations

from pathlib import Path

from crayon.annotations.agreement import COLUMNS, Annotator, agreement, as_rows, by_annotator
from crayon.annotations.grouping import together
from crayon.annotations.labels import inferred_by
from crayon.annotations.truth import FEWEST, infer
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Digests, absent
from crayon.pipeline.steps.ingest import choose, read
from crayon.pipeline.steps.people import shown_digest
from crayon.utils.errors import AnnotationError
from crayon.utils.files import write_csv, write_json


def run(plan: Plan, name: str, kind: str | None = None) -> str:
    """Write `<kind>.annotators.csv`, one row per annotator, and `<kind>.agreement.json` beside the answers.

    Args:
        plan: the plan of the active suite.
        name: the benchmark.
        kind: `attention` or `neurons`; None for every kind that has answers.

    Returns:
        The text to print: the agreement and a table of the annotators, for each kind.

    Raises:
        AnnotationError: the benchmark takes no answers, or its answers are missing or malformed.
    """
    if plan.params.active.benchmark(name).annotation.source == "none":
        raise AnnotationError(f"{name}: takes no answers, because its annotation.source in params.yaml is none.")
    kinds = [kind] if kind else plan.kinds(name)
    if not kinds:
        raise AnnotationError(f"{name}: no method of the suite {plan.suite} uses answers.")
    jobs = [plan.find("ingest", benchmark=name, kind=kind) for kind in kinds]
    answered = [job for job in jobs if Path(job.inputs["answers"]).exists()]
    benchmark = plan.params.active.benchmark(name)
    allow_stale, model = benchmark.annotation.allow_stale, benchmark.consensus.truth or "dawid_skene"
    sections = []
    if not answered:
        plan.answers(name, kinds[0])  # raises an error that explains how to get answers
    for job in answered or jobs[:1]:
        if "gold" in job.inputs and not Path(job.inputs["gold"]).exists():
            raise absent(job, job.inputs["gold"])
        every = read(job, shown_digest(job, Digests().of(job.inputs["shown"]) or ""), allow_stale)
        answers, used = every.answers, choose(job, every)
        errors = infer(used.answers, model).errors
        errors = errors if len(errors) >= FEWEST else {}
        annotators = by_annotator(answers, errors, used.gold)
        path = Path(job.inputs["answers"]).with_suffix(".annotators.csv")
        shares = agreement(answers)
        write_csv(path, COLUMNS, as_rows(annotators))
        write_json(path.with_suffix("").with_suffix(".agreement.json"), {"answers": len(answers), **shares})
        lines = [_overall(job.inputs["answers"], len(answers), shares), *_table(annotators)]
        if errors:
            lines.append(f"wrong if yes, wrong if no: shares of wrong answers where yes, or no, is right ({model})")
        counted = together(answers)
        if counted.groups:
            lines.append(
                f"{counted.answers} answers were given together with others; in {counted.mixed} of {counted.groups} "
                "groups, the annotator gave both yes and no, which is allowed"
            )
        if left_out := inferred_by({"left_out": used.left_out}):
            lines.append(left_out)
        lines.append(f"{path}")
        sections.append("\n".join(lines))
    return "\n\n".join(sections)


def _overall(path: str, answers: int, shares: dict[str, float | None]) -> str:
    """Format the number of answers and the agreement as one line."""
    if shares["agreement"] is None:
        return f"{path}: {answers} answers, one per item, so agreement cannot be measured"
    measures = [f"the annotators agree on {shares['agreement']:.1%} of the items with several answers"]
    measures += [
        f"{label} {shares[key]:.2f}"
        for key, label in (("kappa", "Cohen's kappa"), ("alpha", "Krippendorff's alpha"))
        if shares[key] is not None
    ]
    return f"{path}: {answers} answers; {', '.join(measures)}"


def _table(annotators: list[Annotator]) -> list[str]:
    """Format one line per annotator, in aligned columns."""
    heading = ["annotator", "answers", "median s", "yes", "unsure", "agrees with others"]
    estimated = any(annotator.wrong_if_yes is not None for annotator in annotators)
    known = any(annotator.gold for annotator in annotators)
    heading += [*(["wrong if yes", "wrong if no"] if estimated else []), *(["gold items right"] if known else []), ""]
    rows = [tuple(heading)]
    for annotator in annotators:
        seconds = "-" if annotator.seconds is None else f"{annotator.seconds:.1f}"
        agrees = "-" if annotator.agrees is None else f"{annotator.agrees:.0%} of {annotator.shared}"
        wrong = ["-" if share is None else f"{share:.0%}" for share in (annotator.wrong_if_yes, annotator.wrong_if_no)]
        gold = "-"
        if annotator.gold_low is not None and annotator.gold_high is not None:
            interval = f"{annotator.gold_low:.0%} to {annotator.gold_high:.0%}"
            gold = f"{annotator.gold_right} of {annotator.gold} ({interval})"
        rows.append(
            (
                annotator.annotator if annotator.annotator.isprintable() else ascii(annotator.annotator),
                str(annotator.answers),
                seconds,
                f"{annotator.yes:.0%}",
                f"{annotator.unsure:.0%}",
                agrees,
                *(wrong if estimated else []),
                *([gold] if known else []),
                annotator.remark,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]

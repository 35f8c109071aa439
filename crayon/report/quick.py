"""A first result of one seed on one benchmark: a table, sentences about it, and pictures of where each model looks."""

from __future__ import annotations

from typing import Any

import numpy as np

from crayon.config.studies import CRAYON
from crayon.data.dataset import Dataset, matching
from crayon.pipeline.evaluations import cell, evaluations, number
from crayon.pipeline.job import Job
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Writer
from crayon.pipeline.steps.context import Context
from crayon.report import style
from crayon.report.before_after import EXAMPLES, alternating, look
from crayon.report.summary import WORDS, choose, with_interval
from crayon.report.tables import (
    answers_sentence,
    fallen,
    gap_sentences,
    headings,
    left_out_sentences,
    markdown,
    naming,
    writers,
)
from crayon.report.tiles import Row, Tile, draw
from crayon.saliency.overlays import highlight_overlaid, readable
from crayon.utils.checks import required

COLUMNS = ("suite", "benchmark", "method", "label", "annotation", "metric", "seed", "value")
IMAGES = f"the first {EXAMPLES} test images that the Original gets wrong in its two worst groups"


def render(plan: Plan, job: Job, partly: bool = False) -> dict[str, Writer]:
    """Return functions that write quick.csv, quick.md and the picture.

    Args:
        plan, job, partly: see `crayon.report.registry`.
    """
    evaluated = evaluations(job.inputs)
    pictures = draw(_pictures(plan, job), _title(job), style.origin(plan, [job.steering["benchmark"]]))
    table = tables(plan, evaluated)[job.outputs["table"]]
    return writers(table, _markdown(plan, job, evaluated)) | style.writers(pictures)


def tables(plan: Plan, evaluated: dict) -> dict[str, tuple[tuple[str, ...], list[list[Any]]]]:
    """Compute quick.csv from the evaluations: path -> (columns, rows); one row per method and metric, in percent."""
    rows = [
        [plan.suite, name, run, *naming(run), metric, seed, number(values["last"]["metrics"][metric])]
        for (name, run), seeds in evaluated.items()
        for seed, values in seeds.items()
        for metric in plan.params.active.benchmarks[name].metrics
    ]
    return {plan.find("quick").outputs["table"]: (COLUMNS, rows)}


def _markdown(plan: Plan, job: Job, evaluated: dict) -> str:
    name, seed = job.steering["benchmark"], job.steering["seed"]
    benchmark, titles = plan.params.active.benchmarks[name], headings(plan, evaluated, name)
    table = [
        [*naming(run), *(str(cell(evaluated[name, run], metric)) for metric in benchmark.metrics)]
        for run in ("original", *job.steering["methods"])
    ]
    simulated = benchmark.annotation.source == "simulated"
    return "\n".join(
        [
            f"# A first result: {benchmark.title}, seed {seed} (suite `{plan.suite}`)\n",
            markdown(["method", "annotation", *(f"{titles[metric]} %" for metric in benchmark.metrics)], table),
            meaning(plan, evaluated, name) + "\n",
            "\n".join(
                [
                    answers_sentence(plan, job.inputs, name),
                    *(["The annotators are simulated: no person answered."] if simulated else []),
                    *left_out_sentences(plan, name, (run for run in CRAYON if run in plan.params.active.methods)),
                    *fallen(plan, evaluated, name),
                    *gap_sentences(plan, evaluated, name),
                ]
            )
            + "\n",
            f"![Test images, and what each model looks at](quick.png)\n\nThe picture shows {IMAGES}: the image, "
            "then the places that each model looks at (the rest is dark), and the class that it predicts.\n",
            "One seed is no comparison of methods. `snakemake --cores 8 results/table1.csv` continues from here with "
            "all benchmarks, methods and seeds.\n",
        ]
    )


def meaning(plan: Plan, evaluated: dict, name: str) -> str:
    """Write sentences about what the refinement changed on the first metric of a benchmark.

    Args:
        plan: the plan of the suite.
        evaluated: the evaluations of the Original and of at least one method.
        name: the benchmark.
    """
    benchmark = plan.params.active.benchmarks[name]
    metric = next(iter(benchmark.metrics))
    kind, of = benchmark.metrics[metric], {run: runs for (_, run), runs in evaluated.items()}
    variants = [run for run in CRAYON if run in of]
    chosen, how = choose(of, variants, benchmark) if variants else ("erm", "")
    before, after = (required(cell(of[run], metric), run).mean for run in ("original", chosen))
    better = after < before if kind.lower_is_better else after > before
    verb = "does not change" if after == before else "improves" if better else "worsens"
    sentences = [
        f"{metric} is {WORDS[kind.kind].format(' and '.join(kind.splits))}.",
        f"**{naming(chosen)[0]} {verb} it from {before:.1f}% to {after:.1f}%.**",
        how,
    ]
    sentences += [f"{naming(run)[0]}: {with_interval(of[run], metric, benchmark)}." for run in ("original", chosen)]
    if variants and "erm" in of:
        sentences.append(f"ERM, trained further without guidance: {with_interval(of['erm'], metric, benchmark)}.")
    return "\n".join(sentence for sentence in sentences if sentence)


def _title(job: Job) -> str:
    return f"{job.steering['titles'][1]}, seed {job.steering['seed']}: where each model looks, on {IMAGES}"


def _pictures(plan: Plan, job: Job) -> list[Row]:
    """One row per image: the image, and the highlight and prediction of the Original and of each method."""
    name = job.steering["benchmark"]
    context = Context(plan.find("original", benchmark=name))
    benchmark, data = context.benchmark, context.data
    split = next(iter(benchmark.metrics.values())).splits[0]
    models = {run: look(context, job.inputs[run], split) for run in ("original", *job.steering["methods"])}
    lines = []
    wrong = mistakes(data, split, models["original"][0])
    allowed = matching(data.image_ids, benchmark.shown_images)[data.rows(split)]
    for position in alternating(data, split, wrong[allowed[wrong]]):
        row = data.rows(split)[position]
        image = readable(data.images[row])[0]
        group = benchmark.groups[data.group_ids[row]] if len(benchmark.groups) > 1 else ""
        tiles = [Tile(image, benchmark.classes[data.labels[row]])]
        for run, (predictions, maps) in models.items():
            words = f"{naming(run)[0]}: {benchmark.classes[predictions[position]]}"
            empty = "" if maps[position].max() > 0 else ", empty map"
            tiles.append(Tile(highlight_overlaid(image, maps[position], context.shift()), words + empty))
        lines.append(Row(f"{data.image_ids[row]}\n{group}".strip(), tiles))
    none = "No test image that the Original gets wrong may be shown."
    return lines or [Row("", [], none if len(wrong) else "The Original gets no test image wrong.")]


def mistakes(data: Dataset, split: str, predictions: np.ndarray) -> np.ndarray:
    """The positions in a split of the misclassified images of the two worst groups.

    Args:
        data: the data set; a group is the images of a class and a group of params.yaml.
        split: the split.
        predictions: (n,) int64, the predicted classes.

    Returns:
        (k,) int64.
    """
    rows = data.rows(split)
    groups, wrong = np.stack([data.labels[rows], data.group_ids[rows]], 1), predictions != data.labels[rows]
    _, group = np.unique(groups, axis=0, return_inverse=True)
    group = group.ravel()  # NumPy 2.0 returns (n, 1)
    worst = np.argsort(-np.bincount(group, wrong) / np.bincount(group), kind="stable")[:2]
    return np.flatnonzero(wrong & np.isin(group, worst))

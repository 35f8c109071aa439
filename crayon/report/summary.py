"""The summary of a benchmark in sentences: image counts, baselines, the best Crayon variant, and what to do next."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from crayon.config.source import READ
from crayon.config.studies import CRAYON
from crayon.config.suite import Benchmark
from crayon.data.splits import without_validation
from crayon.pipeline.evaluations import cell
from crayon.pipeline.plan import Plan
from crayon.report.tables import fallen, gap_sentences, naming
from crayon.utils.intervals import LEVEL, wilson
from crayon.utils.text import listed

WORDS = {
    "worst_group": "the accuracy of the worst group of the split {}",
    "mean_group": "the mean accuracy over the groups of the split {}",
    "adjusted_average": "the mean accuracy over the groups of the split {}, weighted by their training images",
    "accuracy": "the accuracy on the split {}",
    "difference": "the difference of the accuracies on the splits {}",
}
"""Kind of a metric -> its name in a sentence; {} stands for the splits on which it is measured."""

FEW = 30
"""If the worst group has fewer images than this, the summary advises to add some."""

GROUPS = 8
"""How many groups of a split are listed, each with its number of images."""

Runs = Mapping[str, Mapping[str, Any]]
"""Seed -> content of metrics.json, as in `crayon.pipeline.evaluations`."""


def measured_images(runs: Runs, metric: str, benchmark: Benchmark) -> tuple[int, str] | None:
    """The number and the name of the images from which a metric is computed.

    For worst-group accuracy, these are the images of the group with the lowest accuracy. If several groups qualify, in
    different seeds or because of a tie, the group with the fewest images is taken.

    Returns:
        The number of images and a name such as `waterbird/land`; None if the metric is not a single proportion.
    """
    section = benchmark.metrics[metric]
    if section.kind not in ("worst_group", "accuracy"):
        return None
    split = section.splits[0]
    tables = [run["last"]["splits"][split] for run in runs.values()]
    if section.kind == "accuracy":
        return sum(row["count"] for row in tables[0]), f"all of {split}"
    worst = []
    for rows in tables:
        lowest = min(row["correct"] / row["count"] for row in rows)
        worst += [row for row in rows if row["correct"] / row["count"] == lowest]
    row = min(worst, key=lambda row: row["count"])
    return row["count"], _group(row, benchmark)


def with_interval(runs: Runs, metric: str, benchmark: Benchmark) -> str:
    """A metric's mean over seeds with its interval, such as `25.0% (95% interval 7.1% to 59.1%, 8 images: a/b)`."""
    value = cell(runs, metric)
    assert value is not None  # callers pass runs that were evaluated
    images = measured_images(runs, metric, benchmark)
    if images is None:
        return f"{value.mean:.1f}%"
    low, high = wilson(value.mean / 100, images[0])
    seeds = f", mean of {value.seeds} seeds" if value.seeds > 1 else ""
    return (
        f"{value.mean:.1f}% ({LEVEL:.0%} interval {100 * low:.1f}% to {100 * high:.1f}%, "
        f"{images[0]} images: {images[1]}{seeds})"
    )


def summarise(plan: Plan, evaluated: Mapping, name: str) -> list[str]:
    """Sentences about the first metric of a benchmark; empty if the Original has not been evaluated.

    Args:
        plan: the plan of the suite.
        evaluated: the evaluations.
        name: the benchmark.
    """
    benchmark = plan.params.active.benchmarks[name]
    metric = next(iter(benchmark.metrics))
    of = {run: runs for (other, run), runs in evaluated.items() if other == name and cell(runs, metric)}
    if "original" not in of:
        return []
    split = " and ".join(benchmark.metrics[metric].splits)
    sentences = [
        f"{metric}: {WORDS[benchmark.metrics[metric].kind].format(split)}. {_counts(of['original'], benchmark)}"
    ]
    sentences += fallen(plan, evaluated, name)
    sentences += gap_sentences(plan, evaluated, name)
    sentences.append(f"Original: {with_interval(of['original'], metric, benchmark)}.")
    if "erm" in of:
        sentences.append(f"ERM, trained further without guidance: {with_interval(of['erm'], metric, benchmark)}.")
    variants = [run for run in CRAYON if run in of]
    if not variants:
        return sentences
    chosen, how = choose(of, variants, benchmark)
    sentences.append(f"{naming(chosen)[0]}: {with_interval(of[chosen], metric, benchmark)}. {how}")
    return [*sentences, *_compared(of, metric, chosen, benchmark)]


def choose(of: Mapping[str, Runs], variants: list[str], benchmark: Benchmark) -> tuple[str, str]:
    """Choose the Crayon variant with the best selection metric after the last epoch, and write how it was chosen.

    Args:
        of: run -> its evaluations.
        variants: the runs to choose from, at least one.
        benchmark: the benchmark.

    Returns:
        The chosen run, and a sentence on the choice.
    """
    if len(variants) == 1:
        return variants[0], "It is the only Crayon variant that ran."
    split = benchmark.selection.splits[0]
    if any("validation" not in seed["last"] for run in variants for seed in of[run].values()):
        return variants[
            0
        ], "It is the first of those that ran: these evaluations were made by older code, which recorded no validation."
    scores = {run: statistics.fmean(seed["last"]["validation"] for seed in of[run].values()) for run in variants}
    best = max(scores.values())
    tied = [run for run in variants if scores[run] == best]
    how = f"Of {len(variants)} Crayon variants, it is the best on the split {split} ({best:.1f}%)"
    if len(tied) > 1:
        how = f"{', '.join(naming(run)[0] for run in tied)} are equally good on the split {split} ({best:.1f}%)"
        how += "; this is the first of them"
    if sentence := without_validation(benchmark):
        how += f". {sentence}"
    return tied[0], how + "."


def _compared(of: Mapping[str, Runs], metric: str, chosen: str, benchmark: Benchmark) -> list[str]:
    """Sentences that name the methods better than the chosen variant, and say if chance can explain a difference."""
    lower, label = benchmark.metrics[metric].lower_is_better, naming(chosen)[0]
    means = {run: value.mean for run, runs in of.items() if (value := cell(runs, metric))}
    rivals = sorted((run for run in means if run not in CRAYON), key=means.__getitem__, reverse=not lower)
    better = [run for run in rivals if (means[run] < means[chosen] if lower else means[run] > means[chosen])]
    if better:
        names = ", ".join(f"{naming(run)[0]} ({means[run]:.1f}%)" for run in better)
        sentences = [f"Better than {label}: {names}."]
    else:
        sentences = [f"No other method is better than {label}; the next best is {naming(rivals[0])[0]}."]
    if (images := measured_images(of[chosen], metric, benchmark)) is not None:
        low, high = wilson(means[chosen] / 100, images[0])
        if low <= means[rivals[0]] / 100 <= high:
            sentences.append(
                f"{naming(rivals[0])[0]}'s {means[rivals[0]]:.1f}% lies within {label}'s interval: {images[0]} images "
                "are too few to tell which is better."
            )
    return sentences


def _counts(runs: Runs, benchmark: Benchmark) -> str:
    """For each split on which accuracy is measured: its number of images, and the number in its smallest groups."""
    sentences = []
    for split, rows in next(iter(runs.values()))["last"]["splits"].items():
        ascending = sorted(rows, key=lambda row: row["count"])
        groups = listed([f"{_group(row, benchmark)} {row['count']}" for row in ascending], GROUPS)
        sentences.append(f"The split {split} has {sum(row['count'] for row in rows)} images ({groups}).")
    return " ".join(sentences)


def _group(row: Mapping[str, Any], benchmark: Benchmark) -> str:
    """The name of a row of metrics.json: `waterbird/land`, or the class alone if the benchmark has no groups."""
    return row["label"] if len(benchmark.groups) == 1 else f"{row['label']}/{row['group']}"


def next_steps(plan: Plan, evaluated: Mapping, name: str) -> list[str]:
    """Sentences on what to do next, for a benchmark of the user's own images; empty for other benchmarks.

    Args:
        plan: the plan of the suite.
        evaluated: the evaluations.
        name: the benchmark.
    """
    benchmark = plan.params.active.benchmarks[name]
    if benchmark.source["kind"] not in READ or "compose" in benchmark.source:
        return []
    of = {run: runs for (other, run), runs in evaluated.items() if other == name}
    metric = next(iter(benchmark.metrics))
    steps = []
    if len(benchmark.groups) == 1:
        steps.append(
            "Name groups (what tends to come with a class, such as the background), with `groups` in params.yaml: "
            "accuracy over all images hides a group on which the model fails."
        )
    if benchmark.annotation.source == "none":
        steps.append(
            "Answer about 100 maps: set `annotation: { source: people }` in params.yaml, then run "
            f"`crayon annotate {name} --kind attention`. Until then, no Crayon variant runs."
        )
    elif benchmark.annotation.source == "simulated":
        steps.append(
            "These answers are computed from masks. If people's answers are what you want to test, set "
            f"`annotation: {{ source: people }}` in params.yaml, then run `crayon annotate {name} --kind attention`."
        )
    if "original" in of and (images := measured_images(of["original"], metric, benchmark)) and images[0] < FEW:
        steps.append(
            f"Add test images of {images[1]}: with {images[0]}, one image changes {metric} by "
            f"{100 / images[0]:.1f} percentage points."
        )
    if any(run in of for run in CRAYON):
        steps.append(
            f"Change the weights alpha and beta of `methods.crayon_attention` in params.yaml, and compare on the split "
            f"{benchmark.selection.splits[0]}: the published weights in the suite `own` were chosen for Waterbirds."
        )
    return steps

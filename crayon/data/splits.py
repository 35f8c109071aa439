"""Names of splits in users' folders and tables, and classes and groups that have no image in a split."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches

from crayon.config.suite import Benchmark

SPLITS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
}
"""Name in a folder or table, in lower case -> name of the split."""


def split_named(name: str) -> str:
    """The split that a user's folder or table calls `name`, in upper or lower case; unknown names stay unchanged."""
    return SPLITS.get(name.lower(), name)


def no_split(name: str, present: Collection[str]) -> str:
    """The message that a split has no images: it names the existing splits, and how to get the missing one.

    Args:
        name: the split that has no images.
        present: the splits that have some.
    """
    lower = {split.lower(): split for split in present if split not in SPLITS.values()}
    near = [lower[match] for match in get_close_matches(name, lower, n=1, cutoff=0.5)]
    spellings = " or ".join(alias for alias, split in SPLITS.items() if split == name)
    remedy = (
        f"rename {near[0]} to {name}" if near else f"images of this split must be in one called {spellings or name}"
    )
    return f"There is no split {name!r}, only {', '.join(present)}; {remedy}."


def without_images(present: Collection[tuple[str, str]], classes: Sequence[str], groups: Sequence[str]) -> list[str]:
    """Names of the declared classes, groups, and class-group pairs that have no image in a split.

    Args:
        present: the (class, group) pairs of which the split has images.
        classes: names of all classes.
        groups: names of all groups.

    Returns:
        `the class A` and `the group B` for those without any image, and `A/B` for pairs that are missing although both
        their class and their group have images.
    """
    absent_classes = [name for name in classes if all((name, group) not in present for group in groups)]
    absent_groups = [name for name in groups if all((label, name) not in present for label in classes)]
    return [
        *(f"the class {name}" for name in absent_classes),
        *(f"the group {name}" for name in absent_groups if len(groups) > 1),
        *(
            f"{label}/{group}"
            for label in classes
            for group in groups
            if (label, group) not in present and label not in absent_classes and group not in absent_groups
        ),
    ]


def gaps(present: Mapping[str, Collection[tuple[str, str]]], benchmark: Benchmark) -> list[str]:
    """For each split that lacks images of a declared class, group, or pair of both, write a sentence that names these.

    Args:
        present: split -> the (class, group) pairs of which it has images.
        benchmark: params of the benchmark. The sentence also names its metrics on this split.
    """
    metrics = {"the selection of the best epoch": benchmark.selection, **benchmark.metrics}
    groups = benchmark.groups if any(metric.by_group for metric in metrics.values()) else ("",)
    sentences = []
    for split, pairs in present.items():
        if groups == ("",):  # no metric distinguishes groups, so that only classes can be missing
            pairs = {(label, "") for label, _ in pairs}
        if missing := without_images(pairs, benchmark.classes, groups):
            readers = [key for key, metric in metrics.items() if split in metric.splits]
            them = "it" if len(missing) == 1 else "them"
            effect = f", so {' and '.join(readers)} cannot include {them}" if readers else ""
            sentences.append(f"{split} has no image of {', '.join(missing)}{effect}.")
    return sentences


def without_validation(benchmark: Benchmark) -> str | None:
    """Say that a benchmark's selection metric is not measured on a split of its own; None if it is.

    Args:
        benchmark: params of the benchmark.
    """
    split = benchmark.selection.splits[0]
    if any(split in metric.splits for metric in benchmark.metrics.values()):
        return "There is no separate validation split: the choice used the metric's images, so its value is too good"
    return "There is no validation split: the choice used the training images" if split == "train" else None

"""How well annotators agree, and whether one of them can have looked at the pictures at all."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from math import sqrt
from statistics import median
from typing import Any

import numpy as np

from crayon.annotations.answers import Answer
from crayon.annotations.io.spreadsheet import harmless
from crayon.annotations.vocabulary import ANSWERS

ENOUGH = 20
"""The fewest answers by which an annotator is judged."""

SLIGHT = 0.2
"""A kappa below it is no more than slight agreement (Landis and Koch, Biometrics 1977)."""


def agreement(answers: Sequence[Answer]) -> dict[str, float | None]:
    """Agreement on the items that several answered, of the three answers as nominal categories.

    Returns:
        agreement: share of these items on which all say the same. kappa: Cohen's, where there are two annotators.
        alpha: Krippendorff's, for any number of them, each item by whoever answered it. None where it is not defined:
        no item has two answers, or (kappa, alpha) all answers are the same.
    """
    of_item = defaultdict(list)
    for answer in answers:
        of_item[answer.item].append(answer)
    several = [said for said in of_item.values() if len(said) > 1]
    words = [[answer.answer for answer in said] for said in several]
    annotators = sorted({answer.annotator for answer in answers})
    kappa = None
    if len(annotators) == 2:
        pairs = [sorted(said, key=lambda answer: answer.annotator) for said in several]
        kappa = _kappa([pair[0].answer for pair in pairs], [pair[1].answer for pair in pairs])
    return {
        "agreement": sum(len(set(said)) == 1 for said in words) / len(words) if words else None,
        "kappa": kappa,
        "alpha": _alpha(words),
    }


def _kappa(one: Sequence[str], other: Sequence[str]) -> float | None:
    if len({*one, *other}) < 2:
        return None
    from sklearn.metrics import cohen_kappa_score

    return float(cohen_kappa_score(one, other))


def _alpha(words: Sequence[Sequence[str]]) -> float | None:
    if len({word for said in words for word in said}) < 2:
        return None
    import krippendorff

    counts = np.array([[said.count(word) for word in ANSWERS] for said in words])
    return float(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))


@dataclass(frozen=True, kw_only=True)
class Annotator:
    """What can be said of one annotator.

    Attributes:
        annotator: the name.
        answers: how many.
        seconds: their median, or None if no time was taken down.
        yes: share of yes among the answers.
        unsure: share of unsure.
        shared: answers to items that others answered, too.
        agrees: share of `shared` that is what most of the others say (of a tie of theirs, half); None without any.
        remark: why the answers should be looked at, or empty.
    """

    annotator: str
    answers: int
    seconds: float | None
    yes: float
    unsure: float
    shared: int
    agrees: float | None
    remark: str


COLUMNS = tuple(field.name for field in fields(Annotator))


def by_annotator(answers: Sequence[Answer]) -> list[Annotator]:
    """Each annotator's numbers, by name.

    A remark is made of who gave one and the same answer throughout, though others did not to these items, and of who
    agrees with the others no better than chance: the 95% upper bound of Cohen's kappa with their majority is below
    `SLIGHT`. Of two who do not agree with each other, both are named: it cannot be known which of them looked.
    """
    of_item: dict[str, Counter[str]] = defaultdict(Counter)
    of_annotator: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        of_item[answer.item][answer.answer] += 1
        of_annotator[answer.annotator].append(answer)
    found = []
    for name, own in sorted(of_annotator.items()):
        said = Counter(answer.answer for answer in own)
        pairs = []
        for answer in own:
            said_here = of_item[answer.item]
            if said_here.total() > 1:
                pairs.append((answer.answer, _majority(said_here, answer.answer)))
        agrees = sum(_hit(word, most) for word, most in pairs) / len(pairs) if pairs else None
        times = [float(answer.seconds) for answer in own if answer.seconds]
        found.append(
            Annotator(
                annotator=name,
                answers=len(own),
                seconds=median(times) if times else None,
                yes=said["yes"] / len(own),
                unsure=said["unsure"] / len(own),
                shared=len(pairs),
                agrees=agrees,
                remark=_remark(said, pairs),
            )
        )
    return found


def _majority(counts: Counter[str], own: str) -> tuple[str, ...]:
    """The most frequent answers of the others, one or those that tie; `counts` are of all, `own` among them."""
    others = {word: count - (word == own) for word, count in counts.items()}
    most = max(others.values())
    return tuple(word for word in ANSWERS if others.get(word, 0) == most)


def _hit(word: str, most: tuple[str, ...]) -> float:
    return 1 / len(most) if word in most else 0.0


def _remark(said: Counter[str], pairs: Sequence[tuple[str, tuple[str, ...]]]) -> str:
    count = said.total()
    if count < ENOUGH:
        return ""
    only = next(iter(said)) if len(said) == 1 else None
    if only and not (pairs and all(most == (only,) for _, most in pairs)):
        return f"{only} throughout"
    if len(pairs) < ENOUGH or only:
        return ""
    # Cohen's kappa with the others' majority, a tie of theirs counting in parts, and its asymptotic standard error
    n = len(pairs)
    observed = sum(_hit(word, most) for word, most in pairs) / n
    own, others = Counter(word for word, _ in pairs), Counter()
    for _, most in pairs:
        for word in most:
            others[word] += 1 / len(most)
    chance = sum(own[word] * others[word] for word in ANSWERS) / n**2
    if chance == 1:
        return ""
    kappa = (observed - chance) / (1 - chance)
    error = sqrt(observed * (1 - observed) / n) / (1 - chance)
    return f"agrees no better than chance (kappa {kappa:.2f})" if kappa + 1.96 * error < SLIGHT else ""


def as_rows(annotators: Sequence[Annotator]) -> list[list[Any]]:
    """A row an annotator in the order of `COLUMNS`, shares rounded to four digits."""

    def cell(value: Any) -> Any:
        if isinstance(value, str):
            return harmless(value)
        return "" if value is None else round(value, 4) if isinstance(value, float) else value

    return [[cell(value) for value in astuple(one)] for one in annotators]

"""Inter-annotator agreement, and checks for annotators who answer without looking."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from math import sqrt
from statistics import median
from typing import Any

import numpy as np

from crayon.annotations.answers import Answer
from crayon.annotations.gold import OnGold
from crayon.annotations.io.spreadsheet import harmless
from crayon.annotations.truth import ErrorRates
from crayon.annotations.vocabulary import ANSWERS

ENOUGH = 20
"""Number of answers below which an annotator gets no remark."""

SLIGHT = 0.2
"""A kappa below this is at most slight agreement (Landis and Koch, Biometrics 1977)."""


def agreement(answers: Sequence[Answer]) -> dict[str, float | None]:
    """Agreement on the items with several answers; yes, no and unsure are nominal categories.

    Returns:
        `agreement`: share of these items with equal answers. `kappa`: Cohen's kappa, if there are exactly two
        annotators. `alpha`: Krippendorff's alpha, for any number of annotators. A value is None where it is undefined:
        all three if no item has two answers; kappa and alpha also if all answers are the same.
    """
    of_item = defaultdict(list)
    for answer in answers:
        of_item[answer.item].append(answer)
    shared = [own for own in of_item.values() if len(own) > 1]
    words = [[answer.answer for answer in own] for own in shared]
    annotators = sorted({answer.annotator for answer in answers})
    kappa = None
    if len(annotators) == 2:
        pairs = [sorted(own, key=lambda answer: answer.annotator) for own in shared]
        kappa = _kappa([pair[0].answer for pair in pairs], [pair[1].answer for pair in pairs])
    return {
        "agreement": sum(len(set(own)) == 1 for own in words) / len(words) if words else None,
        "kappa": kappa,
        "alpha": _alpha(words),
    }


def _kappa(one: Sequence[str], other: Sequence[str]) -> float | None:
    """Cohen's kappa of two annotators' answers to the same items."""
    if len({*one, *other}) < 2:
        return None
    from sklearn.metrics import cohen_kappa_score

    return float(cohen_kappa_score(one, other))


def _alpha(words: Sequence[Sequence[str]]) -> float | None:
    """Krippendorff's alpha of the answers to each item."""
    if len({word for own in words for word in own}) < 2:
        return None
    import krippendorff

    counts = np.array([[own.count(word) for word in ANSWERS] for own in words])
    return float(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))


@dataclass(frozen=True, kw_only=True)
class Annotator:
    """Statistics of one annotator.

    Attributes:
        annotator: the name.
        answers: number of answers.
        seconds: median time of an answer, or None if no time was recorded.
        yes: share of yes among the answers.
        unsure: share of unsure among the answers.
        shared: number of this annotator's answers to items that other annotators answered as well.
        agrees: share of these `shared` answers that equal the majority of the other annotators. If k answers tie for
            the majority, an answer equal to one of them counts 1/k. None if `shared` is 0.
        wrong_if_yes: estimated share of wrong answers where yes is right; None if it was not estimated.
        wrong_if_no: the same where no is right.
        gold: number of yes and no to gold items.
        gold_right: how many of these are right.
        gold_low, gold_high: the 95% interval of this share; None if `gold` is 0.
        remark: why the answers should be checked, or empty.
    """

    annotator: str
    answers: int
    seconds: float | None
    yes: float
    unsure: float
    shared: int
    agrees: float | None
    wrong_if_yes: float | None
    wrong_if_no: float | None
    gold: int
    gold_right: int
    gold_low: float | None
    gold_high: float | None
    remark: str


COLUMNS = tuple(field.name for field in fields(Annotator))


def by_annotator(
    answers: Sequence[Answer],
    errors: Mapping[str, ErrorRates] | None = None,
    gold: Mapping[str, OnGold] | None = None,
) -> list[Annotator]:
    """Statistics of each annotator, sorted by name.

    An annotator who is not shown to do better than chance on gold items gets a remark. With at least `ENOUGH` answers,
    an annotator also gets a remark in two cases:

    - All their answers are the same, and nothing shows that this is right: either nobody else answered these items, or
      the others' majority differs for some of them.
    - They agree with the others no better than chance: the upper 95% bound of Cohen's kappa with the others' majority
      is below `SLIGHT`. If there are only two annotators, both get this remark.

    Args:
        answers: answers of all annotators.
        errors: annotator -> estimated error rates, see `crayon.annotations.truth`.
        gold: annotator -> answers to gold items, see `crayon.annotations.gold`.
    """
    of_item: dict[str, Counter[str]] = defaultdict(Counter)
    of_annotator: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        of_item[answer.item][answer.answer] += 1
        of_annotator[answer.annotator].append(answer)
    annotators = []
    for name, own in sorted(of_annotator.items()):
        counts = Counter(answer.answer for answer in own)
        pairs = []
        for answer in own:
            item_counts = of_item[answer.item]
            if item_counts.total() > 1:
                pairs.append((answer.answer, _majority(item_counts, answer.answer)))
        agrees = sum(_hit(word, most) for word, most in pairs) / len(pairs) if pairs else None
        times = [float(answer.seconds) for answer in own if answer.seconds]
        rates, known = (errors or {}).get(name), (gold or {}).get(name)
        remarks = [_remark(counts, pairs), known.remark if known is not None else ""]
        annotators.append(
            Annotator(
                annotator=name,
                answers=len(own),
                seconds=median(times) if times else None,
                yes=counts["yes"] / len(own),
                unsure=counts["unsure"] / len(own),
                shared=len(pairs),
                agrees=agrees,
                wrong_if_yes=rates.if_yes if rates is not None else None,
                wrong_if_no=rates.if_no if rates is not None else None,
                gold=known.answers if known is not None else 0,
                gold_right=known.right if known is not None else 0,
                gold_low=known.low if known is not None else None,
                gold_high=known.high if known is not None else None,
                remark="; ".join(filter(None, remarks)),
            )
        )
    return annotators


def _majority(counts: Counter[str], own: str) -> tuple[str, ...]:
    """The most frequent answers of the other annotators; several if they tie. `counts` includes the `own` answer."""
    others = {word: count - (word == own) for word, count in counts.items()}
    most = max(others.values())
    return tuple(word for word in ANSWERS if others.get(word, 0) == most)


def _hit(word: str, most: tuple[str, ...]) -> float:
    """How much an answer agrees with the majority: 1/k if it is one of k tied answers, else 0."""
    return 1 / len(most) if word in most else 0.0


def _remark(counts: Counter[str], pairs: Sequence[tuple[str, tuple[str, ...]]]) -> str:
    """The remark on an annotator, from the counts of the answers and the pairs (own answer, others' majority)."""
    if counts.total() < ENOUGH:
        return ""
    only = next(iter(counts)) if len(counts) == 1 else None
    if only and not (pairs and all(most == (only,) for _, most in pairs)):
        return f"{only} throughout"
    if len(pairs) < ENOUGH or only:
        return ""
    # Cohen's kappa with the others' majority, each of k tied answers counting 1/k, and its asymptotic standard error
    n = len(pairs)
    observed = sum(_hit(word, most) for word, most in pairs) / n
    own = Counter(word for word, _ in pairs)
    others: defaultdict[str, float] = defaultdict(float)
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
    """One row per annotator, with the columns of `COLUMNS`; shares are rounded to four digits."""

    def cell(value: Any) -> Any:
        if isinstance(value, str):
            return harmless(value)
        return "" if value is None else round(value, 4) if isinstance(value, float) else value

    return [[cell(value) for value in astuple(one)] for one in annotators]

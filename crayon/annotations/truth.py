"""Truth inference: the probable true answer to each item, and each annotator's error rates, from the answers alone.

Both models assume that an annotator errs independently of the others, with rates that are the same for all items. They
are fitted by expectation-maximisation (EM), which begins with the votes.

- `dawid_skene`: two error rates an annotator, one where yes is right and one where no is (Dawid and Skene, Applied
  Statistics 1979).
- `one_coin`: one error rate an annotator (Zhang, Chen, Zhou and Jordan, JMLR 2016, Sec. 2).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from crayon.annotations.answers import Answer

FEWEST = 3
"""Annotators without whom nothing can be inferred: the disagreements of two do not show which of them errs."""


@dataclass(frozen=True, kw_only=True)
class ErrorRates:
    """The estimated error rates of one annotator.

    Attributes:
        if_yes: share of wrong answers where yes is right.
        if_no: share of wrong answers where no is right.
    """

    if_yes: float
    if_no: float


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What was inferred.

    Attributes:
        yes: item -> the probability that yes is right.
        errors: annotator -> error rates.
        iterations: number of EM's iterations.
    """

    yes: dict[str, float]
    errors: dict[str, ErrorRates]
    iterations: int


def infer(
    answers: Iterable[Answer],
    model: str,
    smoothing: float = 1.0,
    tolerance: float = 1e-6,
    iterations: int = 1000,
) -> Truth:
    """Infer true answers and error rates.

    `unsure` is no evidence for yes or for no: such answers, and items and annotators without others, are left out.

    Args:
        answers: answers of all annotators, in any order.
        model: `dawid_skene` or `one_coin`, see the module.
        smoothing: is added to each count of right and wrong answers, and of items (a Dirichlet prior), so that an
            annotator with few answers does not count as faultless. 0 gives the maximum of the likelihood.
        tolerance: EM ends when no probability of an item changes by more.
        iterations: largest number of iterations.
    """
    used = sorted({(one.item, one.annotator, one.answer) for one in answers if one.answer != "unsure"})
    if not used:
        return Truth(yes={}, errors={}, iterations=0)
    items, item = np.unique([item for item, _, _ in used], return_inverse=True)
    annotators, annotator = np.unique([name for _, name, _ in used], return_inverse=True)
    said = np.array([word == "yes" for _, _, word in used], np.int64)  # (n,) 1 is yes
    votes = np.bincount(item, said) / np.bincount(item)
    posterior, done, change = np.stack([1 - votes, votes], 1), 0, np.inf  # (items, 2), of no and of yes
    while True:
        rates = _rates(posterior[item], annotator, said, len(annotators), model, smoothing)
        if done == iterations or change <= tolerance:
            break
        prior = _shares(posterior.sum(0), smoothing)
        evidence = np.log(rates)[annotator, :, said]  # (n, 2), of each answer
        likelihood = np.stack([np.bincount(item, column) for column in evidence.T], 1) + np.log(prior)
        likelihood = np.exp(likelihood - likelihood.max(1, keepdims=True))
        before, posterior = posterior, likelihood / likelihood.sum(1, keepdims=True)
        done, change = done + 1, np.abs(posterior - before).max()
    errors = {
        name: ErrorRates(if_yes=float(rate[1, 0]), if_no=float(rate[0, 1]))
        for name, rate in zip(annotators.tolist(), rates, strict=True)
    }
    return Truth(yes=dict(zip(items.tolist(), posterior[:, 1].tolist(), strict=True)), errors=errors, iterations=done)


def _rates(
    posterior: np.ndarray, annotator: np.ndarray, said: np.ndarray, annotators: int, model: str, smoothing: float
) -> np.ndarray:
    """How probable an annotator's answers are: (annotators, 2, 2), by the truth, then by the answer; no is 0, yes is 1.

    Args:
        posterior: (n, 2) float64, the probabilities of no and of yes for the item of each answer.
        annotator: (n,) int64, who gave the answer.
        said: (n,) int64, the answer.
        annotators: number of annotators.
        model, smoothing: see `infer`.
    """
    cell = 2 * annotator + said
    counts = np.stack([np.bincount(cell, column, 2 * annotators).reshape(-1, 2) for column in posterior.T], 1)
    if model == "one_coin":
        right = counts[:, 0, 0] + counts[:, 1, 1]
        wrong = counts[:, 0, 1] + counts[:, 1, 0]
        counts = np.stack([right, wrong, wrong, right], 1).reshape(-1, 2, 2)
    return _shares(counts, smoothing)


def _shares(counts: np.ndarray, smoothing: float) -> np.ndarray:
    """Counts (..., k), each plus `smoothing`, as shares of their sums over k; none is 0, since logarithms follow."""
    more = np.maximum(counts + smoothing, 1e-10)
    return more / more.sum(-1, keepdims=True)

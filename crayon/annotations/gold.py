"""Gold items: items whose right answers are known, and how often each annotator gives these.

Gold items measure annotators. They neither set labels nor take part in the inference of the truth.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from math import hypot
from pathlib import Path

from crayon.annotations.answers import Answer, short, unknown_item, unknown_word
from crayon.annotations.vocabulary import meaning
from crayon.utils.errors import AnnotationError
from crayon.utils.intervals import wilson
from crayon.utils.tables import read_csv

COLUMNS = ("item", "answer")


def read_gold(path: str | Path, items: Collection[str]) -> dict[str, str]:
    """Read a CSV file of gold items.

    Args:
        path: a file with the columns `item` and `answer`; an answer is any word for yes or for no.
        items: the items of the benchmark.

    Returns:
        Item -> yes or no.

    Raises:
        AnnotationError: the file is malformed, an item is unknown or repeated, or an answer is neither yes nor no.
    """
    gold: dict[str, str] = {}
    known = set(items)
    for row in read_csv(path, COLUMNS, AnnotationError, optional=()):
        item, word, where = row["item"], row["answer"], f"{path}, line {row.line}"
        if item not in known:
            raise AnnotationError(f"{where}: {unknown_item(item, known)}")
        if item in gold:
            raise AnnotationError(f"{where}: the item {short(item)} occurs twice; keep one.")
        answer = meaning(word)
        if answer is None:
            raise AnnotationError(f"{where}: {unknown_word(word)}")
        if answer == "unsure":
            raise AnnotationError(
                f"{where}: the answer is {short(word)}, but the right answer to a gold item is yes or no; correct it, "
                "or remove the item."
            )
        gold[item] = answer
    if not gold:
        raise AnnotationError(f"{path}: holds no gold item; add some, or remove the file from params.yaml.")
    return gold


@dataclass(frozen=True, kw_only=True)
class OnGold:
    """The answers of one annotator to gold items; `unsure` does not count.

    Attributes:
        answers: number of yes and no.
        right: how many of them are right.
        low, high: the 95% interval of the accuracy (Wilson, JASA 1927).
        lead: the share of yes where yes is right, less the share of yes where no is right. It is 0 on average for
            answers that do not depend on the items, such as those of a coin, or yes throughout, however many gold items
            have the answer yes. None if only one of the two words is right.
        lead_low: the lower end of its 95% interval (Newcombe, Statistics in Medicine 1998, method 10).
        fails: whether the annotator is not shown to beat chance: `lead_low` is not above 0, although it would be if all
            answers were right.
    """

    answers: int
    right: int
    low: float
    high: float
    lead: float | None
    lead_low: float | None
    fails: bool

    @property
    def remark(self) -> str:
        """The remark on the annotator; empty if the answers are better than chance, or too few to show it."""
        return f"not shown to beat chance on gold items ({self.right} of {self.answers} right)" if self.fails else ""


def on_gold(answers: Iterable[Answer], gold: Mapping[str, str]) -> dict[str, OnGold]:
    """Compare answers with those to the gold items.

    Args:
        answers: answers of all annotators.
        gold: item -> yes or no.

    Returns:
        Annotator -> result, sorted by name, for those who said yes or no to a gold item.
    """
    pairs = defaultdict(list)
    for one in answers:
        if one.item in gold and one.answer != "unsure":
            pairs[one.annotator].append((one.answer == "yes", gold[one.item] == "yes"))
    return {annotator: _on_gold(pairs[annotator]) for annotator in sorted(pairs)}


def _on_gold(pairs: list[tuple[bool, bool]]) -> OnGold:
    """The result for pairs of an answer and the right answer, each True for yes."""
    right = sum(given == true for given, true in pairs)
    low, high = wilson(right / len(pairs), len(pairs))
    given_where = {word: [given for given, true in pairs if true == word] for word in (True, False)}
    positive, negative = len(given_where[True]), len(given_where[False])
    lead = lead_low = None
    fails = False
    if positive and negative:
        lead, lead_low = _lead(sum(given_where[True]), positive, sum(given_where[False]), negative)
        fails = lead_low <= 0 < _lead(positive, positive, 0, negative)[1]
    return OnGold(answers=len(pairs), right=right, low=low, high=high, lead=lead, lead_low=lead_low, fails=fails)


def _lead(yes: int, of: int, other_yes: int, other_of: int) -> tuple[float, float]:
    """The difference of two shares of yes, and the lower end of its interval, from Wilson's interval of each share."""
    share, other = yes / of, other_yes / other_of
    below, above = share - wilson(share, of)[0], wilson(other, other_of)[1] - other
    return share - other, share - other - hypot(below, above)

"""The overview for the operator: who answered how much and how fast, how well they agree, what is left, and notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from crayon.annotations.agreement import agreement, by_annotator
from crayon.annotations.answers import Answer
from crayon.annotations.gold import on_gold
from crayon.annotations.grouping import together
from crayon.annotations.ui.session import Page


def overview(page: Page) -> dict[str, Any]:
    """Summarise the answers in the file, as JSON.

    Returns:
        `title`, `of`; `items`: their number; `wanted`: answers that each needs; `enough`: items with so many;
        `unanswered`: items without any; `answers`: their number; `agreement`, `kappa`, `alpha`: see
        `crayon.annotations.agreement.agreement`; `groups`: see `crayon.annotations.grouping.Together`; `annotators`:
        the attributes of `crayon.annotations.agreement.Annotator`, with `left` (items not yet answered), `per_minute`
        (answers for each minute on screen) and `last` (time of the last answer); `notes`; `next`: what to do next.
    """
    answers, items = page.store.answers(), page.item_set.items
    per_item = Counter(answer.item for answer in answers if answer.item in items)
    gold = on_gold(answers, page.gold)
    return {
        "title": page.title,
        "of": page.of,
        "items": len(items),
        "wanted": page.wanted,
        "enough": sum(count >= page.wanted for count in per_item.values()),
        "unanswered": len(items) - len(per_item),
        "answers": len(answers),
        **agreement(answers),
        "groups": asdict(together(answers)),
        "annotators": [
            asdict(one) | _speed([answer for answer in answers if answer.annotator == one.annotator], page)
            for one in by_annotator(answers, gold=gold)
        ],
        "notes": [note._asdict() for note in page.notes.all()],
        "next": page.next_step(),
    }


def _speed(answers: Sequence[Answer], page: Page) -> dict[str, Any]:
    """`left`, `per_minute` and `last` of one annotator's answers."""
    timed = [float(answer.seconds) for answer in answers if answer.seconds]
    return {
        "left": len(page.item_set.items) - sum(answer.item in page.item_set.items for answer in answers),
        "per_minute": 60 * len(timed) / sum(timed) if sum(timed) > 0 else None,
        "last": max((answer.timestamp for answer in answers), default=""),
    }

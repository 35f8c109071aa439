"""State of the annotation page: its items, its annotators and their item orders, and the store of answers."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from starlette.exceptions import HTTPException

from crayon.annotations.answers import Answer
from crayon.annotations.grouping import in_groups
from crayon.annotations.sampling import Order
from crayon.annotations.ui import examples
from crayon.annotations.ui.csv_rows import INTERFACE
from crayon.annotations.ui.images import Pictures
from crayon.annotations.ui.items import ItemSet
from crayon.annotations.ui.notes import Notes, beside
from crayon.annotations.ui.store import SOURCE, Store
from crayon.utils.log import report
from crayon.utils.text import unknown

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}")
"""Pattern of valid names of annotators."""

NAMED = "A name has up to 64 characters out of a-z, A-Z, 0-9, _ . and -, and begins with a letter or a digit."
SESSIONS = 256
"""How many sessions are cached; older ones are computed again when needed."""


@dataclass(frozen=True)
class Session:
    """An annotator's session.

    Attributes:
        annotator: the name.
        order: all items, in the annotator's order.
        sizes: numbers of consecutive items that are shown together; empty if items are shown one by one.
        shown: sha256 of the items in this order, with questions, views and maps. It detects browser tabs that were
            opened before the server was restarted with other items.
    """

    annotator: str
    order: list[str]
    sizes: list[int]
    shown: str
    history: list[dict[str, Answer | None]] = field(default_factory=list)
    """For each step that can be undone, the earliest first: item -> the answer before it, or None."""
    writing: threading.Lock = field(default_factory=threading.Lock)


def about(title: str, item_set: ItemSet, annotators: Sequence[str], shortest: float) -> dict[str, Any]:
    """Title, question and annotators, as JSON for the start of the page; for the arguments, see `Page`."""
    return {
        "title": title,
        "kind": item_set.kind,
        "views": list(item_set.views),
        "question": next(iter(item_set.items.values())).question,
        "annotators": list(annotators),
        "named": NAMED,
        "pattern": NAME.pattern,
        "shortest": shortest,
    }


def arranged(
    item_set: ItemSet, order: Order, annotator: str, group_of: Mapping[str, str] | None
) -> tuple[list[str], list[int]]:
    """`Session.order` and `Session.sizes` of an annotator; for the arguments, see `Page`."""
    items = order(list(item_set.items), annotator)
    if group_of is None:
        return items, []
    groups = in_groups(items, group_of)
    return [item for group in groups for item in group], [len(group) for group in groups]


def shown_as(of: str, item_set: ItemSet, order: Sequence[str], sizes: Sequence[int]) -> str:
    """The digest `Session.shown` for an order of the items."""
    questions = [(item, item_set.items[item].question) for item in order]
    content = json.dumps([INTERFACE, of, item_set.digest, list(item_set.views), questions, sizes])
    return hashlib.sha256(content.encode()).hexdigest()


class Rounds(Protocol):
    """What asks for further items when all items so far have been answered, see `crayon.pipeline.steps.live_rounds`.

    Attributes:
        choosing: whether the next items are being chosen.
        failed: whether choosing them failed.
        ended: whether all items have been asked about.
        told: what the operator has to know, as lines.
    """

    choosing: bool
    failed: bool
    ended: bool
    told: list[str]

    def answered(self, page: Page) -> None:
        """Is called after each answer."""


@dataclass
class Page:
    """State of the annotation page.

    Attributes:
        item_set: the items to annotate.
        store: the file of answers.
        title: title of the benchmark.
        annotators: names of the annotators; empty: anyone may choose a name.
        order: function from all items and an annotator's name to this annotator's order.
        of: the suite, benchmark and kind that are annotated, as text.
        commands: commands for the operator to run when there are enough answers; they are printed and shown on the
            overview, never on the annotators' page.
        wanted: number of annotators that each item needs.
        goal: number of answers by one annotator that are enough for a first try; 0: no goal.
        shortest: seconds that a screen must have been shown before an answer is accepted.
        gold: gold item -> yes or no.
        group_of: item -> name of its group, whose items are shown together; None: items are shown one by one.
        rounds: asks for further items when all are answered; None if `order` gives all items from the start.
        sessions: cache, annotator -> session.
    """

    item_set: ItemSet
    store: Store
    title: str
    annotators: Sequence[str]
    order: Order
    of: str
    commands: Sequence[str] = ()
    wanted: int = 1
    goal: int = 0
    shortest: float = 0.0
    gold: Mapping[str, str] = field(default_factory=dict)
    group_of: Mapping[str, str] | None = None
    rounds: Rounds | None = None
    sessions: dict[str, Session] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pictures = Pictures(self.item_set)
        self.notes = Notes(beside(self.item_set.answers), self.item_set.known)
        self.examples = examples.names(self.item_set.views)

    def session(self, annotator: str) -> Session:
        """The session of an annotator.

        Raises:
            HTTPException: the name is not allowed.
        """
        if annotator not in self.sessions:
            if not NAME.fullmatch(annotator):
                raise HTTPException(400, NAMED)
            if self.annotators and annotator not in self.annotators:
                raise HTTPException(403, unknown("annotator", annotator, self.annotators))
            if (why := self.store.refuse(annotator)) is not None:
                raise HTTPException(403, why)
            order, sizes = arranged(self.item_set, self.order, annotator, self.group_of)
            session = Session(annotator, order, sizes, shown_as(self.of, self.item_set, order, sizes))
            while len(self.sessions) >= SESSIONS:
                self.sessions.pop(next(iter(self.sessions)), None)
            return self.sessions.setdefault(annotator, session)  # another thread may have been faster
        return self.sessions[annotator]

    def goal_of(self, session: Session) -> int:
        """The annotator's goal; 0 if there is none, or if it is not below the number of items."""
        return self.goal if self.goal < len(session.order) else 0

    def next_step(self) -> str:
        """What the operator has to do next."""
        lacking = self.wanted - len(self.store.counts())
        if lacking > 0:
            people = "1 more person has" if lacking == 1 else f"{lacking} more people have"
            return f"Next: {people} to answer, since each item needs {self.wanted} answers (consensus.minimum_answers)."
        if self.rounds is not None:
            return self.rounds.told[-1]
        return "Next, when enough is answered: " + ", then ".join(f"`{command}`" for command in self.commands) + "."

    def give(self, session: Session, answers: Mapping[str, str], seconds: float) -> None:
        """Write answers to disk, and tell the operator if the annotator has now reached the goal or the last item.

        Args:
            session: the annotator's session.
            answers: item -> yes, no or unsure; the items were shown together.
            seconds: time taken for all of them.
        """
        with session.writing:
            count = self._count(session)
            timestamp = datetime.now(UTC).isoformat(timespec="seconds")
            before = self.store.change(
                session.annotator,
                {
                    item: Answer(
                        item=item,
                        annotator=session.annotator,
                        answer=answer,
                        seconds=f"{abs(seconds) / len(answers):.2f}",
                        timestamp=timestamp,
                        source=SOURCE,
                        interface=INTERFACE,
                        digest=self.item_set.digest,
                        given=self._given(item, len(answers)),
                    )
                    for item, answer in answers.items()
                },
            )
            if before:
                session.history.append(before)
            self._report_progress(session, count)
        if self.rounds is not None:
            self.rounds.answered(self)

    def _given(self, item: str, together: int) -> str:
        """The column `given`: the item's group, and how many answers were given with one key; empty without groups."""
        if self.group_of is None:
            return ""
        return json.dumps({"group": self.group_of[item]} | ({"together": together} if together > 1 else {}))

    def undo(self, session: Session) -> list[str]:
        """Restore the answers, or their absence, before the session's last step that was not undone yet.

        Returns:
            The items of this step; empty if there is none.
        """
        with session.writing:
            if not session.history:
                return []
            before = session.history[-1]
            restored = self.store.change(session.annotator, before)
            self.store.given -= 2 * len(restored)  # `change` has counted them once more
            session.history.pop()
            return list(before)

    def _count(self, session: Session) -> int:
        """How many of the items the annotator has answered."""
        given = self.store.answers_of(session.annotator)
        return sum(item in given for item in session.order)

    def _report_progress(self, session: Session, before: int) -> None:
        """Tell the operator if the annotator reached the goal or the last item since `before` items were answered."""
        count, total, goal = self._count(session), len(session.order), self.goal_of(session)
        if count == before:
            return
        if count == total:
            report(f"{session.annotator} has answered all {total:,} items. {self.next_step()}")
        elif before < goal <= count:
            report(
                f"{session.annotator} has answered {count:,} of {total:,} items, enough for a first try. "
                f"{self.next_step()}"
            )

"""State of the annotation page: its items, its annotators and their item orders, and the store of answers."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from starlette.exceptions import HTTPException

from crayon.annotations.answers import Answer
from crayon.annotations.sampling import Order
from crayon.annotations.ui import examples
from crayon.annotations.ui.csv_rows import INTERFACE
from crayon.annotations.ui.images import Pictures
from crayon.annotations.ui.items import ItemSet
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
        shown: sha256 of the items in this order, with questions, views and maps. It detects browser tabs that were
            opened before the server was restarted with other items.
    """

    annotator: str
    order: list[str]
    shown: str


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
        commands: commands for the operator to run when there are enough answers; they are printed, never sent to a
            browser.
        wanted: number of annotators that each item needs.
        goal: number of answers by one annotator that are enough for a first try; 0: no goal.
        shortest: seconds that an item must have been on screen before an answer to it is accepted.
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
    sessions: dict[str, Session] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pictures = Pictures(self.item_set)
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
            order = self.order(list(self.item_set.items), annotator)
            session = Session(annotator, order, self._shown(order))
            while len(self.sessions) >= SESSIONS:
                self.sessions.pop(next(iter(self.sessions)), None)
            self.sessions[annotator] = session
            return session
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
        return "Next, when enough is answered: " + ", then ".join(f"`{command}`" for command in self.commands) + "."

    def _shown(self, order: Sequence[str]) -> str:
        """The digest `Session.shown` for an order of the items."""
        item_set = self.item_set
        questions = [(item, item_set.items[item].question) for item in order]
        content = json.dumps([INTERFACE, self.of, item_set.digest, list(item_set.views), questions])
        return hashlib.sha256(content.encode()).hexdigest()

    def give(self, session: Session, item: str, answer: str, seconds: float) -> None:
        """Write an answer to disk, and tell the operator if the annotator has now reached the goal or the last item.

        Args:
            session: the annotator's session.
            item: name of the item.
            answer: yes, no or unsure.
            seconds: time taken.
        """
        is_first = self.store.give(
            Answer(
                item=item,
                annotator=session.annotator,
                answer=answer,
                seconds=f"{abs(seconds):.2f}",
                timestamp=datetime.now(UTC).isoformat(timespec="seconds"),
                source=SOURCE,
                interface=INTERFACE,
                digest=self.item_set.digest,
            )
        )
        if is_first:
            self._report_progress(session)

    def _report_progress(self, session: Session) -> None:
        given, total = self.store.answers_of(session.annotator), len(session.order)
        count = sum(item in given for item in session.order)
        if count == total:
            report(f"{session.annotator} has answered all {total:,} items. {self.next_step()}")
        elif count == self.goal_of(session):
            report(
                f"{session.annotator} has answered {count:,} of {total:,} items, enough for a first try. "
                f"{self.next_step()}"
            )

"""What the server knows: what is asked, who answers in which order, and where the answers go."""

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
from crayon.annotations.ui.items import Asked
from crayon.annotations.ui.store import SOURCE, Store
from crayon.utils.text import unknown

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}")
"""What an annotator may be called."""

NAMED = "A name is up to 64 of a-z, A-Z, 0-9, _ . and -, and begins with a letter or a digit."
SESSIONS = 256
"""How many annotators' orders are remembered; the oldest is made anew when it is needed."""


@dataclass(frozen=True)
class Session:
    """An annotator, and the items in their order.

    Attributes:
        shown: sha256 of all that an item's number stands for: what is annotated, and the items in this order with
            their questions. A tab that was opened on something else, before the server was started anew, has another.
    """

    annotator: str
    order: list[str]
    shown: str


@dataclass
class Page:
    """What the server knows.

    Attributes:
        title: of the benchmark.
        annotators: who may answer; empty: whoever gives a name.
        order: function of the items and an annotator's name.
        of: what is annotated: suite, benchmark and kind.
        commands: what is to be run when all is answered.
        wanted: how many annotators an item needs.
    """

    asked: Asked
    store: Store
    title: str
    annotators: Sequence[str]
    order: Order
    of: str
    commands: Sequence[str] = ()
    wanted: int = 1
    sessions: dict[str, Session] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pictures = Pictures(self.asked)
        self.examples = examples.names(self.asked.views)

    def session(self, annotator: str) -> Session:
        """An annotator's.

        Raises:
            HTTPException: nobody may answer under this name.
        """
        if annotator not in self.sessions:
            if not NAME.fullmatch(annotator):
                raise HTTPException(400, NAMED)
            if self.annotators and annotator not in self.annotators:
                raise HTTPException(403, unknown("annotator", annotator, self.annotators))
            if (why := self.store.refuse(annotator)) is not None:
                raise HTTPException(403, why)
            order = self.order(list(self.asked.items), annotator)
            found = Session(annotator, order, self._shown(order))
            while len(self.sessions) >= SESSIONS:
                self.sessions.pop(next(iter(self.sessions)), None)
            self.sessions[annotator] = found
            return found
        return self.sessions[annotator]

    def lacking(self, annotator: str) -> int:
        """How many annotators beside this one, and those who have answered, are still needed."""
        return max(0, self.wanted - len(self.store.counts().keys() | {annotator}))

    def _shown(self, order: Sequence[str]) -> str:
        asked = self.asked
        questions = [(item, asked.items[item].question) for item in order]
        said = json.dumps([INTERFACE, self.of, asked.digest, list(asked.views), questions])
        return hashlib.sha256(said.encode()).hexdigest()

    def give(self, session: Session, item: str, answer: str, seconds: float) -> None:
        """Put an answer on disk."""
        self.store.give(
            Answer(
                item=item,
                annotator=session.annotator,
                answer=answer,
                seconds=f"{abs(seconds):.2f}",
                timestamp=datetime.now(UTC).isoformat(timespec="seconds"),
                source=SOURCE,
                interface=INTERFACE,
                digest=self.asked.digest,
            )
        )

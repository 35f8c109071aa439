"""What every importer shares: which of the rows it read count, which do not and why, and where both are written.

Nothing is lost on the way: the rows read are the rows used and the rows rejected, each of these with its reason.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from crayon.annotations.answers import Answer, is_digest, is_duration, stale, unknown_item, unknown_word, write_answers
from crayon.annotations.io.spreadsheet import harmless
from crayon.annotations.io.timestamps import moment, stamp
from crayon.annotations.vocabulary import meaning
from crayon.utils.errors import AnnotationError
from crayon.utils.files import canonical, write_bytes

AGAIN, CHANGED = "the same assignment again", "the same assignment again with another answer"
SECOND, EMPTY = "the annotator's second answer to the item", "no answer"
ELSEWHERE, LATE = "its assignment is rejected in another row", "after its answer was imported"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One answer as another tool gave it.

    Attributes:
        file, line: where it stands.
        record: its name there, in words: `assignment 3X`.
        key: what tells its assignment from all others of the source, or empty.
        item, digest, interface: what was shown.
        annotator: a pseudonym.
        answer: the word that was given.
        seconds, time: as they were given.
        given: all else that came with it.
        refused: why it does not count, whatever it answers; or empty.
        withdrawn: and so none of its assignment's other rows do.
    """

    file: str
    line: int
    record: str
    key: str
    item: str
    annotator: str
    answer: str
    seconds: str = ""
    time: str = ""
    digest: str = ""
    interface: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)
    refused: str = ""
    withdrawn: bool = False

    @property
    def where(self) -> str:
        """File, line and record, for a sentence."""
        return f"{self.file}, line {self.line} ({self.record})"

    @cached_property
    def when(self) -> datetime | None:
        """When it was given, or None if that is not said."""
        return moment(self.time)

    def wrong(self, items: Collection[str], digest: str, allow_stale: bool) -> tuple[str, str] | None:
        """Why it cannot be an answer to one of `items`: the reason in short, and as a sentence. None if it can."""
        if self.item not in items:
            return "unknown item", unknown_item(self.item, items)
        if meaning(self.answer) is None:
            return "unknown answer", unknown_word(self.answer)
        if not self.annotator:
            return "no annotator", "names no annotator."
        if not is_duration(self.seconds):
            return "unknown time taken", f"the time taken is {self.seconds!r}, no number of seconds >= 0."
        if self.time and self.when is None:
            return (
                "unknown time",
                f"the time {self.time!r} is none that is known (ISO 8601, PST, PDT, UTC).",
            )
        if not is_digest(self.digest):
            return "unknown digest", f"the digest {self.digest!r} is no sha256, 64 hexadecimal digits."
        if self.digest and self.digest != digest and not allow_stale:
            return "given to other maps or patches", stale(self.digest, digest)
        return None

    def counted(self, source: str) -> Answer:
        """It as one of our answers."""
        return Answer(
            item=self.item,
            annotator=self.annotator,
            answer=meaning(self.answer),
            seconds=self.seconds,
            timestamp=stamp(self.when) if self.when else "",
            source=source,
            interface=" ".join(self.interface.split()),
            digest=self.digest,
            given=canonical({**self.given, KEY: self.key} if self.key else self.given),
        )


KEY = "assignment"
"""In an answer's `given`: the key of its row."""

REJECTED_COLUMNS = ("file", "line", "record", "reason", "item", "annotator", "answer", "timestamp", "given")


@dataclass(frozen=True)
class Settled:
    """What became of the rows that were read.

    Attributes:
        used: rows that count, in the order of the files.
        rejected: the others, each with its reason, in that order.
        kept: the answers that were in the file already and stay there.
        withdrawn: how many do not stay, since their assignment was rejected after it was imported.
    """

    used: Sequence[Row]
    rejected: Sequence[tuple[Row, str]]
    kept: Sequence[Answer] = ()
    withdrawn: int = 0

    def line(self) -> str:
        """It in words: rows, used, rejected by reason, annotators, answers withdrawn."""
        reasons = Counter(reason for _, reason in self.rejected).most_common()
        why = f" ({', '.join(f'{count} {reason}' for reason, count in reasons)})" if reasons else ""
        annotators = len({row.annotator for row in self.used})
        rows = len(self.used) + len(self.rejected)
        used = f"{len(self.used)} used, by {annotators} annotator{'s' * (annotators != 1)}"
        withdrawn = f"; {self.withdrawn} withdrawn" if self.withdrawn else ""
        return f"{rows} rows read: {used}; {len(self.rejected)} rejected{why}{withdrawn}"


def settle(
    rows: Sequence[Row],
    existing: Sequence[Answer],
    items: Collection[str],
    digest: str,
    *,
    allow_stale: bool = False,
    reject_invalid: bool = False,
) -> Settled:
    """Decide which rows count.

    An assignment counts once, in the first row that names it, and not at all if a row says that it was rejected. An
    annotator counts once on an item, with the answer that was given first. What is in the file already stays, but for
    the answers of an assignment that was rejected since.

    Args:
        existing: the answers that are in the file already.
        items: what was asked.
        digest: sha256 of the present maps or patches.
        allow_stale: take answers that were given to others.
        reject_invalid: reject the rows that cannot be answers, instead of refusing all.

    Raises:
        AnnotationError: a row that cannot be an answer.
    """
    items = frozenset(items)
    withdrawn = {row.key for row in rows if row.withdrawn and row.key}
    kept = [answer for answer in existing if not withdrawn or _key_of(answer) not in withdrawn]
    late = {key for answer in existing if (key := _key_of(answer)) in withdrawn}
    counted = {key: answer.answer for answer in kept if (key := _key_of(answer))}
    reasons: dict[int, str] = {}
    for number, row in enumerate(rows):
        if row.refused:
            reasons[number] = f"{row.refused}, {LATE}" if row.withdrawn and row.key in late else row.refused
        elif not row.answer:
            reasons[number] = EMPTY
        elif (wrong := row.wrong(items, digest, allow_stale)) is not None:
            if not reject_invalid:
                raise AnnotationError(
                    f"{row.where}: {wrong[1]} Nothing was imported; --reject-invalid goes on without such rows."
                )
            reasons[number] = wrong[0]
    answered = {(answer.item, answer.annotator) for answer in kept}
    never = datetime.max.replace(tzinfo=UTC)
    for number in sorted(range(len(rows)), key=lambda number: (rows[number].when or never, number)):
        row = rows[number]
        if number in reasons:
            continue
        if row.key in withdrawn:
            reasons[number] = ELSEWHERE
        elif row.key in counted:
            reasons[number] = AGAIN if counted[row.key] == meaning(row.answer) else CHANGED
        elif (row.item, row.annotator) in answered:
            reasons[number] = SECOND
        else:
            counted |= {row.key: meaning(row.answer)} if row.key else {}
            answered.add((row.item, row.annotator))
    return Settled(
        [row for number, row in enumerate(rows) if number not in reasons],
        [(row, reasons[number]) for number, row in enumerate(rows) if number in reasons],
        kept,
        len(existing) - len(kept),
    )


def _key_of(answer: Answer) -> str:
    if not answer.given:
        return ""
    try:
        return str(json.loads(answer.given).get(KEY, ""))
    except (ValueError, AttributeError):
        return ""  # a text that is no importer's


def write_rejected(path: str | Path, rejected: Sequence[tuple[Row, str]]) -> None:
    """Publish the rejected rows of an import, each with its file, line and reason; no cell is a formula."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)  # there is nothing that they may not hold
    writer.writerow(REJECTED_COLUMNS)
    for row, reason in rejected:
        cells = (row.file, str(row.line), row.record, reason, row.item, row.annotator, row.answer)
        when = stamp(row.when) if row.when else row.time
        writer.writerow(map(harmless, (*cells, when, canonical(dict(row.given)))))
    write_bytes(path, text.getvalue().encode(errors="backslashreplace"))  # a file's name may be no text


def write_merged(path: str | Path, kept: Sequence[Answer], used: Sequence[Row], source: str) -> None:
    """Publish the answers that were there and stay and, after them, those of the rows that count."""
    write_answers(path, [*kept, *(row.counted(source) for row in used)])

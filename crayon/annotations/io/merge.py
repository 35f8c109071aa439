"""Shared by all importers: decide which rows count as answers, and write the answers and the rejected rows.

Every row that is read is either used, or rejected with a reason.
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
    """One answer in a file of another tool.

    Attributes:
        file: the file that contains the answer.
        line: its line in this file.
        record: name of the answer in this file, such as `assignment 3X`.
        key: unique key of its assignment within the source, or empty.
        item: the image or patch that was shown.
        digest: sha256 of the maps or patches that were shown, or empty.
        interface: name and version of the interface that showed it.
        annotator: a pseudonym.
        answer: the word that was given.
        seconds: time taken, as the source writes it.
        time: time of the answer, as the source writes it.
        given: all other fields.
        refused: why the row does not count, whatever its answer is; or empty.
        withdrawn: whether the whole assignment is rejected, so that its other rows do not count either.
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
        """Where the row comes from, for messages: its file, its line, and its name in the file."""
        return f"{self.file}, line {self.line} ({self.record})"

    @cached_property
    def when(self) -> datetime | None:
        """Time of the answer, or None if unknown."""
        return moment(self.time)

    def wrong(self, items: Collection[str], digest: str, allow_stale: bool) -> tuple[str, str] | None:
        """Return why the row is not a valid answer to one of `items`; None if it is valid.

        Args:
            items: the items to annotate.
            digest: sha256 of the present maps or patches.
            allow_stale: accept answers to other maps or patches.

        Returns:
            A short reason, and a sentence that explains it.
        """
        if self.item not in items:
            return "unknown item", unknown_item(self.item, items)
        if meaning(self.answer) is None:
            return "unknown answer", unknown_word(self.answer)
        if not self.annotator:
            return "no annotator", "has no annotator."
        if not is_duration(self.seconds):
            return "unknown time taken", f"the time taken is {self.seconds!r}, no number of seconds >= 0."
        if self.time and self.when is None:
            return (
                "unknown time",
                f"the time {self.time!r} has no known format (ISO 8601, or with PST, PDT, UTC).",
            )
        if not is_digest(self.digest):
            return "unknown digest", f"the digest {self.digest!r} is no sha256, 64 hexadecimal digits."
        if self.digest and self.digest != digest and not allow_stale:
            return "given to other maps or patches", stale(self.digest, digest)
        return None

    def counted(self, source: str) -> Answer:
        """Convert the row to an `Answer` with this `source`; the row must be valid."""
        return Answer(
            item=self.item,
            annotator=self.annotator,
            answer=meaning(self.answer) or "",
            seconds=self.seconds,
            timestamp=stamp(self.when) if self.when else "",
            source=source,
            interface=" ".join(self.interface.split()),
            digest=self.digest,
            given=canonical({**self.given, KEY: self.key} if self.key else self.given),
        )


KEY = "assignment"
"""Name under which an answer's `given` stores the row's `key`."""

REJECTED_COLUMNS = ("file", "line", "record", "reason", "item", "annotator", "answer", "timestamp", "given")


@dataclass(frozen=True)
class Settled:
    """The result of an import.

    Attributes:
        used: rows that count, in the order of the files.
        rejected: the other rows in the same order, each with its reason.
        kept: answers that were in the file before and stay there.
        withdrawn: number of answers that are removed from the file, since their assignment was rejected later.
    """

    used: Sequence[Row]
    rejected: Sequence[tuple[Row, str]]
    kept: Sequence[Answer] = ()
    withdrawn: int = 0

    def line(self) -> str:
        """One line that counts the rows: read, used, rejected (by reason), withdrawn; and the annotators."""
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
    """Decide which rows count as answers.

    An assignment is one annotator's submission on the crowd platform. If it occurs in several rows, only the earliest
    row counts. If the platform lists any of these rows as rejected, none counts. If an annotator answered an item
    several times, the earliest answer counts. Answers that are already in the annotation file stay, unless their
    assignment has been rejected since.

    Args:
        rows: the rows of all files.
        existing: answers that are in the file already.
        items: the items to annotate.
        digest: sha256 of the present maps or patches.
        allow_stale: accept answers to other maps or patches.
        reject_invalid: leave out rows that are not valid answers, and report them as rejected, instead of raising an
            error.

    Raises:
        AnnotationError: a row is not a valid answer, and `reject_invalid` is not set.
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
                    f"{row.where}: {wrong[1]} Nothing was imported. To import without such rows, add --reject-invalid."
                )
            reasons[number] = wrong[0]  # the short reason
    answered = {(answer.item, answer.annotator) for answer in kept}
    never = datetime.max.replace(tzinfo=UTC)
    for number in sorted(range(len(rows)), key=lambda number: (rows[number].when or never, number)):
        row = rows[number]
        if number in reasons:
            continue
        answer = meaning(row.answer) or ""
        if row.key in withdrawn:
            reasons[number] = ELSEWHERE
        elif row.key in counted:
            reasons[number] = AGAIN if counted[row.key] == answer else CHANGED
        elif (row.item, row.annotator) in answered:
            reasons[number] = SECOND
        else:
            counted |= {row.key: answer} if row.key else {}
            answered.add((row.item, row.annotator))
    return Settled(
        [row for number, row in enumerate(rows) if number not in reasons],
        [(row, reasons[number]) for number, row in enumerate(rows) if number in reasons],
        kept,
        len(existing) - len(kept),
    )


def _key_of(answer: Answer) -> str:
    """The key of the assignment that an answer was imported from, or empty."""
    if not answer.given:
        return ""
    try:
        return str(json.loads(answer.given).get(KEY, ""))
    except (ValueError, AttributeError):
        return ""  # `given` was not written by an importer


def write_rejected(path: str | Path, rejected: Sequence[tuple[Row, str]]) -> None:
    """Write the rejected rows of an import, each with its file, line and reason.

    A cell that a spreadsheet would read as a formula gets an apostrophe before it.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)  # cells may contain anything
    writer.writerow(REJECTED_COLUMNS)
    for row, reason in rejected:
        cells = (row.file, str(row.line), row.record, reason, row.item, row.annotator, row.answer)
        when = stamp(row.when) if row.when else row.time
        writer.writerow(map(harmless, (*cells, when, canonical(dict(row.given)))))
    write_bytes(path, text.getvalue().encode(errors="backslashreplace"))  # file names may be undecodable


def write_merged(path: str | Path, kept: Sequence[Answer], used: Sequence[Row], source: str) -> None:
    """Write an answers CSV: the answers that were there, then the new ones.

    Args:
        path: the file.
        kept: answers that were in the file before.
        used: rows that are added after them.
        source: the `source` of these rows.
    """
    write_answers(path, [*kept, *(row.counted(source) for row in used)])

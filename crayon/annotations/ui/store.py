"""Stores people's answers in a CSV; each answer is on disk before it is confirmed.

New answers are appended with one write and one fsync. To change or withdraw an answer, the whole file is written under
a temporary name with this row replaced or left out, and then renamed. All other rows keep their bytes.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from crayon.annotations.answers import Answer, read_answers
from crayon.annotations.lockfile import LOCKS, take
from crayon.annotations.ui.csv_rows import SOURCE, Rows, read_rows
from crayon.utils.errors import AnnotationError, OutputError
from crayon.utils.files import write_bytes
from crayon.utils.log import report


class Store:
    """An answers CSV to which answers are added; only one process can open it at a time.

    Args:
        path: the file; it may be missing.
        known: names of the items that it may contain.
        digest: sha256 of the present maps or patches.
        shown: path of the maps or patches, for messages.
        allow_stale: accept existing answers to other maps or patches.
        locks: folder of the lock file.

    Raises:
        AnnotationError: another process has the lock, the file is malformed, or it has answers to other maps or patches
            and `allow_stale` is not set.
    """

    def __init__(
        self,
        path: str | Path,
        known: Collection[str],
        digest: str,
        shown: str = "what is shown",
        *,
        allow_stale: bool = False,
        locks: str | Path = LOCKS,
    ) -> None:
        self.path, self.known, self.digest, self.shown = Path(path), known, digest, shown
        self.allow_stale = allow_stale
        self.given = 0
        """Number of answers since the start; each change of an answer counts, too."""
        self._writing = threading.Lock()
        self._lock = take(self.path, locks)
        try:
            self._load(starting=True)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the lock."""
        self._lock.release()

    def _load(self, starting: bool = False) -> None:
        """Read the file; at the start, drop an incomplete last line that a killed process left."""
        rows = read_rows(self.path)
        if rows.dropped and not starting:
            raise AnnotationError(f"{self.path}: its last line is incomplete; another program writes to it.")
        with self._without_last_line(rows):
            answers = self._validated(rows, starting)
        if rows.header is not None and (self.path.is_symlink() or self.path.stat().st_nlink > 1):
            rows.open_ended = True  # replace, never append: a linked file, such as one in DVC's cache, must not change
        self._rows = rows
        self._number: dict[tuple[str, str], int] = {}
        self._of: dict[str, dict[str, Answer]] = defaultdict(dict)
        for number, (answer, _) in enumerate(zip(answers, rows.texts, strict=True)):
            self._number[answer.annotator, answer.item] = number
            self._of[answer.annotator][answer.item] = answer
        self._stamp = self._present()

    @contextmanager
    def _without_last_line(self, rows: Rows) -> Iterator[None]:
        """Context manager: drop an incomplete last line; restore it if the block raises an error."""
        if not rows.dropped:
            yield
            return
        before = self.path.read_bytes()
        self._replace(rows)
        try:
            yield
        except BaseException:
            write_bytes(self.path, before)
            raise
        report(f"{self.path}: dropped its last line, which was incomplete: {rows.dropped!r}")

    def _validated(self, rows: Rows, starting: bool) -> list[Answer]:
        """The answers in the file; raises AnnotationError if they are malformed or stale."""
        answers = read_answers(self.path, self.known) if rows.texts else []
        stale = [answer for answer in answers if answer.digest and answer.digest != self.digest]
        if stale and not self.allow_stale:
            raise AnnotationError(self._explain(stale[0]))
        if stale and starting:
            report(
                f"{self.path}: {len(stale)} of its answers refer to another version of {self.shown}, and keep the "
                "digest of that version."
            )
        return answers

    def _explain(self, stale: Answer) -> str:
        return (
            f"{self.path}: {stale.annotator!r} answered {stale.item!r} when {self.shown} was another file, or was "
            f"shown with another `interpret.placement` (digest {stale.digest[:12]}, now {self.digest[:12]}); restore "
            "the earlier one, move the answers away, or accept them (`allow_stale: true` beside `source: people` in "
            "params.yaml)."
        )

    def answers_of(self, annotator: str) -> dict[str, str]:
        """Item -> the annotator's answer."""
        return {item: answer.answer for item, answer in self._of.get(annotator, {}).items()}

    def answers(self) -> list[Answer]:
        """All answers in the file."""
        return [answer for own in list(self._of.values()) for answer in list(own.values())]

    def counts(self) -> dict[str, int]:
        """Annotator -> number of answers in the file."""
        return {annotator: len(answers) for annotator, answers in self._of.items() if answers}

    def sources(self) -> set[str]:
        """The sources of all answers in the file."""
        return {answer.source for answers in self._of.values() for answer in answers.values()}

    def refuse(self, annotator: str) -> str | None:
        """Why a name is not allowed, or None: its answers have another source, or it equals a name except for case."""
        if (similar := self._same_but_case(annotator)) is not None:
            return (
                f"{annotator} and {similar}, who has answers in {self.path}, differ only in upper and lower case; use "
                f"{similar} or another name."
            )
        others = {answer.source for answer in self._of.get(annotator, {}).values()} - {SOURCE, ""}
        if not others:
            return None
        return f"{annotator} has answers of the source {sorted(others)[0]} in {self.path}; choose another name."

    def _same_but_case(self, annotator: str) -> str | None:
        """The annotator with answers whose name differs from `annotator` only in case, or None."""
        same = annotator.casefold()
        return next((who for who, of in self._of.items() if of and who != annotator and who.casefold() == same), None)

    def change(self, annotator: str, answers: Mapping[str, Answer | None]) -> dict[str, Answer | None]:
        """Write an annotator's answers to some items to disk before returning: all of them, or none if that fails.

        Args:
            annotator: the name.
            answers: item -> the answer, or None to withdraw it. Repeating the same answer changes nothing.

        Returns:
            Item -> the answer before, or None, of the items whose answer changed.

        Raises:
            OutputError: they cannot be written; the file is unchanged.
            AnnotationError: another program changed the file, and no answer can be added to it any more.
        """
        with self._writing:
            if self._present() != self._stamp:  # keep the changes of other programs
                self._load()
            if (similar := self._same_but_case(annotator)) is not None:  # came after the session began
                raise AnnotationError(
                    f"{annotator} and {similar} differ only in upper and lower case; use another name."
                )
            own = self._of[annotator]
            before = {item: own.get(item) for item, answer in answers.items() if _word(own.get(item)) != _word(answer)}
            if not before:
                return before
            added = [answer for item, answer in answers.items() if item in before and answer is not None]
            is_new = not any(before.values()) and bool(added)
            if is_new and all(map(self._rows.holds, added)) and not self._rows.open_ended:
                texts = [self._rows.text(answer) for answer in added]
                self._append("".join(texts).encode())
                self._rows.texts += texts
                start = len(self._rows.texts) - len(texts)
                self._number |= {(annotator, answer.item): start + count for count, answer in enumerate(added)}
            else:
                self._rewrite(annotator, {item: answers[item] for item in before})
            for item in before:
                if (answer := answers[item]) is None:
                    del own[item]
                else:
                    own[item] = answer
            self._stamp = self._present()
            self.given += len(before)
            return before

    def _rewrite(self, annotator: str, answers: Mapping[str, Answer | None]) -> None:
        """Replace the file by one in which an annotator's rows are added, replaced or, for None, removed."""
        lacking = not all(self._rows.holds(answer) for answer in answers.values() if answer is not None)
        rows = self._rows.extended() if lacking else self._copy()
        texts: list[str | None] = list(rows.texts)
        numbers = dict(self._number)
        for item, answer in answers.items():
            number = numbers.setdefault((annotator, item), len(texts))
            texts[number : number + 1] = [None if answer is None else rows.text(answer)]
        rows.texts = [text for text in texts if text is not None]
        if rows.texts:
            self._change(rows)
        else:
            self._remove()
        kept = (number for number, text in enumerate(texts) if text is not None)
        moved = {before: after for after, before in enumerate(kept)}
        self._number = {key: moved[number] for key, number in numbers.items() if number in moved}

    def _remove(self) -> None:
        """Remove the file, since an answers file must contain at least one answer."""
        try:
            self.path.unlink()
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be removed ({error.strerror or error}).") from error
        self._rows = Rows()

    def _change(self, rows: Rows) -> None:
        """Replace the rows of the file; restore it if that fails."""
        try:
            self._replace(rows)
        except OutputError:
            if self._present() != self._stamp:
                if self._rows.header is None:
                    self.path.unlink()
                else:
                    write_bytes(self.path, self._rows.whole())
                self._stamp = None  # read the file again before the next answer
            raise
        self._rows = rows

    def _copy(self) -> Rows:
        """Copy the rows with their list of texts, so that changing the copy does not change the original."""
        rows = self._rows
        return Rows(rows.header, rows.head, list(rows.texts), rows.newline)

    def _present(self) -> tuple[int, int, int] | None:
        """Return size, modification time and inode of the file; if they differ later, another program changed it."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_size, status.st_mtime_ns, status.st_ino

    def _replace(self, rows: Rows) -> None:
        """Write all rows under a temporary name and rename the file."""
        write_bytes(self.path, rows.whole())
        try:
            folder = os.open(self.path.parent, os.O_RDONLY)  # sync the folder, or a power cut could undo the rename
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written ({error.strerror or error}).") from error

    def _append(self, row: bytes) -> None:
        """Append a row and sync it; truncate the file to its old size if that fails."""
        assert self._stamp is not None  # the file exists: it has a header
        size = self._stamp[0]
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                written = os.write(descriptor, row)
                if written == len(row):
                    os.fsync(descriptor)
                else:
                    os.ftruncate(descriptor, size)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
            finally:
                os.close(descriptor)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written ({error.strerror or error}).") from error
        finally:
            self._stamp = self._present()
        if written != len(row):
            raise OutputError(f"{self.path}: the disk is full.")


def _word(answer: Answer | None) -> str | None:
    return None if answer is None else answer.answer

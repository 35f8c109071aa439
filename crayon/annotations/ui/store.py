"""The answers of people, on disk before anything else happens.

A new answer is one write and one fsync at the end of the file. A changed one is the whole file anew, under a
temporary name, with that row replaced. All other rows keep their bytes.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from crayon.annotations.answers import Answer, read_answers
from crayon.annotations.lockfile import LOCKS, take
from crayon.annotations.ui.csv_rows import SOURCE, Rows, read_rows
from crayon.utils.errors import AnnotationError, OutputError
from crayon.utils.files import write_bytes
from crayon.utils.log import report


class Store:
    """An answers CSV that people's answers are added to; one process has it at a time.

    Args:
        path: the file; it may be missing.
        known: the items that may be answered.
        digest: sha256 of what is shown now.
        shown: the path of that, for a sentence.
        allow_stale: go on though answers were given to something else.
        locks: folder of the file that says who has the store.

    Raises:
        AnnotationError: another process has it; the file is malformed; its answers were given to something else.
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
        """How many answers were given since the start, changed ones counted once more."""
        self._writing = threading.Lock()
        self._lock = take(self.path, locks)
        try:
            self._load(starting=True)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let another process have it."""
        self._lock.release()

    def _load(self, starting: bool = False) -> None:
        """Read the file; at the start, without a last line that a kill left incomplete."""
        rows = read_rows(self.path)
        if rows.dropped and not starting:
            raise AnnotationError(f"{self.path}: its last line is incomplete; another program writes to it.")
        with self._without_last_line(rows):
            answers = self._validated(rows, starting)
        if rows.header is not None and (self.path.is_symlink() or self.path.stat().st_nlink > 1):
            rows.open_ended = True  # of DVC's cache, say, which must not be written to
        self._rows = rows
        self._number: dict[tuple[str, str], int] = {}
        self._of: dict[str, dict[str, Answer]] = defaultdict(dict)
        for number, (answer, _) in enumerate(zip(answers, rows.texts, strict=True)):
            self._number[answer.annotator, answer.item] = number
            self._of[answer.annotator][answer.item] = answer
        self._stamp = self._present()

    @contextmanager
    def _without_last_line(self, rows: Rows) -> Iterator[None]:
        """Drop a last line that was not written whole; it is back if the block raises."""
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
        report(f"{self.path}: dropped its last line, which was not written whole: {rows.dropped!r}")

    def _validated(self, rows: Rows, starting: bool) -> list[Answer]:
        answers = read_answers(self.path, self.known) if rows.texts else []
        stale = [answer for answer in answers if answer.digest and answer.digest != self.digest]
        if stale and not self.allow_stale:
            raise AnnotationError(self._explain(stale[0]))
        if stale and starting:
            report(
                f"{self.path}: {len(stale)} of its answers were given to another {self.shown}; they keep its digest."
            )
        return answers

    def _explain(self, stale: Answer) -> str:
        return (
            f"{self.path}: {stale.annotator!r} answered {stale.item!r} when {self.shown} was another file (digest "
            f"{stale.digest[:12]}, now {self.digest[:12]}); bring that back, move the answers away, or go on with them "
            "all the same (`allow_stale: true` beside `source: people` in params.yaml)."
        )

    def answers_of(self, annotator: str) -> dict[str, str]:
        """Item -> what the annotator answered."""
        return {item: answer.answer for item, answer in self._of.get(annotator, {}).items()}

    def counts(self) -> dict[str, int]:
        """Annotator -> answers in the file."""
        return {annotator: len(answers) for annotator, answers in self._of.items() if answers}

    def refuse(self, annotator: str) -> str | None:
        """Why nobody may answer under this name: another source has it, or another annotator but for case; or None."""
        if (twin := self._twin(annotator)) is not None:
            return (
                f"{annotator} and {twin}, who has answers in {self.path}, differ by case only; say {twin}, or another."
            )
        others = {answer.source for answer in self._of.get(annotator, {}).values()} - {SOURCE, ""}
        if not others:
            return None
        return f"{annotator} has answers of the source {sorted(others)[0]} in {self.path}; choose another name."

    def _twin(self, annotator: str) -> str | None:
        """Who has answers under the same name but for upper and lower case."""
        same = annotator.casefold()
        return next((who for who, of in self._of.items() if of and who != annotator and who.casefold() == same), None)

    def give(self, answer: Answer) -> None:
        """Put an answer on disk; on return it is there. The same answer again changes nothing.

        Raises:
            OutputError: it cannot be written; the file is as it was.
            AnnotationError: another program made the file something that it cannot be added to.
        """
        with self._writing:
            if self._present() != self._stamp:  # an import, an editor: theirs stays
                self._load()
            if (twin := self._twin(answer.annotator)) is not None:  # who came meanwhile
                raise AnnotationError(f"{answer.annotator} and {twin} differ by case only; give another name.")
            before = self._of[answer.annotator].get(answer.item)
            if before is not None and before.answer == answer.answer:
                return
            number = self._number.get((answer.annotator, answer.item))
            if number is None and self._rows.holds(answer) and not self._rows.open_ended:
                text = self._rows.text(answer)
                self._append(text.encode())
                self._rows.texts.append(text)
            else:
                rows = self._rows.extended() if not self._rows.holds(answer) else self._copy()
                if number is None:
                    rows.texts.append(rows.text(answer))
                else:
                    rows.texts[number] = rows.text(answer)
                self._change(rows)
            self._number.setdefault((answer.annotator, answer.item), len(self._rows.texts) - 1)
            self._of[answer.annotator][answer.item] = answer
            self._stamp = self._present()
            self.given += 1

    def _change(self, rows: Rows) -> None:
        """Replace the file by other rows; if they may not stay there, it is as it was."""
        try:
            self._replace(rows)
        except OutputError:
            if self._present() != self._stamp:
                if self._rows.header is None:
                    self.path.unlink()
                else:
                    write_bytes(self.path, self._rows.whole())
                self._stamp = None  # whatever is there is read before the next answer
            raise
        self._rows = rows

    def _copy(self) -> Rows:
        rows = self._rows
        return Rows(rows.header, rows.head, list(rows.texts), rows.newline)

    def _present(self) -> tuple[int, int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_size, status.st_mtime_ns, status.st_ino

    def _replace(self, rows: Rows) -> None:
        write_bytes(self.path, rows.whole())
        try:
            folder = os.open(self.path.parent, os.O_RDONLY)  # or a power cut could take the new name back
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written ({error.strerror or error}).") from error

    def _append(self, row: bytes) -> None:
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

"""Rounds on the annotation page: when all maps of a round are answered, the next are chosen while the page waits."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crayon.annotations.ui.session import Page
from crayon.pipeline.plan import Plan
from crayon.pipeline.steps import rounds
from crayon.pipeline.steps.annotation_order import seed_of
from crayon.utils.errors import AnnotationError, CrayonError
from crayon.utils.log import report


class LiveRounds:
    """The maps of all rounds so far, and what chooses the next ones.

    Args:
        plan: the plan of the active suite.
        name: the benchmark.
        params: path of the params file, for the process that refines the networks.

    Attributes:
        choosing: whether that process runs.
        failed: whether the last one failed.
        ended: whether all maps have been asked about, and their answers used.
        told: the table of rounds and what to do next, as lines.

    Raises:
        CrayonError: see `crayon.pipeline.steps.rounds.advance`.
    """

    choosing = failed = False

    def __init__(self, plan: Plan, name: str, params: Path) -> None:
        self.plan, self.name, self.params = plan, name, params
        self._take(rounds.advance(plan, name))
        self.lock = threading.Lock()

    def _take(self, found: rounds.Rounds) -> None:
        self.rounds = [one.items for one in found.rounds]
        self.ended = found.rounds[-1].answered
        self.told = rounds.lines(self.plan, self.name, found)

    def order(self, items: Sequence[str], annotator: str) -> list[str]:
        """The maps of the rounds so far; within a round, each annotator has another random order."""
        rng = np.random.default_rng(seed_of(annotator))
        known = set(items)
        ordered = [[item for item in one if item in known] for one in self.rounds]
        return [one[position] for one in ordered for position in rng.permutation(len(one))]

    def answered(self, page: Page) -> None:
        """If every map of the rounds has enough answers, start to choose the next ones."""
        counts = Counter(answer.item for answer in page.store.answers())
        if self.ended or any(counts[item] < page.wanted for one in self.rounds for item in one):
            return
        with self.lock:
            if self.choosing:
                return
            self.choosing, self.failed = True, False
        report(f"{self.name}/rounds  round {len(self.rounds)} is answered; networks are refined with the answers")
        threading.Thread(target=self._choose, args=[page], daemon=True).start()

    def _choose(self, page: Page) -> None:
        command = [sys.executable, "-m", "crayon", "--params", str(self.params), "rounds", self.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        try:
            if done.returncode:
                why = done.stderr.strip().splitlines()
                raise AnnotationError(why[-1] if why else f"{' '.join(command)} ended with status {done.returncode}.")
            self._take(rounds.recorded(self.plan, self.name))
            for line in self.told:
                report(line)
            page.sessions.clear()  # each is made again, with the further maps
        except CrayonError as error:
            self.failed = True
            report(f"{self.name}/rounds  the next maps could not be chosen: {error}")
        finally:
            self.choosing = False

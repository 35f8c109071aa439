"""A training that was killed goes on after its last whole epoch, and on a CPU ends in the bits of one that was not."""

from __future__ import annotations

import pickle
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from crayon.utils.files import publish
from crayon.utils.log import report


class Clock(Protocol):
    """Knows how long a training has taken, in this process and in earlier ones."""

    @property
    def spent(self) -> tuple[float, float]:
        """Seconds of wall time and of processor time until now."""

    def spent_before(self, wall: float, processor: float) -> None:
        """Add the seconds that an earlier process had spent."""


@dataclass
class Saved:
    """Where the state of one training lies between two epochs.

    Attributes:
        path: a file of its own.
        identity: what the state belongs to; that of another definition of the training is not taken up.
        every: seconds of training that may be lost; a training shorter than that is never saved.
        clock: is told how long the training had taken when it was interrupted.
    """

    path: Path
    identity: str
    every: float
    last: float = field(default_factory=time.monotonic)
    clock: Clock | None = None

    def load(self) -> dict[str, Any] | None:
        """The state, or None if there is none of this very training; what cannot be read is none."""
        try:
            found = torch.load(self.path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError):
            report(f"{self.path}: cannot be read; the training begins anew.")
            return None
        if not isinstance(found, Mapping) or found.get("identity") != self.identity:
            return None
        if self.clock is not None:
            self.clock.spent_before(*found["spent"])
        state: dict[str, Any] = found["state"]
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Publish the state, if enough time has gone since the last time."""
        if time.monotonic() - self.last < self.every:
            return
        with publish(self.path) as file:
            spent = (0.0, 0.0) if self.clock is None else self.clock.spent
            torch.save({"identity": self.identity, "spent": spent, "state": dict(state)}, file)
        self.last = time.monotonic()

    def remove(self) -> None:
        """Forget it: the training has ended, and what it made is published."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def random_state(device: torch.device, generator: torch.Generator) -> dict[str, Any]:
    """All random states that a training draws from."""
    state = {"cpu": torch.get_rng_state(), "generator": generator.get_state()}
    return state | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def set_random_state(state: Mapping[str, Any], device: torch.device, generator: torch.Generator) -> None:
    """Put back what `random_state` gave; a GPU's stays as it is where the training was broken off on a CPU."""
    torch.set_rng_state(state["cpu"])
    generator.set_state(state["generator"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)

"""Save the state of a training between epochs, and resume an interrupted training from it.

On a CPU, a resumed training gives exactly the same weights as an uninterrupted one.
"""

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
    """Measures how long a training has taken, in this process and in earlier ones."""

    @property
    def spent(self) -> tuple[float, float]:
        """Seconds of wall time and of processor time so far."""

    def spent_before(self, wall: float, processor: float) -> None:
        """Add the seconds that an earlier process spent."""


@dataclass
class Saved:
    """The file with the state of one training, written between epochs.

    Attributes:
        path: path of the file, used by this training only.
        identity: digest of the training's definition; a state with another identity is not loaded.
        every: minimum number of seconds between two saves; a training that takes less is never saved.
        last: when the state was last saved, in seconds of `time.monotonic`.
        clock: measures the training's time; `load` adds the time that was spent before the interruption.
    """

    path: Path
    identity: str
    every: float
    last: float = field(default_factory=time.monotonic)
    clock: Clock | None = None

    def load(self) -> dict[str, Any] | None:
        """The saved state; None if there is none with this identity, or if the file cannot be read."""
        try:
            found = torch.load(self.path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError):
            report(f"{self.path}: cannot be read; the training starts again from the first epoch.")
            return None
        if not isinstance(found, Mapping) or found.get("identity") != self.identity:
            return None
        if self.clock is not None:
            self.clock.spent_before(*found["spent"])
        state: dict[str, Any] = found["state"]
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Write the state, if `every` seconds have passed since the last save."""
        if time.monotonic() - self.last < self.every:
            return
        with publish(self.path) as file:
            spent = (0.0, 0.0) if self.clock is None else self.clock.spent
            torch.save({"identity": self.identity, "spent": spent, "state": dict(state)}, file)
        self.last = time.monotonic()

    def remove(self) -> None:
        """Delete the file, after the training has ended and its outputs are published."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def random_state(device: torch.device, generator: torch.Generator) -> dict[str, Any]:
    """The states of all random number generators that a training uses."""
    state = {"cpu": torch.get_rng_state(), "generator": generator.get_state()}
    return state | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def set_random_state(state: Mapping[str, Any], device: torch.device, generator: torch.Generator) -> None:
    """Restore the states that `random_state` returned.

    The GPU's generator is left as it is if the training was interrupted on a CPU.

    Args:
        state: the result of `random_state`.
        device: the device of the training.
        generator: the generator that draws the order of the images.
    """
    torch.set_rng_state(state["cpu"])
    generator.set_state(state["generator"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)

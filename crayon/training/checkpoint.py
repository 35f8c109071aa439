"""A training that was killed goes on after its last whole epoch, and on a CPU ends in the bits of one that was not."""

from __future__ import annotations

import hashlib
import pickle
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from crayon.utils.distributed import rank
from crayon.utils.files import canonical, publish
from crayon.utils.log import report

if TYPE_CHECKING:
    from crayon.pipeline.record import Recording

FOLDER = Path(".crayon/resume")


@dataclass
class Saved:
    """Where the state of one training lies between two epochs.

    Attributes:
        path: a file of its own.
        identity: what the state belongs to; that of another definition of the training is not taken up.
        every: seconds of training that may be lost; a training shorter than that is never saved.
        recording: is told how long the training had taken when it was broken off.
    """

    path: Path
    identity: str
    every: float
    last: float = field(default_factory=time.monotonic)
    recording: Recording | None = None

    @classmethod
    def of(cls, recording: Recording, every: float) -> Saved:
        """Of a job with its present params, code and inputs."""
        content = recording.definition | {"torch": torch.__version__}
        identity = hashlib.sha256(canonical(content).encode()).hexdigest()
        return cls(FOLDER / f"{recording.job.name.replace(' ', '-')}.pt", identity, every, recording=recording)

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
        if self.recording is not None:
            self.recording.spent_before(*found["spent"])
        return found["state"]

    def save(self, state: Mapping[str, Any]) -> None:
        """Publish the state, if enough time has gone since the last time; of several processes, the first does."""
        if rank() or time.monotonic() - self.last < self.every:
            return
        with publish(self.path) as file:
            spent = (0.0, 0.0) if self.recording is None else self.recording.spent
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

"""Annotation in rounds: what each round asked, and what the networks refined with its answers reached.

A round asks about some maps. When these are answered, networks of several seeds are refined with all answers so far,
and measured on the validation images. `crayon.pipeline.gain` compares rounds.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from crayon.utils.errors import AnnotationError
from crayon.utils.files import read_json, write_json

FORMAT = 1


class Gain(NamedTuple):
    """A difference of the validation metric in points, and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.1f} ({self.low:+.1f} to {self.high:+.1f})"


@dataclass(frozen=True)
class Round:
    """One round.

    Attributes:
        items: the images that were asked about.
        chosen: what chose them: an acquisition function or a fixed order, or `answered before` for answers that there
            were before the first round.
        labels: `relevant` and `irrelevant` -> number of maps with this label, by the answers of this round and those
            before it; empty until the items are answered.
        derived: number of further maps whose labels were derived from these.
        answers: sha256 of these labels.
        validation: the validation metric in percent, one value for each seed; empty if no map had a label.
        predictions: (S, M), the predicted classes of the validation images.
        gain: over `patience` rounds before; None in earlier rounds.
    """

    items: tuple[str, ...]
    chosen: str
    labels: dict[str, int]
    derived: int = 0
    answers: str = ""
    validation: tuple[float, ...] = ()
    predictions: tuple[tuple[int, ...], ...] = ()
    gain: Gain | None = None

    @property
    def answered(self) -> bool:
        """Whether its items were answered, and the networks refined."""
        return bool(self.answers)

    @property
    def pays(self) -> bool:
        """Whether more answers may pay: there was no comparison yet, or it shows a gain."""
        return self.gain is None or self.gain.low > 0


@dataclass(frozen=True)
class Rounds:
    """All rounds of a benchmark so far.

    Attributes:
        steering: the params and files on which they depend.
        original: the Original's validation metric in percent, and its predictions (M,).
        rounds: the rounds; only the last one may be unanswered.
    """

    steering: dict[str, Any]
    original: tuple[float, tuple[int, ...]]
    rounds: tuple[Round, ...] = ()

    def write(self, path: str | Path) -> None:
        """Write the rounds file."""
        write_json(path, {"format": FORMAT, **asdict(self)})

    @classmethod
    def read(cls, path: str | Path, steering: dict[str, Any]) -> Rounds:
        """Read the rounds file.

        Args:
            path: the file.
            steering: the present params and files.

        Raises:
            AnnotationError: the file is damaged, of another version, or of other params or files.
        """
        content = read_json(path, AnnotationError)
        restart = f"To start over, move {path} away; all answers are kept"
        try:
            if content.pop("format") != FORMAT:
                raise AnnotationError(f"{path}: was written by another version of Crayon. {restart}.")
            value, predictions = content["original"]
            found = cls(content["steering"], (value, tuple(predictions)), tuple(map(_round, content["rounds"])))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise AnnotationError(f"{path}: is not a rounds file, or is damaged. {restart}.") from error
        for key, value in steering.items():
            if found.steering.get(key) != value:
                raise AnnotationError(
                    f"{path}: its rounds were made with another value of {key} than the present one: "
                    f"{found.steering.get(key)}, not {value}. {restart}, or restore it."
                )
        return found


def _round(content: dict[str, Any]) -> Round:
    lists = {key: tuple(content[key]) for key in ("items", "validation")}
    predictions = tuple(tuple(of_seed) for of_seed in content["predictions"])
    gain = None if content["gain"] is None else Gain(*content["gain"])
    return Round(**content | lists | {"predictions": predictions, "gain": gain})

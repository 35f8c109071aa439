"""Sections of params.yaml about answers: who gives them, what is asked, how they become labels."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from crayon.config.sections import Section
from crayon.config.types import Archive, Count, Share
from crayon.utils.text import unknown


class AttentionAnswers(Section):
    """Simulated answers to maps: yes if more than `threshold` of the highlight lies in the dilated mask."""

    measure: Literal["highlight", "coverage"]
    threshold: Share
    strong: Share
    dilation: Annotated[int, Field(ge=0)]
    flip: Share
    annotators: Count


class NeuronAnswers(Section):
    """Simulated answers to patches: yes if the mask covers more than `coverage` of the rectangle."""

    coverage: Share
    flip: Share
    annotators: Count


class Published(Section):
    """Files of the authors' answers to the published Original's maps and neurons; `asked`: which maps were asked."""

    attention: Archive
    neurons: Archive
    asked: Archive | None = None


class Imported(Section):
    """A benchmark's Original, and the maps that annotators saw, from files of others instead of a training of ours."""

    original: Archive
    maps: Archive | None = None


class Annotation(Section):
    """Who answers.

    `people`: the CSV files are theirs. `simulated`: written by the chain, and named so. `published`: the authors'
    answers, which belong to the published Original. `none`: nobody; methods that need answers are left out.
    `allow_stale`: take answers that were given to other maps or patches than the present ones; the records say so.
    """

    source: Literal["simulated", "people", "published", "none"]
    allow_stale: bool = False
    published: Published | None = None
    seed: int | None = None
    attention: AttentionAnswers | None = None
    neurons: NeuronAnswers | None = None

    @model_validator(mode="after")
    def _simulation(self) -> Annotation:
        simulation = (self.seed, self.attention, self.neurons)
        if self.source == "simulated" and None in simulation:
            raise ValueError("source: simulated needs seed, attention and neurons")
        if self.source != "simulated" and any(value is not None for value in simulation):
            raise ValueError(f"source: {self.source} takes no seed, attention or neurons")
        if (self.source == "published") != (self.published is not None):
            raise ValueError("source: published and the section published go together")
        return self


class Questions(Section):
    """What annotators are asked of a map and of a neuron's patch; `{class}` stands for the image's class."""

    attention: str = "Is the strong highlight mainly on the {class}?"
    neurons: str = "Is the red rectangle mainly on the {class}?"

    @field_validator("attention", "neurons")
    @classmethod
    def _known_placeholders(cls, text: str) -> str:
        for part in re.findall(r"{.*?}|[{}]", text):
            if part != "{class}":
                raise ValueError(unknown("placeholder", part, ("{class}",)))
        if not text.strip():
            raise ValueError("is empty; write the question, or leave the key out")
        return text

    def ask(self, kind: str, label: str) -> str:
        """The question of a kind about an image of the class `label`."""
        return getattr(self, kind).replace("{class}", label.replace("_", " "))


class Consensus(Section):
    """How answers become labels (paper, Sec. IV-B): an image with `minimum_answers` of which the share `agreement` says
    yes, or no; a neuron by the majority of its patches, `tie` where there is none.
    """

    minimum_answers: Count
    agreement: Annotated[float, Field(gt=0.5, le=1)] = 1.0
    tie: Literal["relevant", "irrelevant"]

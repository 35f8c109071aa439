"""Sections of params.yaml about annotation: the source of the answers, the questions, and how answers become labels."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from crayon.config.sections import Section
from crayon.config.types import Archive, Count, Float, Int, Share
from crayon.utils.text import unknown


class AttentionAnswers(Section):
    """Simulated answers to maps: yes if the share of the highlight inside the dilated mask exceeds `threshold`."""

    measure: Literal["highlight", "coverage"]
    threshold: Share
    strong: Share
    dilation: Annotated[Int, Field(ge=0)]
    flip: Share
    annotators: Count


class NeuronAnswers(Section):
    """Simulated answers to patches: yes if the mask covers more than the share `coverage` of the rectangle."""

    coverage: Share
    flip: Share
    annotators: Count


class Published(Section):
    """Files with the authors' answers to the maps and neurons of the published Original.

    `asked`: a file that lists the maps that were annotated.
    """

    attention: Archive
    neurons: Archive
    asked: Archive | None = None


class Imported(Section):
    """Files that replace the training of the Original: a checkpoint of others, and the maps that annotators saw.

    `prefix`: if the checkpoint contains several networks, the prefix of the names of the wanted weights, such as `ema`.
    """

    original: Archive
    prefix: str | None = None
    maps: Archive | None = None


class Annotation(Section):
    """Where the answers come from.

    `source`: `people` reads CSV files that people filled in; `simulated` computes answers from masks; `published` reads
    the authors' answers to the published Original; with `none` there are no answers, and methods that need them are
    left out. `allow_stale`: whether to accept answers to maps or patches that changed after they were annotated; the
    records state that such answers were accepted.
    `seed`, `attention`, `neurons`: settings of the simulation.
    """

    source: Literal["simulated", "people", "published", "none"]
    allow_stale: bool = False
    published: Published | None = None
    seed: Int | None = None
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
    """The questions to annotators about a map and about a neuron's patch. `{class}` stands for the image's class."""

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
        """Return the question of a kind, `attention` or `neurons`, about an image of the class `label`."""
        question: str = getattr(self, kind)
        return question.replace("{class}", label.replace("_", " "))


class Propagation(Section):
    """Labels of maps that nobody was asked about, derived from the answers to other maps.

    `learner`: how they are learned, see `crayon.annotations.propagation`. `neighbours`: how many neighbours `nearest`
    and `spreading` look at. `confidence`: a map whose derived label has a lower estimated probability gets none; with
    one neighbour, all are 1.
    """

    learner: Literal["nearest", "spreading", "logistic"] = "nearest"
    neighbours: Count = 1
    confidence: Annotated[Float, Field(ge=0.5, lt=1)] = 0.5

    @model_validator(mode="after")
    def _odd(self) -> Propagation:
        if self.learner == "nearest" and self.neighbours % 2 == 0:
            raise ValueError(f"neighbours: must be odd, so that there is a majority; is {self.neighbours}")
        return self


class Consensus(Section):
    """How answers become labels (paper, Sec. IV-B).

    An image with at least `minimum_answers` answers is labelled relevant if at least the share `agreement` of them is
    yes, and irrelevant if at least this share is no. A neuron gets the label of most of its patches. If there are as
    many relevant as irrelevant patches, it gets the label `tie`.
    """

    minimum_answers: Count
    agreement: Annotated[Float, Field(gt=0.5, le=1)] = 1.0
    tie: Literal["relevant", "irrelevant"]

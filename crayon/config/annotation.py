"""Sections of params.yaml about annotation: the source of the answers, the questions, and how answers become labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, field_validator, model_validator

from crayon.config.sections import Section
from crayon.config.types import Archive, Count, Float, Int, Share, Slips
from crayon.utils.text import unknown


class AttentionAnswers(Section):
    """Simulated answers to maps: yes if the share of the highlight inside the dilated mask exceeds `threshold`.

    `flip`: how often an annotator gives the wrong answer: one share for all, or a list with one for each.
    """

    measure: Literal["highlight", "coverage"]
    threshold: Share
    strong: Share
    dilation: Annotated[Int, Field(ge=0)]
    flip: Slips
    annotators: Count

    @model_validator(mode="after")
    def _one_each(self) -> AttentionAnswers:
        return _check_slips(self)


class NeuronAnswers(Section):
    """Simulated answers to patches: yes if the mask covers more than the share `coverage` of the rectangle.

    `flip`: as for maps.
    """

    coverage: Share
    flip: Slips
    annotators: Count

    @model_validator(mode="after")
    def _one_each(self) -> NeuronAnswers:
        return _check_slips(self)


_Simulated = TypeVar("_Simulated", AttentionAnswers, NeuronAnswers)


def _check_slips(options: _Simulated) -> _Simulated:
    if isinstance(options.flip, tuple) and len(options.flip) != options.annotators:
        raise ValueError(
            f"flip: lists {len(options.flip)} shares, but there are {options.annotators} annotators; give one each"
        )
    return options


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


AcquisitionName = Literal["random", "uncertain", "diverse", "boundary", "coverage", "disagreement", "change"]
"""What chooses the maps of a round: a fixed order, or an acquisition function."""


class Rounds(Section):
    """Annotation of maps in rounds (`crayon annotate --rounds`); no result depends on it but by the answers.

    `maps_per_round`: number of maps that a round asks about. `acquisition`: what chooses them, see
    `crayon.annotations.acquisition`; the first round of an acquisition function is in the default order. `method`: how
    the Original is refined after each round. `networks`: how often, with the seeds 0, 1, and so on. `patience`: more
    answers are said not to pay if the validation metric is not shown to have risen over so many rounds.
    """

    maps_per_round: Count = 25
    acquisition: AcquisitionName = "uncertain"
    method: Literal["crayon_attention", "crayon_pruning_attention"] = "crayon_attention"
    networks: Count = 3
    patience: Count = 2

    @model_validator(mode="after")
    def _committee(self) -> Rounds:
        if self.acquisition == "disagreement" and self.networks < 2:
            raise ValueError("networks: the acquisition disagreement compares networks; set it to 2 or more")
        return self


class Gold(Section):
    """CSV files (columns `item`, `answer`) of items whose right answers are known; they measure the annotators.

    `attention`, `neurons`: the file for maps, and the one for patches. `leave_out`: whether the answers of annotators
    who are not shown to do better than chance on these items are left out of the labels.
    """

    attention: str | None = None
    neurons: str | None = None
    leave_out: bool = False

    @model_validator(mode="after")
    def _some(self) -> Gold:
        if self.attention is None and self.neurons is None:
            raise ValueError("needs a file, in `attention` or `neurons`")
        return self


class Consensus(Section):
    """How answers become labels (paper, Sec. IV-B).

    An image with at least `minimum_answers` answers is labelled relevant if at least the share `agreement` of them is
    yes, and irrelevant if at least this share is no. A neuron gets the label of most of its patches. If there are as
    many relevant as irrelevant patches, it gets the label `tie`.

    `truth`: `votes`, the default, counts answers as above. `dawid_skene` and `one_coin` infer the right answers
    and each annotator's error rates, see `crayon.annotations.truth`. Then an image gets the label of the more
    probable answer, if its probability is at least `confidence` (0.5), and a patch votes for the more probable answer;
    `agreement` has no effect, and `minimum_answers` counts yes and no only.
    `gold`: items whose right answers are known.

    After validation, `truth` is None instead of `votes`, so that a record is the same with and without this default.
    """

    minimum_answers: Count
    agreement: Annotated[Float, Field(gt=0.5, le=1)] = 1.0
    tie: Literal["relevant", "irrelevant"]
    truth: Literal["votes", "dawid_skene", "one_coin"] | None = None
    confidence: Annotated[Float, Field(ge=0.5, lt=1)] | None = None
    gold: Gold | None = None

    @model_validator(mode="before")
    @classmethod
    def _inferred(cls, value: Any) -> Any:
        """Read `votes` as None; fill in `confidence` where it is used."""
        if not isinstance(value, Mapping):
            return value
        truth = value.get("truth")
        if truth not in (None, "votes"):
            return {**value, "confidence": 0.5 if value.get("confidence") is None else value["confidence"]}
        if value.get("confidence") is not None:
            raise ValueError("confidence: is for `truth: dawid_skene` or `one_coin`; add one of them, or remove it")
        return {key: own for key, own in value.items() if key != "truth"}

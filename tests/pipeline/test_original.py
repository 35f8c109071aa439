"""The Original's training has its own augmentation, where params.yaml gives one."""

from __future__ import annotations

import pytest

from crayon.config.sections import Augmentation, OriginalAugmentation
from crayon.models.build import build_classifier
from crayon.pipeline.steps import download, original
from crayon.pipeline.steps.context import Context
from crayon.report.build import load_plan
from crayon.utils.files import write_json

from .. import tiny


class Reached(Exception):
    """The training would have begun."""


@pytest.mark.parametrize(
    ("own", "trains_with"),
    [
        (None, Augmentation(jitter=0.1)),
        ({"crop": [0.7, 1.0], "flip": True}, OriginalAugmentation(crop=(0.7, 1.0), flip=True)),
    ],
)
def test_the_originals_own_augmentation_takes_the_others_place(own, trains_with, tmp_path, monkeypatch):
    content = tiny.params()
    benchmark = content["suites"]["mini"]["benchmarks"]["waterbirds"]
    benchmark["augmentation"] = {"jitter": 0.1}
    if own is not None:
        benchmark["original_augmentation"] = own
    monkeypatch.chdir(tiny.write(tmp_path, content))
    plan = load_plan()
    download.run(plan.find("download", benchmark="waterbirds"))
    job = plan.find("original", benchmark="waterbirds")
    write_json(job.inputs["pretrained"], {})
    monkeypatch.setattr(Context, "pretrained", lambda self, path: build_classifier(self.options, 2))
    seen = []

    def train(problem, *_):
        seen.append(problem.augmentation)
        raise Reached

    monkeypatch.setattr(original, "train", train)
    with pytest.raises(Reached):
        original.run([job])
    assert seen == [trains_with]
    refined = Context(plan.find("refine", benchmark="waterbirds", run="erm", seed=0))
    assert refined.problem(refined.network()).augmentation == Augmentation(jitter=0.1)

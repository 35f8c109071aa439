"""The JSON Schema of params.yaml: it is current, accepts what Crayon accepts, and refuses what an editor can see."""

from __future__ import annotations

import copy
from functools import cache, reduce

import pytest
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from pydantic import ValidationError

from crayon.config.suite import Params
from crayon.pipeline.schema import descriptions, params_schema
from crayon.pipeline.validate import validate
from crayon.utils.errors import CrayonError

from .. import tiny
from ..commands import crayon

FILE = tiny.ROOT / "workflow/schemas/params.schema.json"

FOLDER = {
    "classes": ["landbird", "waterbird"],
    "source": {"kind": "folder", "path": "my_images", "masks": "my_masks", "size": [224, 200]},
    "annotation": {"source": "people"},
}


@cache
def validator() -> Draft202012Validator:
    schema = params_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@cache
def own() -> dict:
    return yaml.load((tiny.ROOT / "params.yaml").read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def test_committed_schema_is_current():
    assert FILE.read_text(encoding="utf-8") == crayon("schema").stdout, (
        "crayon schema > workflow/schemas/params.schema.json"
    )


def test_params_name_the_schema():
    first = (tiny.ROOT / "params.yaml").read_text(encoding="utf-8").partition("\n")[0]
    assert first == f"# yaml-language-server: $schema={FILE.relative_to(tiny.ROOT)}"


@pytest.mark.parametrize("content", [own, tiny.params], ids=["params.yaml", "tiny"])
def test_schema_accepts_params(content):
    assert [error.message for error in validator().iter_errors(content())] == []


SUITE = "suites.mini"
BIRDS = f"{SUITE}.benchmarks.waterbirds"

FAULTS = {
    "unknown": 1,
    f"{SUITE}.sedes": [1],
    f"{SUITE}.seeds": [-1],
    f"{SUITE}.methods": ["crayon_atention"],
    f"{SUITE}.network.stem": 0,
    f"{SUITE}.compute.precision": "float16",
    f"{SUITE}.defaults.clases": ["a", "b"],
    f"{SUITE}.studies.originals.repeats": [0, 1],
    f"{SUITE}.studies.transfer.refinement.epochs": 0,
    f"{SUITE}.tuning.spaces.erm.learning_rate": {"log": [1, 2], "choice": [1]},
    f"{SUITE}.tuning.spaces.ermm": {},
    f"{SUITE}.benchmarks.Birds": {},
    f"{BIRDS}.classes": ["waterbird"],
    f"{BIRDS}.source.kind": "waterbird",
    f"{BIRDS}.source.path": "birds",
    f"{BIRDS}.source.scale": [1.2],
    f"{BIRDS}.original.learning_rate": 0,
    f"{BIRDS}.consensus.agreement": 0.5,
    f"{BIRDS}.selection": {},
    f"{BIRDS}.metrics.WGA.accuracy": "test",
    f"{BIRDS}.methods.crayon_attention.alfa": 1,
    f"{BIRDS}.methods.crayon_attention.alpha": "high",
    f"{BIRDS}.methods.crayon_attention.epochs": 0,
    f"{BIRDS}.methods.crayon_attention": {"alpha": 1},
    f"{SUITE}.benchmarks.digits.source.compose.kind": "letters",
    f"{SUITE}.benchmarks.digits.source.compose.inkk": 1,
}
"""Key -> a value that is refused there."""


@pytest.mark.parametrize("key", FAULTS)
def test_schema_and_crayon_refuse_a_fault(key):
    content = copy.deepcopy(own())
    content["suites"] = {"mini": content["suites"]["mini"]}
    *sections, last = key.split(".")
    reduce(dict.__getitem__, sections, content)[last] = FAULTS[key]
    error = best_match(validator().iter_errors(content))
    assert error is not None
    place = ".".join(str(part) for part in error.absolute_path)
    assert key.startswith(place) or place.startswith(key)
    with pytest.raises((ValidationError, CrayonError)):
        validate(Params.model_validate(content))


@pytest.mark.parametrize("benchmarks", [None, {"mine": FOLDER}], ids=["none", "folder"])
def test_schema_accepts_own_images(benchmarks):
    content = {"suite": "mini", "suites": {"mini": own()["suites"]["mini"], "own": dict(own()["suites"]["own"])}}
    content["suites"]["own"]["benchmarks"] = benchmarks
    assert [error.message for error in validator().iter_errors(content)] == []


def test_keys_are_described():
    sections = params_schema()["$defs"]

    def described(section: str, key: str) -> str:
        return sections[section]["properties"][key]["description"]

    assert described("Suite", "seeds_per_job") == "how many of these seeds one job trains."
    assert described("Network", "patch") == "(mini_convnext, mini_vit) width and height of the patches in pixels."
    assert described("Training", "momentum") == "momentum of `sgd`."
    assert described("CrayonAttention", "alpha") == "weight of the loss of relevant maps."
    assert described("CrayonMargin", "alpha") == "weight of the loss of relevant maps."  # inherited
    assert described("Benchmark", "source").startswith("the data source")
    assert sections["Compute"]["description"] == "The machine: where and how numbers are computed."


def test_descriptions_of_both_forms_of_docstrings():
    google = "Do.\n\nAttributes:\n    one, two: both\n        of them.\n    three: `x`: it.\n\nReturns: no."
    assert descriptions(google) == {"one": "both of them.", "two": "both of them.", "three": "`x`: it."}
    ours = "Do `this`.\n\n`one`, `two` (in\nboth): as `one`. `three: [a, b]`: it.\n\n`four`: null."
    assert descriptions(ours) == {
        "one": "(in both) as `one`.",
        "two": "(in both) as `one`.",
        "three": "it.",
        "four": "null.",
    }

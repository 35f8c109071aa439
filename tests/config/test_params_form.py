"""The form of params.yaml: DVC's writer, which `dvc exp run -S` uses, changes the one number that it is given."""

from __future__ import annotations

import shutil

import pytest
import yaml
from dvc.utils.hydra import apply_overrides

from .. import tiny

NUMBERS = [
    "suites.mini.benchmarks.waterbirds.methods.crayon_attention.alpha",
    "suites.mini.benchmarks.waterbirds.refinement.epochs",  # once shared by all benchmarks through a YAML anchor
    "suites.mini.benchmarks.digits.refinement.epochs",
    "suites.mini.benchmarks.backgrounds.stage_one.epochs",
    "suites.paper.benchmarks.biased_celeba.consensus.minimum_answers",
    "suites.scenes.benchmarks.animals_1.source.compose.size",
    "suites.photos.defaults.methods.crayon_attention.alpha",
    "suites.own.defaults.methods.crayon_attention.beta",
]


@pytest.mark.parametrize("key", NUMBERS)
def test_set_param_changes_one_line_and_one_value(key, tmp_path):
    path = tmp_path / "params.yaml"
    shutil.copy(tiny.ROOT / "params.yaml", path)
    before = path.read_text(encoding="utf-8")
    apply_overrides(path, [f"{key}=30000"])
    after = path.read_text(encoding="utf-8")
    lines = list(zip(before.splitlines(), after.splitlines(), strict=True))
    assert [old != new for old, new in lines].count(True) == 1
    wanted = yaml.safe_load(before)
    *path_to, name = key.split(".")
    section = wanted
    for part in path_to:
        section = section[part]
    section[name] = 30000
    assert yaml.safe_load(after) == wanted


def test_no_section_is_shared_by_an_anchor():
    """DVC writes a value into the shared section, then the old one over it: the override is lost, or reaches others."""
    tokens = yaml.scan((tiny.ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert [token.value for token in tokens if isinstance(token, yaml.AnchorToken | yaml.AliasToken)] == []

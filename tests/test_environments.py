"""The environments of containers and of `--sdm conda` install what this repository has."""

from __future__ import annotations

import re
import shlex

import pytest
import yaml

from .tiny import ROOT

ENVIRONMENT = ROOT / "workflow/envs/crayon.yaml"


@pytest.mark.parametrize("folder", [ENVIRONMENT.parent, ROOT / ".snakemake/conda"], ids=["here", "snakemake's copy"])
def test_paths_of_the_conda_environment(folder):
    *_, pip = yaml.safe_load(ENVIRONMENT.read_text(encoding="utf-8"))["dependencies"]
    paths = dict(line.split() for line in pip["pip"])
    assert (folder / paths["-c"]).resolve() == ROOT / "constraints.txt"
    assert (folder / paths["-e"].removesuffix("[photos]")).resolve() == ROOT


def test_containerfile_copies_files_and_installs_pinned_tools():
    text = re.sub(r"\\\n", " ", (ROOT / "Containerfile").read_text(encoding="utf-8"))
    copied = [word for line in text.splitlines() if line.startswith("COPY ") for word in shlex.split(line)[1:-1]]
    assert sorted(copied) == ["constraints.txt", "pyproject.toml"]
    assert all((ROOT / name).is_file() for name in copied)
    assert re.search(r"^uv==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)

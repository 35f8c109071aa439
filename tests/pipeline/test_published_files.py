"""Files that others published, got by hand, and their names."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import yaml

from crayon.config.types import Archive
from crayon.pipeline.steps.download import fetched, run
from crayon.report.build import load_plan
from crayon.utils.errors import DataError, ParamsError

from .. import tiny
from ..data import releases


def plan(**names):
    """The plan of the suite `paper` with one benchmark; published files have these names, and no address."""
    content = yaml.safe_load((tiny.ROOT / "params.yaml").read_text(encoding="utf-8"))
    suite = content["suites"]["paper"]
    suite |= {"methods": ["crayon_attention", "crayon_pruning", "erm"], "studies": {}, "controls": {}}
    birds = suite["benchmarks"]["waterbirds"]
    suite["benchmarks"] = {"waterbirds": birds}
    archives = {key: {"file": f"{key}.tgz"} for key in birds["source"]["archives"]}
    birds["source"] |= {"archives": archives}
    birds["annotation"] = {"source": "published", "published": names}
    birds["imported"] = {"original": {"file": "original.pth"}, "maps": {"file": "maps.json"}}
    birds["consensus"] = {"minimum_answers": 1, "tie": "relevant"}
    content["suite"] = "paper"
    Path("params.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return load_plan()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_published_answers_and_the_original_are_taken_from_a_folder(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "original.pth").write_bytes(b"weights")
    (mine / "saved as.json").write_bytes(b"answers")
    digest = hashlib.sha256(b"answers").hexdigest()
    found = plan(attention={"file": "attention.json", "sha256": digest}, neurons={"file": "neurons.json"})
    with pytest.raises(DataError, match="could not be downloaded"):  # the images are not in the folder
        fetched(found.find("download", benchmark="waterbirds"), mine)
    raw = Path("raw/paper/waterbirds")
    assert {path.name: path.read_bytes() for path in raw.iterdir()} == {
        "original.pth": b"weights",
        "attention.json": b"answers",
    }


def test_two_published_files_of_one_name_are_refused():
    same = {"file": "answers.json"}
    assert plan(attention=same, neurons=same).params.active.benchmarks["waterbirds"].published_files[-1] == Archive(
        file="answers.json"
    )
    with pytest.raises(
        ParamsError, match=r"benchmarks\.waterbirds: two different published files are named 'maps\.json'"
    ):
        plan(attention={"file": "maps.json", "sha256": "0" * 64}, neurons=same)


def test_a_wrong_archive_is_named_and_leaves_nothing_to_the_right_one(tmp_path):
    """The first has other numbers of images than the release, the second no metadata.csv; both have the same name."""
    made, mine = releases.waterbirds(tmp_path / "made", per_kind=1), tmp_path / "mine"
    mine.mkdir()
    made["images"].rename(mine / "images.tgz")
    made["segmentations"].rename(mine / "segmentations.tgz")
    job = plan(attention={"file": "attention.json"}, neurons={"file": "neurons.json"}).find(
        "download", benchmark="waterbirds"
    )
    table = "waterbird_complete95_forest2water2/metadata.csv"
    with pytest.raises(DataError, match=f"^raw/paper/waterbirds/images.tgz/{table}: 12 faults: train has 1 images of"):
        run(job, mine)
    (tmp_path / "made" / table).unlink()
    releases.tarred(tmp_path / "made", mine / "images.tgz", "waterbird_complete95_forest2water2")
    with pytest.raises(
        DataError, match=r"^raw/paper/waterbirds/images.tgz: contains no metadata.csv; check that it is"
    ):
        run(job, mine)
    assert not any(Path(path).exists() for path in (*job.outputs.values(), job.record))

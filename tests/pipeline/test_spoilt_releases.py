"""Releases with one fault each, through `crayon download`: one sentence that names it, and no data set."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path

import pytest

from .. import paper, tiny
from ..commands import crayon
from ..data import releases

pytestmark = pytest.mark.slow

SHARE = 1000
TREES = {  # benchmark -> archive -> the folder that is packed
    "waterbirds": {"images": "waterbird_complete95_forest2water2", "segmentations": "segmentations"},
    "biased_celeba": {"images": "img_align_celeba"},
    "backgrounds": {"training": "original", "foregrounds": "only_fg", "challenge": "bg_challenge"},
}
METADATA = "waterbird_complete95_forest2water2/metadata.csv"
TRAIN = "biased_celeba_black_hair_1_100_train.csv"
BIRD = "001.Black_footed_Albatross/Black_footed_Albatross_0001_1.jpg"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project whose archives are in raw/, with the trees that they were packed from."""
    content, suite = paper.suite()
    folder = tmp_path_factory.mktemp("releases")
    for name, benchmark in suite["benchmarks"].items():
        source = benchmark["source"]
        source["counts"] = paper.fewer(source["counts"], SHARE)
        if name == "biased_celeba":
            source["validation"] = 0
            benchmark["selection"] = {"worst_group": "test"}
        paths = paper.release(name, folder / "raw/paper" / name, source)
        source["archives"] = {key: {"file": path.name} for key, path in paths.items()}
    return tiny.write(folder, content)


@pytest.fixture
def project(made, tmp_path):
    shutil.copytree(made, tmp_path / "project", symlinks=True)
    return tmp_path / "project"


def packed_again(folder: Path, name: str) -> None:
    for key, tree in TREES[name].items():
        if name == "biased_celeba":
            with zipfile.ZipFile(folder / f"{tree}.zip", "w") as archive:
                for path in sorted((folder / tree).iterdir()):
                    archive.write(path, f"{tree}/{path.name}")
        else:
            packed = {"segmentations": "segmentations.tgz", "challenge": "backgrounds_challenge_data.tar.gz"}
            releases.tarred(folder, folder / packed.get(key, f"{tree}.tar.gz"), tree)


def edit(name: str, change):
    """A fault in a list: `change` takes its lines."""

    def spoil(folder: Path) -> None:
        lines = (folder / name).read_text().splitlines()
        (folder / name).write_text("\n".join(change(lines)) + "\n")

    return spoil


def archive_in_archive(inner: str):
    """The archive contains another one instead of the files."""

    def spoil(folder: Path) -> None:
        tree = folder / inner
        releases.tarred(folder, folder / "kept.tar.gz", inner)
        shutil.rmtree(tree)
        tree.mkdir()
        (folder / "kept.tar.gz").rename(tree / "inner.tar.gz")

    return spoil


def lost(pattern: str):
    return lambda folder: min(folder.glob(pattern)).unlink()


def emptied(pattern: str):
    return lambda folder: min(folder.glob(pattern)).write_bytes(b"")


def another(folder: Path) -> None:
    path = min(folder.glob("original/train/00_dog/*"))
    shutil.copy(path, path.with_name("n00000000_99.JPEG"))


def renamed(old: str, new: str):
    return lambda rows: [rows[0].replace(old, new), *rows[1:]]


def swapped(rows: list[str]) -> list[str]:
    return [rows[0], rows[2], rows[1], *rows[3:]]


def doubled(rows: list[str]) -> list[str]:
    return [*rows, rows[-1]]


FAULTS = {
    "a file short": [
        ("waterbirds", lost(f"*/{BIRD}"), f"line 2: .*{BIRD} does not exist"),
        ("waterbirds", lost("segmentations/*/*.png"), r"segmentations.tgz/.*\.png does not exist"),
        ("biased_celeba", lost("img_align_celeba/000003.jpg"), "line 4: .*000003.jpg does not exist"),
        ("backgrounds", lost("original/train/00_dog/*"), "train has 4 images of dog, not 5"),
        ("backgrounds", lost("bg_challenge/mixed_rand/val/*/*"), "mixed_rand has 0 images of dog, not 1"),
        ("backgrounds", lost("only_fg/train/*/*"), "has no mask of train/dog/"),
    ],
    "an image of no size": [
        ("waterbirds", emptied(f"*/{BIRD}"), "line 2: .*_0001_1.jpg is not an image"),
        ("biased_celeba", emptied("img_align_celeba/000003.jpg"), "line 4: 000003.jpg is not an image"),
        ("backgrounds", emptied("original/train/*/*"), "train/dog/n00000000_0.JPEG: .* is not an image"),
    ],
    "a row too many": [
        ("waterbirds", edit(METADATA, lambda rows: [*rows, "99,a/b.jpg,0,0,0,x"]), "train has 4 images of .*, not 3"),
        ("waterbirds", edit(METADATA, doubled), "line 18: .* is the id of line 17 already"),
        ("biased_celeba", edit(TRAIN, doubled), "line 24: .* is the id of .* line 23 already"),
        ("backgrounds", another, "has no mask of train/dog/n00000000_99.JPEG"),
    ],
    "another order": [
        ("waterbirds", edit(METADATA, swapped), "img_id 1 comes after 2"),
        ("biased_celeba", edit(TRAIN, swapped), "000001.jpg comes after"),
    ],
    "another version": [
        ("waterbirds", edit(METADATA, renamed("place,", "background,")), "column place"),
        ("waterbirds", edit(METADATA, lambda rows: rows[:-1]), "test has 0 images of waterbird/water, not 1"),
        ("waterbirds", edit(METADATA, lambda rows: [rows[0], rows[1].replace(",0,0,0,", ",0,0,2,")]), "place is '2'"),
        ("biased_celeba", edit(TRAIN, renamed("Smiling", "Smile")), "no attribute Smiling"),
    ],
    "an archive within an archive": [
        ("waterbirds", archive_in_archive(METADATA.split("/")[0]), "contains the archive .*inner.tar.gz"),
        ("biased_celeba", archive_in_archive("img_align_celeba"), "none of the .* images"),
        ("backgrounds", archive_in_archive("bg_challenge"), "contains the archive .*inner.tar.gz"),
    ],
}


@pytest.mark.parametrize(
    ("name", "spoil", "words"),
    [pytest.param(*case, id=f"{kind}-{case[0]}-{n}") for kind, cases in FAULTS.items() for n, case in enumerate(cases)],
)
def test_a_release_with_one_fault_is_one_sentence_and_no_data_set(project, name, spoil, words):
    spoil(project / "raw/paper" / name)
    packed_again(project / "raw/paper" / name, name)
    done = crayon("download", name, cwd=project)
    assert done.returncode == 1
    (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("crayon: ")]
    assert re.search(words, sentence), sentence
    assert "Traceback" not in done.stderr
    assert not [path for path in project.glob("data/paper/*/*") if path.is_file()]


def test_the_releases_without_a_fault_are_packed(project):
    for name in TREES:
        packed_again(project / "raw/paper" / name, name)
        assert crayon("download", name, cwd=project).returncode == 0
        assert (project / f"data/paper/{name}/record.json").exists()

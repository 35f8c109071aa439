"""Compositions of photographs: reading and getting Debian packages, and the images, on packages that the test makes."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import stat
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from pydantic import TypeAdapter
from typer.testing import CliRunner

from crayon.cli.app import app
from crayon.data.photos import catalogue, composition, packages
from crayon.pipeline.steps import compose, download
from crayon.pipeline.validity import Ledger
from crayon.report.build import load_plan
from crayon.utils.errors import DataError, OutputError, ParamsError
from crayon.utils.tables import read_csv

from .. import tiny

PAIRS = ("bird/sea", "bird/grass", "cow/sea", "cow/grass")
GROUNDS = {"sea": (0, 0, 200), "grass": (0, 200, 0)}
ANIMALS = {"bird": (200, 0, 0), "cow": (200, 200, 0)}


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def tarred(files: dict[str, bytes], mode: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def ar(members: dict[str, bytes]) -> bytes:
    parts = [b"!<arch>\n"]
    for name, content in members.items():
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n"
        parts += [header.encode(), content, b"\n" * (len(content) % 2)]
    return b"".join(parts)


def deb(files: dict[str, bytes], name: str = "data.tar.xz") -> bytes:
    data = tarred(files, "w:xz" if name.endswith("xz") else "w")
    if name.endswith("zst"):
        data = pytest.importorskip("zstandard").compress(data)
    return ar({"debian-binary": b"2.0\n", "control.tar.xz": b"odd", name: data})


def known(**changes) -> catalogue.Package:
    fields = {"name": "pictures", "version": "1.0-1", "file": "pictures_1.0-1_all.deb", "size": 10, "sha256": "0" * 64}
    return catalogue.Package(**fields | {"licence": "CC0-1.0", "author": "2020 Ann"} | changes)


@pytest.fixture
def material(tmp_path, monkeypatch):
    """Two packages and their catalogue: three cut-outs of 10x6 pixels a class, four photographs a place."""
    animals, places = {}, {}
    for kind, colour in ANIMALS.items():
        for number in range(3):
            pixels = np.zeros((8, 14, 4), np.uint8)  # margins of 1 and 2 transparent pixels
            pixels[1:7, 2:12] = (*colour, 255)
            pixels[1, 2] = (*colour, 100)  # in the corner of the box, but more transparent than not
            pixels[3, 3] = (number, number, number, 255)
            animals[f"{kind}_{number}.png"] = png(pixels)
    for place, colour in GROUNDS.items():
        for number in range(4):
            pixels = np.full((40, 60, 3), 9, np.uint8)
            pixels[20:] = colour  # the box is the lower half
            pixels[21, 1] = number
            places[f"{place}_{number}.png"] = png(pixels)
    folder = tmp_path / "debs"
    folder.mkdir()
    (folder / "animals_2-1_all.deb").write_bytes(deb({f"usr/{name}": c for name, c in animals.items()}))
    (folder / "places_3-1_all.deb").write_bytes(deb({f"opt/{name}": c for name, c in places.items()}, "data.tar"))
    entry = {"version": "2-1", "size": 1000, "sha256": "a" * 64, "licence": "GPL-2.0-or-later", "author": "2001 Bob"}
    cutouts = {kind: {name: sha(c) for name, c in animals.items() if name.startswith(kind)} for kind in ANIMALS}
    shown = {
        name: {"shows": [name.split("_")[0]], "box": [0, 0.5, 1, 1], "sha256": sha(c)} for name, c in places.items()
    }
    for name in [name for name in shown if name.startswith("sea")]:
        shown[name] |= {"author": "2018 Cid", "licence": "CC0-1.0"}
    content = {
        "animals": entry | {"file": "animals_2-1_all.deb", "folder": "usr", "cutouts": cutouts},
        "places": entry | {"version": "3-1", "file": "places_3-1_all.deb", "folder": "opt", "photographs": shown},
    }
    file = tmp_path / "catalogue.yaml"
    file.write_text(yaml.safe_dump({"packages": content}, sort_keys=False))
    monkeypatch.setattr(catalogue, "FILE", file)
    return folder


def params(**changes) -> dict:
    counts = {split: dict.fromkeys(PAIRS, 3) for split in ("train", "test")}
    fixed = {"scale": (0.5, 0.5), "brightness": (1.0, 1.0), "crop": (1.0, 1.0)}
    names = {"classes": {"bird": ("bird",), "cow": ("cow",)}, "places": {"sea": ("sea",), "grass": ("grass",)}}
    return {"seed": 0, "size": 20, "counts": counts} | fixed | names | changes


def options(**changes) -> composition.Options:
    return TypeAdapter(composition.Options).validate_python(params(**changes))


def drawn(folder: Path, **changes):
    made = options(**changes)
    return composition.compose(made, {p.name: folder / p.file for p in composition.packages(made)})


# The reader of packages.


@pytest.mark.parametrize("name", ["data.tar.xz", "data.tar", "data.tar.zst"])
def test_wanted_members_of_a_package_are_read(name, tmp_path):
    path = tmp_path / "pictures.deb"
    path.write_bytes(deb({"a/one.png": b"1", "a/two.png": b"22", "a/three.png": b"333"}, name))
    wanted = {"a/three.png": sha(b"333"), "a/one.png": sha(b"1")}
    assert list(packages.pictures(path, known(), wanted)) == [("a/one.png", b"1"), ("a/three.png", b"333")]


WHOLE = {"a/one.png": b"1" * 3000}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html>Sign in</html>", "is no Debian package"),
        (b"", "is no Debian package"),
        (ar({"debian-binary": b"2.0\n"}), "has no member data.tar"),
        (ar({"data.tar.lz4": b"x"}), "contains data.tar.lz4, whose compression is not supported"),
        (ar({"data.tar.xz": b"x" * 99}), "is cut off or corrupt"),
        (deb(WHOLE)[:-40], "is cut off or corrupt"),
        (deb(WHOLE, "data.tar")[:2000], "is cut off or corrupt"),
        (deb(WHOLE)[:100], "is cut off or corrupt"),
        (
            deb({"a/other.png": b"1"}),
            r"another version of pictures than 1.0-1: 1 of the 1 .*one.png is missing",
        ),
        (deb({"a/one.png": b"2"}), r"another version of pictures than 1.0-1: 1 of the 1 .*one.png differs"),
    ],
)
def test_a_bad_package_is_named_with_the_one_to_get(content, words, tmp_path):
    path = tmp_path / "pictures.deb"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as raised:
        list(packages.pictures(path, known(), {"a/one.png": sha(WHOLE["a/one.png"])}))
    text = str(raised.value)
    assert text.startswith(f"{path}: ")
    assert text.endswith(f"; replace it by pictures_1.0-1_all.deb of Debian (sha256 {'0' * 64}).")


def test_a_link_does_not_count_as_a_picture(tmp_path):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo("./a/one.png")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    path = tmp_path / "pictures.deb"
    path.write_bytes(ar({"data.tar": stream.getvalue()}))
    with pytest.raises(DataError, match=r"one\.png is missing"):
        list(packages.pictures(path, known(), {"a/one.png": sha(b"")}))


def test_zstd_without_its_python_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(packages, "zstandard", None)
    path = tmp_path / "pictures.deb"
    path.write_bytes(ar({"data.tar.zst": b"x"}))
    with pytest.raises(DataError, match=r"run `pip install zstandard`, or replace it by pictures_1\.0-1_all\.deb"):
        list(packages.pictures(path, known(), {"a": sha(b"")}))


# Getting packages.


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """Replaces apt-get by a shell script; None for a machine without it."""

    def install(script: str | None) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        if script is not None:
            (folder / "apt-get").write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
            (folder / "apt-get").chmod(stat.S_IRWXU)
        monkeypatch.setenv("PATH", str(folder))

    return install


def test_apt_downloads_what_is_missing_whatever_the_version(apt, tmp_path, capsys):
    apt('for name; do :; done; echo "$name" > "${name}_9.9_all.deb"')
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "there.deb").write_text("kept")
    packages.fetch([known(name="there"), known(name="new")], folder)
    assert (folder / "there.deb").read_text() == "kept"
    assert (folder / "new.deb").read_text() == "new\n"
    assert sorted(path.name for path in folder.glob("*")) == [".lock", "new.deb", "there.deb"]
    assert "new_9.9_all.deb" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (None, "this machine has no apt-get"),
        ("echo 'E: Unable to locate package odd' >&2; exit 100", "apt-get: Unable to locate package odd"),
        ("echo 'W: odd' >&2", "apt-get: W: odd"),
        ("exit 1", "apt-get: it gave no reason"),
    ],
)
def test_without_apt_the_files_to_get_are_named(script, reason, apt, tmp_path):
    apt(script)
    folder = tmp_path / "raw"
    wanted = [known(name=name, file=f"{name}_1_all.deb", sha256=name * 64) for name in "ab"]
    with pytest.raises(DataError) as raised:
        packages.fetch(wanted, folder)
    text = str(raised.value)
    assert text.startswith(f"{folder}/a.deb: could not be downloaded ({reason}). ")
    for part in (f"a_1_all.deb (sha256 {'a' * 64})", f"b_1_all.deb (sha256 {'b' * 64})", f"into {folder}", "--from"):
        assert part in text
    assert [path.name for path in folder.glob("*")] == [".lock"]


def test_files_got_by_hand_are_taken(apt, tmp_path):
    apt(None)
    folder, local = tmp_path / "raw", tmp_path / "mine"
    folder.mkdir()
    local.mkdir()
    (folder / "a_1_all.deb").write_text("in raw")
    (local / "b_1_all.deb").write_text("in mine")
    (local / "bb_1_all.deb").write_text("of another name")
    packages.fetch([known(name="a"), known(name="b")], folder, local)
    assert [(folder / f"{name}.deb").read_text() for name in "ab"] == ["in raw", "in mine"]


def test_a_wrong_from_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: there is no such file or folder; correct --from"):
        packages.fetch([known()], tmp_path / "raw", tmp_path / "nowhere")
    (tmp_path / "odd.deb").write_text("")
    with pytest.raises(DataError, match=r"odd\.deb: is not one of the missing packages \(pictures_1"):
        packages.fetch([known()], tmp_path / "raw", tmp_path / "odd.deb")


def test_too_little_room_is_named_before_a_download(apt, tmp_path):
    apt("echo never; exit 1")
    with pytest.raises(OutputError, match=r"raw: \d+ MB are free, and 1000000000 are needed.*Nothing was downloaded"):
        packages.fetch([known(size=10**15)], tmp_path / "raw")


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "raw").write_text("a file")
    with pytest.raises(OutputError, match=r"raw: the packages cannot be saved in this folder"):
        packages.fetch([known()], tmp_path / "raw")


# The images.


def test_each_split_has_the_images_that_counts_state(material):
    made = drawn(material, counts={"train": {"bird/sea": 5, "bird/grass": 1, "cow/grass": 4}, "test": {"cow/sea": 2}})
    found = Counter(zip(made.splits, made.labels, made.groups, strict=True))
    assert found == {
        ("train", "bird", "sea"): 5,
        ("train", "bird", "grass"): 1,
        ("train", "cow", "grass"): 4,
        ("test", "cow", "sea"): 2,
    }
    assert len(set(made.image_ids)) == 12


def test_a_mask_covers_the_opaque_pixels_and_nothing_else(material):
    made = drawn(material)
    for image, mask, label, group in zip(made.images, made.masks, made.labels, made.groups, strict=True):
        assert mask.sum() == 59  # 10x6 pixels without the corner
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert (rows[-1] - rows[0], columns[-1] - columns[0]) == (5, 9)
        assert (image[mask] == ANIMALS[label]).all(1).sum() == 58  # all but the marked pixel
        apart = ~mask & (np.abs(image.astype(int) - GROUNDS[group]).max(2) > 0)
        assert apart.sum() <= 6  # the corner, and what is left of the ground's marked pixel


def test_same_params_give_same_bytes_and_counts_are_independent(material):
    first, again = drawn(material), drawn(material)
    assert (first.images.tobytes(), first.masks.tobytes()) == (again.images.tobytes(), again.masks.tobytes())
    more = drawn(material, counts={"train": dict.fromkeys(PAIRS, 5), "test": dict.fromkeys(PAIRS, 3)})
    of = dict(zip(more.image_ids, more.images, strict=True))
    assert all((of[name] == image).all() for name, image in zip(first.image_ids, first.images, strict=True))
    assert drawn(material, seed=1).images.tobytes() != first.images.tobytes()


def test_splits_share_no_picture_and_thirds_rotate():
    """On the real catalogue, which needs no package to be divided."""
    real = {"classes": {"bird": ("waterbird", "landbird"), "mammal": ("mammal",)}}
    real |= {"places": {"sea": ("water",), "grass": ("land",)}, "counts": {"train": {"bird/sea": 1}}}
    tested = []
    for fold in range(3):
        assigned = composition.assign(options(**real, split_of_cutouts=fold))
        for pools in (assigned.cutouts, assigned.photographs):
            of = [picture for split in pools.values() for pool in split.values() for picture in pool]
            assert len(of) == len(set(of))
            assert all(pool for split in pools.values() for pool in split.values())
        tested += assigned.cutouts["test"]["bird"]
        assert {name: len(pool) for name, pool in assigned.photographs["test"].items()} == {"sea": 4, "grass": 9}
    assert len(tested) == len(set(tested)) == 35


def test_a_watermark_is_on_its_groups_only(material):
    both = {"places": {"marked": ("sea", "grass"), "plain": ("sea", "grass")}, "size": 40}
    both |= {"counts": {"train": {"bird/marked": 2, "cow/plain": 2}}}
    one = drawn(material, **both, watermark={"text": "SAMPLE", "places": ("marked",)})
    all_ = drawn(material, **both, watermark={"text": "SAMPLE", "places": ("marked", "plain")})
    differs = (one.images != all_.images).any((1, 2, 3))
    assert differs.tolist() == [group == "plain" for group in one.groups]
    assert (one.masks == all_.masks).all()


def test_a_tag_lies_in_the_corner_that_covers_least_of_the_animal():
    image, mask = Image.new("RGB", (40, 40)), np.zeros((40, 40), bool)
    mask[:30, :] = True  # the lower corners are freer than the upper ones
    mask[30:, 30:] = True  # and of these the left one
    tag = composition.Watermark(text="X", places=("sea",), position="corner", label=(200, 0, 0), opacity=1.0)
    tagged, rest = composition._marked(image, mask, tag, np.random.default_rng(0))
    covered = np.asarray(tagged).any(2)
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    assert rows[-1] == 39
    assert columns[0] == 0
    assert covered[rows[0] :, : columns[-1] + 1].all()  # a filled rectangle
    assert tuple(np.asarray(tagged)[39, 0]) == (200, 0, 0)
    assert (rest == mask & ~covered).all()
    assert mask[:30].all()  # the animal's own mask is not changed


def test_a_picture_that_pillow_cannot_read_is_named(material, tmp_path):
    content = yaml.safe_load(catalogue.FILE.read_text())
    files = {f"usr/{name}": b"odd" for kind in content["packages"]["animals"]["cutouts"].values() for name in kind}
    for kind in content["packages"]["animals"]["cutouts"].values():
        kind |= dict.fromkeys(kind, sha(b"odd"))
    catalogue.FILE.write_text(yaml.safe_dump(content, sort_keys=False))
    path = material / "animals_2-1_all.deb"
    path.write_bytes(deb(files))
    with pytest.raises(DataError, match=rf"{path}: its picture usr/\w+\.png cannot be read by Pillow"):
        drawn(material)


REAL = {
    "kind": "photos",
    "seed": 0,
    "size": 64,
    "classes": {"bird": ["waterbird"], "mammal": ["mammal"]},
    "places": {"land": ["land"], "water": ["water"]},
    "counts": {"train": {"bird/water": 1, "mammal/land": 1}},
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": {"bird": ["waterbrid"], "mammal": ["mammal"]}}, "compose.classes.bird: .*'waterbird'"),
        (
            {"classes": {"bird": [], "mammal": ["mammal"]}},
            "compose.classes.bird: is empty; name one",
        ),
        ({"classes": {"bird": ["waterbird"], "mammal": ["waterbird"]}}, "compose.classes: .* is both bird and mammal"),
        ({"places": {"land": ["land"], "water": ["water", "land"]}}, "compose.places: .* is both land and water"),
        ({"places": {"land": ["land"], "water": ["sea"]}}, "compose.places.water: "),
        (
            {"places": {"land": ["night"], "water": ["indoor"]}, "counts": {"validation": {"bird/land": 1}}},
            "places.land: has too few pictures: none is left for validation",
        ),
        ({"counts": {"training": {"bird/water": 1}}}, "compose.counts: .*'train'"),
        ({"counts": {"train": {"bird/sea": 1}}}, "compose.counts.train: .*'sea'"),
        ({"counts": {}}, "compose.counts: names no split"),
        ({"split_of_cutouts": 3}, "compose.split_of_cutouts: is 3; it must be 0, 1 or 2"),
        ({"scale": [0.2, 1.5]}, r"compose.scale: is \[0.2, 1.5\]; it must be above 0 and at most 1"),
        ({"scale": [0.5, 0.2]}, "compose.scale: .* must be .* <= low <= high"),
        ({"brightness": [0.0, 1.0]}, "compose.brightness: .* above 0"),
        ({"size": 0}, "compose.size: is 0"),
        ({"watermark": {"text": " ", "places": ["land"]}}, "compose.watermark.text: is empty"),
        ({"watermark": {"text": "\u6377", "places": ["land"]}}, "compose.watermark.text: must be of ASCII"),
        ({"watermark": {"text": "a", "places": ["sea"]}}, "compose.watermark.places: "),
        ({"watermark": {"text": "a", "places": ["land"], "opacity": 2}}, "compose.watermark.opacity: is 2"),
        ({"watermark": {"text": "a", "places": ["land"], "label": [0, 0, 256]}}, "compose.watermark.label: has 256"),
        ({"watermark": {"text": "a", "places": ["land"], "position": "top"}}, "compose.watermark.position"),
        ({"watermark": {"text": "a", "places": ["land"], "colour": 2}}, "compose.watermark.colour"),
        ({"sise": 64}, "compose: .*'size'"),
    ],
)
def test_wrong_params_are_named(change, words):
    from crayon.data import registry

    with pytest.raises(ParamsError, match=words):
        registry.check({"kind": "csv", "path": "x", "masks": True, "compose": REAL | change})


# The catalogue, and the steps.


def test_the_catalogue_has_what_the_docs_say():
    known = catalogue.read()
    kinds = Counter(picture.shows[0] for picture in known.cutouts)
    assert kinds == {"waterbird": 12, "landbird": 23, "mammal": 61, "sea_mammal": 4}
    shown = Counter(picture.shows[0] for picture in known.photographs)
    assert shown == {"water": 12, "land": 26, "town": 15, "indoor": 6, "night": 1}
    assert sum(package.size for package in known.packages.values()) < 250e6
    pictures = [*known.cutouts, *known.photographs]
    for key in ("name", "member", "sha256"):
        assert len({getattr(picture, key) for picture in pictures}) == 160
    for picture in known.photographs:
        left, top, right, bottom = picture.box
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1


@pytest.fixture
def project(material, tmp_path, monkeypatch):
    """A project whose suite has one benchmark composed of the test's pictures."""
    content = tiny.params()
    suite = content["suites"]["mini"]
    suite["benchmarks"] = {"animals": suite["benchmarks"]["digits"]}
    suite["studies"] = {}
    suite["benchmarks"]["animals"] |= {"classes": ["bird", "cow"], "groups": ["sea", "grass"]}
    counts = {split: dict.fromkeys(PAIRS, 3) for split in ("train", "test")}
    source = {"kind": "csv", "path": "data/mini/animals/folder", "masks": True}
    source["compose"] = json.loads(json.dumps(params(kind="photos", counts=counts)))
    suite["benchmarks"]["animals"] |= {"source": source, "selection": {"worst_group": "test"}}
    content["suites"] = {"mini": suite}
    monkeypatch.chdir(tiny.write(tmp_path / "project", content))
    return load_plan("params.yaml")


def test_compose_writes_a_folder_licences_and_digests_of_packages(project, material):
    job = project.find("compose", benchmark="animals")
    compose.run(job, material)
    folder = Path("data/mini/animals/folder")
    rows = read_csv(folder / "manifest.csv", ("image", "mask"), DataError)
    assert len(rows) == len(list((folder / "images").iterdir())) == len(list((folder / "masks").iterdir())) == 24
    text = (folder / "LICENCES.txt").read_text()
    assert "animals 2-1: GPL-2.0-or-later, (c) 2001 Bob" in text
    assert text.count("  opt/sea_") == text.count(".png: CC0-1.0, (c) 2018 Cid\n") == 3  # of train and test
    assert text.count("  opt/grass_") == 3
    record = json.loads((folder / "record.json").read_text())
    digests = {name: sha((material / file).read_bytes()) for name, file in DEBS.items()}
    assert record["told"]["archives"] == digests
    assert record["params"]["catalogue"] == sha(catalogue.FILE.read_bytes())
    download.run(project.find("download", benchmark="animals"))
    assert np.load("data/mini/animals/masks.npy").sum() == 24 * 59
    assert Ledger(project).breaks(job) == []


DEBS = {"animals.deb": "animals_2-1_all.deb", "places.deb": "places_3-1_all.deb"}


def test_another_package_makes_the_folder_stale(project, material):
    job = project.find("compose", benchmark="animals")
    compose.run(job, material)
    path = Path("raw/debian/animals.deb")
    content = path.read_bytes()
    path.unlink()
    assert Ledger(project).breaks(job) == []  # what was composed stays valid without it
    path.write_bytes(content + b"\n")
    assert any("raw/debian/animals.deb has changed" in reason for reason in Ledger(project).breaks(job))


def test_the_command_download_composes_first(project, material):
    with pytest.raises(DataError, match=r"is not composed yet; compose it with `crayon download animals`"):
        download.check(project.find("download", benchmark="animals"))
    ran = CliRunner().invoke(app, ["download", "animals", "--from", str(material)], catch_exceptions=False)
    assert ran.exit_code == 0
    text, size = download.check(project.find("download", benchmark="animals"))
    assert text.startswith("animals: 24 images (train 12, test 12).")
    assert size == (20, 20)


def test_a_failed_composition_leaves_no_folder(project, material):
    shutil.copy(material / "places_3-1_all.deb", material / "animals_2-1_all.deb")
    with pytest.raises(DataError, match=r"raw/debian/animals\.deb: is another version of animals than 2-1: 4 of the 4"):
        compose.run(project.find("compose", benchmark="animals"), material)
    assert not Path("data").exists()

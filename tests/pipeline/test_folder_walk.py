"""Reading, digests and stamps use the same files of a folder: links are followed, hidden files are left out."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from crayon.audit import dvc_lock
from crayon.audit.check import check as audit
from crayon.data import registry
from crayon.data.pack import Undecodable, opened
from crayon.data.releases.base import inside
from crayon.pipeline.record import Digests
from crayon.pipeline.steps import download
from crayon.pipeline.validity import Ledger
from crayon.report.build import load_plan
from crayon.report.cost import Spent
from crayon.utils.errors import DataError
from crayon.utils.files import sha256
from crayon.utils.walk import is_hidden, walk

from .. import tiny
from ..data import releases

MANIFEST = "data/own/pets/manifest.csv"


@pytest.fixture(autouse=True)
def no_test_waits_for_a_pipe():
    signal.alarm(60)
    yield
    signal.alarm(0)


def picture(path: Path, seed: int = 0, kind: str = "RGB") -> Path:
    """A picture of random pixels: colours, or for the kind `L` a mask of black and white."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    if kind == "L":
        pixels = np.where(pixels[..., 0] > 127, 255, 0).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def link(path: Path, target: str | Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    return path


# The walk itself.


@pytest.fixture
def odd(tmp_path):
    """A folder with every kind of entry."""
    folder = tmp_path / "odd"
    for name in ("a/x", "a b/x", "a/b/y", "B", "é.png", ".secret/z", "a/.DS_Store", ".notebook.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    for name in ("elsewhere/p.png", "elsewhere/deep/q.png", "elsewhere/.r.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    link(folder / "linked", tmp_path / "elsewhere")
    link(folder / "a/one.png", "../../elsewhere/p.png")
    link(folder / "gone.png", "nowhere.png")
    link(folder / "through", "B/x")
    link(folder / ".#B", "person@host.1234")
    link(folder / ".loop", ".")
    os.mkfifo(folder / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listener:
        before = Path.cwd()
        os.chdir(folder)  # the path of a socket is limited to 108 bytes
        listener.bind("socket")
        os.chdir(before)
    return folder


def test_the_walk_lists_every_kind_of_entry(odd):
    tree = walk(odd)
    # Sorted by the parts of a path, so that `a` comes before `a b`; by text, `a b/x` would come before `a/x`.
    assert list(tree.files) == ["B", "a/b/y", "a/one.png", "a/x", "a b/x", "linked/deep/q.png", "linked/p.png", "é.png"]
    assert list(tree.folders) == ["a", "a/b", "a b", "linked", "linked/deep"]
    assert sorted(tree.hidden) == [".#B", ".loop", ".notebook.png", ".secret", "a/.DS_Store", "linked/.r.png"]
    assert dict(tree.unusable) == {
        "gone.png": "a link to nowhere.png, which does not exist",
        "pipe.png": "a pipe",
        "socket": "a socket",
        "through": "a link to B/x, which does not exist",
    }
    assert tree.files["linked/p.png"].st_size == len("elsewhere/p.png")


def test_the_walk_finds_files_by_folder(odd):
    tree = walk(odd)
    assert tree.folders_in(odd) == [odd / "a", odd / "a b", odd / "linked"]
    assert tree.files_in(odd) == [odd / "B", odd / "é.png"]
    assert list(tree.files_below(odd / "linked")) == [odd / "linked/deep/q.png", odd / "linked/p.png"]
    assert list(tree.files_below(odd)) == [odd / name for name in tree.files]
    assert tree.files_in(odd / "none") == []


def test_one_sentence_counts_hidden_and_one_names_unusable(odd):
    hidden, unusable = walk(odd).left_out()
    assert hidden.startswith(f"{odd}: left out 6 hidden files and folders")
    assert "left out 4 entries that are not files: gone.png is a link to nowhere.png, which does not exist;" in unusable
    assert unusable.endswith("; and 1 more")
    assert list(walk(odd / "a b").left_out()) == []


def test_the_order_is_not_that_of_the_file_system(odd, monkeypatch):
    expected, scandir = walk(odd), os.scandir

    class Shuffled:
        def __init__(self, path):
            with scandir(path) as found:
                self.entries = sorted(found, key=lambda entry: hashlib.md5(entry.name.encode()).digest())

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(os, "scandir", Shuffled)
    found = walk(odd)
    for kind in ("files", "folders", "unusable", "hidden"):
        assert list(getattr(found, kind)) == list(getattr(expected, kind))


@pytest.mark.parametrize("name", [".own", "own", "link"])
def test_the_name_of_the_folder_itself_does_not_count(tmp_path, name):
    real = tmp_path / (name if name != "link" else "real")
    picture(real / "a.png")
    if name == "link":
        link(tmp_path / name, real)
    assert list(walk(tmp_path / name).files) == ["a.png"]


LOOPS = {
    "itself": {"own/a/loop": "loop"},
    "its own folder": {"own/a/loop": "."},
    "the root": {"own/a/loop": ".."},
    "above the root": {"own/a/loop": "../.."},
    "the file system": {"own/a/loop": "/"},
    "by a second link": {"own/a/loop": "../b", "own/b/back": "../a"},
    "outside and back": {"own/a/out": "../../other", "other/loop": "../own"},
}


@pytest.mark.parametrize("links", LOOPS.values(), ids=LOOPS)
@pytest.mark.parametrize("use", [walk, sha256, lambda path: Digests(full=True).of(path)])
def test_a_loop_of_links_is_refused_by_name(tmp_path, links, use):
    picture(tmp_path / "own/a/x.png")
    for name, target in links.items():
        link(tmp_path / name, target)
    with pytest.raises(
        DataError, match=r"own: the link (a/loop|a/loop/back|a/out/loop) leads back to .*remove"
    ) as error:
        use(tmp_path / "own")
    assert "\n" not in str(error.value)


def test_a_link_to_a_neighbour_is_no_loop(tmp_path):
    picture(tmp_path / "own/a/x.png")
    link(tmp_path / "own/b", "a")
    link(tmp_path / "own/c", tmp_path / "own/b")
    assert list(walk(tmp_path / "own").files) == ["a/x.png", "b/x.png", "c/x.png"]


@pytest.mark.parametrize("target", ["own", "own/a"])
def test_an_unreadable_folder_is_one_sentence(tmp_path, monkeypatch, target):
    picture(tmp_path / "own/a/x.png")
    scandir = os.scandir

    def refuse(path):
        if Path(path) == tmp_path / target:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=rf"{target}: cannot be read \(Permission denied\); check its permissions\."):
        Digests(full=True).of(tmp_path / "own")


def test_an_unreadable_file_is_one_sentence(tmp_path, monkeypatch):
    path, read = picture(tmp_path / "own/x.png"), Path.open

    def refuse(self, *arguments, **options):
        if self == path:
            raise PermissionError(13, "Permission denied", str(self))
        return read(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"own/x\.png: cannot be read \(Permission denied\)"):
        sha256(tmp_path / "own")


# Digests and stamps.


def test_the_digest_of_an_ordinary_folder_is_as_before(tmp_path):
    for name in ("b/x.png", "a b/x.png", "a/y.txt", "é.png"):
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).write_text(name)
    (tmp_path / "own/.hidden").write_text("left out")
    lines = [
        f"{name}\0{hashlib.sha256(name.encode()).hexdigest()}\n"
        for name in ("a b/x.png", "a/y.txt", "b/x.png", "é.png")
    ]
    assert sha256(tmp_path / "own") == hashlib.sha256("".join(lines).encode()).hexdigest()


CHANGES = {
    "a file": (lambda p: (p / "a/x").write_text("other"), True),
    "a file that a link leads to": (lambda p: (p.parent / "elsewhere/p.png").write_text("other"), True),
    "a file in a linked folder": (lambda p: (p.parent / "elsewhere/deep/q.png").write_text("other"), True),
    "a new file in a linked folder": (lambda p: (p.parent / "elsewhere/new").write_text("new"), True),
    "a name": (lambda p: (p / "a/x").rename(p / "a/z"), True),
    "a dangling link that is repaired": (lambda p: (p / "nowhere.png").write_text("here"), True),
    "a new dangling link": (lambda p: link(p / "a/new", "nowhere"), True),
    "a hidden file": (lambda p: (p / "a/.DS_Store").write_text("other"), False),
    "a file in a hidden folder": (lambda p: (p / ".secret/z").write_text("other"), False),
    "a hidden file in a linked folder": (lambda p: (p.parent / "elsewhere/.r.png").write_text("other"), False),
    "a new hidden dangling link": (lambda p: link(p / "a/.#x", "person@host.99"), False),
}


@pytest.mark.parametrize(("change", "differs"), CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("full", [False, True])
def test_digest_and_stamp_notice_the_same_changes(odd, tmp_path, change, differs, full):
    old = 1_600_000_000 * 10**9
    for path in tmp_path.rglob("*"):  # files that changed just now are not remembered
        if path.is_file():
            os.utime(path, ns=(old, old))
    os.utime(odd, ns=(old, old))
    digests = Digests(tmp_path / "memory.json")
    before = digests.of(odd)
    digests.save()
    assert str(odd) in Digests(tmp_path / "memory.json").known
    change(odd)
    assert (Digests(tmp_path / "memory.json", full=full).of(odd) != before) is differs
    assert (sha256(odd) != before) is differs


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: link(Path(path), "/dev/null")])
def test_the_digest_of_a_pipe_is_refused(tmp_path, make):
    make(tmp_path / "archive.tar")
    with pytest.raises(DataError, match=r"archive\.tar: is neither a file nor a folder"):
        Digests(full=True).of(tmp_path / "archive.tar")


def test_the_cost_counts_linked_files(odd):
    record = {"told": {"wall_seconds": 1.0}, "rule": "compose", "outputs": {str(odd): ""}}
    spent = Spent()
    spent.add(record)
    assert spent.disk == sum(map(len, ["B", "a/b/y", "elsewhere/p.png", "a/x", "a b/x"])) + sum(
        map(len, ["elsewhere/deep/q.png", "elsewhere/p.png", "é.png".encode()])
    )


# Each kind of source reads only files that are in the digest.


def own_folder(folder: Path) -> dict:
    """Own images and masks; the class dog lies in another place and is linked, in both folders."""
    for part, kind in (("own", "RGB"), ("masks", "L")):
        for number, split in enumerate(("train", "val", "test")):
            picture(folder / part / split / "cat/0.png", number, kind)
            picture(folder / f"disk/{part}/{split}/1.png", 10 + number, kind)
            link(folder / part / split / "dog", folder / f"disk/{part}/{split}")
        picture(folder / part / "train/cat/.ipynb_checkpoints/0-checkpoint.png", 20, kind)
        picture(folder / part / "train/.cat/0.png", 21, kind)
        link(folder / part / "train/cat/.#0.png", "person@host.1234")
        link(folder / part / "train/cat/notes", "gone.txt")
    return {"kind": "folder", "path": str(folder / "own"), "masks": str(folder / "masks")}


def own_table(folder: Path) -> dict:
    """The same images, listed in a table."""
    own_folder(folder)
    rows = [
        f"{split}/{label}/{n}.png,{'validation' if split == 'val' else split},{label},masks/{split}/{label}/{n}.png"
        for split in ("train", "val", "test")
        for n, label in enumerate(("cat", "dog"))
    ]
    (folder / "masks").rename(folder / "own/masks")
    (folder / "own/manifest.csv").write_text("\n".join(["image,split,label,mask", *rows]) + "\n")
    return {"kind": "csv", "path": str(folder / "own"), "masks": True}


def unpacked(folder: Path, kind: str, archives: tuple[str, ...], away: str) -> dict:
    """A release that is unpacked in the folder `tree`. A part of it lies in another place and is linked.

    Hidden copies of everything lie beside it.
    """
    for archive in [path for path in (folder / "tree").iterdir() if path.suffix in (".gz", ".tgz", ".zip")]:
        archive.unlink()
    (folder / "disk").mkdir()
    (folder / "tree" / away).rename(folder / "disk/moved")
    link(folder / "tree" / away, folder / "disk/moved")
    shutil.copytree(folder / "tree", folder / "copy", symlinks=True)
    (folder / "copy").rename(folder / "tree/.copy")
    for below in sorted(walk(folder / "tree").folders):
        picture(folder / "tree" / below / ".ipynb_checkpoints/n00000000_0.JPEG")
        link(folder / "tree" / below / ".#lock", "person@host.1234")
    return {"kind": kind, "tree": str(folder / "tree"), "archives": {name: {} for name in archives}}


def waterbirds(folder: Path) -> dict:
    releases.waterbirds(folder / "tree")
    return unpacked(folder, "waterbirds_release", ("images", "segmentations"), "segmentations")


def celeba(folder: Path) -> dict:
    (folder / "tree").mkdir()
    releases.celeba(folder / "tree")
    names = ("images", "train", "test", "attributes", "landmarks")
    return unpacked(folder, "celeba_release", names, "img_align_celeba")


def backgrounds(folder: Path) -> dict:
    (folder / "tree").mkdir()
    releases.backgrounds(folder / "tree")
    names = ("training", "foregrounds", "challenge")
    shutil.rmtree(folder / "tree/bg_challenge/original")  # else there are two folders `original`
    source = unpacked(folder, "backgrounds_release", names, f"original/train/{releases.FOLDERS[3]}")
    return source | {"variant_masks": "fg_mask", "variants": ["mixed_same", "mixed_rand"]}


SOURCES = {
    "folder": (own_folder, ("cat", "dog"), ("all",), 6),
    "csv": (own_table, ("cat", "dog"), ("all",), 6),
    "waterbirds": (waterbirds, ("landbird", "waterbird"), ("land", "water"), 36),
    "celeba": (celeba, ("not_smiling", "smiling"), ("not_black", "black"), 24),
    "backgrounds": (backgrounds, releases.IN9, ("all",), 45),
}


@pytest.mark.parametrize(("make", "classes", "groups", "count"), SOURCES.values(), ids=SOURCES)
def test_all_that_is_read_is_in_the_digest(tmp_path, make, classes, groups, count):
    source = make(tmp_path)
    files = {name: Path(source["tree"]) for name in source.get("archives", ())}
    listing = registry.read(source, files, classes, groups)
    assert len(listing.entries) == count
    assert listing.masks
    trees = {path: walk(path) for path in map(Path, registry.reads(source).values())}
    read = [path for entry in listing.entries for path in (entry.path, entry.mask) if isinstance(path, Path)]
    for path in read:
        assert any(
            path.relative_to(root).as_posix() in tree.files for root, tree in trees.items() if root in path.parents
        )
    linked = [path for path in read if str(tmp_path / "disk") in str(path.resolve())]
    assert linked
    for path in (read[0], linked[0]):
        before = [sha256(root) for root in trees]
        path.write_bytes(path.read_bytes() + b"changed")
        assert [sha256(root) for root in trees] != before


def test_hidden_synsets_are_no_part_of_imagenet(tmp_path):
    folder, class_map = releases.imagenet(tmp_path)
    picture(folder / ".trash/n00000099_1.JPEG")
    picture(folder / "n00000000/.thumbnails/n00000000_2.JPEG")
    (folder / "n00000001").rename(tmp_path / "disk")
    link(folder / "n00000001", tmp_path / "disk")
    releases.backgrounds(tmp_path / "tree")
    source = {
        "kind": "backgrounds_release",
        "tree": str(tmp_path / "tree"),
        "archives": {"challenge": {}},
        "imagenet": str(folder),
        "class_map": str(class_map),
    }
    listing = registry.read(source, {"challenge": tmp_path / "tree/bg_challenge"}, releases.IN9, ("all",))
    assert [entry.image for entry in listing.entries if entry.split == "train"] == [
        f"train/{label}/n{n:08d}_1.JPEG" for n, label in enumerate(releases.IN9)
    ]
    class_map.unlink()
    os.mkfifo(class_map)
    with pytest.raises(DataError, match=r"in_to_in9\.json: there is no such file"):
        registry.read(source, {"challenge": tmp_path / "tree/bg_challenge"}, releases.IN9, ("all",))


def put(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


WRONG_NAMES = {
    "hidden file": ("train/cat/.0.png", "line 2: .*is hidden, since a part of its path begins with a dot; rename it"),
    "hidden folder": ("train/.cat/0.png", "line 2: .*is hidden"),
    "hidden behind dots": ("train/../train/./.cat/0.png", "line 2: .*is hidden"),
    "outside": ("../../outside.png", "line 2: .*lies outside of the folder"),
    "absolute": ("/etc/hostname", "line 2: .*lies outside of the folder"),
    "through a link": ("train/dog/../train/1.png", "line 2: .*leads through a link to another file than .*train/1"),
}


@pytest.mark.parametrize(("name", "words"), WRONG_NAMES.values(), ids=WRONG_NAMES)
@pytest.mark.parametrize(("column", "folder"), [("image", ""), ("mask", "masks/")])
def test_a_table_lists_no_file_without_a_digest(tmp_path, name, words, column, folder):
    source = own_table(tmp_path)
    picture(tmp_path / "outside.png")
    picture(tmp_path / "own" / folder / "train/cat/.0.png")
    start = "," if column == "mask" else "\n"
    new = name if name.startswith("/") else folder + name
    put(tmp_path / "own/manifest.csv", f"{start}{folder}train/cat/0.png", start + new)
    with pytest.raises(DataError, match=words):
        registry.read(source, {}, ("cat", "dog"), ("all",))


def test_a_table_may_write_dots_and_absolute_paths_inside(tmp_path):
    source = own_table(tmp_path)
    put(tmp_path / "own/manifest.csv", "train/cat/0.png", "./train/../train/cat/0.png")
    put(tmp_path / "own/manifest.csv", "masks/train/dog/1.png", str(tmp_path / "own/masks/train/dog/1.png"))
    assert len(registry.read(source, {}, ("cat", "dog"), ("all",)).entries) == 6


@pytest.mark.parametrize(
    ("make", "file", "old", "classes", "groups"),
    [
        (
            waterbirds,
            "waterbird_complete95_forest2water2/metadata.csv",
            "001.Black_footed_Albatross/",
            *SOURCES["waterbirds"][1:3],
        ),
        (celeba, "biased_celeba_black_hair_1_100_train.csv", "000001.jpg", *SOURCES["celeba"][1:3]),
    ],
)
@pytest.mark.parametrize(("new", "words"), [(".x/", "is hidden"), ("../../../", "lies outside of the folder")])
def test_a_release_lists_no_file_without_a_digest(tmp_path, make, file, old, classes, groups, new, words):
    source = make(tmp_path)
    put(tmp_path / "tree" / file, old, new + old)
    files = {name: Path(source["tree"]) for name in source["archives"]}
    with pytest.raises(DataError, match=rf"line 2: .*{words}"):
        registry.read(source, files, classes, groups)


def test_files_of_a_release_are_not_sought_in_hidden_folders(tmp_path):
    (tmp_path / ".old").mkdir()
    (tmp_path / ".old/metadata.csv").write_text("old")
    with pytest.raises(DataError, match=r"contains no metadata\.csv"):
        inside(tmp_path, "metadata.csv")
    (tmp_path / "new").mkdir()
    os.mkfifo(tmp_path / "metadata.csv")
    (tmp_path / "new/metadata.csv").write_text("new")
    assert inside(tmp_path, "metadata.csv") == tmp_path / "new/metadata.csv"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p: link(p / "own/train/cat/2.png", "gone.png"), r"own: train/cat/2\.png is a link to gone\.png, which"),
        (lambda p: os.mkfifo(p / "own/train/cat/2.png"), r"own: train/cat/2\.png is a pipe"),
        (lambda p: link(p / "own/train/cat/2.png", "/dev/null"), r"own: train/cat/2\.png is a device"),
        (
            lambda p: [(p / "masks/train/cat/0.png").unlink(), link(p / "masks/train/cat/0.png", "gone.png")],
            r"own: train/cat/0\.png: its mask .*masks/train/cat/0\.png is a link to gone\.png, which does not exist",
        ),
        (
            lambda p: [(p / "masks/train/cat/0.png").unlink(), os.mkfifo(p / "masks/train/cat/0.png")],
            r"own: train/cat/0\.png: its mask .* is a pipe",
        ),
        (
            lambda p: (p / "masks/train/cat/0.png").rename(p / "masks/train/cat/.0.png"),
            r"own: train/cat/0\.png: has no mask in",
        ),
        (
            lambda p: picture(p / "masks/train/cat/0.bmp", 0, "L"),
            r"has 2 masks in .*masks \(train/cat/0\.bmp, train/cat/0\.png\)\. Of several .*, remove all but one",
        ),
        (lambda p: link(p / "own/train/cat/2.png", "0.png"), r"train/cat/2\.png is the same file as the image of"),
    ],
)
def test_an_image_without_a_file_is_named(tmp_path, spoil, words):
    source = own_folder(tmp_path)
    spoil(tmp_path)
    if "same file" in words:
        del source["masks"]
    with pytest.raises(DataError, match=words) as error:
        registry.read(source, {}, ("cat", "dog"), ("all",))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["x.png", "x.npy"])
def test_a_pipe_is_not_opened_as_an_image(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(Undecodable, match="is no regular file"):
        opened(tmp_path / name)


def test_a_pipe_is_not_opened_as_a_table(tmp_path):
    source = own_table(tmp_path)
    (tmp_path / "own/manifest.csv").unlink()
    os.mkfifo(tmp_path / "own/manifest.csv")
    with pytest.raises(DataError, match=r"manifest\.csv: is no regular file"):
        registry.read(source, {}, ("cat", "dog"), ("all",))


# A job of a whole project, and the audit of it.


@pytest.fixture(params=["folder", "csv"])
def project(tmp_path, monkeypatch, request):
    """A project whose only benchmark reads own images; the job `download` ran."""
    source = SOURCES[request.param][0](tmp_path)
    content = yaml.safe_load((tiny.ROOT / "params.yaml").read_text(encoding="utf-8"))
    content["suite"] = "own"
    relative = json.loads(json.dumps(source).replace(f"{tmp_path}/", ""))
    pets = {"source": relative, "classes": ["cat", "dog"], "annotation": {"source": "none"}}
    content["suites"]["own"]["benchmarks"] = {"pets": pets}
    tiny.write(tmp_path, content)
    monkeypatch.chdir(tmp_path)
    old = 1_600_000_000 * 10**9
    for path in (tmp_path / "disk").rglob("*.png"):
        os.utime(path, ns=(old, old))
    job = load_plan().find("download", benchmark="pets")
    download.run(job)
    assert np.load(job.outputs["images"]).shape == (6, 8, 8, 3)
    return tmp_path


def test_check_and_log_count_what_is_left_out(project, capsys):
    job = load_plan().find("download", benchmark="pets")
    for use in (download.check, download.run):
        use(job)
        printed = capsys.readouterr().err
        assert printed.count("hidden files and folders") == (2 if "masks_folder" in job.inputs else 1)
        assert "train/cat/notes is a link to gone.txt, which does not exist" in printed


def found(full: bool) -> list[str]:
    """What an audit of the packed images finds; the code need not be committed."""
    return [f"{kind}: {what}" for kind, _, what in audit(load_plan(), [MANIFEST], full=full, allow_dirty=True).breaks]


def spoilt(path: Path) -> None:
    """Change one byte and nothing else: the size and the modification time stay."""
    status, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("path", ["own/train/cat/0.png", "own/train/dog/1.png", "masks/test/dog/1.png"])
def test_a_changed_image_makes_its_job_stale(project, path):
    if not Path(path).exists():
        path = f"own/{path}"
    stale = [f"stale: {'masks' if path.startswith('masks') else 'own'} has changed"]
    for full in (False, True):
        assert found(full) == []
    picture(Path(path), 99, "L" if "masks" in path else "RGB")
    for full in (False, True):
        assert found(full) == stale
    plan = load_plan()
    assert Ledger(plan).breaks(plan.find("download", benchmark="pets")) == stale
    download.run(plan.find("download", benchmark="pets"))
    assert found(True) == []


@pytest.mark.parametrize("path", ["own/train/cat/0.png", "own/train/dog/1.png"])
def test_a_full_audit_notices_a_change_that_keeps_the_time(project, path):
    spoilt(Path(path))
    assert found(True) == ["stale: own has changed"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda: picture(Path("own/train/cat/.ipynb_checkpoints/0-checkpoint.png"), 98), None),
        (lambda: link(Path("own/test/cat/.#0.png"), "person@host.5"), None),
        (lambda: picture(Path("disk/own/train/.DS_Store.png"), 97), None),
        (lambda: link(Path("own/test/cat/readme"), "gone"), "own has changed"),
        (lambda: picture(Path("own/train/cat/7.png"), 96), "own has changed"),
        (lambda: Path("disk/own/train/1.png").rename("disk/own/train/2.png"), "own has changed"),
        (lambda: [Path("own/train/dog").unlink(), Path("own/train/dog").mkdir()], "own has changed"),
    ],
)
def test_what_else_makes_the_job_stale(project, change, words):
    change()
    assert found(full=False) == found(full=True) == ([] if words is None else [f"stale: {words}"])


@pytest.mark.parametrize("use", [download.check, download.run, lambda job: found(True), lambda job: found(False)])
def test_a_loop_stops_check_job_and_audit(project, use):
    link(Path("own/train/loop"), "..")
    with pytest.raises(DataError, match=r"own: the link train/loop leads back to .*own, a folder that contains it"):
        use(load_plan().find("download", benchmark="pets"))


@pytest.mark.parametrize(("name", "hidden"), [("a/b", False), (".a", True), ("a/.b/c", True), ("a.b/c.png", False)])
def test_a_path_is_hidden_by_any_of_its_parts(name, hidden):
    assert is_hidden(name) is is_hidden(Path(name)) is hidden


def test_a_dangling_link_in_an_output_differs_from_dvc_lock(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture(Path("out/x.png"))
    Path("out/.hidden").write_text("DVC counts hidden files, too")
    names = ("out/.hidden", "out/x.png")
    listed = [{"md5": hashlib.md5(Path(name).read_bytes()).hexdigest(), "relpath": Path(name).name} for name in names]
    entry = {
        "path": "out",
        "md5": hashlib.md5(json.dumps(listed, sort_keys=True).encode()).hexdigest() + ".dir",
        "size": sum(Path(name).stat().st_size for name in names),
        "nfiles": 2,
    }
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": {"compose": {"outs": [entry]}}}))
    assert dvc_lock.differing(dvc_lock.here(), ["out"], Digests(full=True)) == []
    link(Path("out/y.png"), "gone.png")
    assert dvc_lock.differing(dvc_lock.here(), ["out"], Digests(full=True)) == ["out"]

"""Packed data sets and the door for a person's own images."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from crayon.benchmarks import digits, folder
from crayon.benchmarks.dataset import Drawn, load_dataset, write_manifest
from crayon.errors import DataError
from crayon.files import write_npy


def drawn(count=6, size=8, masks=True) -> Drawn:
    generator = np.random.default_rng(0)
    return Drawn(
        image_ids=[f"i{n}" for n in range(count)],
        splits=["train"] * (count - 2) + ["test"] * 2,
        labels=["cat", "dog"] * (count // 2),
        groups=["in", "in", "out"] * (count // 3),
        images=generator.integers(0, 256, (count, size, size, 3)).astype(np.uint8),
        masks=generator.random((count, size, size)) < 0.5 if masks else None,
    )


def pack(path, data):
    write_manifest(path / "manifest.csv", data.manifest())
    write_npy(path / "images.npy", data.images)
    write_npy(path / "masks.npy", data.masks if data.masks is not None else np.zeros((0, 8, 8), bool))


def opened(path):
    return load_dataset(path, ("cat", "dog"), ("in", "out"))


def test_a_packed_data_set_opens_as_it_was(tmp_path):
    data = drawn()
    pack(tmp_path, data)
    found = opened(tmp_path)
    assert np.array_equal(found.images, data.images)
    assert np.array_equal(found.masks, data.masks)
    assert found.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert found.group_ids.tolist() == [0, 0, 1, 0, 0, 1]
    assert found.rows("test").tolist() == [4, 5]


def test_a_data_set_without_masks_says_so(tmp_path):
    pack(tmp_path, drawn(masks=False))
    assert opened(tmp_path).masks is None


def rewrite(path, change):
    text = (path / "manifest.csv").read_text()
    (path / "manifest.csv").write_text(change(text))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p: rewrite(p, lambda t: ""), r"manifest\.csv: is empty"),
        (lambda p: rewrite(p, lambda t: t.splitlines()[0] + "\n"), "names no image"),
        (lambda p: rewrite(p, lambda t: t.replace("group", "grp", 1)), "lacks the column group"),
        (lambda p: rewrite(p, lambda t: t.replace("i1,", "i0,")), "line 3: 'i0' stands on line 2 already"),
        (lambda p: rewrite(p, lambda t: t.replace("cat", "cta", 1)), "line 2: .*'cta'; did you mean 'cat'"),
        (lambda p: rewrite(p, lambda t: t.replace("out", "", 1)), "line 4: group is empty"),
        (lambda p: rewrite(p, lambda t: t + "i9,test\n"), "line 8: has 2 values, not 4"),
        (lambda p: rewrite(p, lambda t: t + "i9,test,cat,in\n"), r"images\.npy: is uint8 \(6, 8, 8, 3\), not"),
        (lambda p: (p / "manifest.csv").unlink(), "no such file"),
        (lambda p: (p / "images.npy").unlink(), r"images\.npy: there is no such file"),
        (lambda p: (p / "images.npy").write_bytes(b"junk"), r"images\.npy: is not a numpy array"),
        (lambda p: (p / "images.npy").write_bytes((p / "images.npy").read_bytes()[:-9]), "is not a numpy array"),
        (lambda p: np.savez((p / "images.npy").open("wb"), a=1), r"images\.npy: is not a single numpy array"),
        (lambda p: write_npy(p / "images.npy", np.zeros((6, 8, 8, 3))), "is float64"),
        (lambda p: write_npy(p / "masks.npy", np.zeros((6, 4, 4), bool)), r"masks\.npy: is bool \(6, 4, 4\)"),
    ],
)
def test_a_wrong_data_set_is_named(tmp_path, spoil, words):
    pack(tmp_path, drawn())
    spoil(tmp_path)
    with pytest.raises(DataError, match=words) as caught:
        opened(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_unknown_split_names_the_known(tmp_path):
    pack(tmp_path, drawn())
    with pytest.raises(DataError, match=r"'tets'; did you mean 'test'\? Known: test, train"):
        opened(tmp_path).rows("tets")


def read(path, size=None) -> Drawn:
    return folder.draw(folder.Options(path=str(path), size=size), ("cat", "dog"), ("in", "out"))


@pytest.fixture
def own(tmp_path):
    """A person's folder: six PNGs with masks."""
    digits.write(tmp_path / "own", drawn())
    return tmp_path / "own"


def test_a_folder_comes_back_as_it_was_written(own):
    found, data = read(own), drawn()
    assert np.array_equal(found.images, data.images)
    assert np.array_equal(found.masks, data.masks)
    assert (found.splits, found.labels, found.groups) == (data.splits, data.labels, data.groups)
    assert found.image_ids[0] == "images/i0.png"


def test_images_are_resized_to_height_and_width(own):
    found = read(own, (4, 6))
    assert found.images.shape == (6, 4, 6, 3)
    assert found.masks.shape == (6, 4, 6)


def test_grey_and_transparent_images_and_camera_rotation_are_understood(own):
    Image.new("L", (8, 8), 77).save(own / "images/i0.png")
    turned = Image.new("RGB", (8, 8))
    turned.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    turned.save(own / "images/i1.png", exif=exif)
    found = read(own)
    assert (found.images[0] == 77).all()
    assert found.images[1, 7, 7].tolist() == [255, 0, 0]


def put(own, old, new):
    (own / "manifest.csv").write_text((own / "manifest.csv").read_text().replace(old, new, 1))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p: put(p, "images/i0.png", "../i0.png"), r"line 2: \.\./i0\.png lies outside of the folder"),
        (lambda p: put(p, "images/i0.png", "/etc/passwd"), "line 2: .*lies outside"),
        (lambda p: put(p, "images/i0.png", "images/none.png"), r"line 2: images/none\.png is not in the folder"),
        (lambda p: (p / "images/i2.png").write_bytes(b"GIF"), r"line 4: images/i2\.png is not an image"),
        (lambda p: Image.new("RGB", (9, 8)).save(p / "images/i3.png"), "line 5: .* is 9x8 pixels.*source.size"),
        (lambda p: Image.new("L", (9, 8)).save(p / "masks/i3.png"), "line 5: the mask is 9x8, its image 8x8"),
        (lambda p: put(p, "masks/i0.png", ""), "line 2: names no file"),
        (lambda p: put(p, "cat", "horse"), "line 2: .*label 'horse'"),
        (lambda p: put(p, "image,", "picture,"), "lacks the column image"),
        (lambda p: put(p, ",mask", ",masks"), "has a column .masks.; call it mask"),
        (lambda p: put(p, ",mask", ",Mask_path"), "has a column .Mask_path."),
    ],
)
def test_a_wrong_folder_is_named_with_the_line(own, spoil, words):
    spoil(own)
    with pytest.raises(DataError, match=words) as caught:
        read(own)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no such folder; correct source\.path"):
        read(tmp_path / "none")

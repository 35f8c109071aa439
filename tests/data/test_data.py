"""Packed data sets, and the ways to read a user's own images."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from crayon.data.dataset import Drawn, load_dataset, write_manifest
from crayon.data.pack import pack as pack_listing
from crayon.data.user import folder, table
from crayon.utils.errors import DataError
from crayon.utils.files import write_npy


def drawn(count=6, size=8) -> Drawn:
    generator = np.random.default_rng(0)
    return Drawn(
        image_ids=[f"i{n}" for n in range(count)],
        splits=["train"] * (count - 2) + ["test"] * 2,
        labels=["cat", "dog"] * (count // 2),
        groups=["in", "in", "out"] * (count // 3),
        images=generator.integers(0, 256, (count, size, size, 3)).astype(np.uint8),
        masks=generator.random((count, size, size)) < 0.5,
    )


def pack(path, data):
    write_manifest(path / "manifest.csv", data.manifest())
    write_npy(path / "images.npy", data.images)
    write_npy(path / "masks.npy", data.masks)


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
    pack(tmp_path, drawn())
    write_npy(tmp_path / "masks.npy", np.zeros((0, 8, 8), bool))
    assert opened(tmp_path).masks is None


def rewrite(path, change):
    text = (path / "manifest.csv").read_text()
    (path / "manifest.csv").write_text(change(text))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p: rewrite(p, lambda t: ""), r"manifest\.csv: is empty"),
        (lambda p: rewrite(p, lambda t: t.splitlines()[0] + "\n"), "lists no image"),
        (lambda p: rewrite(p, lambda t: t.replace("group", "grp", 1)), "lacks the column group"),
        (lambda p: rewrite(p, lambda t: t.replace("i1,", "i0,")), "line 3: 'i0' is already listed on line 2"),
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


def packed(listing, work) -> Drawn:
    """The images of a listing, packed and read back."""
    entries, images, masks = pack_listing(listing, work)
    return Drawn(
        image_ids=[entry.image for entry in entries],
        splits=[entry.split for entry in entries],
        labels=[entry.label for entry in entries],
        groups=[entry.group for entry in entries],
        images=np.load(images),
        masks=np.load(masks),
    )


def read(path, size=None, masks=True, groups=("in", "out"), **options) -> Drawn:
    options = table.Options(path=str(path), size=size, masks=masks, **options)
    return packed(table.listing(options, {}, ("cat", "dog"), groups), path.parent / "work")


@pytest.fixture
def own(tmp_path):
    """A person's folder: six PNGs with masks, listed in a manifest."""
    table.write_folder(tmp_path / "own", drawn())
    return tmp_path / "own"


def test_a_manifest_s_images_come_back_as_they_were_written(own):
    found, data = read(own), drawn()
    assert np.array_equal(found.images, data.images)
    assert np.array_equal(found.masks, data.masks)
    assert (found.splits, found.labels, found.groups) == (data.splits, data.labels, data.groups)
    assert found.image_ids[0] == "images/i0.png"


def test_groups_and_masks_are_optional(own):
    (own / "manifest.csv").write_text(
        "\n".join(",".join(line.split(",")[:3]) for line in (own / "manifest.csv").read_text().split())
    )
    found = read(own, masks=False, groups=("all",))
    assert found.masks.shape == (0, 8, 8)
    assert set(found.groups) == {"all"}
    with pytest.raises(DataError, match="lacks the column group, mask"):
        read(own)


def test_images_are_scaled_to_cover_and_centre_cropped(own):
    for number in range(6):
        picture = Image.new("RGB", (16, 8), (0, 0, 0))
        picture.paste((200, 100, 50), (4, 0, 12, 8))  # the middle square
        picture.save(own / f"images/i{number}.png")
        Image.new("L", (16, 8), 255).save(own / f"masks/i{number}.png")
    assert (read(own, 8).images == (200, 100, 50)).all()
    found = read(own, (4, 6))
    assert found.images.shape == (6, 4, 6, 3)
    assert found.masks.shape == (6, 4, 6)


def test_grey_alpha_cmyk_and_rotated_images_are_read(own):
    Image.new("L", (8, 8), 77).save(own / "images/i0.png")
    turned = Image.new("RGB", (8, 8))
    turned.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    turned.save(own / "images/i1.png", exif=exif)
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(own / "images/i2.tif")  # red
    put(own, "images/i2.png", "images/i2.tif")
    found = read(own)
    assert (found.images[0] == 77).all()
    assert found.images[1, 7, 7].tolist() == [255, 0, 0]
    assert (found.images[2] == (255, 0, 0)).all()


def put(own, old, new):
    (own / "manifest.csv").write_text((own / "manifest.csv").read_text().replace(old, new, 1))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p: put(p, "images/i0.png", "../i0.png"), r"line 2: \.\./i0\.png lies outside of the folder"),
        (lambda p: put(p, "images/i0.png", "/etc/passwd"), "line 2: .*lies outside"),
        (lambda p: put(p, "images/i0.png", "images/none.png"), r"line 2: images/none\.png is not in the folder"),
        (lambda p: (p / "images/i2.png").write_bytes(b"GIF"), r"line 4: i2\.png is not an image"),
        (
            lambda p: [Image.new("RGB", (9, 8)).save(p / f"{part}/i3.png") for part in ("images", "masks")],
            "line 5: .* 9x8 pixels, the first image 8x8.*source.size",
        ),
        (lambda p: Image.new("L", (9, 8)).save(p / "masks/i3.png"), "line 5: the mask is 9x8, its image 8x8"),
        (lambda p: put(p, "masks/i0.png", ""), "line 2: mask is empty"),
        (lambda p: put(p, "cat", "horse"), "line 2: .*label 'horse'"),
        (lambda p: put(p, "image,", "picture,"), "lacks the column image"),
        (lambda p: put(p, ",mask", ",masks"), "lacks the column mask"),
        (lambda p: put(p, "images/i1.png", "images/i0.png"), "line 3: 'images/i0.png' is the id of line 2"),
        (  # a quoted line break
            lambda p: [put(p, "masks/i0.png", '"masks/i0.png\n"'), put(p, "images/i1.png", "none.png")],
            r"line 4: none\.png is not in the folder",
        ),
    ],
)
def test_a_wrong_manifest_is_named_with_the_line(own, spoil, words):
    spoil(own)
    with pytest.raises(DataError, match=words) as caught:
        read(own)
    assert "\n" not in str(caught.value)


def test_masks_that_are_not_read_are_mentioned(own, capsys):
    put(own, ",mask", ",Mask_path")
    read(own, masks=False)
    assert "its column Mask_path is not read" in capsys.readouterr().err


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no such folder; correct source\.path"):
        read(tmp_path / "none")


def test_all_faults_are_counted_and_the_first_few_told(own):
    for number in range(5):
        (own / f"images/i{number}.png").write_bytes(b"\xff\xd8 no jpeg")
    with pytest.raises(DataError, match=r"manifest\.csv: 5 faults: line 2: .*; and 2 more\. .*on_error: skip"):
        read(own)
    lines = (own / "manifest.csv").read_text().split()
    (own / "manifest.csv").write_text(
        "\n".join(line.rpartition(",")[0] + "," if 0 < n < 5 else line for n, line in enumerate(lines))
    )
    with pytest.raises(DataError, match=r"4 faults: line 2: mask is empty; line 3.*and 1 more"):
        read(own)


def test_undecodable_images_can_be_skipped_with_rows_aligned(own, capsys):
    (own / "images/i2.png").write_bytes(b"no image")
    found, data = read(own, on_error="skip"), drawn()
    kept = [0, 1, 3, 4, 5]
    assert np.array_equal(found.images, data.images[kept])
    assert np.array_equal(found.masks, data.masks[kept])
    assert found.image_ids == [f"images/i{n}.png" for n in kept]
    assert "1 of 6 images skipped" in capsys.readouterr().err


@pytest.fixture
def tree(tmp_path):
    """A person's folder in the layout of torchvision's ImageFolder."""
    data = drawn()
    for number, (split, label) in enumerate(zip(("train",) * 4 + ("val", "test"), data.labels, strict=True)):
        for part, picture in (("own", data.images[number]), ("masks", data.masks[number])):
            path = tmp_path / part / split / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
    return tmp_path / "own"


def walk(tree, groups=("all",), **options) -> Drawn:
    return packed(
        folder.listing(folder.Options(path=str(tree), **options), {}, ("cat", "dog"), groups), tree.parent / "work"
    )


def test_a_folder_of_classes_is_read_in_order(tree):
    (tree / "train/cat/Thumbs.db").write_bytes(b"left out")
    found, data = walk(tree, masks=str(tree.parent / "masks")), drawn()
    assert found.image_ids == [
        f"{split}/{label}/{n}.png"
        for split, label, n in [
            ("test", "dog", 5), ("train", "cat", 0), ("train", "cat", 2), ("train", "dog", 1), ("train", "dog", 3),
            ("val", "cat", 4),
        ]
    ]  # fmt: skip
    assert found.splits == ["test", *["train"] * 4, "validation"]
    assert np.array_equal(found.images[1], data.images[0])
    assert np.array_equal(found.masks[1], data.masks[0])
    assert set(found.groups) == {"all"}


@pytest.mark.parametrize("suffix", [".avif", ".heic", ".HEIF", ".jxl", ".dng", ".svg", ".psd", ".jfif"])
def test_images_in_formats_that_are_not_read_are_counted(tree, suffix, capsys):
    (tree / "train/cat/0.png").rename(tree / f"train/cat/0{suffix}")
    (tree / f"train/9{suffix}").write_bytes(b"")
    (tree / "train/cat/notes.txt").write_bytes(b"")
    assert len(walk(tree).image_ids) == 5
    err = capsys.readouterr().err
    words = f"since {suffix.lower()} is not read; convert them to JPEG or PNG; the first is train/9{suffix}"
    assert f"{tree}: left out 2 images, {words}\n" in err
    assert "left out 1 files without the suffix of an image, the first is train/cat/notes.txt" in err


def test_webp_images_are_read(tree, capsys):
    Image.open(tree / "train/cat/0.png").save(tree / "train/cat/0.webp", lossless=True)
    (tree / "train/cat/0.png").unlink()
    assert len(walk(tree).image_ids) == 6
    assert "left out" not in capsys.readouterr().err


def test_groups_are_a_level_more(tree):
    for path in list(tree.rglob("*.png")):
        group = path.parent / ("in" if int(path.stem) % 2 else "out")
        group.mkdir(exist_ok=True)
        path.rename(group / path.name)
    found = walk(tree, ("in", "out"))
    assert dict(zip(found.image_ids, found.groups, strict=True))["train/dog/in/1.png"] == "in"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p: (p / "train/cat").rename(p / "train/cats"), "train/cats: .*class 'cats'; did you mean 'cat'"),
        (
            lambda p: [(q / "train").rename(q / "trian") for q in (p, p.parent / "masks")],
            "no split 'train', only test, trian, validation; rename trian to train.$",
        ),
        (lambda p: [f.unlink() for f in (p / "train/dog").iterdir()], "has no training image of the class dog"),
        (lambda p: [f.unlink() for f in p.rglob("*.png")], "contains no image"),
        *(
            (
                lambda p, name=name: [(q / "train").rename(q / name) for q in (p, p.parent / "masks")],
                f"no split 'train', only .*; rename {name} to train.$",
            )
            for name in ("Training", "TRAINING", "training", "train_images")
        ),
        (
            lambda p: [(q / "train").rename(q / "fit") for q in (p, p.parent / "masks")],
            "no split 'train', only fit, test, validation; images of this split must be in one called train.$",
        ),
        (
            lambda p: (p / "train/cat").rename(p / "train/cats"),
            r"Correct the name, or add it to `classes` of the benchmark in params\.yaml\.$",
        ),
        (
            lambda p: (p.parent / "masks/train/cat/0.png").unlink(),
            r"train/cat/0\.png: has no mask in \S+masks\. Add the missing .* `source\.masks` from params\.yaml\.$",
        ),
        (
            lambda p: (p.parent / "masks/train/cat/0.png").rename(p.parent / "masks/train/cat/0.heic"),
            r"train/cat/0\.png: its mask \S+0\.heic has a format that is not read\. .*: convert them to PNG\.$",
        ),
        (
            lambda p: (p.parent / "masks/train/cat/0.gif").write_bytes(b""),
            r"has 2 masks in \S+masks \(train/cat/0\.\w+, train/cat/0\.\w+\)\. Of several .*, remove all but one\.$",
        ),
        (
            lambda p: [
                (p.parent / "masks/train/cat/0.png").unlink(),
                (p.parent / "masks/train/cat/2.gif").write_bytes(b""),
                (p / "train/dog").rename(p / "train/dogs"),
            ],
            "3 faults: .*Add the missing masks, .* Of several masks .* Correct the name, ",
        ),
        (
            lambda p: (p / "train/cat/2.png").unlink() or (p / "train/cat/2.png").symlink_to(p / "train/cat/0.png"),
            r"train/cat/2.png is the same file as the image of train/cat/0\.png\. Remove one of them\.$",
        ),
        (lambda p: (p.parent / "masks").rename(p.parent / "m"), "masks: there is no such folder; correct source.masks"),
    ],
)
def test_a_wrong_folder_is_named(tree, spoil, words):
    spoil(tree)
    with pytest.raises(DataError, match=words) as caught:
        walk(tree, masks=str(tree.parent / "masks"))
    assert "\n" not in str(caught.value)

"""The three releases, from small archives with the same layouts."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from crayon.config.source import MaskPixels
from crayon.data import registry
from crayon.data.dataset import load_dataset, write_manifest
from crayon.data.pack import decode, pack
from crayon.data.pictures import opened
from crayon.data.releases import backgrounds, celeba, waterbirds
from crayon.data.releases.download import unpacked
from crayon.utils.errors import DataError, ParamsError

from . import releases

BIRDS = (("landbird", "waterbird"), ("land", "water"))
FACES = (("not_smiling", "smiling"), ("not_black_hair", "black_hair"))
NINE = (releases.IN9, ("all",))


def files_of(archives, folder):
    return {name: unpacked(path, folder / name) for name, path in archives.items()}


def listed(module, names, archives, folder, without=(), **more):
    source = {"kind": f"{module.__name__.split('.')[-1]}_release", "tree": "unpacked"}
    source["archives"] = {name: {} for name in archives if name not in without}
    given = {name: path for name, path in files_of(archives, folder / "files").items() if name not in without}
    return registry.read(source | more, given, *names)


@pytest.fixture
def birds(tmp_path):
    return releases.waterbirds(tmp_path / "release")


@pytest.fixture
def faces(tmp_path, monkeypatch):
    monkeypatch.setattr(celeba, "TRAINING", 12)
    return releases.celeba(tmp_path / "release")


@pytest.fixture
def nine(tmp_path):
    return releases.backgrounds(tmp_path / "release")


def kinds(listing):
    return Counter((entry.split, entry.label, entry.group) for entry in listing.entries)


def test_waterbirds_are_those_of_the_metadata_in_its_order(birds, tmp_path):
    counts = {split: {f"{a}/{b}": 3 for a in BIRDS[0] for b in BIRDS[1]} for split in ("train", "validation", "test")}
    listing = listed(waterbirds, BIRDS, birds, tmp_path, counts=counts)
    assert kinds(listing) == {
        (split, a, b): 3 for split in ("train", "validation", "test") for a in BIRDS[0] for b in BIRDS[1]
    }
    assert [entry.image[-5:-4] for entry in listing.entries[:3]] == ["1", "2", "3"]
    assert listing.entries[0].image == "001.Black_footed_Albatross/Black_footed_Albatross_0001_1.jpg"
    image, mask, *_ = decode(listing.entries[0], listing.frame, listing.mask_pixels)
    assert image.shape == (224, 224, 3)
    whole = np.zeros((256, 256), bool)  # the bird, squashed to 256x256: columns 8..19 of 30, rows 5..14 of 20
    whole[64:192, 68:171] = True
    assert abs(mask.mean() - whole[16:240, 16:240].mean()) < 0.01  # pixels of which one annotator is sure are left out
    assert listed(waterbirds, BIRDS, birds, tmp_path, threshold=1).mask_pixels.threshold == 1


def test_boxes_of_birds_enclose_every_marked_pixel(birds, tmp_path):
    """CUB's annotators disagree about columns 20 to 23: they are in the box, and not in the mask."""
    listing = listed(waterbirds, BIRDS, birds, tmp_path, resize=[20, 30], crop=[20, 30])
    listing.entries[:] = [entry for entry in listing.entries if entry.split == "train"]
    _, images, masks = pack(listing, tmp_path / "work")
    write_manifest(tmp_path / "work/manifest.csv", [(e.image, e.split, e.label, e.group) for e in listing.entries])
    data = load_dataset(images.parent, *BIRDS)
    assert data.masks.shape == data.boxes.shape == (12, 20, 30)
    for pixels, columns in ((data.masks, slice(8, 20)), (data.boxes, slice(8, 24))):
        expected = np.zeros((20, 30), bool)
        expected[5:15, columns] = True
        assert (pixels == expected).all()
    one = listed(waterbirds, BIRDS, birds, tmp_path, box_threshold=128)
    assert one.box_pixels is None  # boxes of the masks
    masks = np.load(pack(one, tmp_path / "one")[2], mmap_mode="r")
    assert masks.shape == (36, 224, 224)


def test_waterbirds_go_without_masks(birds, tmp_path):
    listing = listed(waterbirds, BIRDS, birds, tmp_path, without=("segmentations",))
    assert not listing.masks
    _, images, masks = pack(listing, tmp_path / "work")
    assert np.load(images).shape == (36, 224, 224, 3)
    assert np.load(masks).shape == (0, 224, 224)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.replace(",1,0,0,", ",2,0,0,", 1), "metadata.csv: line 8: y is '2', not 0 to 1"),
        (lambda t: t.replace(",0,2,1,", ",0,3,1,"), "3 faults: line 29: split is '3', not 0 to 2; line 30"),
        (lambda t: t.replace("img_filename", "name"), "lacks the column img_filename"),
        (lambda t: t.replace("_0002_2.jpg", "_0001_1.jpg"), "line 3: .* is the id of line 2 already"),
        (
            lambda t: t.replace("\n9,", "\n99,"),
            "metadata.csv: line 11: img_id 10 comes after 99, but the release is sort",
        ),
        (lambda t: "\n".join(t.split("\n")[:-8]) + "\n", "test has 0 images of waterbird/water, not 3.*subset"),
    ],
)
def test_wrong_metadata_is_named(birds, tmp_path, change, words):
    files = files_of(birds, tmp_path / "files")
    path = next(files["images"].rglob("metadata.csv"))
    path.write_text(change(path.read_text()))
    counts = {"test": {"waterbird/water": 3}}
    with pytest.raises(DataError, match=words) as caught:
        registry.read(
            {"kind": "waterbirds_release", "tree": "t", "archives": {"images": {}}, "counts": counts}, files, *BIRDS
        )
    assert "\n" not in str(caught.value)


def test_subset_allows_fewer_images_but_never_more(birds, tmp_path):
    expected = {"train": {"landbird/land": 3498}}
    with pytest.raises(DataError, match="train has 3 images of landbird/land, not 3498"):
        listed(waterbirds, BIRDS, birds, tmp_path, counts=expected)
    listed(waterbirds, BIRDS, birds, tmp_path, counts=expected, subset=True)
    with pytest.raises(DataError, match="train has 3 images of landbird/land, not 2"):
        listed(waterbirds, BIRDS, birds, tmp_path, counts={"train": {"landbird/land": 2}}, subset=True)


def test_faces_follow_the_lists_and_validation_has_other_images(faces, tmp_path):
    listing = listed(celeba, FACES, faces, tmp_path, validation=2)
    splits = {split: [e for e in listing.entries if e.split == split] for split in ("train", "test", "validation")}
    assert [entry.image for entry in splits["train"]] == [f"{n:06d}.jpg" for n in range(1, 13)]
    assert [entry.image for entry in splits["test"]] == [f"{n:06d}.jpg" for n in range(13, 25)]
    assert set(kinds(listing).values()) == {3, 2}
    assert all(int(entry.image[:6]) > 24 for entry in splits["validation"])
    first = listing.entries[0]  # number 1: black hair, not smiling
    assert (first.label, first.group) == ("not_smiling", "black_hair")
    image, mask, *_ = decode(first, listing.frame, listing.mask_pixels)
    assert image.shape == (274, 224, 3)
    scale = 224 / 178
    for x, y in ((69, 109), (109, 109), (90, 153)):  # eyes and mouth
        assert mask[round(y * scale), round(x * scale)]
    assert not mask[round(135 * scale), round(89 * scale)]  # the nose
    assert not mask[:100].any()  # the hair


def test_a_list_of_one_and_minus_one_is_read_as_of_one_and_zero(faces):
    own = celeba.read_attributes(faces["attributes"], ("Smiling", "Black_Hair"))
    published = celeba.read_attributes(faces["train"], ("Smiling", "Black_Hair"))
    assert [row[:2] for row in own[:12]] == [row[:2] for row in published]


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("train", lambda t: t.replace("Smiling", "Smile"), "has no attribute Smiling"),
        ("train", lambda t: t.replace("000003.jpg 0 1", "000003.jpg 0 7"), "line 4: Black_Hair is '7', not 0, 1 or -1"),
        (
            "train",
            lambda t: t.replace("000003.jpg 0 1", "000003.jpg 0"),
            "line 4: has 5 values, not 6",
        ),
        ("train", lambda t: t.replace("000003.jpg", "000003.png"), "000003.png has no landmarks"),
        ("train", lambda t: t.replace("000003.jpg", "000002.jpg"), "line 4: '000002.jpg' is the id of .*line 3"),
        ("train", lambda t: "", "is empty"),
        ("landmarks", lambda t: t.replace("lefteye_x", "left"), "has no column lefteye_x"),
        ("landmarks", lambda t: t.replace("69", "sixty", 1), "line 3: could not convert"),
        ("landmarks", lambda t: t.replace(" 154 ", "", 1), "line 3: has 10 values, not 11"),
        (
            "test",
            lambda t: t.replace("000014", "x").replace("000015", "000014").replace("x", "000015"),
            "test.csv, line 4: the image 000014.jpg comes after 000015.jpg, but the release is sorted",
        ),
    ],
)
def test_a_wrong_list_is_named(faces, tmp_path, name, change, words):
    faces[name].write_text(change(faces[name].read_text()))
    with pytest.raises(DataError, match=words) as caught:
        listed(celeba, FACES, faces, tmp_path)
    assert "\n" not in str(caught.value)


def test_in9_is_sorted_by_class_and_name_and_variants_are_splits(nine, tmp_path):
    listing = listed(backgrounds, NINE, nine, tmp_path)
    expected = {"train": 2, "validation": 1, "mixed_same": 1, "mixed_rand": 1, "only_fg": 1}
    assert kinds(listing) == {(split, name, "all"): n for split, n in expected.items() for name in releases.IN9}
    training = [entry for entry in listing.entries if entry.split == "train"]
    assert training == listing.entries[:18]
    assert [entry.image for entry in training[:2]] == ["train/dog/n00000000_0.JPEG", "train/dog/n00000000_1.JPEG"]
    _, mask, *_ = decode(training[0], listing.frame, listing.mask_pixels)
    assert not decode(listing.entries[-1], listing.frame, listing.mask_pixels)[
        1
    ].any()  # no mask, rather than one of everything
    shown = listed(backgrounds, NINE, nine, tmp_path, variant_masks="fg_mask")
    for entry in (entry for entry in shown.entries if entry.split == "mixed_rand"):
        assert entry.path.name.startswith(f"fg_{entry.mask.stem}_bg_")  # the foreground's, not the background's
        assert (
            0.45 < decode(entry, shown.frame, shown.mask_pixels)[1].mean() < 0.5
        )  # 12 of 20 rows, 12 of the middle 17.5 columns
    sharp = decode(training[0], listing.frame, MaskPixels(threshold=50)).mask
    assert 0.4 < sharp.mean() < 0.55 < mask.mean()  # JPEG leaves pixels around a foreground that are not quite black


def test_the_challenges_original_images_are_no_validation_images(nine, tmp_path):
    """IN-9 and the challenge both have a folder original/val; the authors' folders have one of them."""
    variants = ["mixed_rand", "original"]
    listing = listed(backgrounds, NINE, nine, tmp_path, variants=variants)
    images = {entry.split: entry.path for entry in listing.entries if entry.label == "fish"}
    assert images["original"].name == "n00000008_00000200.JPEG"
    assert images["validation"].name == "n00000008_100.JPEG"
    files = files_of(nine, tmp_path / "again")
    folder = moved(files, tmp_path / "data", *CHALLENGE)
    source = {"kind": "backgrounds_release", "tree": "t", "archives": {"training": {}, "challenge": {}}}
    given = dict.fromkeys(("training", "challenge"), folder)
    with pytest.raises(DataError, match=r"original/val: has the validation images.* remove original from source\.vari"):
        registry.read(source | {"variants": variants}, given, *NINE)


def test_in9_is_rebuilt_from_a_local_imagenet_by_the_class_map(nine, tmp_path):
    folder, mapped = releases.imagenet(tmp_path / "imagenet")
    more = {"imagenet": str(folder), "class_map": str(mapped)}
    listing = listed(backgrounds, NINE, nine, tmp_path, without=("training", "foregrounds"), **more)
    assert [entry.label for entry in listing.entries if entry.split == "train"] == list(releases.IN9)
    assert registry.reads({"kind": "backgrounds_release", **more}) == more
    mapped.write_text(json.dumps({"0": 0}))
    with pytest.raises(DataError, match=r"contains 12 synsets, but .* maps 1"):
        listed(backgrounds, NINE, nine, tmp_path, without=("training", "foregrounds"), **more)
    with pytest.raises(ParamsError, match="imagenet and class_map belong together"):
        listed(backgrounds, NINE, nine, tmp_path, imagenet="somewhere")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda p: (p / "training/original/train/00_dog").rename(p / "training/original/train/00_cat"),
            "00_cat: is not one",
        ),
        (lambda p: (p / "challenge/bg_challenge/mixed_rand").rename(p / "challenge/x"), "contains no mixed_rand/val"),
        (
            lambda p: next((p / "foregrounds/only_fg/train/08_fish").iterdir()).unlink(),
            "foregrounds: has no mask of train/fish/n00000008.* remove source.archives.foregrounds from params.yaml to",
        ),
        (
            lambda p: next((p / "challenge/bg_challenge/fg_mask/val/08_fish").iterdir()).unlink(),
            "challenge: 3 faults: has no mask of mixed_same/fish/.* remove source.variant_masks from params.yaml to",
        ),
        (
            lambda p: next((p / "challenge/bg_challenge/only_fg/val/08_fish").iterdir()).unlink(),
            "challenge: only_fg has 0 images of fish, not 1",
        ),
        (
            lambda p: np.save(
                next((p / "challenge/bg_challenge/fg_mask/val/08_fish").iterdir()), np.zeros((3, 20, 30))
            ),
            r"n00000008_00000200.npy has the shape \(3, 20, 30\), not \(height, width\)",
        ),
        (lambda p: [f.unlink() for f in (p / "training/original/train/08_fish").iterdir()], "of the class fish"),
    ],
)
def test_a_wrong_tree_is_named(nine, tmp_path, spoil, words):
    files = files_of(nine, tmp_path / "files")
    spoil(tmp_path / "files")
    source = {"kind": "backgrounds_release", "tree": "t", "archives": {name: {} for name in nine}}
    source |= {"variant_masks": "fg_mask", "counts": {"only_fg": dict.fromkeys(releases.IN9, 1)}}
    with pytest.raises(DataError, match=words) as caught:
        pack(registry.read(source, files, *NINE), tmp_path / "work")
    assert "\n" not in str(caught.value)


def moved(files, folder, *pairs):
    """Move parts of unpacked archives into one folder: (archive, path in it, path in the folder)."""
    for name, old, new in pairs:
        (folder / new).parent.mkdir(parents=True, exist_ok=True)
        source = files[name] / old if files[name].is_dir() else files[name]
        source.rename(folder / new)
    return folder


CHALLENGE = [
    ("training", "original", "original"),
    *(("challenge", f"bg_challenge/{name}", name) for name in ("mixed_same", "mixed_rand", "only_fg")),
]
BIRD_FOLDER = "waterbird_complete95_forest2water2"
AUTHORS = {
    "birds": (
        waterbirds,
        BIRDS,
        [("images", f"{BIRD_FOLDER}/metadata.csv", "metadata.csv"), ("images", BIRD_FOLDER, "images")],
        "source.archives.segmentations",
        "contains no segmentations",
    ),
    "faces": (
        celeba,
        FACES,
        [
            ("images", "img_align_celeba", "celeba/img_align_celeba"),
            ("attributes", "", "list_attr_celeba.txt"),
            ("train", "", "biased_celeba_black_hair_1_100_train.csv"),
            ("test", "", "biased_celeba_black_hair_test.csv"),
        ],
        "source.archives.landmarks",
        "contains no list_landmarks_align_celeba.txt",
    ),
    "nine": (backgrounds, NINE, CHALLENGE, "source.archives.foregrounds", "contains no only_fg/train"),
}


@pytest.mark.parametrize("name", AUTHORS)
def test_the_folders_that_the_authors_recommend_are_read(request, name, tmp_path):
    """Their README has no masks; the message names the key of params.yaml to leave out."""
    archives = request.getfixturevalue(name)
    module, names, pairs, key, words = AUTHORS[name]
    packed = kinds(listed(module, names, archives, tmp_path / "packed"))
    folder = moved(files_of(archives, tmp_path / "files"), tmp_path / "data", *pairs)

    def read(*without):
        source = {"kind": f"{module.__name__.split('.')[-1]}_release", "tree": str(folder)}
        source["archives"] = {entry: {} for entry in archives if entry not in without}
        return registry.read(source, dict.fromkeys(source["archives"], folder), *names)

    with pytest.raises(DataError, match=f"{words}; .*, or remove {key} from params.yaml to work without masks"):
        read()
    listing = read(key.rpartition(".")[2])
    assert kinds(listing) == packed
    assert not listing.masks
    assert all(entry.path.exists() for entry in listing.entries)


def test_a_table_of_images_that_are_elsewhere_is_one_fault(birds, tmp_path):
    files = files_of(birds, tmp_path / "files")
    source = {"kind": "waterbirds_release", "tree": "t", "archives": {name: {} for name in birds}}
    next(files["segmentations"].rglob("segmentations")).rename(tmp_path / "kept")
    (files["segmentations"] / "segmentations").mkdir()
    with pytest.raises(DataError, match=r"none of the masks of its 36 images is there.* remove source.archives.segm"):
        registry.read(source, files, *BIRDS)
    (files["images"] / BIRD_FOLDER).rename(tmp_path / "birds")
    (files["images"] / BIRD_FOLDER).mkdir()
    (tmp_path / "birds/metadata.csv").rename(files["images"] / BIRD_FOLDER / "metadata.csv")
    with pytest.raises(DataError, match=r"metadata.csv: none of the 36 images that it lists is in .*source\.tree"):
        registry.read(source, files, *BIRDS)


def test_a_corrupt_jpeg_is_named_and_counted(birds, tmp_path):
    files = files_of(birds, tmp_path / "files")
    for number in (1, 5):
        path = next(files["images"].rglob(f"*_{number:04d}_{number}.jpg"))
        path.write_bytes(path.read_bytes()[:200])
    source = {"kind": "waterbirds_release", "tree": "t", "archives": {name: {} for name in birds}}
    with pytest.raises(DataError, match=r"2 faults: line 2: .*0001_1.jpg is not an image.*; line 6: .*on_error: skip"):
        pack(registry.read(source, files, *BIRDS), tmp_path / "work")
    assert len(pack(registry.read(source | {"on_error": "skip"}, files, *BIRDS), tmp_path / "skip")[0]) == 34


def test_a_mask_of_another_size_is_named(birds, tmp_path):
    files = files_of(birds, tmp_path / "files")
    path = next(files["segmentations"].rglob("*_0001_1.png"))
    Image.new("L", (7, 7)).save(path)
    source = {"kind": "waterbirds_release", "tree": "t", "archives": {name: {} for name in birds}}
    with pytest.raises(DataError, match="line 2: the mask is 7x7, its image 30x20"):
        pack(registry.read(source, files, *BIRDS), tmp_path / "work")


def test_addresses_of_files_with_a_digest_do_not_steer():
    source = {"kind": "waterbirds_release", "archives": {"images": {"urls": ["http://a/x.tgz"], "sha256": "0" * 64}}}
    mirrored = {"kind": "waterbirds_release", "archives": {"images": {"urls": ["http://b/x.tgz"], "sha256": "0" * 64}}}
    assert registry.steering(source) == registry.steering(mirrored)
    del source["archives"]["images"]["sha256"], mirrored["archives"]["images"]["sha256"]
    assert registry.steering(source) != registry.steering(mirrored)


@pytest.mark.parametrize(
    ("archives", "words"),
    [
        ({}, "source.archives: has no entry images"),
        ({"images": {}}, "source.archives.images: has neither urls nor a file"),
        ({"images": {"urls": ["http://a/x.tgz"], "sha256": "12"}}, "sha256: '12' is not a SHA-256"),
        ({"images": {"file": "../x"}}, "must be a plain file name"),
    ],
)
def test_a_wrong_archive_is_named(archives, words):
    with pytest.raises(ParamsError, match=words):
        registry.check({"kind": "waterbirds_release", "archives": archives})


@pytest.mark.parametrize(
    ("shape", "size"),
    [((1, 2, 3), (3, 2)), ((2, 3), (3, 2)), ((2, 3, 1), (3, 2)), ((1, 1, 3), (3, 1)), ((1, 1, 1), (1, 1))],
)
def test_a_mask_array_keeps_rows_and_columns_of_one_pixel(tmp_path, shape, size):
    """The challenge's arrays are (1, height, width)."""
    np.save(tmp_path / "mask.npy", np.ones(shape, bool))
    assert opened(tmp_path / "mask.npy").pixels.size == size

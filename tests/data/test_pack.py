"""Packing: continues where it was stopped, needs little memory, and resizes as torchvision does."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import v2

from crayon.config.source import MaskPixels
from crayon.data import pack as packing
from crayon.data.index import Entry, Frame, Listing
from crayon.data.pack import decode, pack
from crayon.data.pictures import framed


@pytest.fixture
def listing(tmp_path, monkeypatch):
    """Eleven images with masks, packed by four."""
    monkeypatch.setattr(packing, "BLOCK", 4)
    generator = np.random.default_rng(0)
    entries = []
    for number in range(11):
        paths = [tmp_path / f"{number}{part}.png" for part in ("", "-mask")]
        Image.fromarray(generator.integers(0, 256, (6, 5, 3)).astype(np.uint8)).save(paths[0])
        Image.fromarray((generator.random((6, 5)) < 0.5).astype(np.uint8) * 255).save(paths[1])
        entries.append(Entry(image=str(number), split="train", label="a", group="all", path=paths[0], mask=paths[1]))
    return Listing(of="here", entries=entries, frame=Frame(), masks=True)


def loaded(result):
    entries, images, masks = result
    return [entry.image for entry in entries], np.load(images, mmap_mode="r"), np.load(masks, mmap_mode="r")


def test_packed_arrays_are_the_images_in_order(listing, tmp_path):
    ids, images, masks = loaded(pack(listing, tmp_path / "work"))
    assert ids == [entry.image for entry in listing.entries]
    assert images.shape == (11, 6, 5, 3)
    for entry, image, mask in zip(listing.entries, images, masks, strict=True):
        assert np.array_equal(image, np.array(Image.open(entry.path)))
        assert np.array_equal(mask, np.array(Image.open(entry.mask)) > 0)


@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize("stop_after", [1, 5, 9])
def test_an_interrupted_packing_resumes_with_the_same_bytes(listing, tmp_path, monkeypatch, stop_after, masks):
    listing = Listing(of="here", entries=listing.entries, frame=listing.frame, masks=masks, on_error="skip")
    listing.entries[2].path.write_bytes(b"no image")
    whole = [path.read_bytes() for path in pack(listing, tmp_path / "whole")[1:]]
    calls = []

    def stopping(entry, *rest):
        if len(calls) == stop_after:
            raise KeyboardInterrupt
        calls.append(entry.image)
        return decode(entry, *rest)

    monkeypatch.setattr(packing, "decode", stopping)
    with pytest.raises(KeyboardInterrupt):
        pack(listing, tmp_path / "work", workers=1)
    with (tmp_path / "work/images.npy").open("ab") as file:  # bytes that no state vouches for
        file.write(b"half an image")
    calls.clear()
    monkeypatch.setattr(packing, "decode", lambda entry, *rest: calls.append(entry.image) or decode(entry, *rest))
    entries, *paths = pack(listing, tmp_path / "work", workers=1)
    assert [path.read_bytes() for path in paths] == whole
    assert len(calls) == 11 - stop_after // 4 * 4  # nothing that was packed is decoded again
    assert "2" not in [entry.image for entry in entries]


def test_a_packing_without_its_files_starts_again(listing, tmp_path):
    whole = [path.read_bytes() for path in pack(listing, tmp_path / "work")[1:]]
    (tmp_path / "work/masks.npy").unlink()
    assert [path.read_bytes() for path in pack(listing, tmp_path / "work")[1:]] == whole
    (tmp_path / "work/images.npy").write_bytes(whole[0][:500])
    assert [path.read_bytes() for path in pack(listing, tmp_path / "work")[1:]] == whole


def test_another_listing_is_not_taken_for_the_continuation(listing, tmp_path):
    pack(listing, tmp_path / "work")
    Image.new("RGB", (5, 6), (9, 9, 9)).save(listing.entries[1].path)
    _, images, _ = loaded(pack(listing, tmp_path / "work"))
    assert (images[1] == 9).all()
    _, images, _ = loaded(
        pack(Listing(of="here", entries=listing.entries, frame=Frame(cover=(3, 3))), tmp_path / "work")
    )
    assert images.shape == (11, 3, 3, 3)


def test_the_number_of_threads_does_not_change_a_byte(listing, tmp_path):
    one, eight = (pack(listing, tmp_path / f"w{workers}", workers)[1:] for workers in (1, 8))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in eight]


@pytest.mark.parametrize("size", [(178, 218), (500, 375), (333, 500), (224, 224), (60, 61)])
@pytest.mark.parametrize(
    ("frame", "peer"),
    [
        (Frame(resize=(256, 256), crop=(224, 224)), v2.Compose([v2.Resize((256, 256)), v2.CenterCrop(224)])),
        (Frame(resize=224), v2.Resize(224)),
        (Frame(resize=256, crop=(224, 224)), v2.Compose([v2.Resize(256), v2.CenterCrop(224)])),
    ],
)
def test_frames_are_torchvisions(size, frame, peer):
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8))
    assert np.array_equal(np.array(framed(picture, frame)), np.array(peer(picture)))


def test_boxes_become_masks_and_no_mask_becomes_an_empty_one(tmp_path):
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    common = {"image": "a", "split": "train", "label": "x", "group": "y", "path": tmp_path / "a.png"}
    mask = decode(Entry(**common, mask=((1, 2, 3, 5), (-4, 0, 1, 1), (7, 5, 99, 99))), Frame(), MaskPixels())[1]
    assert sorted(map(tuple, np.argwhere(mask).tolist())) == sorted(
        [(y, x) for y in (2, 3, 4) for x in (1, 2)] + [(0, 0), (5, 7)]
    )
    assert not decode(Entry(**common), Frame(), MaskPixels())[1].any()

"""What a pixel of a mask means, for each mode of file; every file is made here."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from crayon.config.source import MaskPixels
from crayon.data.index import Entry, Frame, Listing
from crayon.data.mask_files import relevant_pixels
from crayon.data.pack import decode, examine
from crayon.data.pictures import Undecodable, opened
from crayon.utils.errors import CrayonError

SQUARE = np.zeros((16, 16), bool)
SQUARE[4:8, 2:10] = True  # 32 of 256 pixels: 12.5%


def grey(value=255, kind=np.uint8, background=0):
    return Image.fromarray(np.where(SQUARE, value, background).astype(kind))


def palette(colours):
    picture = Image.fromarray(SQUARE.astype(np.uint8)).convert("L")
    picture = Image.frombytes("P", (16, 16), picture.tobytes())
    picture.putpalette([channel for colour in colours for channel in colour])
    return picture


def voc():
    codes = np.where(SQUARE, 15, 0).astype(np.uint8)
    codes[3, 2:10] = 255
    picture = Image.frombytes("P", (16, 16), codes.tobytes())
    colours = np.arange(256)[:, None].repeat(3, 1)
    colours[15], colours[255] = (192, 128, 128), (224, 224, 192)
    picture.putpalette(colours.astype(np.uint8).tobytes())
    return picture


def label():
    codes = np.where(SQUARE, 1, 0).astype(np.uint8)
    codes[3, 2:10] = 255
    return Image.fromarray(codes)


def with_alpha(colour, alpha, mode="RGBA"):
    picture = colour.convert("L" if mode == "LA" else "RGB")
    picture.putalpha(alpha if isinstance(alpha, Image.Image) else Image.new("L", (16, 16), alpha))
    return picture


def coloured(*colours):
    pixels = np.zeros((16, 16, 3), np.uint8)
    for column, colour in enumerate(colours):
        pixels[4:8, 2 + 8 * column // len(colours) : 10] = colour
    return Image.fromarray(pixels)


WHITE, BLACK, RED, BLUE = (255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 0, 3)
RIGHT = {
    "1 bit": (grey().convert("1"), "png", {}),
    "1 bit, by number 1": (grey().convert("1"), "png", {"relevant": (1,)}),
    "1 bit, by number 255": (grey().convert("1"), "png", {"relevant": (255,)}),
    "grey 0/255": (grey(), "png", {}),
    "grey 0/1": (grey(1), "png", {}),
    "16 bits 0/65535": (grey(65535, np.uint16), "png", {}),
    "16 bits 0/1": (grey(1, np.uint16), "png", {}),
    "16 bits, threshold in its units": (grey(40000, np.uint16, 900), "png", {"threshold": 32768}),
    "32 bits": (grey(70000, np.int32), "tiff", {}),
    "float 0/1": (grey(1.0, np.float32), "tiff", {}),
    "float, threshold": (grey(0.9, np.float32, 0.2), "tiff", {"threshold": 0.5}),
    "RGB, grey": (grey().convert("RGB"), "png", {}),
    "RGB, one colour": (coloured(RED), "png", {}),
    "RGB, a blue that is almost black": (coloured(BLUE), "png", {}),
    "RGB, two colours named": (coloured(RED, BLUE), "png", {"relevant": (RED, BLUE)}),
    "CMYK": (grey().convert("CMYK"), "tiff", {}),
    "palette": (palette([BLACK, WHITE]), "png", {}),
    "palette, by index": (palette([WHITE, BLACK]), "png", {"relevant": (1,)}),
    "palette, by colour": (palette([WHITE, BLACK]), "png", {"relevant": (BLACK,)}),
    "VOC, void and classes": (voc(), "png", {"threshold": 1, "void": (255,)}),
    "VOC, class 15": (voc(), "png", {"relevant": (15,)}),
    "VOC, void alone": (voc(), "png", {"void": (255,)}),
    "0/1/255": (label(), "png", {"relevant": (1,), "void": (255,)}),
    "black object": (grey(0, background=255), "png", {"relevant": (0,)}),
    "LA, opaque": (with_alpha(grey(), 255, "LA"), "png", {}),
    "RGBA, opaque": (with_alpha(grey(), 255), "png", {}),
    "RGBA, white with alpha": (with_alpha(Image.new("L", (16, 16), 255), grey()), "png", {}),
    "RGBA, black with alpha": (with_alpha(Image.new("L", (16, 16)), grey()), "png", {}),
    "LA, white with alpha": (with_alpha(Image.new("L", (16, 16), 255), grey(), "LA"), "png", {}),
    "cut-out, alpha": (with_alpha(coloured(RED, BLUE), grey()), "png", {"channel": "alpha"}),
    "cut-out, colour": (with_alpha(grey(), Image.linear_gradient("L").resize((16, 16))), "png", {"channel": "colour"}),
    "JPEG, threshold": (grey(), "jpg", {"threshold": 128}),
}


@pytest.mark.parametrize("case", RIGHT)
def test_the_relevant_pixels_of_each_mode(tmp_path, case):
    picture, suffix, rule = RIGHT[case]
    path = tmp_path / f"mask.{suffix}"
    picture.save(path)
    mask, _, _ = relevant_pixels(opened(path), MaskPixels(**rule))
    assert mask.dtype == bool
    assert np.array_equal(mask, SQUARE)


WRONG = {
    "JPEG": (grey(), "jpg", {}, "different pixel values"),
    "0/1/255": (label(), "png", {}, r"3 different pixel values \(0, 1, 255\)"),
    "VOC": (voc(), "png", {}, r"3 different pixel values \(0, 15, 255\)"),
    "two colours": (coloured(RED, BLUE), "png", {}, r"\[0, 0, 0\], \[0, 0, 3\], \[255, 0, 0\]"),
    "white palette index 0": (palette([WHITE, BLACK]), "png", {}, "palette in which number 0"),
    "numbers for colours": (coloured(RED), "png", {"relevant": (1,)}, "must name colours"),
    "alpha and colours": (with_alpha(coloured(RED, BLUE), grey()), "png", {}, "channel: alpha"),
    "no alpha": (grey(), "png", {"channel": "alpha"}, "has no alpha"),
    "16 bits, threshold of 8": (grey(40000, np.uint16, 900), "png", {"threshold": 128}, "more than 8 bits"),
    "8 bits, threshold of 16": (grey(), "png", {"threshold": 32768}, "has 8 bits"),
    "a share as threshold": (grey(), "png", {"threshold": 0.5}, "whole numbers"),
    "NaN": (grey(np.nan, np.float32), "tiff", {}, "no finite number"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_ambiguous_mask_is_refused_by_name(tmp_path, case):
    picture, suffix, rule, words = WRONG[case]
    path = tmp_path / f"mask.{suffix}"
    picture.save(path)
    with pytest.raises(Undecodable, match=words) as caught:
        relevant_pixels(opened(path), MaskPixels(**rule))
    assert path.name in str(caught.value)


@pytest.mark.parametrize(
    "rule", [{"threshold": 1, "relevant": (1,)}, {"relevant": (1,), "void": (RED,)}, {"relevant": (1,), "void": (1,)}]
)
def test_a_contradictory_rule_is_refused(rule):
    with pytest.raises(CrayonError, match=r"source\.mask_pixels"):
        MaskPixels(**rule)


def listed(tmp_path, masks, **rule):
    Image.new("RGB", (16, 16)).save(tmp_path / "image.png")
    entries = []
    for name, mask in masks.items():
        mask.save(tmp_path / name)
        common = {"split": "train", "label": "a", "group": "all", "path": tmp_path / "image.png"}
        entries.append(Entry(image=name, mask=tmp_path / name, **common))
    return Listing(of="here", entries=entries, frame=Frame(), masks=True, mask_pixels=MaskPixels(**rule))


def test_check_states_shares_and_suspicious_masks(tmp_path):
    full, empty = Image.new("L", (16, 16), 255), Image.new("L", (16, 16), 0)
    masks = {"a.png": grey(), "full.png": full, "empty.png": empty, "one.png": grey(1)}
    text = "\n".join(examine(listed(tmp_path, masks)).lines)
    assert "4 masks. The relevant share of an image is 0.0% to 100.0% (quartiles 9.4%, 12.5%, 34.4%)." in text
    assert "L: 1; L 1: 1; L 255: 2" in text
    assert "1 of 4 images: empty mask: no pixel is relevant (empty.png)" in text
    assert "1 of 4 images: mask whose pixels are all relevant (full.png)" in text


def test_check_warns_of_grey_seams(tmp_path):
    text = "\n".join(examine(listed(tmp_path, {"a.jpg": grey(), "b.png": grey()}, threshold=128)).lines)
    assert "1 of 2 images: mask with grey or almost black pixels" in text
    assert "12.5% to 12.5%" in text


@pytest.mark.parametrize(
    ("form", "orientation"),
    [(form, n) for form in ("stored", "upright", "own EXIF") for n in range(1 if form != "upright" else 5, 9)],
)
def test_a_mask_gets_the_orientation_of_its_image(tmp_path, form, orientation):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    marked = np.zeros((6, 10), np.uint8)
    marked[1:3, 2:7] = 255
    stored = Image.fromarray(marked)
    stored.convert("RGB").save(tmp_path / "image.png", exif=exif)
    stored.save(tmp_path / "mask.png", **({"exif": exif} if form == "own EXIF" else {}))
    upright = ImageOps.exif_transpose(Image.open(tmp_path / "image.png")).convert("L")
    if form == "upright":
        upright.save(tmp_path / "mask.png")
    common = {"image": "i", "split": "train", "label": "a", "group": "all", "path": tmp_path / "image.png"}
    image, mask, _, remarks, _ = decode(Entry(**common, mask=tmp_path / "mask.png"), Frame(), MaskPixels())
    assert np.array_equal(mask, image[..., 0] > 0)
    assert np.array_equal(mask, np.array(upright) > 0)
    told = any("EXIF" in remark for remark in remarks)
    assert told == (form == "stored" and orientation > 1)
    box = decode(Entry(**common, mask=((2, 1, 7, 3),)), Frame(), MaskPixels())
    assert np.array_equal(box.mask, mask)


def test_a_threshold_before_resizing_loses_what_one_after_it_keeps(tmp_path):
    """Of four pixels, the nearest neighbour keeps the lower right one; the mean of all is bright enough."""
    pixels = np.zeros((4, 4), np.uint8)
    pixels[0, 0] = 200
    Image.fromarray(pixels).convert("RGB").save(tmp_path / "mask.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "image.png")
    common = {"image": "i", "split": "train", "label": "a", "group": "all", "path": tmp_path / "image.png"}
    entry, frame = Entry(**common, mask=tmp_path / "mask.png"), Frame(resize=(2, 2))
    rule = MaskPixels(threshold=1, channel="colour")
    assert not decode(entry, frame, rule).mask.any()
    assert decode(entry, frame, rule, resize_first=True).mask[0, 0]
    (tmp_path / "array").mkdir()
    np.save(tmp_path / "array/mask.npy", pixels > 0)  # has no grey between black and white
    entry = Entry(**common, mask=tmp_path / "array/mask.npy")
    assert not decode(entry, frame, rule, resize_first=True).mask.any()

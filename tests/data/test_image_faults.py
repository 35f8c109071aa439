"""Whatever is wrong with an image file is said in a sentence that names it; transparent pixels are composited."""

from __future__ import annotations

import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from crayon.data.index import Entry, Frame, Listing
from crayon.data.pack import examine, pack
from crayon.data.pictures import Undecodable, in_colour, kept_warnings, opened
from crayon.utils.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)


def png(path, width=8, height=8, exif=None):
    """A PNG with any size in its header."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    extra = chunk(b"eXIf", exif) if exif else b""
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in PIXELS))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


def saved(path, form, picture=None, **options):
    (picture or Image.fromarray(PIXELS)).save(path, form, **options)


def cut(path):
    saved(path, "JPEG", Image.fromarray(np.tile(PIXELS, (20, 20, 1))))
    path.write_bytes(path.read_bytes()[:2000])


FAULTY = {
    "missing": lambda path: None,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_bytes(b"no image"),
    "cut off": cut,
    "PNG with bad EXIF": lambda path: png(path, exif=b"junkjunk"),
    "WebP with bad EXIF": lambda path: saved(path, "WEBP", exif=b"Exif\0\0junkjunk"),
    "bomb": lambda path: png(path, 60_000, 60_000),
    "no pixels": lambda path: png(path, 0, 0),
    "16 bits": lambda path: saved(path, "PNG", Image.fromarray(np.ones((8, 8), np.uint16))),
    "float": lambda path: saved(path, "TIFF", Image.fromarray(np.ones((8, 8), np.float32))),
    "PPM with bad numbers": lambda path: path.write_bytes(b"P6 1F 16 255\n"),
    "too long": lambda path: saved(path, "PNG", Image.new("RGB", (20_000, 1))),
}


def listing(tmp_path, on_error="fail", count=3, frame=Frame(cover=(8, 8))):  # noqa: B008
    entries = []
    for number in range(count):
        path = tmp_path / f"{number}.png"
        Image.fromarray(PIXELS).save(path)
        entries.append(Entry(image=path.name, split="train", label="a", group="all", path=path))
    return Listing(of="here", entries=entries, frame=frame, on_error=on_error)


@pytest.mark.parametrize("fault", FAULTY)
def test_a_faulty_image_is_named_and_can_be_skipped(tmp_path, fault, capsys):
    for on_error in ("fail", "skip"):
        images = listing(tmp_path, on_error, frame=Frame(cover=(128, 128)))
        (tmp_path / "1.png").unlink()
        FAULTY[fault](tmp_path / "1.png")
        if on_error == "fail":
            with pytest.raises(DataError, match=r"here: 1\.png: .*1\.png ") as caught:
                examine(images)
            assert "\n" not in str(caught.value)
            continue
        assert list(examine(images).faults) == [1]
        entries, packed, _ = pack(images, tmp_path / "work")
        assert [entry.image for entry in entries] == ["0.png", "2.png"]
        assert np.load(packed).shape == (2, 128, 128, 3)
        assert "1 of 3 images skipped" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA-less GIF", "RGB colour key"])
def test_transparent_pixels_are_composited_and_counted(tmp_path, mode):
    images = listing(tmp_path, count=2, frame=Frame())
    path = tmp_path / "1.png"
    if mode == "RGB colour key":
        picture = Image.new("RGB", (8, 8), (9, 9, 9))
        picture.putpixel((0, 0), (7, 7, 7))
        picture.save(path, transparency=(7, 7, 7))
    elif mode in ("P", "PA-less GIF"):
        picture = Image.new("P", (8, 8), 1)
        picture.putpalette([7, 7, 7, 9, 9, 9])
        picture.putpixel((0, 0), 0)
        picture.save(path, "PNG" if mode == "P" else "GIF", transparency=0)
    else:
        picture = Image.new(mode, (8, 8), (9, 9, 9, 255)[-len(mode) :] if mode == "RGBA" else (9, 255))
        picture.putpixel((0, 0), (7, 7, 7, 0) if mode == "RGBA" else (7, 0))
        picture.save(path)
    assert in_colour(opened(path), (255, 255, 255))[0].getpixel((0, 0)) == (255, 255, 255)
    found = np.array(in_colour(opened(path), (1, 2, 3))[0])
    assert found[0, 0].tolist() == [1, 2, 3]
    assert (found.reshape(64, 3)[1:] == 9).all()
    (line,) = examine(images).lines
    assert line.startswith("here: 1 of 2 images: with transparent pixels, composited on [255, 255, 255] ")
    assert line.endswith("(1.png).")


def warned(path, form, count):
    """An image with the EXIF orientation 6, whose list of tags has fewer entries than the `count` that it states."""
    tag = struct.pack("<HHII", 0x0112, 3, 1, 6)
    saved(path, form, exif=b"Exif\0\0II*\0" + struct.pack("<IH", 8, count) + tag)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_warnings_of_pillow_name_the_images_and_count_them(tmp_path, form, capsys, recwarn):
    images = listing(tmp_path, count=5)
    for number in (1, 3, 4):
        warned(tmp_path / f"{number}.png", form, number + 1)
    _, lines, _ = vars(examine(images, workers=4)).values()
    assert lines == [
        "here: 3 of 5 images: Pillow warns when it reads the image: Corrupt EXIF data. Expecting to read N bytes "
        "but only got N; if rotation or pixels are wrong, save the file again (1.png, 3.png, 4.png)."
    ]
    assert capsys.readouterr().err == ""
    pack(images, tmp_path / "work")
    assert lines[0] in capsys.readouterr().err
    assert not recwarn.list


def test_other_warnings_pass_while_images_are_read():
    with pytest.warns(UserWarning, match="another"), kept_warnings():
        warnings.warn("another", stacklevel=1)


def test_a_listed_image_in_a_format_that_is_not_read(tmp_path):
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(Undecodable, match=r"^a\.heic has a format that is not read; convert it to JPEG or PNG$"):
        opened(path)


def test_a_half_transparent_pixel_is_a_mean(tmp_path):
    Image.new("RGBA", (1, 1), (0, 0, 0, 51)).save(tmp_path / "a.png")  # a fifth black, four fifths white
    assert in_colour(opened(tmp_path / "a.png"), (255, 255, 255))[0].getpixel((0, 0)) == (204, 204, 204)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_opaque_images_keep_their_bytes(tmp_path, mode):
    path = tmp_path / ("a.tiff" if mode == "CMYK" else "a.png")
    Image.fromarray(PIXELS).convert(mode).save(path)
    found, transparent = in_colour(opened(path), (1, 2, 3))
    assert not transparent
    assert np.array_equal(np.array(found), np.array(Image.open(path).convert("RGB")))


def test_several_frames_are_said(tmp_path):
    images = listing(tmp_path, count=1, frame=Frame())
    first, second = Image.new("RGB", (8, 8), (200, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 200))
    first.save(tmp_path / "0.png", "GIF", save_all=True, append_images=[second])
    assert "1 of 1 images: several frames or pages" in examine(images).lines[0]
    assert in_colour(opened(tmp_path / "0.png"), (0, 0, 0))[0].getpixel((3, 3)) == (200, 0, 0)

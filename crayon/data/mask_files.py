"""Find the relevant pixels of a mask file by their value, by the brightness of their colour, or by their alpha.

The value of a pixel depends on the mode of the file:

    1 bit               0 for black, 1 for white; in the params, 255 also stands for white
    grey (8, 16 bits)   the grey value
    float               the number
    palette             the index, not the colour
    RGB, CMYK           the grey value if all pixels are grey, else the colour
    with alpha          if alpha is the same everywhere: the value without alpha;
                        if all visible pixels have the same colour: the alpha

A file that can be read in two ways is refused, unless `source.mask_pixels` states which way is right.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from crayon.config.source import MaskPixels, PixelValue
from crayon.data.pictures import DEEP, Picture, Undecodable, fault_of

DARK = 16
"""A pixel darker than this grey value, and not black, is likely an artefact of JPEG."""


def relevant_pixels(picture: Picture, rule: MaskPixels) -> tuple[np.ndarray, str, list[str]]:
    """Find the relevant pixels of a mask.

    Args:
        picture: the mask file.
        rule: which pixels are relevant.

    Returns:
        Three values: the relevant pixels, (H, W) bool; the mode of the file as text, with the default rule also the
        value of the relevant pixels; and remarks for the user about this mask.

    Raises:
        Undecodable: the mask cannot be read, or it is ambiguous which pixels are relevant.
    """
    with fault_of(picture.path, f"is a mask that cannot be read (mode {picture.pixels.mode})"):
        pixels, remarks = _channel(picture, rule)
        kind = f"{picture.pixels.mode} alpha" if remarks or rule.channel == "alpha" else picture.pixels.mode
        codes, coloured, void = np.empty(0), False, None
        if rule.threshold is None or rule.void:
            codes, coloured = _codes(picture, pixels, rule)
            if coloured and not rule.colours and (rule.relevant or rule.void):
                raise _ambiguous(picture, "has colours", "must name colours instead of numbers")
        if rule.void:
            void = np.isin(codes, _wanted(rule.void, pixels))
        if rule.threshold is not None:
            bright = np.array(pixels if pixels.mode.startswith(DEEP) else pixels.convert("L"))
            _check_threshold(picture, pixels, bright, rule.threshold)
            mask = bright >= rule.threshold
            if _seam(pixels, bright):
                remarks.append(
                    "mask with grey or almost black pixels (a JPEG, or soft edges); source.mask_pixels.threshold, or "
                    "source.threshold of a release, decides whether they are relevant"
                )
        elif rule.relevant:
            mask = np.isin(codes, _wanted(rule.relevant, pixels))
        else:
            mask = codes != 0
            kind = f"{kind} {_one_value(picture, codes if void is None else codes[~void], coloured)}".rstrip()
            if pixels.mode == "P" and (np.array(pixels.convert("RGBA").convert("RGB")).any(2) != mask).any():
                raise _ambiguous(
                    picture, "has a palette in which number 0 is not the only black", "must say what is relevant"
                )
    return (mask if void is None else mask & ~void), kind, remarks


def _ambiguous(picture: Picture, why: str, must: str) -> Undecodable:
    return Undecodable(f"the mask {picture.path.name} {why}, so source.mask_pixels in params.yaml {must}")


def _channel(picture: Picture, rule: MaskPixels) -> tuple[Image.Image, list[str]]:
    """The part of the file that is the mask: its pixels without alpha, or its alpha as a grey image."""
    pixels = picture.pixels
    if pixels.mode.startswith(DEEP) or not pixels.has_transparency_data:
        if rule.channel == "alpha":
            raise Undecodable(f"the mask {picture.path.name} has no alpha, but source.mask_pixels.channel is alpha")
        return pixels, []
    rgba = pixels.convert("RGBA")
    alpha = rgba.getchannel("A")
    if rule.channel == "alpha":
        return alpha, []
    least, most = alpha.getextrema()
    if rule.channel == "colour" or least == most:
        return pixels if pixels.mode in ("1", "L", "P", "RGB") else rgba.convert("RGB"), []
    visible = np.array(rgba.convert("RGB"))[np.array(alpha) > 0]
    if (visible == visible[0]).all():
        return alpha, ["mask read from the file's alpha channel"]
    raise _ambiguous(picture, "has both colours and alpha", "must have `channel: alpha` or `channel: colour`")


def _codes(picture: Picture, pixels: Image.Image, rule: MaskPixels) -> tuple[np.ndarray, bool]:
    """The values of the pixels, (H, W), and whether they are colours: 65536 red + 256 green + blue."""
    if not rule.colours:
        if pixels.mode == "1":
            return np.array(pixels).astype(np.uint8), False
        if pixels.mode in ("L", "P") or pixels.mode.startswith(DEEP):
            values = np.array(pixels)
            if not np.isfinite(values).all():
                raise Undecodable(f"the mask {picture.path.name} has a pixel that is no finite number")
            return values, False
    elif pixels.mode.startswith(DEEP):
        raise _ambiguous(picture, f"has no colours ({pixels.mode})", "must name numbers instead of colours")
    colours = np.array(pixels.convert("RGB")).astype(np.int32)
    if not rule.colours and (colours == colours[..., :1]).all():
        return colours[..., 0], False
    return (colours << (16, 8, 0)).sum(2), True


def _wanted(values: Sequence[PixelValue], pixels: Image.Image) -> list[int]:
    """Convert values that the rule lists (relevant or void) to the form of `_codes`."""
    numbers = [v if isinstance(v, int) else v[0] << 16 | v[1] << 8 | v[2] for v in values]
    return [1 if value == 255 else value for value in numbers] if pixels.mode == "1" else numbers


def _one_value(picture: Picture, codes: np.ndarray, coloured: bool) -> str:
    """The only value of a mask except 0, as text; empty if all pixels are 0."""
    known = np.unique(codes)
    shown = (*known[:3].tolist(), *known[3:][-1:].tolist())
    words = [str([v >> 16, v >> 8 & 255, v & 255]) if coloured else f"{v:g}" for v in shown]
    others = [word for word, value in zip(words, known, strict=False) if value != 0]
    if len(others) > 1:
        if len(known) > 4:
            words.insert(3, "...")
        why = f"has {len(known)} different pixel values ({', '.join(words)})"
        raise _ambiguous(picture, why, "must say which are relevant")
    return others[0] if others else ""


def _check_threshold(picture: Picture, pixels: Image.Image, bright: np.ndarray, threshold: float) -> None:
    """Raise an error if the threshold does not fit the range of the mask's pixel values."""
    deep, why = pixels.mode.startswith(DEEP), ""
    if not deep and threshold > 255:
        why = "has 8 bits, in which the brightest pixel is 255"
    elif pixels.mode != "F" and threshold < 1:
        why = "has whole numbers"
    elif deep and 1 < threshold < 256 <= bright.max():
        why = f"has more than 8 bits, with pixels up to {bright.max():g}"
    if why:
        raise _ambiguous(picture, why, f"must have a threshold in these units, not {threshold:g}")


def _seam(pixels: Image.Image, bright: np.ndarray) -> bool:
    """Whether some pixels are neither black nor white; in a mask with colours, whether some are almost black."""
    deep, in_colours = pixels.mode.startswith(DEEP), pixels.mode in ("P", "RGB", "CMYK")
    white = bright.max() if deep else DARK if in_colours else 255
    return bool(((bright > 0) & (bright < white)).any())

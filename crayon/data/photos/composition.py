"""Animals cut out of photographs, on photographs of places: a bias of real pixels, with masks from the cut-outs' alpha.

The splits share no cut-out and no photograph. The images are written as a folder of PNGs with a manifest, which is then
read like a user's own images, and a file LICENCES.txt. The same params give the same images with the same version of
Pillow, which decodes and resizes the pictures; another version may differ in the last bits.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont
from pydantic import ConfigDict

from crayon.config.types import Float, Int
from crayon.data.dataset import Drawn
from crayon.data.photos import catalogue as catalogues
from crayon.data.photos.catalogue import Package, Picture
from crayon.data.photos.packages import pictures
from crayon.data.synthetic.splits import check_canvas, check_counts, check_range, require
from crayon.utils.errors import DataError
from crayon.utils.text import unknown

WHERE = "source.compose"

SPLITS = ("train", "validation", "test")

Pools = dict[str, dict[str, list[Picture]]]
"""Split -> class or group -> its pictures."""

FOLDS = 3
"""Number of parts into which the cut-outs are divided; `split_of_cutouts` chooses the part that is the test split."""


@dataclass(frozen=True, kw_only=True)
class Watermark:
    """A text on the images of some groups, which replaces the place as the bias.

    Across the middle it is a watermark as in ImageNet-W (Li et al. 2023). On a label in a corner it is a tag beside the
    object, as the source tags by which a classifier recognised horses (Lapuschkin et al. 2019).

    Attributes:
        text: the text, of ASCII characters.
        places: the groups whose images get it.
        opacity: opacity of the text and of its label, in (0, 1].
        height: height of the text, as a share of the image's side.
        position: `middle`, over animal and ground; or `corner`, the corner where it covers least of the animal. The
            mask leaves out what it covers there.
        label: colour of a rectangle behind the text, red, green and blue from 0 to 255; None for none.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    text: str
    places: tuple[str, ...]
    opacity: Float = 0.5
    height: Float = 0.15
    position: Literal["middle", "corner"] = "middle"
    label: tuple[Int, Int, Int] | None = None


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the composition.

    Attributes:
        seed: seed of all random draws.
        size: height and width in pixels.
        classes: class -> kinds of the catalogue's cut-outs.
        places: group -> terms of the catalogue; its photographs show one of them.
        counts: split (train, validation, test) -> `class/group` -> number of images. The numbers determine the
            correlation.
        split_of_cutouts: which third of each kind's cut-outs is the test split: 0, 1 or 2. A fourth of the rest is the
            validation split. Benchmarks with different values differ in their test cut-outs.
        scale: smallest and largest longer side of an animal, as a share of the image's side.
        crop: smallest and largest side of the square that is cut from a photograph as background, as a share of the
            shorter side of the photograph's box.
        brightness: smallest and largest factor for the photograph's brightness.
        flip: whether animals and photographs are mirrored at random.
        watermark: a text on the images of some groups; none by default.
    """

    seed: Int
    size: Int
    classes: Mapping[str, tuple[str, ...]]
    places: Mapping[str, tuple[str, ...]]
    counts: Mapping[str, Mapping[str, Int]]
    split_of_cutouts: Int = 0
    scale: tuple[Float, Float] = (0.25, 0.45)
    crop: tuple[Float, Float] = (0.6, 1.0)
    brightness: tuple[Float, Float] = (0.85, 1.15)
    flip: bool = True
    watermark: Watermark | None = None

    def __post_init__(self) -> None:
        check_canvas(self.seed, self.size, WHERE)
        known = catalogues.read()
        for key, entries, pool in (
            ("classes", self.classes, known.cutouts),
            ("places", self.places, known.photographs),
        ):
            terms = sorted({term for picture in pool for term in picture.shows})
            for name, wanted in entries.items():
                require(bool(wanted), f"{WHERE}.{key}.{name}", f"is empty; name one or more of {', '.join(terms)}.")
                for term in wanted:
                    require(term in terms, f"{WHERE}.{key}.{name}", unknown("term", term, terms))
        check_counts(self.counts, list(self.classes), list(self.places), f"{WHERE}.counts")
        for split in self.counts:
            require(split in SPLITS, f"{WHERE}.counts", unknown("split", split, SPLITS))
        fold = self.split_of_cutouts
        require(0 <= fold < FOLDS, f"{WHERE}.split_of_cutouts", f"is {fold}; it must be 0, 1 or 2.")
        ranges = {"scale": (self.scale, 1), "crop": (self.crop, 1), "brightness": (self.brightness, 4)}
        for key, (values, most) in ranges.items():
            check_range(values, 0, f"{WHERE}.{key}")
            within = values[0] > 0 and values[1] <= most
            require(within, f"{WHERE}.{key}", f"is {list(values)}; it must be above 0 and at most {most}.")
        if self.watermark is not None:
            mark, where = self.watermark, f"{WHERE}.watermark"
            require(bool(mark.text.strip()), f"{where}.text", "is empty; remove watermark, or write a text.")
            require(mark.text.isascii(), f"{where}.text", "must be of ASCII characters, which Pillow's font has.")
            for place in mark.places:
                require(place in self.places, f"{where}.places", unknown("group", place, self.places))
            for key, value in (("opacity", mark.opacity), ("height", mark.height)):
                require(0 < value <= 1, f"{where}.{key}", f"is {value}; it must be above 0 and at most 1.")
            for value in mark.label or ():
                require(0 <= value <= 255, f"{where}.label", f"has {value}; red, green and blue are from 0 to 255.")
        self._check_pools()

    def _check_pools(self) -> None:
        """ParamsError if a picture is of two classes or, without a watermark, of two places, or if a pool is empty."""
        assigned = assign(self)
        for key, entries, pool in (
            ("classes", self.classes, assigned.cutouts),
            ("places", self.places, assigned.photographs),
        ):
            names = list(entries)
            for number, name in enumerate(names):
                for other in names[number + 1 :] if key == "classes" or self.watermark is None else ():
                    common = [p.name for s in SPLITS for p in pool[s][name] if p in pool[s][other]]
                    require(not common, f"{WHERE}.{key}", f"{', '.join(common[:1])} is both {name} and {other}.")
        for split, wanted in self.counts.items():
            for pair, count in wanted.items():
                label, _, place = pair.partition("/")
                for key, name, pool in (("classes", label, assigned.cutouts), ("places", place, assigned.photographs)):
                    require(
                        count == 0 or bool(pool[split][name]),
                        f"{WHERE}.{key}.{name}",
                        f"has too few pictures: none is left for {split}; add a term.",
                    )


@dataclass(frozen=True, kw_only=True)
class Assigned:
    """The pictures of each split.

    Attributes:
        cutouts: split -> class -> cut-outs.
        photographs: split -> group -> photographs.
    """

    cutouts: Pools
    photographs: Pools

    def used(self, options: Options) -> list[Picture]:
        """The pictures that images are composed of, each once."""
        found = []
        for split, wanted in options.counts.items():
            for pair, count in wanted.items():
                label, _, place = pair.partition("/")
                found += [*self.cutouts[split][label], *self.photographs[split][place]] if count else []
        return list(dict.fromkeys(found))


def assign(options: Options) -> Assigned:
    """Divide the pictures among the splits; no picture is in two splits.

    A third of the cut-outs of each kind is the test split, chosen by `split_of_cutouts`, and of the rest each fourth is
    the validation split. Of the photographs with the same main term, a third is the test split and a fourth the
    validation split; this does not depend on `split_of_cutouts`.
    """
    known = catalogues.read()
    cutouts: Pools = {split: {name: [] for name in options.classes} for split in SPLITS}
    photographs: Pools = {split: {name: [] for name in options.places} for split in SPLITS}
    for number, pool in enumerate(_by_main_term(known.cutouts)):
        order = np.random.default_rng([options.seed, 0, number]).permutation(len(pool))
        rest = 0
        for position, index in enumerate(order):
            split = "test"
            if position % FOLDS != options.split_of_cutouts:
                split = "validation" if rest % 4 == 1 else "train"
                rest += 1
            _add(cutouts[split], options.classes, pool[index])
    for number, pool in enumerate(_by_main_term(known.photographs)):
        order = np.random.default_rng([options.seed, 1, number]).permutation(len(pool))
        test, validation = round(len(pool) / 3), round(len(pool) / 4)
        for position, index in enumerate(order):
            split = "test" if position < test else "validation" if position < test + validation else "train"
            _add(photographs[split], options.places, pool[index])
    return Assigned(cutouts=cutouts, photographs=photographs)


def _by_main_term(pool: Sequence[Picture]) -> list[list[Picture]]:
    """The pictures of each main term, in the order of the catalogue."""
    terms: dict[str, list[Picture]] = {}
    for picture in pool:
        terms.setdefault(picture.shows[0], []).append(picture)
    return list(terms.values())


def _add(pools: Mapping[str, list[Picture]], names: Mapping[str, tuple[str, ...]], picture: Picture) -> None:
    """Add a picture to the pool of each class or place that lists one of the picture's terms."""
    for name, terms in names.items():
        if set(terms) & set(picture.shows):
            pools[name].append(picture)


def packages(options: Options) -> list[Package]:
    """The Debian packages that a composition reads."""
    used = {picture.package for picture in assign(options).used(options)}
    return [package for name, package in catalogues.read().packages.items() if name in used]


def compose(options: Options, files: Mapping[str, Path]) -> Drawn:
    """Compose the images of all splits.

    Each image has its own random stream, so a change of a count leaves the other images as they are.

    Args:
        options: what to compose.
        files: name -> file of each package in `packages(options)`.

    Raises:
        DataError: a package lacks a picture, is corrupt, or has a picture that cannot be read.
    """
    assigned = assign(options)
    opened = _opened(options, assigned.used(options), files)
    ids, splits, labels, groups, images, masks = [], [], [], [], [], []
    for split, wanted in options.counts.items():
        for pair, count in wanted.items():
            label, _, place = pair.partition("/")
            grounds, animals = assigned.photographs[split][place], assigned.cutouts[split][label]
            stream = [options.seed, 2, SPLITS.index(split), list(options.classes).index(label)]
            order = np.random.default_rng(stream).permutation(len(animals))  # so that few images are of all kinds
            for number in range(count):
                rng = np.random.default_rng([*stream, list(options.places).index(place), number])
                ground = grounds[int(rng.integers(len(grounds)))]
                animal = animals[order[number % len(animals)]]
                image, mask = _image(options, opened[animal], opened[ground], rng)
                if options.watermark is not None and place in options.watermark.places:
                    image, mask = _marked(image, mask, options.watermark, rng)
                ids.append(f"{split}-{label}-{place}-{number:04d}-{animal.name}-on-{ground.name}")
                images.append(np.asarray(image))
                masks.append(mask)
            splits += [split] * count
            labels += [label] * count
            groups += [place] * count
    return Drawn(
        image_ids=ids, splits=splits, labels=labels, groups=groups, images=np.stack(images), masks=np.stack(masks)
    )


def _opened(options: Options, used: Iterable[Picture], files: Mapping[str, Path]) -> dict[Picture, Image.Image]:
    """Open the cut-outs, without transparent margins, and the boxes of the photographs, not larger than needed."""
    known, found = catalogues.read(), {}
    enough = math.ceil(2 * options.size / options.crop[0])
    for name, path in files.items():
        members = {picture.member: picture for picture in used if picture.package == name}
        wanted = {member: picture.sha256 for member, picture in members.items()}
        for member, content in pictures(path, known.packages[name], wanted):
            picture = members[member]
            try:
                with Image.open(io.BytesIO(content)) as image:
                    read = image.convert("RGBA" if picture.box is None else "RGB")
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                raise DataError(
                    f"{path}: its picture {member} cannot be read by Pillow ({str(error) or type(error).__name__}); "
                    "install a Pillow that reads PNG and JPEG."
                ) from error
            if picture.box is None:
                found[picture] = read.crop(_opaque(read).getbbox() or (0, 0, 1, 1))
                continue
            left, top, right, bottom = picture.box
            width, height = read.size
            read = read.crop((int(left * width), int(top * height), int(right * width), int(bottom * height)))
            factor = enough / min(read.size)
            if factor < 1:
                smaller = max(1, round(read.width * factor)), max(1, round(read.height * factor))
                read = read.resize(smaller, Image.Resampling.BICUBIC)
            found[picture] = read
    return found


def _opaque(cutout: Image.Image) -> Image.Image:
    """White where a cut-out is more opaque than transparent, else black."""
    return cutout.getchannel("A").point(lambda value: 255 * (value > 127))


def _image(
    options: Options, animal: Image.Image, ground: Image.Image, rng: np.random.Generator
) -> tuple[Image.Image, np.ndarray]:
    """One image, and its mask (S, S) bool."""
    size = options.size
    side = max(1, int(min(ground.size) * rng.uniform(*options.crop)))
    left, top = (int(rng.integers(length - side + 1)) for length in ground.size)
    image = ground.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC)
    mirrored = rng.random(2) < 0.5 * options.flip
    if mirrored[0]:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    image = ImageEnhance.Brightness(image).enhance(rng.uniform(*options.brightness))
    if mirrored[1]:
        animal = animal.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    factor = size * rng.uniform(*options.scale) / max(animal.size)
    width, height = (min(size, max(1, round(length * factor))) for length in animal.size)
    animal = animal.resize((width, height), Image.Resampling.BICUBIC)
    left, top = int(rng.integers(size - width + 1)), int(rng.integers(size - height + 1))
    image.paste(animal, (left, top), animal)
    mask = np.zeros((size, size), bool)
    mask[top : top + height, left : left + width] = np.asarray(_opaque(animal)) > 0
    return image, mask


def _marked(
    image: Image.Image, mask: np.ndarray, mark: Watermark, rng: np.random.Generator
) -> tuple[Image.Image, np.ndarray]:
    """Draw the text, and its label, onto an image; return the image and its mask (S, S) bool.

    Args:
        image: a square image.
        mask: (S, S) bool, the animal.
        mark: the text and its position.
        rng: chooses among corners where the text covers equally little of the animal.
    """
    size = image.width
    font = ImageFont.load_default(max(1, mark.height * size))
    left, top, right, bottom = ImageDraw.Draw(image).textbbox((0, 0), mark.text, font=font, anchor="mm")
    margin = round(0.3 * mark.height * size)
    width, height = min(size, math.ceil(right - left) + 2 * margin), min(size, math.ceil(bottom - top) + 2 * margin)
    x, y = (size - width) // 2, (size - height) // 2
    middle = size / 2, size / 2
    if mark.position == "corner":
        corners = [(x, y) for y in (0, size - height) for x in (0, size - width)]
        covered = [int(mask[y : y + height, x : x + width].sum()) for x, y in corners]
        free = [corner for corner, count in zip(corners, covered, strict=True) if count == min(covered)]
        x, y = free[int(rng.integers(len(free)))]
        middle = x + width / 2 - (left + right) / 2, y + height / 2 - (top + bottom) / 2
        mask = mask.copy()
        mask[y : y + height, x : x + width] = False
    layer = Image.new("RGBA", image.size)
    draw, opacity = ImageDraw.Draw(layer), round(255 * mark.opacity)
    if mark.label is not None:
        draw.rectangle((x, y, x + width - 1, y + height - 1), fill=(*mark.label, opacity))
    draw.text(middle, mark.text, fill=(255, 255, 255, opacity), font=font, anchor="mm")
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB"), mask


def licences(options: Options) -> str:
    """The licences and authors of the pictures that a composition uses, as text."""
    return catalogues.licences(catalogues.read(), assign(options).used(options))

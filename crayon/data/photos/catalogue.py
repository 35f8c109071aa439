"""The catalogue of the pictures: which package has them, what they show, and their licences (catalogue.yaml)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_name("catalogue.yaml")


@dataclass(frozen=True, kw_only=True)
class Package:
    """A Debian package with pictures.

    Attributes:
        name: its name in Debian.
        version: a version that is known to have the pictures.
        file: the package's file in that version.
        size: bytes of that file.
        sha256: digest of that file.
        licence: SPDX identifier of the pictures' licence.
        author: years and names of the pictures' copyright holders.
    """

    name: str
    version: str
    file: str
    size: int
    sha256: str
    licence: str
    author: str


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A cut-out of an animal, or a photograph of a place.

    Attributes:
        package: name of the package that contains it.
        member: its path in the package.
        sha256: digest of the file.
        shows: the kind of a cut-out, or the terms for what a photograph shows, the main term first.
        box: the part of a photograph that shows it: left, top, right, bottom as shares of width and height. None for a
            cut-out.
        licence: SPDX identifier.
        author: years and names of the copyright holders.
    """

    package: str
    member: str
    sha256: str
    shows: tuple[str, ...]
    box: tuple[float, float, float, float] | None
    licence: str
    author: str

    @property
    def name(self) -> str:
        """The file's name without its suffix, with hyphens instead of underscores; unique in the catalogue."""
        return Path(self.member).stem.replace("_", "-")


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """All pictures that can be used.

    Attributes:
        packages: name -> package.
        cutouts: the cut-outs, in the order of the file.
        photographs: the photographs, in the order of the file.
    """

    packages: Mapping[str, Package]
    cutouts: tuple[Picture, ...]
    photographs: tuple[Picture, ...]


def digest() -> str:
    """The sha256 of the catalogue, on which all compositions depend."""
    return hashlib.sha256(FILE.read_bytes()).hexdigest()


def read() -> Catalogue:
    """Read the catalogue that comes with this package."""
    return _parsed(FILE.read_bytes())


@cache
def _parsed(text: bytes) -> Catalogue:
    content = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    packages, cutouts, photographs = {}, [], []
    for name, entry in content["packages"].items():
        own = {key: entry[key] for key in ("version", "file", "size", "sha256", "licence", "author")}
        packages[name] = Package(name=name, **own)
        for kind, files in entry.get("cutouts", {}).items():
            cutouts += [_picture(name, entry, file, {"shows": [kind], "sha256": sha}) for file, sha in files.items()]
        photographs += [_picture(name, entry, file, own) for file, own in entry.get("photographs", {}).items()]
    return Catalogue(packages=packages, cutouts=tuple(cutouts), photographs=tuple(photographs))


def _picture(package: str, entry: Mapping[str, Any], file: str, own: Mapping[str, Any]) -> Picture:
    return Picture(
        package=package,
        member=f"{entry['folder']}/{file}",
        sha256=own["sha256"],
        shows=tuple(own["shows"]),
        box=tuple(own["box"]) if "box" in own else None,
        licence=own.get("licence", entry["licence"]),
        author=own.get("author", entry["author"]),
    )


def licences(catalogue: Catalogue, pictures: Iterable[Picture]) -> str:
    """The packages and pictures that images were composed of, with their licences and authors, as text.

    Args:
        catalogue: the catalogue that has the pictures.
        pictures: the pictures that were used.
    """
    lines = [
        "The images in this folder are composed of pictures from Debian packages, under the licences below (SPDX",
        "identifiers, from the packages' debian/copyright). Each composed image is a derived work of a cut-out and a",
        "photograph: before you pass images on, check that you meet the licences of both.",
    ]
    used: dict[str, list[Picture]] = {}
    for picture in pictures:
        used.setdefault(picture.package, []).append(picture)
    for name, package in catalogue.packages.items():
        if name in used:
            lines += ["", f"{name} {package.version}: {package.licence}, (c) {package.author}"]
            for picture in used[name]:
                own = picture.licence, picture.author
                differs = f": {own[0]}, (c) {own[1]}" if own != (package.licence, package.author) else ""
                lines.append(f"  {picture.member}{differs}")
    return "\n".join(lines) + "\n"

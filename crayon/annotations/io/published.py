"""Reads the authors' published answers: JSON lists by position, converted to answers by image and neuron.

The list for maps has "yes", "no" or "maybe" for each training image, in the order of the published loaders, which is
also the order of our manifests. It already combines the answers of two annotators. An optional second list of 0 and 1
marks the images that were annotated. The list for neurons has true for each relevant neuron. All answers refer to maps
and patches of the published Original.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from crayon.annotations.answers import Answer
from crayon.utils.errors import AnnotationError

MEANS = {"yes": "yes", "no": "no", "maybe": "unsure"}
SOURCE = "published"


def published_maps(path: str | Path, images: Sequence[str], asked: str | Path | None = None) -> list[Answer]:
    """Read the answers to attention maps: one for each annotated image.

    Args:
        path: list of "yes", "no" or "maybe" for each image.
        images: ids of the training images, in order.
        asked: list with 1 for each annotated image and 0 for each other; None if all images were annotated.

    Raises:
        AnnotationError: a file is not such a list, or has another length.
    """
    given = _list(path, len(images), "training images")
    flags = _list(asked, len(images), "training images") if asked is not None else [1] * len(images)
    answers = []
    for position, (image, answer, flag) in enumerate(zip(images, given, flags, strict=True)):
        if not isinstance(answer, str) or answer not in MEANS:
            raise AnnotationError(f"{path}: position {position} is {answer!r}, not one of {', '.join(MEANS)}.")
        if flag not in (0, 1):
            raise AnnotationError(f"{asked}: position {position} is {flag!r}, not 0 or 1.")
        if flag:
            answers.append(Answer(item=image, annotator=SOURCE, answer=MEANS[answer], source=SOURCE))
    return answers


def published_neurons(path: str | Path, neurons: int) -> list[Answer]:
    """Read the answers to neurons: one for each neuron.

    Raises:
        AnnotationError: the file is not a list of true and false, or has another length.
    """
    given = _list(path, neurons, "neurons")
    if wrong := [position for position, value in enumerate(given) if value is not True and value is not False]:
        raise AnnotationError(f"{path}: position {wrong[0]} is {given[wrong[0]]!r}, not true or false.")
    return [
        Answer(item=neuron_item(number), annotator=SOURCE, answer="yes" if relevant else "no", source=SOURCE)
        for number, relevant in enumerate(given)
    ]


def neuron_item(neuron: int) -> str:
    """The name of the item for an answer about a whole neuron, not one of its patches."""
    return f"neuron {neuron}"


def _list(path: str | Path, length: int, of: str) -> list:
    """Read a JSON list; raises AnnotationError if it does not have `length` entries."""
    try:
        content = json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise AnnotationError(f"{path}: cannot be read as JSON ({error}); download it again.") from error
    if not isinstance(content, list) or len(content) != length:
        size = f"a list of {len(content)}" if isinstance(content, list) else "no list"
        raise AnnotationError(f"{path}: is {size}, but there are {length} {of}; it belongs to other data.")
    return content

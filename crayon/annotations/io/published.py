"""The authors' published answers: JSON lists by position, turned into our answers by image and neuron.

Of the maps: "yes", "no" or "maybe" of each training image, in the order of the published loaders, which is that of our
manifests; two annotators' answers are one there already. A second list of 0 and 1 may say which were asked at all. Of
the neurons: true where a neuron is relevant. They were given to the published Original's maps and patches.
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
    """One answer an image that was asked.

    Args:
        images: ids of the training images in order.
        asked: a list of 0 and 1, one an image; without it all were.

    Raises:
        AnnotationError: not such a list, or of another length.
    """
    given = _list(path, len(images), "training images")
    were = _list(asked, len(images), "training images") if asked is not None else [1] * len(images)
    answers = []
    for position, (image, answer, was) in enumerate(zip(images, given, were, strict=True)):
        if not isinstance(answer, str) or answer not in MEANS:
            raise AnnotationError(f"{path}: position {position} is {answer!r}, none of {', '.join(MEANS)}.")
        if was not in (0, 1):
            raise AnnotationError(f"{asked}: position {position} is {was!r}, not 0 or 1.")
        if was:
            answers.append(Answer(item=image, annotator=SOURCE, answer=MEANS[answer], source=SOURCE))
    return answers


def published_neurons(path: str | Path, neurons: int) -> list[Answer]:
    """One answer a neuron.

    Raises:
        AnnotationError: not a list of true and false, or of another length.
    """
    given = _list(path, neurons, "neurons")
    if wrong := [position for position, value in enumerate(given) if value is not True and value is not False]:
        raise AnnotationError(f"{path}: position {wrong[0]} is {given[wrong[0]]!r}, not true or false.")
    return [
        Answer(item=neuron_item(number), annotator=SOURCE, answer="yes" if relevant else "no", source=SOURCE)
        for number, relevant in enumerate(given)
    ]


def neuron_item(neuron: int) -> str:
    """The item of an answer to a neuron as a whole, not to one of its patches."""
    return f"neuron {neuron}"


def _list(path: str | Path, length: int, of: str) -> list:
    try:
        content = json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise AnnotationError(f"{path}: cannot be read as JSON ({error}); download it anew.") from error
    if not isinstance(content, list) or len(content) != length:
        size = f"a list of {len(content)}" if isinstance(content, list) else "no list"
        raise AnnotationError(f"{path}: is {size}, and there are {length} {of}; it belongs to other data.")
    return content

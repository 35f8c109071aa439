"""Layouts of annotation tasks on Mechanical Turk and Label Studio: picture, question, three answers, instructions."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

TEMPLATES = files("crayon.annotations.io") / "templates"

VIEWS = {
    "image": "the picture as it is",
    "overlaid": "the picture where the program looks, dark where it does not",
    "red": "the picture with red where the program looks, stronger red where it looks more",
}
"""View -> description for annotators."""


def layout(kind: str, views: Sequence[str], width: int) -> str:
    """The HTML of a HIT, a task on Mechanical Turk. The platform replaces `${image_url}` and `${question}` in it.

    Args:
        kind: `attention` or `neurons`.
        views: the views of a map, in the order in which they are shown.
        width: largest width at which the picture is shown, in pixels.
    """
    from jinja2 import Environment

    template = Environment(autoescape=True).from_string((TEMPLATES / "hit.html.j2").read_text(encoding="utf-8"))
    return template.render(width=width, **(_of_maps(views) if kind == "attention" else _of_patches())) + "\n"


def _of_maps(views: Sequence[str]) -> dict[str, str | list[str]]:
    described = "; ".join(VIEWS[view] for view in views)
    sides = "You see" if len(views) == 1 else "Side by side you see"
    return {
        "short": [f"{sides} {described}.", "Answer for the strongest part of the highlight."],
        "full": [
            "A computer program was shown a picture and had to say what is in it. The highlight is where it looked.",
            f"{sides} {described}.",
        ],
        "yes": "most of the strong highlight lies on what the question names.",
        "no": "most of it lies elsewhere.",
    }


def _of_patches() -> dict[str, str | list[str]]:
    return {
        "short": ["Look at what is inside the red rectangle.", "Answer for that part alone."],
        "full": [
            "One part of a computer program reacts to what is inside the red rectangle.",
            "Look at the rectangle's inside, and at the rest of the picture only to tell what it is part of.",
        ],
        "yes": "what is inside is mainly what the question names, or a part of it.",
        "no": "it is mainly something else.",
    }


def labelling() -> str:
    """The labelling configuration of a Label Studio project."""
    return (TEMPLATES / "labelling.xml").read_text(encoding="utf-8")

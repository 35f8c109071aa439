"""Simulated annotators, who see the mask that people would see in the image. Every answer is named `simulated`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from crayon.annotations.answers import Answer
from crayon.config.annotation import AttentionAnswers, NeuronAnswers
from crayon.saliency.gradcam import upsample
from crayon.saliency.patches import Patch
from crayon.utils.chunks import parts

SOURCE, INTERFACE = "simulated", "simulation 1"


def relevant_share(maps: np.ndarray, masks: np.ndarray, options: AttentionAnswers) -> np.ndarray:
    """How much of the strong highlight lies on the object, or of the object under the highlight.

    Args:
        maps: (n, h, w) in [0, 1].
        masks: (n, H, W) bool.

    Returns:
        (n,) float32 in [0, 1]; 0 where there is no highlight (`highlight`), or no mask (`coverage`).
    """
    strong = upsample(torch.from_numpy(np.array(maps, np.float32)), masks.shape[1:]) > options.strong
    mask = torch.from_numpy(np.array(masks, np.float32))
    if options.dilation:
        width = 2 * options.dilation + 1
        mask = torch.nn.functional.max_pool2d(mask[:, None], width, 1, options.dilation)[:, 0]
    both = (strong & (mask > 0)).sum((1, 2)).float()
    whole = strong.sum((1, 2)) if options.measure == "highlight" else (mask > 0).sum((1, 2))
    return (both / whole.clamp_min(1)).numpy()


def answer_attention(
    image_ids: Sequence[str],
    maps: np.ndarray,
    masks: np.ndarray,
    options: AttentionAnswers,
    seed: int,
    digest: str,
    rows: np.ndarray | None = None,
) -> list[Answer]:
    """Answers to "is the highlight mainly on the object?", by item and annotator; each flipped with `options.flip`.

    Args:
        rows: (n,) of `masks`, one a map; left out, the masks are the maps' in order.
    """
    rows = np.arange(len(maps)) if rows is None else rows
    truth = np.empty(len(maps), bool)  # filled in parts: parts that are kept would lie between large ones given back
    for part in parts(len(maps)):
        truth[part] = relevant_share(maps[part], masks[rows[part]], options) > options.threshold
    return _answers(image_ids, truth, options.annotators, options.flip, np.random.default_rng([seed, 0]), digest)


def answer_neurons(
    patches: Sequence[Patch],
    rows: dict[str, int],
    masks: np.ndarray,
    options: NeuronAnswers,
    seed: int,
    digest: str,
) -> list[Answer]:
    """Answers to "does the patch show the object?", each distinct patch asked once; flipped with `options.flip`.

    Args:
        rows: image id -> row of `masks` (N, H, W) bool.
    """
    distinct = list({patch.patch: patch for patch in patches}.values())
    truth = [
        masks[rows[patch.image], patch.top : patch.bottom, patch.left : patch.right].mean() > options.coverage
        for patch in distinct
    ]
    generator = np.random.default_rng([seed, 1])
    return _answers([p.patch for p in distinct], np.array(truth), options.annotators, options.flip, generator, digest)


def _answers(
    items: Sequence[str], truth: np.ndarray, annotators: int, flip: float, generator: np.random.Generator, digest: str
) -> list[Answer]:
    given = truth[:, None] ^ (generator.random((len(items), annotators)) < flip)
    return [
        Answer(
            item=item,
            annotator=f"simulated-{number}",
            answer="yes" if yes else "no",
            source=SOURCE,
            interface=INTERFACE,
            digest=digest,
        )
        for item, row in zip(items, given.tolist(), strict=True)
        for number, yes in enumerate(row, start=1)
    ]

"""Simulated annotators, who answer from the ground-truth masks. All their answers have the source `simulated`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from crayon.annotations.answers import Answer
from crayon.config.annotation import AttentionAnswers, NeuronAnswers
from crayon.saliency.patches import Patch
from crayon.utils.chunks import parts

if TYPE_CHECKING:
    from crayon.saliency.placement import Shift

SOURCE, INTERFACE = "simulated", "simulation 1"


def relevant_share(
    maps: np.ndarray, masks: np.ndarray, options: AttentionAnswers, shift: Shift = (0.0, 0.0)
) -> np.ndarray:
    """The share of the strong highlight that is on the object, or the share of the object that is highlighted.

    Args:
        maps: (n, h, w) in [0, 1].
        masks: (n, H, W) bool, True on the object.
        options: `measure` chooses between the two shares; `strong` is the threshold of a strong highlight.
        shift: where the maps' cells lie on the image.

    Returns:
        (n,) float32 in [0, 1]; 0 if the denominator is empty: no highlight (`highlight`) or no mask (`coverage`).
    """
    import torch  # answers to patches need neither PyTorch nor the second that it takes to load

    from crayon.saliency.placement import upsample

    strong = upsample(torch.from_numpy(np.array(maps, np.float32)), masks.shape[1:], shift) > options.strong
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
    shift: Shift = (0.0, 0.0),
) -> list[Answer]:
    """Simulate answers to "is the highlight mainly on the object?".

    Args:
        image_ids: ids of the n images.
        maps: (n, h, w) in [0, 1], attention maps.
        masks: (N, H, W) bool, True on the object.
        options: threshold, number of annotators, and `flip`, the probability that an answer is wrong.
        seed: seed of the wrong answers.
        digest: sha256 of maps.npy.
        rows: (n,) int64, the row of `masks` for each map; if left out, row i belongs to map i.
        shift: where the maps' cells lie on the image.

    Returns:
        The answers, ordered by item, then by annotator.
    """
    rows = np.arange(len(maps)) if rows is None else rows
    truth = np.empty(len(maps), bool)  # preallocated, to avoid fragmenting memory between large temporary chunks
    for chunk in parts(len(maps)):
        truth[chunk] = relevant_share(maps[chunk], masks[rows[chunk]], options, shift) > options.threshold
    return _answers(image_ids, truth, options.annotators, options.flip, np.random.default_rng([seed, 0]), digest)


def answer_neurons(
    patches: Sequence[Patch],
    rows: dict[str, int],
    masks: np.ndarray,
    options: NeuronAnswers,
    seed: int,
    digest: str,
) -> list[Answer]:
    """Simulate answers to "does the patch show the object?", once for each distinct patch and annotator.

    Args:
        patches: rectangles of the neurons' strongest activations.
        rows: image id -> row of `masks`.
        masks: (N, H, W) bool, True on the object.
        options: covered share, number of annotators, and `flip`, the probability that an answer is wrong.
        seed: seed of the wrong answers.
        digest: sha256 of patches.csv.

    Returns:
        The answers, ordered by item, then by annotator.
    """
    distinct = list({patch.patch: patch for patch in patches}.values())
    truth = [
        masks[rows[patch.image], patch.top : patch.bottom, patch.left : patch.right].mean() > options.coverage
        for patch in distinct
    ]
    generator = np.random.default_rng([seed, 1])
    return _answers([p.patch for p in distinct], np.array(truth), options.annotators, options.flip, generator, digest)


def _answers(
    items: Sequence[str],
    truth: np.ndarray,
    annotators: int,
    flip: float | Sequence[float],
    generator: np.random.Generator,
    digest: str,
) -> list[Answer]:
    """One answer per item and annotator; each differs from `truth` (n,) bool with the probability `flip`."""
    given = truth[:, None] ^ (generator.random((len(items), annotators)) < np.asarray(flip))
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

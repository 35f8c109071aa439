"""One picture: what the Original looks at, and what the refined network looks at, on the same test images."""

from __future__ import annotations

import numpy as np
import torch

from ..files import publish
from ..images import forward_in_batches
from ..interpret.maps import class_activation, normalise_stored
from ..interpret.views import highlight_overlaid
from ..jobs import Plan
from ..progress import report
from ..records import Recording
from ..steps.load import Workplace

COUNT = 6


def run(plan: Plan) -> None:
    """Write results/before_after.png.

    The images are the first of the test split, in file order and evenly from each label and group, that the Original
    gets wrong and the refined network right: picked by rule, not by hand.
    """
    job = plan.find("before_after")
    recording = Recording(job)
    place = Workplace(plan, job.steering["benchmark"])
    split = next(iter(place.benchmark.metrics.values())).splits[0]
    rows, labels = place.data.rows(split), place.labels(split)
    before, after = (_look(place, job.inputs[name], split, labels) for name in ("original", "refined"))
    mended = np.flatnonzero((before[0] != labels.numpy()) & (after[0] == labels.numpy()))
    chosen = _evenly(mended, [(place.data.labels[row], place.data.group_ids[row]) for row in rows[mended]])
    recording.publish({"figure": lambda path: _draw(path, plan, place, rows[chosen], before, after, chosen)})
    report(f"before_after  {len(mended)} test images mended, {len(chosen)} shown -> {job.outputs['figure']}")


def _look(place: Workplace, checkpoint: str, split: str, labels: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Predictions (n,) and maps (n, h, w) in [0, 1] for the images' labels."""
    network, images = place.trained(checkpoint), place.images(split)
    predictions, maps, first = [], [], 0
    for features in forward_in_batches(network, images, len(images), lambda features: features):
        target = labels[first : first + len(features)]
        weights = network.map_weights(features, target).detach()
        maps.append(normalise_stored(class_activation(features, weights)))
        predictions.append(network.classify(features).detach().argmax(1))
        first += len(features)
    return torch.cat(predictions).cpu().numpy(), torch.cat(maps).cpu().numpy()


def _evenly(candidates: np.ndarray, kinds: list[tuple[int, int]]) -> np.ndarray:
    """The first `COUNT` candidates, taking turns among the kinds."""
    queues = {
        kind: [c for c, k in zip(candidates.tolist(), kinds, strict=True) if k == kind] for kind in sorted(set(kinds))
    }
    chosen = []
    while len(chosen) < COUNT and any(queues.values()):
        for queue in queues.values():
            if queue and len(chosen) < COUNT:
                chosen.append(queue.pop(0))
    return np.array(chosen, np.int64)


def _draw(path, plan, place, rows, before, after, chosen) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    titles = ("image", "before: the Original", "after: Crayon-Attention")
    figure, axes = pyplot.subplots(
        3, max(1, len(rows)), figsize=(1.6 * max(1, len(rows)), 5.4), squeeze=False, layout="constrained"
    )
    for column, (row, position) in enumerate(zip(rows, chosen, strict=True)):
        image = place.data.images[row]
        views = (image, *(highlight_overlaid(image, maps[position]) for _, maps in (before, after)))
        classes = place.benchmark.classes
        said = (classes[place.data.labels[row]], *(classes[p[position]] for p, _ in (before, after)))
        for line, (view, word) in enumerate(zip(views, said, strict=True)):
            axis = axes[line, column]
            axis.imshow(view, interpolation="bilinear")
            axis.set_xlabel(word if line == 0 else f"says {word}", fontsize=8)
            axis.set_xticks([])
            axis.set_yticks([])
            if column == 0:
                axis.set_ylabel(titles[line], fontsize=8)
    figure.suptitle(f"{place.benchmark.title}: test images mended, suite {plan.suite}", fontsize=9)
    with publish(path) as file:
        figure.savefig(file, format="png", dpi=110, metadata={"Software": None})
    pyplot.close(figure)

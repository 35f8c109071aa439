"""SLIM, spuriousness mitigation with minimal human annotations (Xuan et al., ECCV 2024; reference code: xiweix/SLIM).

    L = mean_i CE_i,   images i drawn from a set S of about `images` training images

S is chosen before the training, as in the reference code. With the features A_i of image i and the Grad-CAM map M_i of
its label, both the Original's,

    v_i = sum over cells of M_i A_i,   v'_i = sum over cells of (1 - N_i) A_i,   N_i: M_i scaled into 0 to 1

and their embeddings e_i and e'_i in the plane, what the Original looks at and what it does not look at:

    1. Questions: k-means divides the e of each class into as many clusters as the class has questions. One of the 5
       images nearest to each centre is asked about, at random.
    2. Scores: label spreading (Zhou et al., 2003) of these answers over the e of the class, with the kernel
       exp(-gamma |e_i - e_j|^2) on standardised e; the share of "yes", scaled into 0 to 1 in each class.
    3. Images with a score above the median are kept.
    4. k-means divides the e of the kept images into clusters a, and their e' into clusters b; each number of clusters
       is 3 or 4, where the sum of squares has its elbow.
    5. S has images p_a p_(b|a) of cluster pair (a, b). p is in proportion to the median distance from the cluster's
       mean, of e for p_a, and of the e' within a for p_(b|a). The pair is divided by k-means of its e' into as many
       clusters, and one of the 3 images nearest to each centre is taken; a pair that is too small is taken whole, and
       filled up with repetitions.

The embedding is t-SNE (van der Maaten and Hinton, 2008), where SLIM's is UMAP. docs/methods.md has the other
differences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from crayon.config.types import Count, Positive
from crayon.methods.base import Need
from crayon.methods.rwy import RWY
from crayon.utils.checks import required
from crayon.utils.errors import MethodError
from crayon.utils.log import report

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class SLIM(RWY):
    """Train with a small set of images whose maps are right, and which are spread over what else the images show.

    Attributes:
        images: the size of the set; it may come out a few images smaller.
        answers: number of maps whose answers are used, the same for each class.
        gamma: how fast an answer loses weight with the distance. The reference code has 10 and 5 for the two classes of
            Waterbirds.
    """

    label = "SLIM"
    annotation = "Yes-No"
    needs: ClassVar[tuple[Need, ...]] = ("attention",)

    images: Count = 120
    answers: Count = 40
    gamma: Positive = 10.0

    @property
    def maps_used(self) -> int:
        """The maps that it asks about, `answers`."""
        return self.answers

    def prepare(self, problem: Problem) -> dict[str, torch.Tensor]:
        """Choose the set S.

        Returns:
            `weights` (N,) float64 on the CPU: how often each image is in S.

        Raises:
            MethodError: no answer about a class decides whether a map is relevant, or `images` is too small.
        """
        import torch

        attention = required(problem.attention, "attention").cpu().numpy()
        labels = problem.labels.cpu().numpy()
        seen, unseen = (embedded(points) for points in attended(problem))
        scores, classes = np.empty(len(labels)), np.unique(labels)
        for label in classes:
            members, questions = np.flatnonzero(labels == label), max(1, self.answers // len(classes))
            answered = np.flatnonzero(attention[members] >= -1)  # -1: undecided, "not sure" in SLIM
            codes = np.full(len(members), -1)
            if len(answered):
                asked = answered[representatives(seen[members][answered], questions, near=5)]
                codes[asked] = attention[members][asked]
            if (codes < 0).all():
                raise MethodError(
                    f"SLIM: none of the {questions} maps of class number {label}, counted from 0, that it asks about "
                    "has a decided answer; collect answers to more maps, or raise `answers`."
                )
            scores[members] = spread(seen[members], codes, self.gamma)
        kept = np.flatnonzero(scores > np.median(scores))
        if not len(kept):
            report("SLIM: the answers of each class are the same, so all images are kept")
            kept = np.arange(len(labels))
        chosen = kept[curated(seen[kept], unseen[kept], self.images)]
        counts = " + ".join(str((labels[chosen] == label).sum()) for label in classes)
        report(f"SLIM: {counts} images of the classes, {len(np.unique(chosen))} of them different, of {len(kept)} kept")
        return {"weights": torch.from_numpy(np.bincount(chosen, minlength=len(labels))).double()}


def attended(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Compute the Original's features where its maps are high, and where they are low: v and v', (N, C) float32."""
    import torch

    from crayon.models.inference import features_in_batches
    from crayon.saliency.gradcam import grad_cam

    network, pairs = problem.network, []
    for part, features in features_in_batches(network, problem.images, len(problem.labels)):
        with torch.no_grad():
            maps, cells = grad_cam(network, features, problem.labels[part]), network.map(features)
            least, most = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
            rest = (1 - (maps - least) / (most - least)).nan_to_num(0.0)  # a constant map: 0, as in the reference code
            pairs.append([torch.einsum("bchw,bhw->bc", cells, weights).cpu() for weights in (maps, rest)])
    seen, unseen = (torch.cat(vectors).numpy() for vectors in zip(*pairs, strict=True))
    return seen, unseen


def embedded(points: np.ndarray) -> np.ndarray:
    """Embed points (N, C) in the plane by t-SNE, with 500 iterations: (N, 2) float32."""
    from sklearn.manifold import TSNE

    perplexity = min(30, (len(points) - 1) / 3)
    found: np.ndarray = TSNE(perplexity=perplexity, max_iter=500, random_state=seed()).fit_transform(points)
    return found


def spread(points: np.ndarray, codes: np.ndarray, gamma: float) -> np.ndarray:
    """Spread answers over the images of a class.

    Args:
        points: (n, 2) float.
        codes: (n,) int: 1 yes, 0 no, -1 unknown; at least one is known.
        gamma: of the kernel.

    Returns:
        (n,) float64 in [0, 1]; all are 1 if the known answers are the same.
    """
    from sklearn.semi_supervised import LabelSpreading

    if len(set(codes[codes >= 0])) < 2:
        return np.ones(len(codes))
    points = (points.astype(np.float64) - points.mean()) / points.std()
    model = LabelSpreading(kernel="rbf", gamma=gamma, alpha=1e-6, max_iter=100_000).fit(points, codes)
    with np.errstate(invalid="ignore"):
        score = model.predict_proba(points)[:, 1]
    score = np.nan_to_num(score, nan=0.5)  # too far from all answers, so that every weight is 0
    scaled: np.ndarray = (score - score.min()) / (np.ptp(score) or 1.0)
    return scaled


def curated(seen: np.ndarray, unseen: np.ndarray, total: int) -> np.ndarray:
    """Choose images that are spread over the pairs of clusters.

    Args:
        seen, unseen: (n, 2), the embeddings e and e'.
        total: how many images.

    Returns:
        (m,) int64 positions in 0..n-1, with repetitions; m <= total.

    Raises:
        MethodError: `total` is so small that the set is empty.
    """
    first, second = elbow(seen), elbow(unseen)
    chosen = []
    for a, share in zip(np.unique(first), widths(seen, first), strict=True):
        members = np.flatnonzero(first == a)
        within = second[members]
        for b, part in zip(np.unique(within), widths(unseen[members], within), strict=True):
            pair, size = members[within == b], int(total * share * part)
            if size > len(pair):
                chosen.append(np.concatenate([pair, pair[integers(len(pair), size - len(pair))]]))
            elif size:
                chosen.append(pair[representatives(unseen[pair], size, near=3)])
    if not chosen:
        raise MethodError(f"SLIM: `images: {total}` is too small, no pair of clusters gets an image; raise it.")
    return np.concatenate(chosen)


def widths(points: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Compute the median distance of each cluster's points (n, 2) from their mean, divided by the sum over clusters.

    If all distances are 0, the clusters have equal shares.
    """
    found = []
    for cluster in np.unique(clusters):
        members = points[clusters == cluster]
        found.append(np.median(np.linalg.norm(members - members.mean(0), axis=1)))
    return np.array(found) / sum(found) if any(found) else np.full(len(found), 1 / len(found))


def elbow(points: np.ndarray) -> np.ndarray:
    """Cluster points (n, 2) by k-means, and return the cluster of each: 3 or 4 clusters, the elbow of 2 to 5."""
    fits = [k_means(points, count) for count in range(2, 6)]
    bends = np.diff([fit.inertia_ for fit in fits], 2)
    clusters: np.ndarray = fits[1 + int(bends.argmax())].labels_
    return clusters


def representatives(points: np.ndarray, count: int, near: int) -> np.ndarray:
    """Choose one of the `near` points nearest to each centre of a k-means clustering, at random: (count,) positions."""
    centres = k_means(points, count).cluster_centers_
    distances = np.linalg.norm(points[:, None] - centres, axis=2)
    nearest = distances.argsort(0, kind="stable")[:near]
    positions: np.ndarray = nearest[integers(len(nearest), nearest.shape[1]), np.arange(nearest.shape[1])]
    return positions


def k_means(points: np.ndarray, count: int) -> Any:
    """Fit scikit-learn's KMeans with the settings of the reference code; there are no more clusters than points."""
    from sklearn.cluster import KMeans

    count = max(1, min(count, len(points)))
    return KMeans(count, init="random", n_init=3, max_iter=100, random_state=seed()).fit(points)


def integers(below: int, count: int) -> np.ndarray:
    """Draw integers (count,) in 0..below-1 with PyTorch's global random state."""
    import torch

    drawn: np.ndarray = torch.randint(below, (count,)).numpy()
    return drawn


def seed() -> int:
    """Draw a seed with PyTorch's global random state."""
    return int(integers(2**31 - 1, 1)[0])

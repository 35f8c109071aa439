"""DFR, deep feature reweighting (Kirichenko et al., ICLR 2023; PolinaKirichenko/deep_feature_reweighting).

    (w_s, b_s) = argmin  |w|_1 + |b| + C sum_{i in S_s} log(1 + exp(-t_i (w . u_i + b))),   t_i in {-1, 1}
    (w, b)     = mean of (w_s, b_s) over the subsets s,   u = (h - mean h) / std h

h is the input of the last layer, with mean and deviation over the training images. Each S_s is a random subset of the
validation images (`split: validation`, the paper's DFR^Val_Tr) or of the training images (`split: train`, DFR^Tr_Tr),
in which each group has as many images as the smallest one. A group is a pair of class and background (or whatever
`groups` in params.yaml names) that has images there.

C is the first of `c_values` with the best worst-group accuracy: for `validation`, of a fit to a balanced subset of one
random half of the validation images (standardised by that subset) on the other half; for `train`, of a fit to one
balanced subset on all validation images. The subsets are then drawn from all images of the split.

An epoch adds one subset to the mean, so `epochs` is the number of subsets: the reference has 20 for `validation` and 10
for `train`. The fit is scikit-learn's, by the solver of the reference (liblinear, which penalises b as well). The
network's last layer gets these weights with the standardisation folded in: for two classes, the logits are
-(w . u + b) / 2 and (w . u + b) / 2; for more, each class has a fit against all others, as liblinear does it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from crayon.config.sections import Training
from crayon.config.types import Positive
from crayon.methods.balanced import numbered_groups
from crayon.methods.base import Need
from crayon.methods.last_layer import LastLayer
from crayon.utils.checks import required
from crayon.utils.errors import MethodError
from crayon.utils.log import report

if TYPE_CHECKING:
    import torch

    from crayon.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class DFR(LastLayer):
    """Refit the last layer to subsets with balanced groups, and average the fits.

    Attributes:
        split: the split whose images are fitted. `validation` uses the groups of the validation images alone; `train`
            those of the training images, and those of the validation images to choose C.
        c_values: the values of C to choose from, by default those of the reference code on Waterbirds.
    """

    label = "DFR"
    annotation = "Group"
    needs = ("groups", "validation")

    split: Literal["validation", "train"] = "validation"
    c_values: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01)

    @property
    def annotated(self) -> tuple[Need, ...]:
        """`validation` reads no group of a training image; `train` reads those of both splits."""
        return ("validation",) if self.split == "validation" else self.needs

    def prepare(self, problem: Problem) -> dict[str, Any]:
        """Compute the inputs of the last layer, and choose C.

        Returns:
            `inputs` (N, D) of the training images; `examples`, those of the split that is fitted; `scaler`, fitted to
            the training images; `c`.

        Raises:
            MethodError: a class has no image among those that are fitted.
        """
        import torch
        from sklearn.preprocessing import StandardScaler

        validation = required(problem.validation, "validation")
        inputs = problem.head_inputs(problem.images, len(problem.labels))
        held = problem.head_inputs(validation.images, len(validation.labels))
        seen = Examples.of(inputs, problem.labels, required(problem.groups, "groups"))
        unseen = Examples.of(held, validation.labels, validation.groups)
        scaler, classes = StandardScaler().fit(seen.inputs), problem.network.head.out_features
        if self.split == "validation":
            order = torch.randperm(len(unseen.labels)).numpy()
            half = len(order) // 2
            fitted, tested = unseen.take(order[half:]).balanced(), unseen.take(order[:half])
            scaling = StandardScaler().fit(fitted.inputs)
        else:
            fitted, tested, scaling = seen.balanced(), unseen, scaler
        scores = []
        for c in self.c_values:
            weight, bias = l1_logistic(scaling.transform(fitted.inputs), fitted.labels, classes, c)
            scores.append(tested.worst_group((scaling.transform(tested.inputs) @ weight.T + bias).argmax(1)))
        best = int(np.argmax(scores))
        report(f"DFR: chose C = {self.c_values[best]:g}, worst-group accuracy {100 * scores[best]:.1f}% in the choice")
        examples = unseen if self.split == "validation" else seen
        return {"inputs": inputs, "examples": examples, "scaler": scaler, "c": self.c_values[best]}

    def start_epoch(self, problem: Problem, state: dict[str, Any], epoch: int, training: Training) -> None:
        """Fit a new subset, and average its weights with those of the epochs before. Arguments: see `Method`."""
        import torch

        super().start_epoch(problem, state, epoch, training)
        head, scaler, subset = problem.network.head, state["scaler"], state["examples"].balanced()
        fit = l1_logistic(scaler.transform(subset.inputs), subset.labels, head.out_features, state["c"])
        weight, bias = unstandardised(*fit, scaler.mean_, scaler.scale_)
        with torch.no_grad():
            head.weight.lerp_(torch.from_numpy(weight).to(head.weight), 1 / epoch)
            head.bias.lerp_(torch.from_numpy(bias).to(head.bias), 1 / epoch)

    def parameters(self, problem: Problem, state: Any, training: Training) -> list[dict[str, Any]]:
        """Return the last layer with learning rate 0: its weights are fitted; the loss is reported only."""
        return [group | {"lr": 0.0} for group in super().parameters(problem, state, training)]


@dataclass(frozen=True)
class Examples:
    """Inputs of the last layer, with their classes and groups.

    Attributes:
        inputs: (n, D) float64.
        labels: (n,) int64.
        groups: (n,) int64, the number of each image's pair of class and group.
    """

    inputs: np.ndarray
    labels: np.ndarray
    groups: np.ndarray

    @classmethod
    def of(cls, inputs: torch.Tensor, labels: torch.Tensor, groups: torch.Tensor) -> Examples:
        """Create examples from (n, D) inputs, (n,) classes and (n,) groups."""
        numbers = numbered_groups(labels, groups)
        return cls(inputs.double().cpu().numpy(), labels.cpu().numpy(), numbers.cpu().numpy())

    def take(self, index: np.ndarray) -> Examples:
        """Return the examples at these positions, (m,) int64."""
        return Examples(self.inputs[index], self.labels[index], self.groups[index])

    def balanced(self) -> Examples:
        """Draw, from each group that has examples, as many as the smallest has, with PyTorch's global random state."""
        import torch

        members = [np.flatnonzero(self.groups == group) for group in np.unique(self.groups)]
        smallest = min(map(len, members))
        return self.take(np.concatenate([m[torch.randperm(len(m)).numpy()[:smallest]] for m in members]))

    def worst_group(self, predictions: np.ndarray) -> float:
        """Compute the lowest accuracy of a group, in [0, 1], from predictions (n,) int64."""
        correct = predictions == self.labels
        return min(float(correct[self.groups == group].mean()) for group in np.unique(self.groups))


def l1_logistic(inputs: np.ndarray, labels: np.ndarray, classes: int, c: float) -> tuple[np.ndarray, np.ndarray]:
    """Fit a logistic regression with an L1 penalty.

    The order in which liblinear visits the weights comes from PyTorch's global random state.

    Args:
        inputs: (n, D) float64, standardised.
        labels: (n,) int64 in 0..K-1.
        classes: K.
        c: weight of the data against the penalty.

    Returns:
        Weights (K, D) and biases (K,) float64 of the logits.

    Raises:
        MethodError: a class has no image.
    """
    import torch
    from sklearn.linear_model import LogisticRegression

    if missing := sorted(set(range(classes)) - set(labels.tolist())):
        raise MethodError(
            f"DFR: class number {missing[0]}, counted from 0, has none of the {len(labels)} images to which the last "
            "layer is fitted; add images of this class to the split that is fitted."
        )
    weights, biases = [], []
    for label in [1] if classes == 2 else range(classes):
        seed = int(torch.randint(2**31 - 1, ()))
        model = LogisticRegression(l1_ratio=1.0, C=c, solver="liblinear", random_state=seed)
        model.fit(inputs, labels == label)
        weights.append(model.coef_[0])
        biases.append(model.intercept_[0])
    if classes == 2:
        weights, biases = [-weights[0] / 2, weights[0] / 2], [-biases[0] / 2, biases[0] / 2]
    return np.stack(weights), np.array(biases)


def unstandardised(
    weight: np.ndarray, bias: np.ndarray, mean: np.ndarray, deviation: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Convert weights of (h - mean) / deviation to weights of h.

    Args:
        weight: (K, D).
        bias: (K,).
        mean, deviation: (D,).
    """
    weight = weight / deviation
    return weight, bias - weight @ mean

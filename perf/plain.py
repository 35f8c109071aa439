"""The plain formulations: what code of the published kind computes, without what makes ours fast.

Two forwards a step, one for the logits and one for Grad-CAM; its gradients by autograd with create_graph=True, and a
backward pass through all of that; float32; NCHW; the frozen backbone of pruning runs in every step.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from crayon.methods.base import Method
from crayon.methods.bounding_box import box_coverage
from crayon.methods.crayon_pruning import CrayonPruning
from crayon.methods.problem import Problem
from crayon.models.classifier import Classifier
from crayon.saliency.gradcam import normalise

Formulation = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor | None, dict[str, torch.Tensor]]]
"""Images (B, 3, H, W) and their positions (B,) -> maps (B, h, w) or None, and the terms of the loss."""


def contiguous(network: Classifier) -> Classifier:
    """A copy in NCHW."""
    return copy.deepcopy(network).to(memory_format=torch.contiguous_format)


def grad_cam(network: Classifier, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Maps (B, h, w) of a forward of their own, by differentiation; they can be trained through."""
    features = network.backbone(images)
    with sdpa_kernel(SDPBackend.MATH):  # the only kernel of attention that can be differentiated twice
        score = behind(network, features).gather(1, labels.unsqueeze(1)).sum()
        (gradient,) = torch.autograd.grad(score, features, create_graph=True)
    gradient, map_ = network.layout.map(gradient), network.layout.map(features)
    return torch.relu((gradient.mean((2, 3), keepdim=True) * map_).sum(1))


def logits(network: Classifier, images: torch.Tensor) -> torch.Tensor:
    """Logits (B, K) of a forward of their own."""
    return behind(network, network.backbone(images))


def behind(network: Classifier, features: torch.Tensor) -> torch.Tensor:
    """Logits (B, K) from features."""
    if network.averages:
        return network.head(network.norm(network.layout.map(features).mean((2, 3)) * network.keep))
    return network.head(network.norm(features * network.layout.by_channel(network.keep)))


@dataclass
class Attention:
    """Crayon-Attention and Crayon-Pruning+Attention (Eq. 1-4, energy ratio)."""

    network: Classifier
    problem: Problem
    method: Method

    def __post_init__(self) -> None:
        self.stored = normalise(self.problem.maps)
        self.relevant, self.irrelevant = (int((self.problem.attention == answer).sum()) for answer in (1, 0))

    def __call__(self, images: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Maps and terms."""
        labels, answers = self.problem.labels[index], self.problem.attention[index]
        classification = functional.cross_entropy(logits(self.network, images), labels, reduction="sum")  # Eq. 1
        maps = grad_cam(self.network, images, labels) + 1e-10
        maps = maps / maps.amax((1, 2), keepdim=True)
        stored = self.stored[index]
        now, then = maps[answers == 1], stored[answers == 1]
        relevant = ((now * (1 - then)).sum((1, 2)) / (1 - then).sum((1, 2))).sum() / max(1, self.relevant)  # Eq. 2
        now, then = maps[answers == 0], stored[answers == 0]
        irrelevant = ((now * then).sum((1, 2)) / then.sum((1, 2))).sum() / max(1, self.irrelevant)  # Eq. 3
        return maps, {  # Eq. 4
            "classification": classification,
            "relevant": self.method.alpha * relevant,
            "irrelevant": self.method.beta * irrelevant,
        }


@dataclass
class Pruning:
    """Crayon-Pruning: the last layer on a backbone that runs in every step; in training mode if `drifting`."""

    network: Classifier
    problem: Problem
    method: Method

    def __call__(self, images: torch.Tensor, index: torch.Tensor) -> tuple[None, dict[str, torch.Tensor]]:
        """No maps; the one term."""
        frozen = self.method.batch_norm == "frozen"
        if frozen:
            self.network.backbone.eval()
        with torch.set_grad_enabled(not frozen):  # the published code records the backbone, too, and then detaches it
            pooled = self.network.backbone(images).mean((2, 3)) * self.network.keep
        loss = functional.cross_entropy(self.network.head(pooled.detach()), self.problem.labels[index], reduction="sum")
        return None, {"classification": loss}


@dataclass
class Boxes:
    """Bounding Box with the energy loss."""

    network: Classifier
    problem: Problem
    method: Method

    def __post_init__(self) -> None:
        self.covered = box_coverage(self.problem.masks[:], tuple(self.problem.maps.shape[1:]))

    def __call__(self, images: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Maps and terms."""
        labels = self.problem.labels[index]
        classification = functional.cross_entropy(logits(self.network, images), labels)
        maps = grad_cam(self.network, images, labels)
        inside, total = (self.covered[index] * maps).sum((1, 2)), maps.sum((1, 2))
        energy = 1 - inside / torch.where(total < 1e-7, 1.0, total)
        return maps, {"classification": classification, "energy": self.method.weight * energy.sum()}


FORMULATIONS: dict[str, type] = {
    "crayon_attention": Attention,
    "crayon_pruning": Pruning,
    "crayon_pruning_attention": Attention,
    "bounding_box": Boxes,
}
"""Method -> its plain formulation."""


def plain(name: str, problem: Problem, method: Method) -> tuple[Classifier, list[torch.nn.Parameter], Formulation]:
    """A copy of the network in NCHW, pruned where the method prunes; what is trained of it; the formulation."""
    network = contiguous(problem.network)
    if "neurons" in method.needs:
        network.prune(problem.neurons == 0)
    trained = network.head if isinstance(method, CrayonPruning) else network
    return network, list(trained.parameters()), FORMULATIONS[name](network, problem, method)

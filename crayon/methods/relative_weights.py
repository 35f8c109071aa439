"""Weights of loss terms relative to the classification term, so that one range of weights fits every data set.

The published weights of Crayon-Attention depend on the number of answers, on the size of the map and on the scale of
the features: a weight of 3,000 per image suits one network on one data set, and destroys another network. Here a
weight is a ratio instead. Let g_i(T) be the gradient of a term T with respect to the features of image i, at the
Original in evaluation mode:

    weight of T = ratio * rms_i |g_i(classification)| / rms_i |g_i(T)|

The classification gradient is that of a network that is undecided between the K classes, W^T (1/K - onehot(label)):
the gradient of the Original itself is near zero, because it has learnt the training images. So `ratio` says how
strongly a term pulls at the features of an answered image, compared with how the image's label would pull at them if
the network were undecided.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from crayon.methods.base import Batch
from crayon.methods.problem import Problem

SAMPLE = 512
"""Number of images on which a gradient is measured; with more images of the data set, the result is about the same."""


def gradient_ratio(problem: Problem, chosen: torch.Tensor, term: Callable[[Batch], torch.Tensor]) -> float:
    """Measure the classification term's gradient divided by another term's, both with respect to the features.

    Args:
        problem: the Original and the training images.
        chosen: (N,) bool, the training images for which the term is computed. If there are more than 512, 512 of them
            are measured, evenly spaced in the training set.
        term: computes the term of each image of a batch, (B,).

    Returns:
        rms |g(classification)| / rms |g(term)|; 0 if the term has no gradient, or no image is chosen.
    """
    positions = chosen.nonzero().squeeze(1).cpu()
    if not len(positions):
        return 0.0
    if len(positions) > SAMPLE:
        positions = positions[torch.arange(SAMPLE) * len(positions) // SAMPLE]
    network, training = problem.network, problem.network.training
    network.eval()
    squares = torch.zeros(2, dtype=torch.float64)
    for index in positions.split(64):
        with torch.no_grad():
            features = network.features(problem.images(index)).float()
        features.requires_grad_()
        logits = network.classify(features)
        labels = problem.labels[index.to(problem.labels.device)]
        batch = Batch(index=index, images=None, labels=labels, features=features, logits=logits, network=network)
        undecided = 1 / logits.shape[1] - torch.nn.functional.one_hot(labels, logits.shape[1])
        for place, value in enumerate(((undecided * logits).sum(), term(batch).sum())):
            gradient = torch.autograd.grad(value, features, retain_graph=place == 0)[0]
            squares[place] += gradient.double().square().sum().cpu()
    network.train(training)
    classification, other = squares.sqrt().tolist()
    return classification / other if other > 0 else 0.0

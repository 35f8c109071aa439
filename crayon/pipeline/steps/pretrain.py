"""Pretrain the backbone to classify drawn figures and textures, in place of ImageNet for the small networks."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch.nn.functional import cross_entropy, dropout

from crayon.data.loader import ImageReader
from crayon.data.synthetic.drawing import TEXTURES
from crayon.data.synthetic.figures import FIGURES, draw_figures
from crayon.models.build import build_classifier
from crayon.models.checkpoints import save_checkpoint
from crayon.models.classifier import Classifier
from crayon.models.inference import forward_in_batches
from crayon.pipeline.job import Job
from crayon.pipeline.record import Recording
from crayon.training.optim import make_optimiser
from crayon.utils.checks import required
from crayon.utils.device import device_name, start_torch, to_device
from crayon.utils.errors import MethodError
from crayon.utils.log import report


def run(job: Job) -> None:
    """Train the backbone with two heads on its pooled features, one for the figure and one for the texture.

    The loss is the cross-entropy of the figure plus `texture_weight` times the cross-entropy of the texture.

    Args:
        job: the pretraining of the suite's network, or of a network of the transfer study.

    Raises:
        MethodError: the accuracy on held-out figures is below `minimum_accuracy`.
    """
    recording = Recording(job)
    suite = job.params.suite
    options = required(suite.pretrains(job.wildcards.get("network")), "pretraining")
    training = options.training
    device = start_torch(**suite.compute.where)
    images, *labels = draw_figures(options.seed, options.images + options.held_out, options.size)
    rows = np.arange(len(images))
    reader, held_out = (
        ImageReader(images, part, options.normalisation, device)
        for part in (rows[: options.images], rows[options.images :])
    )
    figures, textures = (torch.from_numpy(values).to(device) for values in labels)
    torch.manual_seed(options.seed)
    whole = job.params.network.model_copy(update={"frozen_blocks": None})
    network = build_classifier(whole, FIGURES + len(TEXTURES)).to(device)
    optimiser = make_optimiser(list(network.parameters()), training)
    steps = training.epochs * -(-options.images // training.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, training.learning_rate, total_steps=steps)
    shuffle = torch.Generator().manual_seed(options.seed)
    for epoch in range(1, training.epochs + 1):
        network.train()
        for index in torch.randperm(options.images, generator=shuffle).split(training.batch_size):
            index = to_device(index, device)
            read = dropout(network.read(network.features(reader(index))), options.dropout)
            logits = network.logits(read)
            loss = cross_entropy(logits[:, :FIGURES], figures[index])
            loss = loss + options.texture_weight * cross_entropy(logits[:, FIGURES:], textures[index])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
        if epoch % 3 == 0 or epoch == training.epochs:
            accuracy = _accuracy(network, held_out, figures[options.images :])
            report(f"pretrain  epoch {epoch}/{training.epochs}  held-out figures {100 * accuracy:.1f}%")
    if accuracy < options.minimum_accuracy:
        raise MethodError(
            f"pretraining: the network classifies {accuracy:.1%} of the held-out images correctly, less than "
            f"pretraining.minimum_accuracy ({options.minimum_accuracy:.0%}); set more epochs."
        )
    recording.publish(
        {"model": partial(save_checkpoint, state=network.state_dict())},
        device=device_name(device),
        threads=torch.get_num_threads(),
        held_out_accuracy=accuracy,
    )


def _accuracy(network: Classifier, images: ImageReader, figures: torch.Tensor) -> float:
    """Compute the share of the images that are classified correctly; `figures` (n,) int64 are their classes."""
    logits = torch.cat(list(forward_in_batches(network, images, len(images), network.classify)))
    return float((logits[:, :FIGURES].argmax(1) == figures).float().mean())

"""Objects that several steps share: the data set, the device, networks, and the images of a split."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crayon.config.sections import Network
from crayon.data.dataset import Dataset, load_dataset
from crayon.data.loader import ImageReader
from crayon.methods.problem import Problem, Validation
from crayon.models.build import build_classifier
from crayon.models.checkpoints import load_checkpoint
from crayon.models.classifier import Classifier
from crayon.models.inference import forward_in_batches, gathered
from crayon.pipeline.job import Job
from crayon.pipeline.record import Recording
from crayon.pipeline.steps.map_size import map_shift
from crayon.saliency.placement import Shift
from crayon.training.checkpoint import Saved
from crayon.training.fit import Monitor
from crayon.training.metrics import Accuracies, measure
from crayon.utils.checks import required
from crayon.utils.device import device_name, start_torch
from crayon.utils.files import canonical

RESUME = Path(".crayon/resume")
"""Folder with the saved states of interrupted trainings."""


class Context:
    """A benchmark with its params, data set and device, ready to compute with.

    Args:
        job: a job that reads the benchmark's data set.

    Attributes:
        name: name of the benchmark.
        suite: params of the suite.
        benchmark: params of the benchmark.
        options: params of the network.
        device: where the networks and tensors are.
        dtype: dtype of the forward pass.
        data: the data set, memory-mapped.
    """

    def __init__(self, job: Job) -> None:
        params = job.params
        self.name, self.suite = job.wildcards["benchmark"], params.suite
        self.benchmark = required(params.benchmark, "job.params.benchmark")
        self.options = params.network
        self.device = start_torch(**self.suite.compute.where)
        self.dtype = getattr(torch, self.suite.compute.precision)
        folder = Path(job.inputs["manifest"]).parent
        self.data: Dataset = load_dataset(folder, self.benchmark.classes, self.benchmark.groups)
        self._images: dict[str, ImageReader] = {}

    @property
    def environment(self) -> dict[str, Any]:
        """Device and number of threads, for records."""
        return {"device": device_name(self.device), "threads": torch.get_num_threads()}

    def network(self, seed: int = 0) -> Classifier:
        """Create a classifier for the classes of this benchmark, on the device, with random weights from `seed`.

        The initial weights in params.yaml are not read, because the caller overwrites all weights.
        """
        torch.manual_seed(seed)
        return build_classifier(self.options, len(self.benchmark.classes), initial=False).to(self.device)

    def pretrained(self, path: str | None) -> Classifier:
        """Create a classifier with a pretrained backbone and a new head.

        The weights of the head come from PyTorch's global random state, so that they differ between seeds.

        Args:
            path: checkpoint of the pretrained backbone; None keeps the initial weights of the network.
        """
        network = build_classifier(self.options, len(self.benchmark.classes), initial=path is None).to(self.device)
        if path is not None:
            load_checkpoint(path, network, only=("backbone.", "norm."))
        return network

    def trained(self, path: str) -> Classifier:
        """Load the classifier of a checkpoint."""
        network = self.network()
        load_checkpoint(path, network)
        return network

    def images(self, split: str) -> ImageReader:
        """Return the reader of a split's images, which is created once and then shared."""
        if split not in self._images:
            rows = self.data.rows(split)
            self._images[split] = ImageReader(self.data.images, rows, self.benchmark.normalisation, self.device)
        return self._images[split]

    def labels(self, split: str) -> torch.Tensor:
        """Return the labels of a split, (n,) int64 on the device."""
        return torch.from_numpy(self.data.labels[self.data.rows(split)]).to(self.device)

    def groups(self, split: str) -> torch.Tensor | None:
        """Return the groups of a split, (n,) int64 on the device; None if the benchmark has only one."""
        if len(self.benchmark.groups) == 1:
            return None
        return torch.from_numpy(self.data.group_ids[self.data.rows(split)]).to(self.device)

    def validation(self) -> Validation:
        """Return the images on which the selection metric is measured."""
        split = self.benchmark.selection.splits[0]
        labels, groups = self.labels(split), self.groups(split)
        of_one = torch.zeros_like(labels) if groups is None else groups
        return Validation(images=self.images(split), labels=labels, groups=of_one)

    def present(self, split: str) -> set[tuple[str, str]]:
        """Return the (class, group) pairs that have images in a split."""
        rows, data = self.data.rows(split), self.data
        pairs = zip(data.labels[rows].tolist(), data.group_ids[rows].tolist(), strict=True)
        return {(data.classes[label], data.groups[group]) for label, group in pairs}

    def problem(self, network: Classifier, images: ImageReader | None = None, **known: Any) -> Problem:
        """Create the inputs of a method from the training images, with the augmentation and precision of params.yaml.

        Args:
            network: the network to train.
            images: reader of the training images; None for the shared one.
            known: further attributes of `Problem`.
        """
        compute = self.suite.compute
        return Problem(
            network=network,
            images=self.images("train") if images is None else images,
            labels=self.labels("train"),
            augmentation=self.benchmark.augmentation,
            precision=self.dtype,
            micro_batch=compute.micro_batch,
            compile=compute.compile,
            shift=self.shift,
            **known,
        )

    def accuracies(self, predictions: np.ndarray, split: str) -> Accuracies:
        """Count the correct predictions for a split's images; `predictions` is (n,) int64."""
        rows = self.data.rows(split)
        found = Accuracies.of(predictions, self.data.labels[rows], self.data.group_ids[rows])
        if any(metric.kind == "adjusted_average" for metric in self.benchmark.metrics.values()):
            train = self.data.rows("train")
            pairs = zip(self.data.labels[train].tolist(), self.data.group_ids[train].tolist(), strict=True)
            return replace(found, trained=Counter(pairs))
        return found

    def shift(self, network: Network | None = None) -> Shift:
        """Compute where the cells of a network's maps lie on the images; the default is this job's network."""
        height, width = self.data.images.shape[1:3]
        return map_shift(self.options if network is None else network, self.benchmark.placement, (height, width))

    def saved(self, recording: Recording) -> Saved:
        """Return the saved state of a job's training, which is valid only for the same params, code and inputs."""
        definition = recording.definition | {"torch": torch.__version__}
        identity = hashlib.sha256(canonical(definition).encode()).hexdigest()
        path = RESUME / f"{recording.job.name.replace(' ', '-')}.pt"
        return Saved(path, identity, self.suite.compute.save_seconds, clock=recording)

    def metrics(self, network: Classifier) -> dict[str, float]:
        """Compute the benchmark's metrics, as test_NAME -> percent."""
        metrics, accuracies = self.benchmark.metrics, dict[str, Accuracies]()
        for split in sorted({split for metric in metrics.values() for split in metric.splits}):
            images = self.images(split)
            guessed = forward_in_batches(
                network, images, len(images), lambda features: network.classify(features).argmax(1)
            )
            accuracies[split] = self.accuracies(gathered(guessed, len(images)).cpu().numpy(), split)
        return {f"test_{name}": measure(metric, accuracies) for name, metric in metrics.items()}

    def monitor(self, report: Callable[[str], None], refines: bool = False) -> Monitor:
        """Create the monitor that measures the selection metric after each epoch.

        Args:
            report: takes a line of progress.
            refines: also measure what `metrics_every_epoch` asks for.
        """
        split = self.benchmark.selection.splits[0]
        rows = self.data.rows(split)
        return Monitor(
            images=self.images(split),
            labels=self.data.labels[rows],
            groups=self.data.group_ids[rows],
            metric=self.benchmark.selection,
            report=report,
            measured=f"{split} {self.benchmark.selection.kind.replace('_', ' ')}",
            further=self.metrics if refines and self.benchmark.metrics_every_epoch else None,
        )

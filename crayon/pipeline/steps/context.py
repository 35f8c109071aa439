"""What several steps read: the data set, the network, the images of a split."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crayon.data.dataset import Dataset, load_dataset
from crayon.data.loader import ImageReader
from crayon.methods.problem import Problem
from crayon.models.build import build_classifier
from crayon.models.checkpoints import load_checkpoint
from crayon.models.classifier import Classifier
from crayon.pipeline.job import Job
from crayon.pipeline.record import Recording
from crayon.training.checkpoint import Saved
from crayon.training.fit import Monitor
from crayon.training.metrics import Accuracies
from crayon.utils.checks import required
from crayon.utils.device import device_name, start_torch
from crayon.utils.files import canonical

RESUME = Path(".crayon/resume")
"""Where the state of trainings lies that were interrupted."""


class Context:
    """A benchmark opened for computing: params, data set, device.

    Args:
        job: a job that reads the benchmark's data set.

    Attributes:
        dtype: of the forward pass.
        options: the network's params.
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
        """The device and the threads, for records."""
        return {"device": device_name(self.device), "threads": torch.get_num_threads()}

    def network(self, seed: int = 0) -> Classifier:
        """A classifier of this benchmark's classes on the device, its weights drawn by `seed`."""
        torch.manual_seed(seed)
        return build_classifier(self.options, len(self.benchmark.classes)).to(self.device)

    def pretrained(self, path: str | None) -> Classifier:
        """A classifier of the pretrained backbone (of the checkpoint `path`, if the suite pretrains) and a fresh head.

        Drawn from torch's random state as it is, so that runs of several seeds differ.
        """
        network = build_classifier(self.options, len(self.benchmark.classes)).to(self.device)
        if path is not None:
            load_checkpoint(path, network, only=("backbone.", "norm."))
        return network

    def trained(self, path: str) -> Classifier:
        """The classifier of a checkpoint."""
        network = self.network()
        load_checkpoint(path, network)
        return network

    def images(self, split: str) -> ImageReader:
        """The normalised images of a split, on a GPU once for all who ask for them."""
        if split not in self._images:
            rows = self.data.rows(split)
            self._images[split] = ImageReader(self.data.images, rows, self.benchmark.normalisation, self.device)
        return self._images[split]

    def labels(self, split: str) -> torch.Tensor:
        """The labels of a split, (n,) int64 on the device."""
        return torch.from_numpy(self.data.labels[self.data.rows(split)]).to(self.device)

    def problem(self, network: Classifier, images: ImageReader | None = None, **known: Any) -> Problem:
        """The training of a network on the training images here, as params would have it computed.

        Args:
            images: a reader of them, if there is one already.
            known: what else a method may use.
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
            **known,
        )

    def accuracies(self, predictions: np.ndarray, split: str) -> Accuracies:
        """Count the predictions (n,) of a split's images."""
        rows = self.data.rows(split)
        return Accuracies.of(predictions, self.data.labels[rows], self.data.group_ids[rows])

    def saved(self, recording: Recording) -> Saved:
        """Where a job's training is kept between two epochs, known by its present params, code and inputs."""
        definition = recording.definition | {"torch": torch.__version__}
        identity = hashlib.sha256(canonical(definition).encode()).hexdigest()
        path = RESUME / f"{recording.job.name.replace(' ', '-')}.pt"
        return Saved(path, identity, self.suite.compute.save_seconds, clock=recording)

    def monitor(self, report: Callable[[str], None]) -> Monitor:
        """What is measured after each epoch of a training here."""
        split = self.benchmark.selection.splits[0]
        rows = self.data.rows(split)
        return Monitor(
            images=self.images(split),
            labels=self.data.labels[rows],
            groups=self.data.group_ids[rows],
            metric=self.benchmark.selection,
            report=report,
        )

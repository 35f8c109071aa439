"""A network as a graph that other programs run without Crayon: torch.export (.pt2) or ONNX (.onnx)."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch

from crayon.models.classifier import Classifier
from crayon.utils.checks import required
from crayon.utils.errors import MethodError, first_line

INPUT, OUTPUT = "images", "logits"
"""Names of the input (B, 3, H, W), normalised, and of the output (B, K) in ONNX; B may be any number."""

KEY = "crayon"
"""Where the origin is stored: an extra file of the .pt2, a metadata property of the ONNX file."""

ATOL = 1e-5
"""Largest difference of a logit, relative to the largest logit if that is above 1."""


def exported(network: Classifier, images: torch.Tensor, origin: Mapping[str, Any]) -> bytes:
    """The content of a .pt2 file, which `torch.export.load` reads.

    Args:
        network: the classifier, on the CPU and in evaluation mode.
        images: (B, 3, H, W) float, B >= 2, examples.
        origin: where the network comes from, as JSON.

    Raises:
        MethodError: torch.export cannot trace the network.
    """
    file = io.BytesIO()
    with _quiet():
        torch.export.save(_traced(network, images), file, extra_files={KEY: json.dumps(origin, sort_keys=True)})
    return file.getvalue()


def onnx(network: Classifier, images: torch.Tensor, origin: Mapping[str, Any]) -> bytes:
    """The content of an ONNX file; arguments and errors as in `exported`."""
    try:
        import onnxruntime  # noqa: F401  # the logits are compared in it
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MethodError(
            f"ONNX needs the package {error.name}; run `pip install 'crayon-attention[onnx]'`, or write a .pt2 file."
        ) from error
    with _quiet():
        program = torch.onnx.export(
            _traced(network, images), input_names=[INPUT], output_names=[OUTPUT], dynamo=True, verbose=False
        )
    model = required(program, "the ONNX program").model_proto
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, json.dumps(origin, sort_keys=True)
    content: bytes = model.SerializeToString()
    return content


def run_exported(content: bytes, images: torch.Tensor) -> torch.Tensor:
    """The logits (B, K) of a .pt2 file."""
    logits: torch.Tensor = torch.export.load(io.BytesIO(content)).module()(images)
    return logits


def run_onnx(content: bytes, images: torch.Tensor) -> torch.Tensor:
    """The logits (B, K) of an ONNX file, by onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run([OUTPUT], {INPUT: images.contiguous().numpy()})[0])


Writer = Callable[[Classifier, torch.Tensor, Mapping[str, Any]], bytes]
Runner = Callable[[bytes, torch.Tensor], torch.Tensor]

FORMATS: dict[str, tuple[Writer, Runner]] = {".pt2": (exported, run_exported), ".onnx": (onnx, run_onnx)}
"""Suffix of the file -> what makes its content, and what runs it."""


@torch.no_grad()
def write_graph(
    network: Classifier, images: torch.Tensor, suffix: str, origin: Mapping[str, Any]
) -> tuple[bytes, float]:
    """Make the content of a file, run it, and compare its logits with those of the network.

    Args:
        network, images, origin: see `exported`.
        suffix: a key of `FORMATS`.

    Returns:
        The content, and the largest absolute difference of a logit, over all images and for the first image alone.

    Raises:
        MethodError: the network cannot be traced, a package is missing, or the logits differ.
    """
    write, run = FORMATS[suffix]
    content, expected = write(network, images, origin), network(images)
    with _quiet():
        found = torch.cat([run(content, images), run(content, images[:1])])
    difference = float((found - torch.cat([expected, expected[:1]])).abs().max())
    if not difference <= ATOL * max(1.0, float(expected.abs().max())):
        raise MethodError(
            f"the {suffix} graph has logits that differ by {difference:.2g} from those of the network; nothing was "
            "written."
        )
    return content, difference


def _traced(network: Classifier, images: torch.Tensor) -> torch.export.ExportedProgram:
    try:
        with _quiet():
            return torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    except Exception as error:  # a network of others may do anything that cannot be traced
        raise MethodError(
            f"torch.export cannot trace the network ({first_line(error)}); export it as .safetensors."
        ) from error


class _quiet:
    """Within it, PyTorch's exporters neither warn nor log."""

    def __enter__(self) -> None:
        self.caught = warnings.catch_warnings()
        self.caught.__enter__()
        warnings.simplefilter("ignore")
        self.level = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *error: object) -> None:
        logging.disable(self.level)
        self.caught.__exit__(None, None, None)

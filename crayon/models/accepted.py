"""Check a user's model before it is used; the errors say why it is refused."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter
from torch.optim.swa_utils import AveragedModel

from crayon.utils.errors import DataError, ModelError, first_line


def check_model(model: nn.Module) -> None:
    """Check that a model is a plain PyTorch module with finite float32 weights.

    Raises:
        ModelError: it is not; the message says what to pass instead.
    """
    name = type(model).__name__
    if not isinstance(model, nn.Module):
        more = "; build the network and call its load_state_dict" if isinstance(model, Mapping) else ""
        more = "; pass an instance, not the class" if isinstance(model, type) else more
        raise ModelError(f"model: is of the type {name}, not a torch.nn.Module{more}.")
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel | AveragedModel):
        raise ModelError(f"model: is wrapped in {name}; pass model.module.")
    if hasattr(model, "_orig_mod"):
        raise ModelError("model: was compiled by torch.compile; pass the uncompiled model (model._orig_mod).")
    if isinstance(model, torch.jit.ScriptModule):
        raise ModelError(f"model: is a TorchScript program ({name}); pass the Python module that it was made from.")
    for key, parameter in model.named_parameters():
        if isinstance(parameter, UninitializedParameter):
            raise ModelError(f"model: {key} has no value yet (a lazy module); call the model on an image first.")
        if parameter.is_meta:
            raise ModelError(f"model: {key} is on the device meta, without a value; load the model's weights first.")
        if parameter.dtype != torch.float32:
            raise ModelError(f"model: {key} is {parameter.dtype}, but weights must be float32; pass model.float().")
        if not bool(torch.isfinite(parameter).all()):
            raise ModelError(f"model: {key} has values that are NaN or infinite; load other weights.")
    for key, buffer in model.named_buffers():
        if key.endswith(("running_mean", "running_var")) and not bool(torch.isfinite(buffer).all()):
            raise ModelError(f"model: {key} has values that are NaN or infinite; load other weights.")
        if key.endswith("running_var") and bool((buffer < 0).any()):
            raise ModelError(f"model: {key} has negative values, which no variance can have; load other weights.")


@torch.no_grad()
def check_forward(model: nn.Module, images: torch.Tensor, name: str) -> torch.Tensor:
    """Compute the outputs of a model in evaluation mode.

    Args:
        model: the model, on the CPU.
        images: (1, C, H, W) float32, on the CPU.
        name: what error messages call the data set.

    Returns:
        (1, K) float, the logits.

    Raises:
        DataError: the model cannot take the images.
        ModelError: the model returns something other than a tensor.
    """
    called = type(model).__name__
    first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    try:
        logits = model(images.contiguous())  # some models flatten a map by `view`
    except Exception as error:  # a model may raise anything
        channels = images.shape[1]
        remedy = f" ({type(error).__name__}: {first_line(error)})"
        if first is not None and first.in_channels != channels:
            remedy = f", since the model's first convolution takes {first.in_channels} channels; convert the images"
            if images.shape[3] == first.in_channels:
                remedy += " from (H, W, C) to (C, H, W), by image.permute(2, 0, 1)"
            elif first.in_channels == 3:
                remedy += ", by image.convert('RGB') or transforms.Grayscale(3)"
        raise DataError(
            f"{name}: {called} cannot take images of the shape {tuple(images.shape[1:])}{remedy.rstrip('.')}."
        ) from error
    if isinstance(logits, torch.Tensor):
        return logits
    shown = type(logits).__name__
    if isinstance(logits, Mapping):
        shown += f" with the keys {', '.join(map(str, logits))}"
    raise ModelError(
        f"{called} returns a {shown}, not a tensor of logits; wrap the model in a module whose forward returns "
        "only the logits."
    )


@torch.no_grad()
def check_equal(name: str, expected: torch.Tensor, network: nn.Module, images: torch.Tensor) -> None:
    """Check that a model has the same logits as the network that it was split into.

    Args:
        name: what error messages call the model.
        expected: (1, K) float, the model's logits.
        network: the network that it was split into, on the CPU in evaluation mode.
        images: (1, C, H, W) float32, the images that `expected` was computed from.

    Raises:
        ModelError: the logits differ.
    """
    difference = float((network(images) - expected).abs().max())
    if not difference <= 1e-4 * max(1.0, float(expected.abs().max())):
        raise ModelError(
            f"{name} cannot be split into backbone, pooling and head: the split network has logits that differ by "
            f"{difference:.2g}. The model's forward must depend only on its weights and its input."
        )

"""Save and load a classifier's weights (safetensors)."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import nn

from crayon.utils.errors import CheckpointError, first_line
from crayon.utils.files import write_bytes


def save_checkpoint(path: str | Path, state: dict[str, torch.Tensor]) -> None:
    """Publish a state dict as safetensors."""
    write_bytes(path, save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}))


def load_checkpoint(path: str | Path, network: nn.Module, only: str | tuple[str, ...] = "") -> None:
    """Load a safetensors checkpoint into `network`.

    Args:
        only: load just the parameters whose name starts with this, or one of these, and leave the rest as they are.

    Raises:
        CheckpointError: no such file, a corrupt one, or one of another network.
    """
    try:
        state = load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file; make it with `snakemake --cores 2 {path}`.") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: is not a safetensors checkpoint ({first_line(error)}); delete it, so that it is made anew."
        ) from error
    wanted = {name: tensor for name, tensor in network.state_dict().items() if name.startswith(only)}
    state = {name: tensor for name, tensor in state.items() if name.startswith(only)}
    for name, tensor in wanted.items():
        if name not in state:
            raise CheckpointError(f"{path}: lacks {name}; it is of another network than params.yaml asks for.")
        if state[name].shape != tensor.shape:
            raise CheckpointError(
                f"{path}: {name} has the shape {tuple(state[name].shape)}, not {tuple(tensor.shape)}; it is of another "
                "network than params.yaml asks for."
            )
    if extra := sorted(set(state) - set(wanted)):
        raise CheckpointError(f"{path}: has {extra[0]}, which the network of params.yaml lacks.")
    network.load_state_dict(state, strict=not only)


def channels_of(checkpoint: str) -> int:
    """How many channels the last convolutional map of a checkpoint has, read without loading the weights."""
    if not Path(checkpoint).exists():
        raise CheckpointError(f"{checkpoint}: there is no such file; make it with `snakemake --cores 2 {checkpoint}`.")
    try:
        with safe_open(checkpoint, framework="numpy") as file:
            return file.get_slice("keep").get_shape()[0]
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{checkpoint}: is no checkpoint of a classifier ({error}); delete it.") from error

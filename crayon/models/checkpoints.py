"""Save and load the weights of a classifier as safetensors files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from crayon.models.formats import NOT_READ, format_of
from crayon.utils.errors import CheckpointError, first_line
from crayon.utils.files import write_bytes


def save_checkpoint(
    path: str | Path, state: Mapping[str, torch.Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write a state dict atomically to a safetensors file.

    Args:
        path: the file.
        state: name -> tensor.
        metadata: texts for the file's header; none by default.
    """
    write_bytes(path, save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, metadata))


def load_checkpoint(path: str | Path, network: nn.Module, only: str | tuple[str, ...] = "") -> None:
    """Load a safetensors checkpoint into `network`.

    Args:
        path: the checkpoint.
        network: the module whose parameters and buffers are overwritten.
        only: prefix, or prefixes, of the parameters to load; all others keep their values.

    Raises:
        CheckpointError: the file is missing, corrupt, or belongs to another network.
    """
    if not Path(path).exists():
        raise CheckpointError(f"{path}: there is no such file; make it with `snakemake --cores 2 {path}`.")
    if (kind := format_of(path)) in NOT_READ:
        raise CheckpointError(f"{path}: {NOT_READ[kind]} If Crayon wrote it, delete it, so that it is regenerated.")
    try:
        state = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: is not a safetensors checkpoint ({first_line(error)}); delete it, so that it is regenerated."
        ) from error
    wanted = {name: tensor for name, tensor in network.state_dict().items() if name.startswith(only)}
    state = {name: tensor for name, tensor in state.items() if name.startswith(only)}
    for name, tensor in wanted.items():
        if name not in state:
            raise CheckpointError(f"{path}: lacks {name}; it belongs to another network than the one in params.yaml.")
        if state[name].shape != tensor.shape:
            raise CheckpointError(
                f"{path}: {name} has the shape {tuple(state[name].shape)}, not {tuple(tensor.shape)}; the file "
                "belongs to another network than the one in params.yaml."
            )
    if extra := sorted(set(state) - set(wanted)):
        raise CheckpointError(f"{path}: has {extra[0]}, which the network of params.yaml lacks.")
    network.load_state_dict(state, strict=not only)

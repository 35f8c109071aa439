"""Write a refined network as a state dict of torchvision's network, or as a graph that runs without Crayon."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from crayon.config.sections import Network
from crayon.models.build import BUILT, WITH_WEIGHTS
from crayon.models.checkpoints import save_checkpoint
from crayon.models.graph import FORMATS, write_graph
from crayon.models.importable import imported_network, replace_head
from crayon.models.whole import load_back
from crayon.pipeline.definition import defined, versions
from crayon.pipeline.job import Job
from crayon.pipeline.record import Digests, read_record
from crayon.pipeline.steps.context import Context
from crayon.utils.errors import MethodError, OutputError, RecordError
from crayon.utils.files import write_bytes
from crayon.utils.log import report
from crayon.utils.version import __version__

STATE = ".safetensors"
"""Suffix of a state dict."""

COMPARED = 32
"""Number of training images on which the logits are compared."""


def run(job: Job, output: Path | None = None, selected: bool = False) -> None:
    """Write the network of a run to a file, whose suffix decides the format.

    .safetensors: a state dict with the names of torchvision, timm, or the user's network; pruned channels become zero
    weights of the layer that reads them. .pt2 (torch.export) and .onnx: the whole network as a graph. The logits of the
    exported network are compared with those of the checkpoint on training images before anything is written.

    Args:
        job: the job of the rule `evaluate` that measures the run.
        output: the file; exports/<suite>/<benchmark>/<run>-<seed>.safetensors if None.
        selected: whether to export the epoch with the best validation metric instead of the last one.

    Raises:
        MethodError: a state dict is asked for, but the network is one of Crayon's own, or pruned channels cannot be
            folded into it; a package for the format is missing; the Original has no selected epoch; or the logits
            differ.
        OutputError: `output` has another suffix.
        RecordError: the checkpoint or its record is missing, or they do not belong together.
    """
    name, seed = job.wildcards["run"], job.wildcards.get("seed")
    if output is None:
        file = f"{name}.safetensors" if seed is None else f"{name}-{seed}.safetensors"
        output = Path("exports", job.params.suite_name, job.wildcards["benchmark"], file)
    if output.suffix not in (STATE, *FORMATS):
        raise OutputError(
            f"{output}: the suffix decides the format; name it {output.with_suffix(STATE)}, or with "
            f"{' or '.join(FORMATS)}."
        )
    options = job.params.network
    if output.suffix == STATE and options.name in BUILT:
        raise MethodError(
            f"network.name: {options.name} is Crayon's own network, so there is no network of torchvision to load it "
            f"into; name the file *{' or *'.join(FORMATS)} to export the whole network as a graph."
        )
    if selected and "selected" not in job.inputs:
        raise MethodError(f"{name}: has no checkpoint of a selected epoch; leave --selected out.")
    path = job.inputs["selected" if selected else "last"]
    made, digest = _record(job, path)
    context = Context(job)
    network = context.trained(path).cpu().eval()
    reader = context.images("train")
    images = reader(torch.arange(min(COMPARED, len(reader)))).cpu()
    arguments = _arguments(context)
    pruned = int((network.keep == 0).sum())
    content = {
        "crayon": __version__,
        "suite": job.params.suite_name,
        **job.wildcards,
        "checkpoint": {"path": path, "sha256": digest},
        "record": {key: made[key] for key in ("rule", "wildcards", "params", "inputs")}
        | {"code": made["code"]["digest"], "commit": made["told"]["commit"], "seal": made["seal"]},
        "network": _named(options, arguments, network.names["head"]),
        "classes": list(context.benchmark.classes),
        "normalisation": {
            "mean": list(context.benchmark.normalisation.mean),
            "std": list(context.benchmark.normalisation.std),
        },
        "pruned_channels": pruned,
    }
    if output.suffix == STATE:
        empty = _whole(options, arguments, network.names["head"], network.head.out_features)
        whole, difference = load_back(network, empty, images)
        origin = json.dumps(content | {"largest_difference_of_logits": difference}, sort_keys=True)
        save_checkpoint(output, whole.state_dict(), {"format": "pt", "crayon": origin})
        form = _expression(options, arguments, network.names["head"])
    else:
        graph, difference = write_graph(network, images, output.suffix, content)
        write_bytes(output, graph)
        form = f"a graph of {len(graph) / 1e6:.1f} MB"
    report(
        f"{output}: {path} as {form}, {pruned} of {network.channels} channels pruned; its logits differ by at most "
        f"{difference:.2g} on {len(images)} images."
    )


def _record(job: Job, path: str) -> tuple[dict[str, Any], str]:
    """Read the record beside a checkpoint, and check that it has the checkpoint's digest; returns both."""
    digests = Digests()
    digest = digests.of(path)
    if digest is None:
        raise RecordError(f"{path}: there is no such file; make it with `snakemake --cores 2 {path}`.")
    record_path = Path(path).with_name("record.json")
    record = read_record(record_path)
    if record["outputs"].get(path) != digest:
        raise RecordError(
            f"{path}: is not the file that {record_path} describes; delete both, and make them with "
            f"`snakemake --cores 2 {path}`."
        )
    digests.save()
    return record, digest


def _arguments(context: Context) -> dict[str, Any]:
    """The arguments of the function that builds the exported network, besides torchvision's `weights=None`."""
    options, classes = context.options, len(context.benchmark.classes)
    if options.name is None:
        own = {"timm": {"num_classes": classes}, "transformers": {"num_labels": classes}}
        return own.get(options.label.partition(" ")[0], {}) | (options.arguments or {})
    arguments: dict[str, Any] = {"num_classes": classes}
    if options.name in WITH_WEIGHTS:  # these have auxiliary heads, which a classifier does not have
        imagenet = options.weights is not None and options.file is None
        arguments |= {"aux_logits": False, "init_weights": False, "transform_input": imagenet}
    return arguments


def _whole(options: Network, arguments: dict[str, Any], head: str, classes: int) -> torch.nn.Module:
    """Build the network that the weights are loaded into; `head` is the name of its last layer."""
    if options.name is None:
        return replace_head(imported_network(options, classes), head, classes)
    from torchvision.models import get_model

    whole: torch.nn.Module = get_model(options.name, weights=None, **arguments)
    return whole


def _named(options: Network, arguments: dict[str, Any], head: str) -> dict[str, Any]:
    """The exported network for the file's metadata; other packages' versions, too."""
    if options.name is not None:
        return {"name": options.name, "arguments": arguments}
    return defined(options) | {"arguments": arguments, "last_layer": head, "packages": versions(options)}


def _expression(options: Network, arguments: dict[str, Any], head: str) -> str:
    """The expression that builds the exported network, for the report."""
    given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    if options.timm is not None:
        return f"timm.create_model({options.timm!r}, {given})"
    if options.transformers is not None:
        return f"AutoModelForImageClassification of {options.transformers}/config.json with {given}"
    if options.call is not None:
        return f"{options.call}({given}) with a new last layer {head}"
    return f"torchvision.models.{options.name}(weights=None, {given})"

"""Graphs for other programs: the same logits for any number of images, with the origin inside."""

from __future__ import annotations

import io
import json
import sys

import pytest
import torch

from crayon.config.sections import Network
from crayon.models import graph
from crayon.models.build import build_classifier
from crayon.utils.errors import MethodError

RESNET = Network(name="mini_resnet", frozen_blocks=1, stem=4, channels=[4, 8], strides=[2, 1], kernels=[3, 1])
CONVNEXT = Network(name="mini_convnext", patch=4, stem=4, channels=[4, 8], strides=[1, 2], kernels=[3, 3])
ORIGIN = {"run": "erm", "seed": 0}


def made(options: Network = RESNET):
    torch.manual_seed(0)
    network = build_classifier(options, 3).eval()
    network.prune(torch.arange(network.channels) % 3 == 0)
    return network, torch.randn(4, 3, 24, 24)


@pytest.mark.parametrize("options", [RESNET, CONVNEXT], ids=lambda options: options.name)
@pytest.mark.parametrize("suffix", graph.FORMATS)
def test_a_graph_has_the_logits_of_the_pruned_network_for_any_number_of_images(suffix, options):
    pytest.importorskip("onnxscript", reason="pip install 'crayon-attention[onnx]'")
    network, images = made(options)
    content, difference = graph.write_graph(network, images, suffix, ORIGIN)
    assert difference <= 1e-5
    run = graph.FORMATS[suffix][1]
    for count in (1, 2, 7):
        other = torch.randn(count, 3, 24, 24)
        with torch.no_grad():
            assert torch.allclose(run(content, other), network(other), atol=1e-5)


def test_the_origin_is_in_the_file():
    network, images = made()
    extra = {graph.KEY: ""}
    torch.export.load(io.BytesIO(graph.exported(network, images, ORIGIN)), extra_files=extra)
    assert json.loads(extra[graph.KEY]) == ORIGIN
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'crayon-attention[onnx]'")
    session = onnxruntime.InferenceSession(graph.onnx(network, images, ORIGIN))
    assert json.loads(session.get_modelmeta().custom_metadata_map[graph.KEY]) == ORIGIN


def test_a_missing_package_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MethodError, match=r"ONNX needs the package onnxruntime; run `pip install .*\[onnx\]"):
        graph.onnx(*made(), ORIGIN)


def test_other_logits_are_refused(monkeypatch):
    network, images = made()
    write, run = graph.FORMATS[".pt2"]
    monkeypatch.setitem(graph.FORMATS, ".pt2", (write, lambda content, given: run(content, given) + 1))
    with pytest.raises(MethodError, match="logits that differ by 1 from"):
        graph.write_graph(network, images, ".pt2", ORIGIN)


def test_a_network_that_cannot_be_traced_is_refused_in_one_sentence():
    network, images = made()
    network.forward = lambda images: images.sum().item() > 0 and images
    with pytest.raises(MethodError, match=r"torch.export cannot trace the network \(.*; export it as .safetensors"):
        graph.write_graph(network, images, ".pt2", ORIGIN)

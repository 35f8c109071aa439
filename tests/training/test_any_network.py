"""Guide with networks that do not average a map, and with vision transformers: maps, patches, and all variants."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from crayon import CrayonAttention, CrayonPruning, CrayonPruningAttention, Guide, Training
from crayon.methods.afr import AFR
from crayon.methods.rrr import RRR
from crayon.models.whole import switch_off
from crayon.utils.errors import MethodError, ModelError

from ..models.test_maps import ChannelsLast, Flattening, Tokens, by_hook, made, tokens

TRAINING = Training(optimiser="adam", learning_rate=1e-2, weight_decay=0.0, batch_size=4, epochs=2)
WEIGHTS = {"alpha": 2, "beta": 10}
METHODS = [
    CrayonAttention(**WEIGHTS),
    CrayonPruning(batch_norm="frozen"),
    CrayonPruning(batch_norm="drifting"),
    CrayonPruningAttention(**WEIGHTS, target="unpruned_prediction"),
]
IMAGES = torch.rand(6, 3, 16, 12, generator=torch.Generator().manual_seed(3))
LABELS = torch.arange(6) % 3
DATASET = list(zip(IMAGES, LABELS.tolist(), strict=True))
NETWORKS = {
    "flattened": (Flattening, ()),
    "class token": (Tokens, (False,)),
    "averaged tokens": (Tokens, (True,)),
    "channels last": (ChannelsLast, ()),
}
LAYERS = {"averaged tokens": "blocks.1", "channels last": "mix"}


def guide_of(name: str) -> tuple[nn.Module, Guide]:
    kind, arguments = NETWORKS[name]
    model = made(kind, *arguments)
    return model, Guide(model, DATASET, map=LAYERS.get(name))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.label)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_variant_refines_it_and_returns_the_users_module(name, method):
    model, guide = guide_of(name)
    neurons = torch.ones(guide.original.channels, dtype=torch.int64)
    neurons[1] = 0
    answers = {"attention": [1, 0, 1, 0, -1, 1], "neurons": neurons}
    refined = guide.refine(method, TRAINING, **{need: answers[need] for need in method.needs if need in answers})
    assert type(refined.model) is type(model)
    assert refined.maps_after.shape == refined.maps_before.shape == (6, 4, 3)
    changed = [
        key for key, value in model.state_dict().items() if not torch.equal(value, refined.model.state_dict()[key])
    ]
    assert bool(changed)
    more = refined.model.state_dict().keys() - model.state_dict().keys()
    if "neurons" not in method.needs or name == "flattened":  # a linear layer reads the flattened map
        assert more == set()
    else:
        (key,) = more
        layer = key.removesuffix(".crayon_keep")
        assert refined.model.get_buffer(key).tolist() == neurons.tolist()
        fresh = made(NETWORKS[name][0], *NETWORKS[name][1])
        with pytest.raises(RuntimeError, match="crayon_keep"):
            fresh.load_state_dict(refined.model.state_dict())
        switch_off(fresh, layer, torch.ones(len(neurons)), channels_last=True)
        fresh.load_state_dict(refined.model.state_dict())
        assert torch.equal(fresh(IMAGES), refined.model(IMAGES))


def test_maps_and_patches_are_those_of_the_cells_tokens():
    model, guide = guide_of("class token")
    assert guide.layer.startswith("blocks.0")
    expected = by_hook(model, model.blocks[0], tokens, IMAGES, LABELS)
    peak = expected.amax((1, 2), keepdim=True)
    assert torch.allclose(guide.maps(), expected / peak.where(peak > 0, 1.0), atol=1e-5)
    with torch.no_grad():
        features = tokens(model.blocks[0](guide_input(model)))
    for patch in guide.patches(1):
        value = features[:, patch.neuron].max()
        assert patch.activation == pytest.approx(float(value), abs=1e-5)
        assert float(features[int(patch.image), patch.neuron, patch.row, patch.column]) == pytest.approx(float(value))


def guide_input(model: Tokens) -> torch.Tensor:
    x = model.patches(IMAGES).flatten(2).transpose(1, 2)
    return torch.cat([model.first.expand(len(IMAGES), -1, -1), x], 1) + model.place


def test_other_methods_work_on_any_network():
    masks = torch.zeros(6, 16, 12, dtype=torch.bool)
    masks[:, :8] = True
    _, guide = guide_of("class token")
    guide.refine(RRR(weight=1.0, saliency="gradcam", reduction="mean"), TRAINING, masks=masks)
    head = guide.refine(AFR(gamma=1.0, distance_weight=0.0), TRAINING).model.decide  # AFR trains the last layer only
    assert not torch.equal(head.weight, guide.original.head.weight)


def test_a_network_whose_map_no_module_returns_is_refused_before_training():
    model = made(Tokens, True)  # its map is a slice of the tokens
    guide = Guide(model, DATASET)
    assert guide.original.averages
    with pytest.raises(MethodError, match=r"cannot be pruned here.* or name a module as map"):
        guide.refine(METHODS[1], TRAINING, neurons=[1, 0, *[1] * 6])


def test_a_wrong_layer_is_named():
    with pytest.raises(ModelError, match=r"Tokens: 'block' is no layer; the nearest layers with a map are"):
        Guide(made(Tokens, False), DATASET, map="block")

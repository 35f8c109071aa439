"""Maps of networks that do not average them, and of vision transformers: read at any layer, guided and pruned there."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.models import VisionTransformer

from crayon.config.sections import Network
from crayon.models.build import build_classifier
from crayon.models.classifier import Classifier
from crayon.models.parts import Layout
from crayon.models.split import split_network
from crayon.saliency.gradcam import grad_cam
from crayon.saliency.placement import measure_shift
from crayon.utils.errors import ModelError

SIZE = (3, 16, 12)
IMAGES = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0))
TARGET = torch.tensor([2, 0, 1])


class Flattening(nn.Module):
    """A convolutional network like VGG: its map of 6 channels and 4 x 3 cells is flattened."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 5, 3, 2, 1), nn.ReLU(True), nn.Conv2d(5, 6, 3, 2, 1), nn.ReLU(True))
        self.decide = nn.Sequential(nn.Linear(72, 8), nn.ReLU(True), nn.Dropout(), nn.Linear(8, 3))

    def forward(self, images):
        x = self.features(images)
        return self.decide(x.view(x.size(0), -1))


class Tokens(nn.Module):
    """A vision transformer of two blocks with a class token and a register; `average` pools the cells' tokens."""

    def __init__(self, average: bool):
        super().__init__()
        self.patches, self.average = nn.Conv2d(3, 8, 4, 4), average
        self.first = nn.Parameter(torch.randn(1, 2, 8))
        self.place = nn.Parameter(torch.randn(1, 14, 8))
        self.blocks = nn.Sequential(*(nn.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", norm_first=True) for _ in "ab"))
        for block in self.blocks:
            block.self_attn.batch_first = True
        self.norm, self.decide = nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, images):
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(images.shape[0], -1, -1), x], 1) + self.place
        x = self.blocks(x)
        x = self.norm(x[:, 2:].mean(1)) if self.average else self.norm(x)[:, 0]
        return self.decide(x)


class ChannelsLast(nn.Module):
    """Computes in (B, h, w, C), and reads the map by its maximum."""

    def __init__(self):
        super().__init__()
        self.patches, self.norm, self.mix, self.decide = (
            nn.Conv2d(3, 8, 4, 4),
            nn.LayerNorm(8),
            nn.Linear(8, 7),
            nn.Linear(7, 3),
        )

    def forward(self, images):
        return self.decide(self.mix(self.norm(self.patches(images).permute(0, 2, 3, 1))).relu().amax((1, 2)))


def split(network: nn.Module, layer: str | None = None, size: tuple[int, int, int] = SIZE) -> Classifier:
    torch.manual_seed(1)
    parts = split_network(network, type(network).__name__, size, layer)
    classifier = Classifier(parts, 3)
    classifier.head = network.get_submodule(parts.head)
    return classifier.eval()


def made(kind, *arguments) -> nn.Module:
    torch.manual_seed(0)
    return kind(*arguments).eval()


def by_hook(network: nn.Module, module: nn.Module, read, images=IMAGES, target=TARGET) -> torch.Tensor:
    """Grad-CAM of a module's output, by a hook on the whole network; `read` views the output as (B, C, h, w)."""
    kept = []
    handle = module.register_forward_hook(lambda _, __, out: kept.append(out) or out.clone())
    score = network(images).gather(1, target[:, None]).sum()
    handle.remove()
    (gradient,) = torch.autograd.grad(score, kept[0])
    return torch.relu((read(gradient).mean((2, 3), keepdim=True) * read(kept[0])).sum(1)).detach()


def tokens(x):
    return x[:, 2:].transpose(1, 2).unflatten(2, (4, 3))


CASES = {
    "flattened": (Flattening, (), None, "features", lambda x: x, Layout()),
    "class token": (Tokens, (False,), None, "blocks.0", tokens, Layout("tokens", 2, (4, 3))),
    "averaged tokens": (Tokens, (True,), "blocks.1", "blocks.1", tokens, Layout("tokens", 2, (4, 3))),
    "averaged, earlier": (Tokens, (True,), "blocks.0", "blocks.0", tokens, Layout("tokens", 2, (4, 3))),
    "channels last": (ChannelsLast, (), "mix", "mix", lambda x: x.permute(0, 3, 1, 2), Layout("channels_last")),
    "inner layer": (Flattening, (), "features.0", "features.0", lambda x: x, Layout()),
}


@pytest.mark.parametrize("case", CASES)
def test_logits_and_map_are_those_of_the_whole_network(case):
    kind, arguments, layer, module, read, layout = CASES[case]
    network = made(kind, *arguments)
    expected, logits = by_hook(network, network.get_submodule(module), read), network(IMAGES).detach()
    classifier = split(network, layer)
    assert classifier.layout == layout
    assert classifier.averages == (case == "averaged tokens")
    with torch.no_grad():
        features = classifier.features(IMAGES)
        assert torch.allclose(classifier.classify(features), logits, atol=1e-6)
        found = grad_cam(classifier, features, TARGET)
    assert found.shape == expected.shape
    assert float(expected.max()) > 0
    assert torch.allclose(found, expected, atol=1e-6 * float(expected.max()))


@pytest.mark.parametrize("case", CASES)
def test_maps_can_be_trained_through(case):
    kind, arguments, layer, *_ = CASES[case]
    classifier = split(made(kind, *arguments), layer).double()
    classifier.prune(torch.arange(classifier.channels) == 1)
    features = classifier.features(IMAGES[:1].double()).detach().requires_grad_()
    head = classifier.head.weight

    def maps(features, head):
        weights = functional.softplus(classifier.map_weights(features, TARGET[:1]))  # no ReLU, which has corners
        return torch.einsum("bchw,bc->bhw", classifier.map(features), weights)

    assert torch.autograd.gradcheck(lambda x: maps(x, head), features)
    assert float(torch.autograd.grad(maps(features, head).sum(), head)[0].abs().max()) > 0


@pytest.mark.parametrize("case", CASES)
def test_a_pruned_channel_says_nothing(case):
    kind, arguments, layer, *_ = CASES[case]
    classifier = split(made(kind, *arguments), layer)
    features = classifier.features(IMAGES).detach()
    before = classifier.classify(features)
    classifier.prune(torch.arange(classifier.channels) == 1)
    changed = features.clone()
    classifier.map(changed)[:, 1] += 1
    with torch.no_grad():
        assert torch.equal(classifier.classify(changed), classifier.classify(features))
        assert torch.allclose(classifier.classify(features, pruned=False), before)
        assert not torch.allclose(classifier.classify(features), before)
    assert not classifier.map_weights(features, TARGET)[:, 1].any()
    assert classifier.map_weights(features, TARGET, pruned=False)[:, 1].all()


def test_torchvisions_transformer_is_read_before_its_last_block():
    network = made(VisionTransformer, 16, 4, 3, 2, 8, 16, 0.0, 0.0, 3)
    nn.init.normal_(network.heads.head.weight)
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    classifier = split(network, size=(3, 16, 16))
    assert classifier.layout == Layout("tokens", 1, (4, 4))
    expected = by_hook(
        network,
        network.encoder.layers.encoder_layer_1,
        lambda x: x[:, 1:].transpose(1, 2).unflatten(2, (4, 4)),
        images,
    )
    with torch.no_grad():
        found = grad_cam(classifier, classifier.features(images), TARGET)
    assert float(expected.max()) > 0
    assert torch.allclose(found, expected, atol=1e-6 * float(expected.max()))


def test_the_cells_of_tokens_lie_on_their_patches():
    classifier = split(made(Tokens, False), "patches")
    assert measure_shift(classifier.backbone, SIZE[1:], classifier.map) == (0.0, 0.0)
    assert Layout("tokens", 1, (4, 4)).map(torch.zeros(2, 26, 3)).shape == (2, 3, 5, 5)
    assert Layout("tokens", 0, (2, 4)).map(torch.zeros(2, 32, 3)).shape == (2, 3, 4, 8)
    with pytest.raises(ModelError, match="24 tokens are not a map whose sides have the ratio 4 : 4"):
        Layout("tokens", 1, (4, 4)).map(torch.zeros(2, 25, 3))


def test_a_tail_takes_any_number_of_images_and_keeps_its_input():
    classifier = split(made(Flattening), "features.2")  # followed by a ReLU in place
    for count in (1, 2, 3):
        features = classifier.features(IMAGES[:count]).detach()
        kept = features.clone()
        assert classifier.classify(features).shape == classifier.classify(features, pruned=False).shape == (count, 3)
        assert torch.equal(features, kept)


@pytest.mark.parametrize(
    ("network", "layer", "words"),
    [
        (
            made(Flattening),
            "feature.3",
            r"'feature.3' is no layer; the nearest layers with a map are features.3 \(6, 4, 3\)",
        ),
        (made(Tokens, False), "block.0", r"'block.0' is no layer; .*blocks.0 \(14, 8\)"),
        (
            made(Flattening),
            "decide.0",
            r"output of decide.0 has the shape \(8,\), which has no height and width; choose",
        ),
        (
            made(Tokens, False),
            "blocks.1",
            r"depend on none of its cells, but only on the class token.* such as blocks.0",
        ),
    ],
)
def test_a_layer_that_cannot_be_the_map_is_refused_with_the_nearest(network, layer, words):
    with pytest.raises(ModelError, match=words) as caught:
        split_network(network, "network", SIZE, layer)
    assert "\n" not in str(caught.value)


class Shortcut(nn.Module):
    """A residual block, a layer that nothing reads, and an average of 1 x 1 cells."""

    def __init__(self):
        super().__init__()
        self.stem, self.block, self.unread = nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.pool, self.decide = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 3)

    def forward(self, images):
        x = self.stem(images)
        self.unread(x)
        x = x + self.block(x)
        return self.decide(self.pool(x).flatten(1))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (
            "block",
            r"the output of block cannot be the map, since a shortcut leads past it; .* such as stem \(4, 4, 3\)\.",
        ),
        ("unread", r"the output of unread cannot be the map, since the logits do not depend on it; .* such as stem"),
        ("pool", r"the output of pool has the shape \(4, 1, 1\), which has a single cell; choose a layer with a map"),
    ],
)
def test_a_layer_beside_the_way_to_the_logits_is_refused(layer, words):
    with pytest.raises(ModelError, match=words):
        split_network(made(Shortcut), "network", SIZE, layer)


def test_kernels_have_the_strides_of_channels_last_also_those_of_one_cell():
    """They decide in which memory format PyTorch computes, and so how results are rounded."""
    network = build_classifier(Network(name="bagnet18", stem=2, norm_momentum=0.1), 2)
    kernels = [weight for weight in network.parameters() if weight.dim() == 4]
    assert any(weight.shape[2:] == (1, 1) for weight in kernels)
    expected = copy.deepcopy(network).to(memory_format=torch.channels_last)
    assert [w.stride() for w in kernels] == [w.stride() for w in expected.parameters() if w.dim() == 4]
    assert kernels[0].stride(1) == 1

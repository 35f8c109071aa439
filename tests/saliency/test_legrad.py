"""LeGrad: by hand, against automatic differentiation of a block that is written out, its gradients, and refusals."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.functional import linear, softmax
from torchvision import models

from crayon.config.sections import Network
from crayon.config.studies import Studies
from crayon.methods.base import Batch
from crayon.methods.crayon_attention import CrayonAttention
from crayon.models.build import build_classifier
from crayon.models.classifier import Classifier
from crayon.models.importable import returning_logits
from crayon.models.split import split_network
from crayon.pipeline.steps.map_size import check
from crayon.saliency.maps import compute_map, gradient_for
from crayon.saliency.maps.legrad import attention_gradient, legrad, legrad_of_images
from crayon.training.guide import Guide
from crayon.utils.errors import ModelError

from ..tools import SIZES, needed

TARGET = torch.tensor([2, 0])

MINI = Network(name="mini_vit", stem=4, patch=8, channels=(32, 32))


def test_a_map_by_hand():
    """Two heads, two queries, and three keys: the first belongs to no cell."""
    gradient = torch.tensor([[[[9.0, 1.0, -2.0], [9.0, 3.0, 0.0]], [[9.0, -8.0, 4.0], [9.0, 4.0, -1.0]]]])
    # (1 + 3 + 0 + 4) / 4 and (0 + 0 + 4 + 0) / 4
    assert torch.equal(legrad(torch.zeros(1, 5, 1, 2), gradient), torch.tensor([[[2.0, 1.0]]]))


def test_the_gradient_of_one_head_by_hand():
    """A class token attends to V = 5, 3, -1 and -2; the logit is 2 P V, so that dz/dP = 2 V whatever P is."""

    class Token(nn.Module):
        def forward(self, features):
            return softmax(features.new_tensor([[[[1.0, 2.0, 0.0, 4.0]]]]) * features.mean(), 3) @ features

    network = Classifier.__new__(Classifier)
    nn.Module.__init__(network)
    network.averages, network.norm, network.head, network.keep = False, Token(), nn.Linear(1, 1), torch.ones(1)
    network.layout = SimpleNamespace(map=lambda features: features[:, :, 1:].mT, by_channel=lambda values: values)
    nn.init.constant_(network.head.weight, 2)
    network.head.forward = lambda out, head=network.head: linear(out, head.weight, head.bias).flatten(1)
    values = torch.tensor([[[[5.0], [3.0], [-1.0], [-2.0]]]])
    gradient = attention_gradient(network, values, torch.tensor([0]))
    assert torch.equal(gradient, 2 * values.mT)
    assert torch.equal(legrad(network.map(values), gradient), torch.tensor([[[6.0, 0.0, 0.0]]]))


def of_mini_vit():
    network = build_classifier(MINI, 3)
    block = network.backbone[-1]
    parts = (block.norm1, block.qkv.weight, block.qkv.bias, block.project, block.norm2)

    def mlp(x):
        return block.reduce(nn.functional.gelu(block.expand(x)))

    def tokens(images):
        for layer in network.backbone[:-1]:
            images = layer(images)
        return images.flatten(2).mT

    return network, tokens, (*parts, mlp), lambda out: network.head(network.norm(out.mean(1)))


def of_class_token(whole, block, norm, last, head):
    """A network that reads a class token, whose map is the input of the last block."""
    network = Classifier(split_network(whole, "network", (3, 32, 32)), 3)
    network.head = head
    return network, network.features, block, lambda out: last(norm(out)[:, 0])


def of_torchvision():
    whole = models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=3)
    layer, head = whole.encoder.layers[-1], whole.heads.head
    attention = layer.self_attention
    projected = (attention.in_proj_weight, attention.in_proj_bias, attention.out_proj)
    return of_class_token(whole, (layer.ln_1, *projected, layer.ln_2, layer.mlp), whole.encoder.ln, head, head)


def of_timm(fused):
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
    whole = needed("timm").create_model("deit_tiny_patch16_224", num_classes=3, reg_tokens=2, **sizes)
    layer = whole.blocks[-1]
    layer.attn.fused_attn = fused
    block = (layer.norm1, layer.attn.qkv.weight, layer.attn.qkv.bias, layer.attn.proj, layer.norm2, layer.mlp)
    return of_class_token(whole, block, whole.norm, whole.head, whole.head)


def of_transformers(kind, how):
    package = needed("transformers")
    config = getattr(package, f"{kind}Config")(**SIZES, num_labels=3, attn_implementation=how)
    whole = returning_logits(getattr(package, f"{kind}ForImageClassification")(config))
    body = whole.vit if kind == "ViT" else whole.deit
    layer = body.layers[-1]
    three = [getattr(layer.attention, f"{name}_proj") for name in "qkv"]
    weight, bias = (torch.cat([getattr(one, name) for one in three]) for name in ("weight", "bias"))
    block = (layer.layernorm_before, weight.double(), bias.double(), layer.attention.o_proj, layer.layernorm_after)
    return of_class_token(whole, (*block, layer.mlp), body.layernorm, whole.classifier, whole.classifier)


VIT = {
    "mini_vit": of_mini_vit,
    "torchvision": of_torchvision,
    "timm, fused": lambda: of_timm(True),
    "timm": lambda: of_timm(False),
    "transformers, sdpa": lambda: of_transformers("ViT", "sdpa"),
    "transformers, eager": lambda: of_transformers("DeiT", "eager"),
}


@pytest.mark.parametrize("name", VIT)
def test_it_is_the_equation_of_a_block_that_is_written_out(name):
    torch.manual_seed(0)
    network, tokens, (norm1, weight, bias, project, norm2, mlp), read = VIT[name]()
    nn.init.normal_(network.head.weight)
    network.double().eval()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        x = tokens(images)
        query, key, value = linear(norm1(x), weight, bias).unflatten(2, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        attention = softmax(query @ key.mT / query.shape[3] ** 0.5, 3)
    attention.requires_grad_()  # P
    out = x + project((attention @ value).transpose(1, 2).flatten(2))
    scores = read(out + mlp(norm2(out)))
    with torch.no_grad():
        features = network.features(images)
    close = partial(torch.testing.assert_close, rtol=0, atol=1e-6 if "eager" in name else 1e-12)  # float32 attention
    close(network.classify(features), scores)
    (gradient,) = torch.autograd.grad(scores.gather(1, TARGET[:, None]).sum(), attention)
    expected = gradient.clamp(min=0).mean((1, 2))[:, -16:].view(2, 4, 4)
    assert float(expected.amax()) > 1e-4
    found = compute_map("legrad", network, features, TARGET, lambda: images)
    assert not found.requires_grad
    close(found, expected)
    if not network.averages:  # then the map's features are enough, and it can be trained through
        guided = gradient_for("legrad", network, features, TARGET)
        close(legrad(network.map(features), guided), expected)


def test_gradients_of_a_guided_map():
    """By the features and by a weight behind them, through dz/dP; the method divides the map by its maximum."""
    torch.manual_seed(0)
    network = of_torchvision()[0].double().eval()
    nn.init.normal_(network.head.weight)
    features = network.features(torch.randn(1, 3, 32, 32, dtype=torch.float64)).detach().requires_grad_()

    def maps(features, weight):
        weights = {"network.head.weight": weight}
        gradient = torch.func.functional_call(Gradient(network), weights, (features,))
        return legrad(network.map(features), gradient)

    weight = network.head.weight.detach().clone().requires_grad_()
    expected = maps(features, weight)
    assert float(expected.detach().amax()) > 1e-4
    assert torch.autograd.gradcheck(maps, (features, weight), fast_mode=True)
    logits = network.classify(features)
    batch = Batch(
        index=torch.arange(1), images=None, labels=TARGET[:1], features=features, logits=logits, network=network
    )
    guided = CrayonAttention(alpha=1, beta=1, map="legrad").maps(batch)
    torch.testing.assert_close(guided, expected / expected.amax(), rtol=0, atol=1e-6)


class Gradient(nn.Module):
    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, features):
        return attention_gradient(self.network, features, TARGET[:1])


def checked(network, size=64, asked=None, guided=None):
    """Check a benchmark as `crayon download` does."""
    benchmark = SimpleNamespace(
        annotation=SimpleNamespace(source="people"),
        interpret=SimpleNamespace(map=asked),
        methods={"crayon_attention": {"map": guided}},
    )
    suite = SimpleNamespace(methods=("crayon_attention",), further=(), studies=Studies())
    params = SimpleNamespace(network=network, suite=suite, benchmark=benchmark)
    return list(check(SimpleNamespace(wildcards={"benchmark": "own"}, params=params), (size, size)))


def test_networks_without_attention_over_their_cells_are_refused():
    words = r"network {}: the map legrad needs a vision transformer.* 2x2 cells {}; choose another map, such as"
    resnet = Network(name="resnet18")
    with pytest.raises(ModelError, match=words.format("resnet18", "before its logits")):
        checked(resnet, asked="legrad")
    with pytest.raises(ModelError, match=words.format("resnet18", "behind its map, where it could be trained through")):
        checked(resnet, guided="legrad")
    assert checked(MINI, asked="legrad")
    with pytest.raises(ModelError, match=r"mini_vit: .* behind its map"):  # it averages the last block's output
        checked(MINI, guided="legrad")


def test_attention_within_windows_is_refused():
    package = needed("transformers")
    sizes = {"image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "num_labels": 3}
    images = torch.rand(2, 3, 32, 32)
    for window in (4, 8):
        whole = package.SwinForImageClassification(package.SwinConfig(**sizes, window_size=window))
        network = Classifier(split_network(returning_logits(whole), "swin", (3, 32, 32)), 3).eval()
        if window == 8:  # one window is the whole map
            assert legrad_of_images(network, images, TARGET).shape == (2, 8, 8)
        else:
            with pytest.raises(ModelError, match="no such attention over its 8x8 cells"):
                legrad_of_images(network, images, TARGET)


def test_the_library_shows_and_guides_it_and_names_the_model_it_refuses():
    torch.manual_seed(0)
    from crayon import Training

    dataset = [(torch.rand(3, 32, 32), number % 3) for number in range(6)]
    training = Training(optimiser="adam", learning_rate=1e-3, weight_decay=0.0, batch_size=3, epochs=1)
    whole = models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=3)
    nn.init.normal_(whole.heads.head.weight)
    guide = Guide(whole, dataset, kind="legrad")
    method = CrayonAttention(alpha=10, beta=10, map="legrad")
    refined = guide.refine(method, training, attention=[1, 0] * 3)
    assert torch.equal(refined.maps_before, guide.maps())
    assert float(guide.maps().amax()) == 1
    plain = guide.refine(CrayonAttention(alpha=10, beta=10), training, attention=[1, 0] * 3)
    ours, theirs = (of.model.encoder.layers[-1].self_attention.in_proj_weight for of in (refined, plain))
    assert not torch.equal(ours, theirs)
    small = nn.Sequential(nn.Conv2d(3, 4, 3, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    with pytest.raises(ModelError, match=r"^Sequential: the map legrad needs a vision transformer"):
        Guide(small, dataset, kind="legrad")
    with pytest.raises(ModelError, match=r"^Sequential: .* behind its map"):
        Guide(small, dataset).refine(method, training, attention=[1, 0] * 3)

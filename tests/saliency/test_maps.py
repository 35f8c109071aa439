"""Maps other than Grad-CAM: by hand, against the packages grad-cam and captum, and their gradients."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import nn

from crayon.config.sections import Interpret, dump
from crayon.config.types import MapName, TrainableMap
from crayon.methods.base import Batch
from crayon.methods.crayon_attention import CrayonAttention
from crayon.methods.crayon_margin import CrayonMargin
from crayon.methods.crayon_pruning_attention import CrayonPruningAttention
from crayon.models.classifier import Classifier
from crayon.models.split import split_network
from crayon.saliency.gradcam import grad_cam, normalise_stored
from crayon.saliency.maps import OF_GRADIENT, OF_IMAGES, compute_map
from crayon.utils.errors import ParamsError

TARGET = torch.tensor([0, 2])

OF_CELLS = [name for name in OF_GRADIENT if name != "legrad"]
"""Maps of the features and of dz/dA."""


class Whole(nn.Module):
    """A small network with smooth activations; the head reads an averaged or a flattened map."""

    def __init__(self, averages: bool) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Softplus(), nn.Conv2d(4, 5, 3, 2), nn.Softplus())
        self.averages = averages
        self.head = nn.Linear(5 if averages else 5 * 4 * 3, 3)

    def forward(self, images):
        features = self.features(images)
        return self.head(features.mean((2, 3)) if self.averages else features.flatten(1))


def network_of(averages: bool, dtype: torch.dtype) -> tuple[Whole, Classifier, torch.Tensor]:
    torch.manual_seed(3)
    whole = Whole(averages).eval()
    images = torch.randn(2, 3, 19, 15)
    classifier = Classifier(split_network(whole, "network", (3, 19, 15)), 3)
    classifier.head = whole.head
    return whole.to(dtype), classifier.eval().to(dtype), images.to(dtype)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # A = [1, 2], [3, 0]; g = [2, 1], [-1, 4]
        ("hires_cam", [0.0, 2.0]),  # 2*1 - 1*3 = -1; 1*2 + 4*0
        ("layer_cam", [2.0, 2.0]),  # 2*1 + 0; 1*2 + 0
        # a*g: channel 1, sum A = 3: 8/(8+24) + 1/(2+3) = .45; channel 2: 0 + 64/(32+192) = 2/7. Then over two cells
        ("grad_cam_plus_plus", [(0.45 + 3 * 2 / 7) / 2, 0.45]),
    ],
)
def test_maps_by_hand(name, expected):
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]], dtype=torch.float64)
    gradient = torch.tensor([[[[2.0, 1.0]], [[-1.0, 4.0]]]], dtype=torch.float64)
    torch.testing.assert_close(
        OF_GRADIENT[name](features, gradient), torch.tensor([[expected]], dtype=torch.float64), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("averages", [True, False])
@pytest.mark.parametrize("name", [*OF_CELLS, "score_cam"])
def test_the_map_is_that_of_the_package_grad_cam(name, averages, dtype):
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    whole, classifier, images = network_of(averages, dtype)
    names = {"grad_cam_plus_plus": "GradCAMPlusPlus", "hires_cam": "HiResCAM", "layer_cam": "LayerCAM"}
    targets = [ClassifierOutputTarget(int(target)) for target in TARGET]
    activations = whole.features(images)
    scores = whole.head(activations.mean((2, 3)) if averages else activations.flatten(1))
    (gradient,) = torch.autograd.grad(scores.gather(1, TARGET[:, None]).sum(), activations)
    with getattr(pytorch_grad_cam, names.get(name, "ScoreCAM"))(whole, [whole.features]) as cam:
        of_package = cam.get_cam_image(
            images, whole.features, targets, activations.detach().numpy(), gradient.detach().numpy(), False
        )
    with torch.no_grad():
        found = compute_map(name, classifier, classifier.features(images), TARGET, lambda: images)
    assert found.dtype == dtype
    expected = torch.from_numpy(np.maximum(of_package, 0)).to(dtype)
    assert float(expected.amax()) > 0
    torch.testing.assert_close(normalise_stored(found), normalise_stored(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize("averages", [True, False])
@pytest.mark.parametrize("name", OF_CELLS)
def test_gradients_of_trainable_maps(name, averages):
    """The maps are differentiated by the features A and by the head's weights, through dz/dA too."""
    _, classifier, images = network_of(averages, torch.float64)
    features = classifier.features(images[:1]).detach().requires_grad_()

    def maps(features, weight):
        gradient = torch.func.functional_call(Gradient(classifier), {"network.head.weight": weight}, (features,))
        return OF_GRADIENT[name](classifier.map(features), gradient)

    weight = classifier.head.weight.detach().clone().requires_grad_()
    assert float(maps(features, weight).detach().amax()) > 0
    assert torch.autograd.gradcheck(maps, (features, weight))


class Gradient(nn.Module):
    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, features):
        return self.network.map_gradient(features, TARGET[:1])


def test_hires_cam_is_grad_cam_behind_an_average_and_grad_cam_the_default():
    _, classifier, images = network_of(True, torch.float64)
    features = classifier.features(images)
    expected = grad_cam(classifier, features, TARGET)
    torch.testing.assert_close(compute_map("hires_cam", classifier, features, TARGET, lambda: images), expected)
    for name in (None, "grad_cam"):
        assert torch.equal(compute_map(name, classifier, features, TARGET, lambda: images), expected)


def test_integrated_gradients_of_a_linear_network_by_hand(monkeypatch):
    classifier = Classifier.__new__(Classifier)
    nn.Module.__init__(classifier)
    classifier.backbone, classifier.norm, classifier.head = nn.AvgPool2d(2), nn.Identity(), nn.Linear(3, 2)
    classifier.keep = torch.ones(3)
    with torch.no_grad():
        classifier.head.weight.copy_(torch.tensor([[0.0, 0.0, 0.0], [1.0, -1.0, 2.0]]))
    images = torch.zeros(1, 3, 4, 4)
    images[0, :, 0, 0] = torch.tensor([3.0, 1.0, 1.0])  # 3 - 1 + 2 = 4
    images[0, :, 3, 3] = torch.tensor([0.0, 2.0, 0.0])  # -2, which ReLU removes
    features = classifier.backbone(images)
    found = compute_map("integrated_gradients", classifier, features, torch.tensor([1]), lambda: images)
    # A logit averages 16 pixels, a cell 4: 4 / 16 / 4
    torch.testing.assert_close(found, torch.tensor([[[0.0625, 0.0], [0.0, 0.0]]]), rtol=0, atol=1e-6)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(ParamsError, match=r"^integrated_gradients needs captum; run `pip install .*\[captum\]"):
        compute_map("integrated_gradients", classifier, features, torch.tensor([1]), lambda: images)


def test_names_and_records():
    trainable = set(TrainableMap.__args__)
    assert trainable == {"grad_cam", *OF_GRADIENT}
    assert [set(part.__args__) for part in MapName.__args__] == [trainable, set(OF_IMAGES)]
    assert "map" not in dump(Interpret(target="label", patches=3, cells=1))  # the records of Grad-CAM stay as they are
    assert "map" not in dump(CrayonAttention(alpha=1, beta=1))


@pytest.mark.parametrize("method", [CrayonAttention, CrayonMargin])
def test_a_map_for_asking_only_is_refused_as_the_guided_map(method):
    from pydantic import ValidationError

    from crayon.config.sections import adapter

    with pytest.raises(ValidationError, match="is score_cam, which is for asking only"):
        adapter(method).validate_python({"alpha": 1, "beta": 1, "map": "score_cam"})
    assert adapter(method).validate_python({"alpha": 1, "beta": 1, "map": "layer_cam"}).map == "layer_cam"


@pytest.mark.parametrize("averages", [True, False])
def test_methods_guide_the_map_that_is_named(averages):
    """A margin is z_c - mean z; pruned neurons have no gradient."""
    _, classifier, images = network_of(averages, torch.float64)
    classifier.prune(torch.arange(5) == 1)
    features = classifier.features(images).detach()
    logits = classifier.classify(features)
    batch = Batch(
        index=torch.arange(2), images=None, labels=TARGET, features=features, logits=logits, network=classifier
    )

    def guided(method, score):
        leaf = features.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(score(classifier.classify(leaf, pruned=pruned)), leaf)
        maps = torch.relu((torch.relu(gradient) * features).sum(1)) + 1e-10
        assert float(maps.amax()) > 1e-3
        torch.testing.assert_close(method.maps(batch), maps / maps.amax((1, 2), keepdim=True), rtol=0, atol=1e-6)

    pruned, settings = True, {"alpha": 1, "beta": 1, "map": "layer_cam"}
    guided(CrayonAttention(**settings), lambda z: z.gather(1, TARGET[:, None]).sum())
    guided(CrayonMargin(**settings), lambda z: (z - z.mean(1, keepdim=True)).gather(1, TARGET[:, None]).sum())
    pruned = False
    whole = CrayonPruningAttention(**settings, pruned_maps=False)
    guided(whole, lambda z: z.gather(1, TARGET[:, None]).sum())

"""What users' own data sets can look like: right classes, or one sentence that says what to change."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Subset

from crayon import Guide
from crayon.data.torch_dataset import DatasetImages
from crayon.utils.errors import DataError

IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
CLASSES = [0, 1, 2, 2, 1, 0]


class Images:
    """Six images whose `targets` are as stored, and whose classes pass through `target_transform`, if any."""

    def __init__(self, classes=CLASSES, images=IMAGES, targets=CLASSES, change=lambda label: label):
        self.classes, self.images, self.change, self.read = classes, images, change, []
        if targets is not None:
            self.targets = targets

    def __len__(self):
        return len(self.classes)

    def __getitem__(self, position):
        self.read.append(position)
        return self.images[position], self.change(self.classes[position])


def reader(source) -> DatasetImages:
    return DatasetImages(source, "dataset", torch.device("cpu"))


def model(classes: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))


def swapped(label: int) -> int:
    return 2 - label


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (Images(), CLASSES),
        (Images(change=swapped), [2, 1, 0, 0, 1, 2]),
        (Subset(Images(change=swapped), [5, 0, 2]), [2, 2, 0]),
        (Subset(Subset(Images(), [5, 4, 2]), [2, 0]), [2, 0]),
        (ConcatDataset([Images(), Images(change=swapped)]), [*CLASSES, 2, 1, 0, 0, 1, 2]),
        (DataLoader(Images(change=swapped), 4), [2, 1, 0, 0, 1, 2]),
        (DataLoader(Subset(Images(change=swapped), [4, 3]), 4, num_workers=1), [1, 0]),
        (Images(targets=None), CLASSES),
        (Images(targets=torch.eye(6)), CLASSES),
        (Images(targets=[0]), CLASSES),
        (Images(targets=["a"] * 6), CLASSES),
        (Images(classes=np.array(CLASSES, np.uint8)), CLASSES),
        (Images(classes=torch.tensor(CLASSES, dtype=torch.uint8)), CLASSES),
        (Images(classes=[np.array([label]) for label in CLASSES], targets=None), CLASSES),
        (Images(classes=[True, False] * 3, targets=None), [1, 0] * 3),
    ],
)
def test_labels_are_the_classes_of_the_items(source, expected):
    labels = reader(source).labels(3)
    assert labels.dtype == torch.int64
    assert labels.tolist() == expected


def test_targets_spare_reading_a_large_data_set():
    classes = [position % 3 for position in range(1000)]
    dataset = Images(classes, IMAGES[:1].expand(1000, -1, -1, -1), classes)
    assert reader(dataset).labels(3).tolist() == classes
    assert len(set(dataset.read)) < 30


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([1, 2, 3, 1, 2, 3], r"classes 1 to 3, but the model has logits for the classes 0 to 2; number them from 0"),
        ([0, -1, 1, 2, 0, 1], r"classes -1 to 2, .* leave out images without a class \(such as image 1\)"),
        ([0, 1, 2, 3, 4, 5], "classes 0 to 5, .* pass a model with a logit for each class"),
        ([0.0, 1.0] * 3, r"image 0 has the class 0.0; a class is an integer .* int\(label\)"),
        ([np.float32(1)] * 6, r"image 0 has the class .*1.0.*int\(label\)"),
        ([torch.tensor(1.0)] * 6, r"image 0 has the class tensor\(1.\); a class is an integer"),
        ([torch.tensor([0, 1, 0])] * 6, r"image 0 has the class a vector of 3 values; .* \(argmax\)"),
        ([np.eye(3)[0]] * 6, "a vector of 3 values; for one-hot vectors"),
        ([[0, 1, 0]] * 6, "a vector of 3 values; for one-hot vectors"),
        (["cat", "dog"] * 3, r"image 0 has the class 'cat'; give each class a number .* names.index\(label\)"),
        ([None] * 6, "image 0 has the class None; return one integer"),
        ([{"boxes": 1}] * 6, "image 0 has the class {'boxes': 1}; return one integer"),
        ([0, 1, 2, 0, 1, "x"], "image 5 has the class 'x'"),
    ],
)
def test_classes_that_are_no_class_numbers_are_named(classes, message):
    for source in (Images(classes, targets=None), DataLoader(Images(classes, targets=None), 2)):
        with pytest.raises(DataError, match=f"^dataset: .*{message}") as caught:
            reader(source).labels(3)
        assert "\n" not in str(caught.value)


def changed(position: int, image: torch.Tensor) -> list[torch.Tensor]:
    return [image if number == position else other for number, other in enumerate(IMAGES)]


PICTURE = Image.new("RGB", (8, 8))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([PICTURE] * 6, r"images are Image, not float tensors \(3, H, W\); add a transform \(.*ToTensor\(\)"),
        ([np.zeros((8, 8, 3), np.float32)] * 6, "images are ndarray, not float"),
        ((IMAGES * 255).byte(), r"images are torch.uint8 \(3, 8, 8\), not float"),
        (IMAGES[:, 0], r"images are torch.float32 \(8, 8\), not float"),
        (changed(3, torch.rand(3, 9, 8)), r"image 3 is \(3, 9, 8\) and the first image \(3, 8, 8\); .*Resize"),
        (changed(5, torch.rand(1, 8, 8)), r"image 5 is \(1, 8, 8\) and the first image .*convert\('RGB'\)"),
        (changed(2, IMAGES[2] / 0), "image 2 has pixels that are NaN or infinite; correct its transform"),
        (changed(4, IMAGES[4] * float("nan")), "image 4 has pixels that are NaN"),
        (IMAGES[:4], r"image 5 of 6 cannot be read: dataset\[5\] raises IndexError"),
        (IMAGES[:, :1], r"Sequential cannot take images of the shape \(1, 8, 8\).*takes 3 channels.*Grayscale\(3\)"),
        (IMAGES.permute(0, 2, 3, 1), r"cannot take images of the shape \(8, 8, 3\).*by image.permute\(2, 0, 1\)"),
    ],
)
@pytest.mark.parametrize("workers", [None, 0, 1])
def test_images_of_another_form_are_named(images, message, workers):
    source = Images(images=images)
    with pytest.raises(DataError, match=f"^dataset: .*{message}") as caught:
        Guide(model(), source if workers is None else DataLoader(source, 2, num_workers=workers)).maps()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], "is empty"),
        (iter([(IMAGES[0], 0)]), "is not map-style; it needs __len__ and __getitem__"),
        ({IMAGES[0]}, "is not map-style"),
        ([IMAGES[0]], r"image 0 is a Tensor, but dataset\[i\] must begin with an image and its class"),
        ([(IMAGES[0],)], "image 0 is a tuple of length 1"),
        ([{"image": IMAGES[0], "label": 0}], "image 0 is a dict with the keys image, label, .* collate_fn"),
        ({"a": (IMAGES[0], 0)}, r"image 0 of 1 cannot be read: dataset\[0\] raises KeyError"),
        (DataLoader(Images(), 2, collate_fn=lambda items: {"x": 1}), r"its collate_fn returns a dict, not \(images"),
        (DataLoader(Images(), 2, collate_fn=lambda items: items[0][5]), r"collate_fn fails .*\(IndexError: "),
        (DataLoader(Images(), 2, collate_fn=lambda items: (IMAGES, torch.ones(6))), ".* must return images .* B = 1"),
    ],
)
def test_what_is_no_data_set_of_images_and_classes_is_named(source, message):
    with pytest.raises(DataError, match=f"^dataset: {message}"):
        reader(source)


class Random(Images):
    """Images that differ from one reading to the next."""

    def __getitem__(self, position):
        return torch.rand(3, 8, 8), 0


class Alternating(Images):
    """Classes that differ from one reading to the next."""

    def __getitem__(self, position):
        self.read.append(position)
        return self.images[position], self.read.count(position) % 2


def test_random_images_and_classes_are_refused():
    with pytest.raises(DataError, match="dataset: image 0 differs from one reading to the next; take random augment"):
        Guide(model(), Random())
    with pytest.raises(DataError, match=r"dataset: image \d now has the class ., but had . before .* target_transform"):
        Guide(model(), Alternating(targets=None)).maps()


def test_a_class_that_targets_state_otherwise_is_found_later():
    classes = [position % 2 for position in range(200)]
    stated = [1 - label if position == 47 else label for position, label in enumerate(classes)]
    guide = Guide(model(), Images(classes, IMAGES[:1].expand(200, -1, -1, -1), stated))
    with pytest.raises(DataError, match="image 47 now has the class 1, but had 0 before"):
        guide.maps()


def test_double_precision_images_are_converted():
    maps = [Guide(model(), Images(images=images)).maps() for images in (IMAGES, IMAGES.double())]
    assert torch.equal(*maps)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attention": ["yes"] * 6}, "attention: .*; give -1, 0, 1 for each"),
        ({"attention": [float("nan")] * 6}, "attention: nan is none of -1, 0, 1"),
        ({"masks": torch.ones(6, 1, 8, 8)}, r"masks: have the shape \(6, 1, 8, 8\), not \(N, H, W\) = \(6, 8, 8\)"),
        ({"masks": torch.ones(6, 4, 4)}, r"masks: have the shape \(6, 4, 4\)"),
        ({"masks": torch.full((6, 8, 8), 0.3)}, "masks: have other values than 0 and 1"),
    ],
)
def test_answers_and_masks_of_another_form_are_named(arguments, message):
    from crayon import Training
    from crayon.methods.erm import ERM

    training = Training(optimiser="sgd", learning_rate=0.1, weight_decay=0, batch_size=4, epochs=1)
    with pytest.raises(DataError, match=message):
        Guide(model(), Images()).refine(ERM(), training, **arguments)

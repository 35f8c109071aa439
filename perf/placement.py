"""Print where the cells of torchvision's networks lie, measured from gradients, beside where a plain resize draws them.

    python perf/placement.py

A shift is in pixels of an image of 224x224, negative: up and left. Random weights: none are read.
"""

from __future__ import annotations

import torch
import torchvision

from crayon.models.split import split_network
from crayon.saliency.placement import measure_shift

NETWORKS = ("resnet18", "resnet50", "mobilenet_v2", "efficientnet_b0", "densenet121", "convnext_tiny")
SIZE = 224


def main() -> None:
    """Print one row for each network: the shift along both axes with two sets of random weights."""
    print("| network | shift down, right | with other weights | receptive-field arithmetic |")
    print("| --- | --- | --- | --- |")
    for name in NETWORKS:
        shifts = []
        for seed in (0, 1):
            torch.manual_seed(seed)
            backbone = split_network(getattr(torchvision.models, name)(num_classes=2), name).backbone
            cells = backbone.eval()(torch.zeros(1, 3, SIZE, SIZE)).shape[2]
            shifts.append(", ".join(f"{shift * SIZE / cells:.1f}" for shift in measure_shift(backbone, (SIZE, SIZE))))
        expected = "0" if name == "convnext_tiny" else "-15.5"
        print(f"| {name} | {shifts[0]} | {shifts[1]} | {expected} |")


if __name__ == "__main__":
    main()

"""List in which networks LeGrad can be asked about, and in which it can be guided, with random weights.

    python perf/legrad.py                       all of the table in docs/networks.md: a CPU minute
    python perf/legrad.py vit_b_16 timm:vit_tiny_patch16_224 transformers:ViT

`transformers:KIND` is KINDForImageClassification of the default configuration, with two layers if it has so many.
"""

from __future__ import annotations

import argparse

import torch
from networks import build
from torch import nn

from crayon.models.classifier import Classifier
from crayon.models.importable import image_size, returning_logits
from crayon.models.split import split_network
from crayon.saliency.maps.legrad import require_attention
from crayon.utils.errors import ModelError

NAMES = (
    *("resnet18", "vit_b_16", "swin_t", "maxvit_t", "timm:vit_tiny_patch16_224", "timm:deit_tiny_patch16_224"),
    *("timm:vit_tiny_patch16_224 (global_pool=avg)", "timm:vit_small_patch14_reg4_dinov2", "timm:pvt_v2_b0"),
    *("timm:swin_tiny_patch4_window7_224", "timm:cait_xxs24_224", "timm:xcit_nano_12_p16_224"),
    *("transformers:ViT", "transformers:DeiT", "transformers:Dinov2", "transformers:Swin"),
)


def built(name: str) -> nn.Module:
    """Build a network of torchvision, timm or transformers."""
    if not name.startswith("transformers:"):
        return build(name)
    import transformers

    kind = name.removeprefix("transformers:")
    config = getattr(transformers, f"{kind}Config")()
    if hasattr(config, "num_hidden_layers") and not hasattr(config, "depths"):
        config.num_hidden_layers = 2
    return returning_logits(getattr(transformers, f"{kind}ForImageClassification")(config)).eval()


def row(name: str) -> str:
    """The row of a network."""
    whole = built(name)
    height, width = image_size(whole)
    network = Classifier(split_network(whole, name, (3, height, width)), 10).eval()
    cells = network.map(network.features(torch.zeros(1, 3, height, width))).shape[2:]
    able = []
    for guided in (False, True):
        try:
            require_attention(network, name, torch.zeros(1, 3, height, width), guided)
            able.append("yes")
        except ModelError:
            able.append("no")
    return f"| `{name}` | {cells[0]}x{cells[1]} | {' | '.join(able)} |"


def main() -> None:
    """Print the table."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("names", nargs="*", default=NAMES)
    print("| network | cells | asked about | guided |\n| --- | --- | --- | --- |")
    for name in made.parse_args().names:
        try:
            print(row(name), flush=True)
        except ModelError as error:
            print(f"| `{name}` | refused: {error} | | |", flush=True)


if __name__ == "__main__":
    main()

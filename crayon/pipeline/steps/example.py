"""Draw an example folder of images, in the style of the Waterbirds miniature, to try `source.kind: folder`."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from crayon.data.synthetic.waterbirds import Options, draw
from crayon.utils.errors import OutputError
from crayon.utils.files import publish
from crayon.utils.log import report

SPLITS = {"train": "train", "validation": "val", "test": "test"}
COUNTS = {"waterbird/water": 40, "landbird/land": 40, "waterbird/land": 8, "landbird/water": 8}


def run(folder: Path, masks: Path | None = None, groups: bool = False) -> None:
    """Write images as `<folder>/<train|val|test>/<class>/*.png`.

    Args:
        folder: the folder to create.
        masks: folder for the masks, with the same layout; None writes no masks.
        groups: add one more level of folders, which name the group (the background) of the images.

    Raises:
        OutputError: the folder exists.
    """
    for path in (folder, masks):
        if path is not None and path.exists():
            raise OutputError(f"{path}: exists already, so nothing was written; give another name.")
    options = Options(
        seed=0,
        size=64,
        counts=dict.fromkeys(SPLITS, COUNTS),
        scale=(1.0, 1.35),
        blend=(0.0, 1.0),
        hue_spread=0.12,
        noise=0.03,
    )
    drawn = draw(options)
    rows = zip(drawn.manifest(), drawn.images, drawn.masks, strict=True)
    for (name, split, label, group), image, mask in rows:
        relative = Path(SPLITS[split], label, *([group] if groups else []), f"{name}.png")
        for root, picture in ((folder, image), (masks, mask)):
            if root is not None:
                with publish(root / relative) as file:
                    Image.fromarray(picture).save(file, "png")
    report(f"{folder}: {len(drawn.images)} images of {', '.join(sorted(set(drawn.labels)))}")

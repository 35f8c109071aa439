"""A hook of MkDocs: writes the annotation page with drawn maps to demo/ and demo-groups/ of the site."""

from __future__ import annotations

import shutil
from pathlib import Path

from crayon.annotations.ui.drawn_page import write_drawn_page


def on_post_build(config, **_) -> None:
    """Write both pages after the site was built."""
    for name, largest in (("demo", None), ("demo-groups", 8)):
        folder = Path(config["site_dir"]) / name
        shutil.rmtree(folder, ignore_errors=True)
        write_drawn_page(folder, largest)

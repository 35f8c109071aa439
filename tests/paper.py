"""The suite `paper` as a project that is small enough for a CPU: archives of the releases' layouts, from a server here.

Only params differ from the suite of params.yaml, and the images are tiny.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from . import tiny
from .data import releases

SHARE = {"waterbirds": 100, "biased_celeba": 400, "backgrounds": 1500}
"""Of how many images of a release there is one here, but at least one of each kind."""

SIZES = {
    "waterbirds": {"resize": [72, 72], "crop": [64, 64]},
    "biased_celeba": {"resize": 64},
    "backgrounds": {"resize": 72, "crop": [64, 64]},
}
"""64 pixels instead of 224."""

STUDIES: dict[str, dict[str, Any]] = {
    "ablation": {},
    "transfer": {
        "benchmarks": ["waterbirds"],
        "originals": [0, 1],
        "network": {"name": "mini_convnext", "patch": 4, "stem": 4, "channels": [8], "strides": [2], "kernels": [3]},
    },
    "annotations": {"benchmarks": ["biased_celeba"], "maps": [10], "neurons": [4]},
    "order": {"benchmarks": ["biased_celeba"], "maps": [10], "orders": ["random", "diverse"]},
    "sensitivity": {"benchmarks": ["waterbirds"], "alphas": [0.1], "betas": [10]},
    "runtime": {"benchmarks": ["waterbirds"], "sizes": [0.5, 1], "repeats": 1},
}
"""What differs from the studies of the suite: one benchmark where it saves time, since each variation is a process."""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder; yields the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def archive(path: Path, root: Path, address: str) -> dict[str, Any]:
    """The entry in params.yaml of a file below the served folder `root`."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"urls": [f"{address}/{path.relative_to(root).as_posix()}"], "sha256": digest}


def suite() -> tuple[dict[str, Any], dict[str, Any]]:
    """All params with `paper` as the active suite, on one thread of the CPU; and this suite."""
    content = yaml.safe_load((tiny.ROOT / "params.yaml").read_text(encoding="utf-8"))
    content["suite"] = "paper"
    content["suites"] = {"paper": content["suites"]["paper"]}
    own = content["suites"]["paper"]
    own["compute"] |= {"device": "cpu", "threads": 1}
    for name, size in SIZES.items():
        own["benchmarks"][name]["source"] |= size
    return content, own


def fewer(counts: releases.Counts, share: int) -> dict[str, dict[str, int]]:
    """The same proportions, at least one image of each kind."""
    return {
        split: {kind: max(1, round(count / share)) for kind, count in kinds.items()} for split, kinds in counts.items()
    }


def release(name: str, folder: Path, source: Mapping[str, Any], size: tuple[int, int] | None = None) -> dict[str, Path]:
    """Write the archives of a benchmark with the numbers of images that its source states."""
    shape = {} if size is None else {"size": size}
    counts = source["counts"]
    if name == "waterbirds":
        return releases.waterbirds(folder, counts=counts, **shape)
    if name == "biased_celeba":
        return releases.celeba(folder, counts=counts, validation=source["validation"], **shape)
    numbers = {split: next(iter(kinds.values())) for split, kinds in counts.items()}
    return releases.backgrounds(folder, numbers["train"], numbers["original"], numbers["original"], **shape)


def whole(folder: Path, root: Path, address: str) -> Path:
    """Write a project in which `snakemake` makes every table and figure of the suite; returns its folder.

    Published answers to Waterbirds, people's to Biased CelebA, nobody's to Backgrounds.

    Args:
        folder: of the project.
        root: a folder for the archives, which is served.
        address: of the server.
    """
    content, own = suite()
    network = {"name": "mini_resnet", "stem": 4, "channels": [4, 8], "strides": [2, 2], "kernels": [3, 3]}
    own |= {"seeds": [0], "seeds_per_job": 2, "runs_per_job": 16, "evaluate_together": True, "network": network}
    own["auxiliary"]["network"]["stem"] = 2
    own["auxiliary"]["training"] |= {"batch_size": 16, "epochs": 1}
    own["controls"] = {"shuffled_answers": {"method": "crayon_attention", "labels": "shuffle"}}
    for name, changes in STUDIES.items():
        own["studies"][name] |= changes | ({"seeds": [0]} if "seeds" in own["studies"][name] else {})
    for name, benchmark in own["benchmarks"].items():
        source = benchmark["source"]
        source["counts"] = fewer(source["counts"], SHARE[name])
        if name == "biased_celeba":
            source["validation"] = 2
        paths = release(name, root / name, source)
        source["archives"] = {key: archive(path, root, address) for key, path in paths.items()}
        for settings in (benchmark["original"], benchmark["refinement"], *benchmark["methods"].values()):
            for key, value in (("epochs", 1), ("batch_size", 16)):
                if key in settings or settings in (benchmark["original"], benchmark["refinement"]):
                    settings[key] = value
            settings.pop("milestones", None)
            settings.pop("milestone_factor", None)
    birds, faces, backgrounds = (own["benchmarks"][name] for name in SHARE)
    count = sum(birds["source"]["counts"]["train"].values())
    (root / "gradcam.json").write_text(json.dumps([("yes", "no", "maybe")[n % 3] for n in range(count)]))
    (root / "neuron.json").write_text(json.dumps([n % 2 == 0 for n in range(network["channels"][-1])]))
    published = {"attention": archive(root / "gradcam.json", root, address)}
    published["neurons"] = archive(root / "neuron.json", root, address)
    birds["annotation"] = {"source": "published", "published": published}
    birds["consensus"] = {"minimum_answers": 1, "tie": "relevant"}
    backgrounds["annotation"] = {"source": "none"}
    for study in own["studies"].values():
        study["benchmarks"] = [name for name in study["benchmarks"] if name != "backgrounds"]
    tiny.write(folder, content)
    answers = folder / "annotations/paper/biased_celeba"  # people's
    answers.mkdir(parents=True)
    images = range(1, sum(faces["source"]["counts"]["train"].values()) + 1)
    lines = [f"{n:06d}.jpg,{who},{'yes' if n % 3 else 'no'}" for n in images for who in ("ann", "bob")]
    (answers / "attention.csv").write_text("\n".join(["item,annotator,answer", *lines]) + "\n")
    lines = [f"neuron {n},{who},{'no' if n % 2 else 'yes'}" for n in range(8) for who in ("ann", "bob")]
    (answers / "neurons.csv").write_text("\n".join(["item,annotator,answer", *lines]) + "\n")
    return folder

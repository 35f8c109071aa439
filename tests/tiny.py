"""A suite small enough to run the real commands in seconds: one drawn benchmark, one of real pixels."""

from __future__ import annotations

import copy
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent


def further() -> dict:
    """The second network of a transfer study: a vision transformer, whose Original has the number 4."""
    network = {"name": "mini_vit", "stem": 4, "patch": 8, "channels": [16]}
    there = {"benchmarks": ["waterbirds"], "seeds": [0, 1], "originals": [4]}
    return {"small": there | {"network": network, "original": {"epochs": 2}}}


def params() -> dict:
    """The project's params, shrunk."""
    content = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    suite = content["suites"]["mini"]
    methods = ["crayon_attention", "crayon_pruning", "crayon_pruning_attention", "jtt", "lff", "flac", "erm"]
    suite |= {"seeds": [0, 1], "seeds_per_job": 2, "methods": methods}
    suite["network"] |= {"stem": 4, "channels": [4, 8], "strides": [2, 2], "kernels": [3, 3]}
    suite["network"].pop("frozen_blocks")  # it is hardly pretrained
    suite["pretraining"] |= {"images": 96, "held_out": 32, "minimum_accuracy": 0.0}
    suite["pretraining"]["training"] |= {"epochs": 1}
    suite["tuning"]["trials"] = 3
    suite["auxiliary"]["network"]["stem"] = 2
    suite["auxiliary"]["training"]["epochs"] = 1
    controls = list(suite["controls"])
    suite["controls"] = {"shuffled_answers": {"method": "crayon_attention", "labels": "shuffle"}}
    there = {"benchmarks": ["waterbirds"], "seeds": [0, 1]}
    network = {"name": "mini_convnext", "patch": 4, "stem": 4, "channels": [8], "strides": [2], "kernels": [3]}
    suite["studies"] = {
        "ablation": dict(there),
        "transfer": there | {"network": network, "originals": [0, 1]},
        "annotations": there | {"maps": [0, 10, 20], "neurons": [0, 2, 4]},
        "order": there
        | {"maps": [10], "orders": ["random", "uncertain", "diverse"]}
        | {"propagation": {"learner": "nearest"}, "shuffled": True, "neurons": [2]},
        "sensitivity": there | {"seeds": [0], "alphas": [0.1, 10], "betas": [10]},
        "runtime": {"benchmarks": ["waterbirds", "digits"], "sizes": [0.5, 1], "repeats": 2},
    }
    benchmarks = suite["benchmarks"]
    few = {"waterbird/water": 14, "landbird/land": 30, "waterbird/land": 4, "landbird/water": 4}
    benchmarks["waterbirds"]["source"]["counts"] = {
        "train": few,
        "validation": dict.fromkeys(few, 4),
        "test": dict.fromkeys(few, 5),
    }
    benchmarks["waterbirds"]["annotation"]["neurons"]["coverage"] = 0.2  # so that some of the few neurons are relevant
    benchmarks["digits"]["source"]["compose"]["counts"] = {"train": 48, "validation": 24, "test": 24}
    suite["benchmarks"] = {name: copy.deepcopy(benchmarks[name]) for name in ("waterbirds", "digits")}
    for benchmark in suite["benchmarks"].values():
        benchmark["original"]["epochs"] = 1
        benchmark["refinement"]["epochs"] = 1
        benchmark["stage_one"]["epochs"] = 1
        for control in controls:
            benchmark["methods"].pop(control, None)
        for settings in benchmark["methods"].values():
            settings.pop("epochs", None)
        published = {"weighting": "published", "alpha": 3000.0, "beta": 10000.0}
        benchmark["methods"]["crayon_attention"] |= published  # Crayon-Pruning+Attention keeps the relative weights
    return content


def write(folder: Path, content: dict | None = None) -> Path:
    """Write a project with the tiny suite into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("Snakefile", "workflow", "profiles", "dvc.yaml", ".dvcignore"):
        target = folder / name
        if not target.exists():
            target.symlink_to(ROOT / name)
    (folder / "params.yaml").write_text(yaml.safe_dump(content or params(), sort_keys=False), encoding="utf-8")
    return folder

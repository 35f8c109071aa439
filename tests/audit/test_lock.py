"""The dvc.lock in git, which describes the results and params that git has, and a dvc.lock of another clone."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
import yaml

from crayon.audit import dvc_lock

from ..tiny import ROOT

AGAIN = "`snakemake --cores 2 results/table1.csv && dvc repro` makes it again, to be committed with results/."


def value(content: dict, key: str):
    """The value in params.yaml of a key with dots, as dvc.yaml names it; None if there is none."""
    for name in key.split("."):
        content = (content or {}).get(name)
    return content


def in_git(path: str) -> bytes:
    """A file's content as git would commit it: `snakemake` may have written other results to the folder since then."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone of a git repository")
    command = ["git", "-c", f"safe.directory={ROOT}", "show", f":{path}"]  # also in another user's clone
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout


def test_lock_describes_the_results_and_params_that_git_has_beside_it():
    text = in_git("dvc.lock").decode()
    outputs = dvc_lock.read(text).items()
    published = {path: entry["md5"] for path, entry in outputs if path.startswith("results/") and "nfiles" not in entry}
    assert len(published) == 7
    params = yaml.safe_load(in_git("params.yaml"))
    stages = yaml.safe_load(text)["stages"].values()
    recorded = {key: old for stage in stages for key, old in stage.get("params", {}).get("params.yaml", {}).items()}
    differing = [key for key, old in recorded.items() if value(params, key) != old]
    differing += [path for path, md5 in published.items() if hashlib.md5(in_git(path)).hexdigest() != md5]
    assert differing == [], f"dvc.lock is older than {', '.join(differing)}; {AGAIN}"


def test_a_lock_is_from_elsewhere_until_the_cache_has_its_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert dvc_lock.here() == {}
    assert not dvc_lock.from_elsewhere({})
    listing = json.dumps([{"md5": "0" * 32, "relpath": "file"}]).encode()
    md5 = hashlib.md5(listing).hexdigest() + ".dir"
    outs = [{"path": "data/mini", "md5": md5}, {"path": "curves/mini.csv", "md5": "0" * 32}]
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": {"download": {"outs": outs}}}))
    assert dvc_lock.from_elsewhere(dvc_lock.here())
    stored = Path(".dvc/cache/files/md5", md5[:2], md5[2:])
    stored.parent.mkdir(parents=True)
    stored.write_bytes(listing)
    assert not dvc_lock.from_elsewhere(dvc_lock.here())

"""DVC as storage: a pull restores what was pushed, only changes are rerun, and damaged files are detected."""

from __future__ import annotations

import asyncio
import getpass
import json
import random
import shutil
import subprocess
import threading

import pytest
import yaml

from .conftest import TABLE, Project
from .test_chain import ANSWERS, change_alpha, flip_one

pytestmark = pytest.mark.slow

ALPHA = "suites.mini.benchmarks.waterbirds.methods.crayon_attention.alpha"


def audit(project: Project, *arguments: str, check: bool = True) -> str:
    return project.crayon("audit", "--allow-dirty", "results/table1.csv", *arguments, check=check)


def trained(text: str) -> set[str]:
    """The runs that were trained, read from the lines that they print."""
    return {line.split()[0] for line in text.splitlines() if " epoch 1/1 " in line}


def test_an_experiment_is_run_kept_and_left(mine):
    text = mine.run("dvc", "exp", "run", "-n", "higher", "-S", f"{ALPHA}=900000.0")
    assert trained(text) == {"waterbirds/crayon_attention/0", "waterbirds/crayon_attention/1"}
    rows = json.loads(mine.run("dvc", "exp", "show", "--json", "--no-pager"))
    assert "higher" in json.dumps(rows)
    mine.run("git", "checkout", "-q", "--", ".")
    mine.run("dvc", "checkout", "-q")
    assert mine.planned() == set()
    assert "valid: " in audit(mine)


@pytest.fixture
def remote(tmp_path):
    """Address of a DVC remote behind an SSH server on the loopback, and options to set."""
    store = tmp_path / "remote"
    store.mkdir()
    asyncssh = pytest.importorskip("asyncssh", reason="the SSH remote needs dvc[ssh]")
    pytest.importorskip("dvc_ssh", reason="the SSH remote needs dvc[ssh]")
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(str(tmp_path / "key"))
    key.write_public_key(str(tmp_path / "key.pub"))
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    async def serve():
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            authorized_client_keys=str(tmp_path / "key.pub"),
            sftp_factory=True,
        )

    server = asyncio.run_coroutine_threadsafe(serve(), loop).result(20)
    address = f"ssh://{getpass.getuser()}@127.0.0.1:{server.get_port()}{store}"
    yield address, {"keyfile": str(tmp_path / "key"), "allow_agent": "false"}
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)


def test_second_clone_pulls_and_is_valid_without_computing(mine, remote, tmp_path):
    address, options = remote
    mine.run("dvc", "remote", "add", "-q", "-d", "store", address)
    for name, value in options.items():
        mine.run("dvc", "remote", "modify", "-q", "store", name, value)
    mine.run("dvc", "push", "-q")
    mine.run("git", "commit", "-qam", "remote")
    clone = Project(tmp_path / "clone")
    mine.run("git", "clone", "-q", str(mine.folder), str(clone.folder))
    text = audit(clone, check=False)
    assert clone.status == 2  # a table from git, and nothing that it could be judged by
    assert "table1: unrecorded: results/mini/stored/table1.record.json: there is no such file" in text
    assert "missing: data/mini/waterbirds/manifest.csv" in text
    assert "`dvc pull` fetches what DVC has stored" in text
    clone.run("dvc", "pull", "-q")
    assert "valid: 65 jobs" in audit(clone, "--full")
    assert clone.planned() == set()
    assert clone.read(TABLE) == mine.read(TABLE)


def test_a_spoilt_object_of_the_cache_is_noticed_and_made_anew(mine):
    model = "models/mini/digits/original.safetensors"
    content = mine.read(model)
    found = json.loads(mine.crayon("audit", "--allow-dirty", "--json", TABLE))
    assert found["valid"]
    (spoilt,) = [p for p in (mine.folder / ".dvc/cache").rglob("*") if p.is_file() and p.read_bytes() == content]
    spoilt.chmod(0o644)
    spoilt.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    (mine.folder / model).unlink()
    mine.run("dvc", "checkout", check=False)  # DVC lays the spoilt object out, or refuses; it need not notice
    text = audit(mine, check=False)
    assert mine.status == 1
    assert f"original digits: edited: {model}" in text or f"original digits: missing: {model}" in text
    mine.snakemake(TABLE)
    assert mine.read(model) == content
    assert "valid: " in audit(mine)


def test_two_repros_at_once_with_links_into_the_cache(mine):
    mine.run("dvc", "config", "cache.type", "symlink")
    mine.run("dvc", "checkout", "-q", "--relink")
    model = mine.folder / "runs/mini/waterbirds/crayon_attention/0/last.safetensors"
    assert model.is_symlink()
    assert "valid: " in audit(mine)
    assert mine.planned() == set()
    objects = {path: path.read_bytes() for path in (mine.folder / ".dvc/cache/files").rglob("*") if path.is_file()}
    change_alpha(mine, 6e5)
    first = subprocess.Popen(
        ["dvc", "repro"], cwd=mine.folder, env=mine.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    for line in first.stdout:
        if b"Running stage" in line:
            break
    text = mine.run("dvc", "repro", check=False)
    assert mine.status != 0
    assert "lock" in text.lower()
    assert "Traceback" not in text
    first.stdout.read()
    assert first.wait() == 0
    assert all(path.read_bytes() == content for path, content in objects.items())
    assert "valid: " in audit(mine)


def test_conflicted_lock_is_refused_and_mismatched_lock_named(mine):
    lock = mine.folder / "dvc.lock"
    text = lock.read_text()
    lock.write_text(text.replace("stages:\n", "<<<<<<< HEAD\nstages:\n=======\nstages:\n>>>>>>> other\n", 1))
    said = audit(mine, check=False)
    assert mine.status == 2
    assert "crayon: dvc.lock, line 2: has a merge conflict" in said
    assert "Traceback" not in said
    lock.write_text(text[: len(text) // 2] + ": : [")
    assert "crayon: dvc.lock: is no file written by DVC" in audit(mine, check=False)
    assert mine.status == 2
    outs = [out for stage in yaml.safe_load(text)["stages"].values() for out in stage.get("outs", ())]
    outs = [out for out in outs if not out["path"].startswith(("sources/", "curves/"))]  # no job writes these
    place = random.Random(3)
    for out in outs:
        digit = place.randrange(32)
        md5 = out["md5"]
        other = md5[:digit] + ("0" if md5[digit] != "0" else "1") + md5[digit + 1 :]
        lock.write_text(text.replace(md5, other))
        said = audit(mine, check=False)
        assert f"dvc.lock: stale: {out['path']}" in said, out
        assert mine.status == 1
    shutil.rmtree(mine.folder / ".dvc/cache")  # as where a dvc.lock came by git, and everything was made here
    assert "note: dvc.lock was written in another clone; `dvc pull` fetches what it describes" in audit(mine)


def test_another_suite_makes_another_table_and_back_again(mine):
    path = mine.folder / "params.yaml"
    first = path.read_text()
    content = yaml.safe_load(first)
    content["suites"]["other"] = content["suites"]["mini"] | {"title": "Another", "seeds": [0], "methods": ["erm"]}
    content["suite"] = "other"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    text = audit(mine, check=False)
    assert mine.status != 0
    assert "results/other/table1.csv  broken" in text
    assert "table1" in mine.planned("results/table1.csv")
    path.write_text(first)
    assert mine.planned() == set()
    assert "valid: " in audit(mine)


def test_an_edited_answer_and_an_older_model_under_it(mine):
    """Edit answers, then put an earlier model back, as a checkout of only the model's folder would do."""
    older = mine.read("models/mini/digits/original.safetensors")
    model = mine.folder / "models/mini/waterbirds/original.safetensors"
    right = model.read_bytes()
    flip_one(mine)
    text = audit(mine, check=False)
    assert mine.status == 1
    assert f"edited: {ANSWERS}" in text
    text = mine.run("dvc", "repro")
    assert trained(text) == {"waterbirds/crayon_attention/0", "waterbirds/crayon_attention/1"}
    assert "valid: " in audit(mine)
    assert mine.planned() == set()
    assert trained(mine.run("dvc", "repro")) == set()
    table, edited = mine.read(TABLE), mine.read(ANSWERS)
    model.write_bytes(older)
    text = audit(mine, check=False)
    assert mine.status == 1
    assert "edited: models/mini/waterbirds/original.safetensors" in text
    text = mine.snakemake(TABLE, check=False)
    assert mine.status != 0  # what was asked about is about to change: a person decides
    assert f"crayon: {ANSWERS}: was edited after it was simulated" in text
    model.write_bytes(right)
    assert mine.planned() == set()
    assert (mine.read(TABLE), mine.read(ANSWERS)) == (table, edited)


def test_next_run_completes_a_job_killed_half_way(mine):
    """First the outputs of a refinement exist without its record, then the record exists with a truncated output."""
    folder = mine.folder / "runs/mini/digits/erm/0"
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "record.json").unlink()
    (folder / "last.safetensors").write_bytes(kept["last.safetensors"][:100])
    assert "refine digits" in mine.planned()
    (folder / "record.json").write_bytes(kept["record.json"])
    assert "refine digits" in mine.planned()
    table = mine.read(TABLE)
    mine.snakemake(TABLE)
    assert (folder / "last.safetensors").read_bytes() == kept["last.safetensors"]
    assert mine.read(TABLE) == table
    assert "valid: " in audit(mine)

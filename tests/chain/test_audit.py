"""The audit on a real chain: it names every fault and nothing else, and answers each kind of question."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from crayon.audit.check import check
from crayon.pipeline import fingerprint
from crayon.report.build import load_plan

from .conftest import TABLE, Project
from .test_chain import ANSWERS, change_alpha, flip_one

BASE = "waterbirds/crayon_attention/WGA"


@pytest.fixture
def here(copy, monkeypatch) -> Project:
    """The copy as working directory, with cached digests."""
    monkeypatch.chdir(copy.folder)
    assert verdict().breaks == []
    return copy


def verdict(full: bool = False, targets=(TABLE,)):
    return check(load_plan(), targets, full=full, allow_dirty=True)


def faults(full: bool = False) -> list[tuple[str, str, str]]:
    return verdict(full).breaks


class Kept:
    """Restores a file and its modification time after a fault."""

    def __init__(self, path: str) -> None:
        self.path, self.status = Path(path), Path(path).stat()
        self.content = self.path.read_bytes()

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_) -> None:
        self.path.write_bytes(self.content)
        os.utime(self.path, ns=(self.status.st_mtime_ns, self.status.st_mtime_ns))


def flip(path: Path, place: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[place.randrange(len(content))] ^= 1 << place.randrange(8)
    path.write_bytes(content)


def truncate(path: Path, place: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: place.randrange(len(content))])


def delete(path: Path, place: random.Random) -> None:
    path.unlink()


def of_each_kind() -> list[tuple[str, str]]:
    """A file of each kind that the plan knows, and the job that writes it: of each rule each output, and a record."""
    found: dict[tuple, tuple[str, str]] = {}
    for job in load_plan().below(TABLE):
        for key, path in {**job.outputs, "record": job.record}.items():
            if Path(path).is_dir():
                path = next(p.as_posix() for p in sorted(Path(path).rglob("*.png")))
            found[job.rule, job.wildcards.get("kind"), key] = (path, job.name)
    return list(found.values())


@pytest.mark.parametrize("fault", [flip, pytest.param(truncate, marks=pytest.mark.slow), delete])
def test_audit_names_only_the_faulty_file_of_any_kind(here, fault):
    place = random.Random(7)
    kinds = of_each_kind()
    assert len(kinds) > 40
    for path, job in kinds:
        with Kept(path) as file:
            fault(file, place)
            found = verdict()
        lines = "\n".join(found.lines())
        assert {where for _, where, _ in found.breaks} <= {job, TABLE}, (path, lines)
        kind, where, what = next(line for line in found.breaks if line[1] == job)
        in_folder = path.endswith(".png")  # then the folder is the output
        named = str(Path(path).parent) if in_folder else path
        assert where == job
        assert what.startswith(named), (path, lines)
        if path.endswith("record.json"):
            assert kind in ("edited", "unrecorded"), lines
            assert found.status == (2 if kind == "unrecorded" else 1)
            assert fault is not delete or kind == "unrecorded"
        else:
            assert kind == ("missing" if fault is delete and not in_folder else "edited"), (path, lines)
            assert found.status == 1
    assert faults() == []  # all put back: no false alarm
    assert faults(full=True) == []


def test_a_flip_under_the_old_time_and_size_is_found_by_full(here):
    path = "runs/mini/waterbirds/erm/0/last.safetensors"
    with Kept(path) as file:
        status = file.stat()
        flip(file, random.Random(1))
        os.utime(file, ns=(status.st_mtime_ns, status.st_mtime_ns))
        assert faults(full=True) == [("edited", "refine waterbirds erm 0", path)]


def test_swapped_files_of_two_seeds_are_named_as_such(here):
    first, second = (f"runs/mini/waterbirds/erm/{seed}/last.safetensors" for seed in (0, 1))
    with Kept(first) as one, Kept(second) as two:
        content = one.read_bytes()
        one.write_bytes(two.read_bytes())
        two.write_bytes(content)
        assert faults() == [
            ("edited", "refine waterbirds erm 0", f"{first} (its content is that of {second})"),
            ("edited", "refine waterbirds erm 1", f"{second} (its content is that of {first})"),
        ]


def test_edited_cell_is_named_with_its_recomputed_value(here):
    with Kept(TABLE) as file:
        text = file.read_text()
        row = next(line for line in text.splitlines() if line.startswith("mini,crayon_attention,") and ",WGA," in line)
        mean = row.split(",")[6]
        file.write_text(text.replace(row, row.replace(f",{mean},", ",99.0000,", 1)))
        assert faults() == [
            ("edited", "table1", TABLE),
            ("recomputed-differs", TABLE, f"{BASE}: mean is 99.0000, but its runs give {mean}"),
        ]


def test_metric_that_contradicts_its_counts_is_named(here):
    """A forger can seal the records again, but recomputing the metric still exposes the edit."""
    from crayon.pipeline.record import Digests, sealed

    path = "evaluations/mini/waterbirds/erm/0/metrics.json"
    content = json.loads(Path(path).read_text())
    content["last"]["metrics"]["WGA"] = 88.0
    Path(path).write_text(json.dumps(content))
    for record in ("evaluations/mini/waterbirds/erm/0/record.json", "results/mini/stored/table1.record.json"):
        told = json.loads(Path(record).read_text())
        told.pop("seal")
        for part in ("inputs", "outputs"):
            told[part] = {name: Digests().of(name) if name == path else digest for name, digest in told[part].items()}
        Path(record).write_text(json.dumps(sealed(told)))
    found = faults()
    assert (
        "recomputed-differs",
        TABLE,
        "waterbirds/erm/WGA/0: the value of the last epoch does not match its counts",
    ) in found
    assert any(what.startswith("waterbirds/erm/WGA: mean is") for _, _, what in found)


def test_one_changed_answer_is_named_by_item_and_annotator(here):
    flip_one(here)
    with Path(ANSWERS).open(newline="") as file:
        row = next(row for row in csv.DictReader(file) if row["answer"] == "no")  # whatever was first
    found = verdict()
    ((kind, where, what),) = found.breaks
    assert (kind, where) == ("edited", "annotate waterbirds attention")
    assert what.startswith(f"{ANSWERS} (train-")
    assert what.endswith(": yes -> no)")
    assert row["item"]
    assert found.follow == 8  # ingest, answers, two refinements, two evaluations, provenance, table


def test_code_that_no_commit_holds_is_named(here, monkeypatch):
    monkeypatch.setattr(fingerprint, "uncommitted", lambda modules: ["methods/erm.py"])
    found = check(load_plan(), [TABLE])
    assert [kind for kind, _, _ in found.breaks] == ["dirty code"]
    assert "crayon/methods/erm.py differs from the last commit" in "\n".join(found.lines())


def refuse(text: str) -> str:
    assert "Traceback" not in text
    (line,) = [line for line in text.splitlines() if line.startswith("crayon: ")]
    return line


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.unlink(), "there is no such file"),
        (lambda path: path.write_bytes(path.read_bytes()[:200]), "is not JSON"),
        (lambda path: path.write_text("hello"), "is not JSON"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "is not JSON"),
        (lambda path: path.write_text(json.dumps({"format": 99})), "is a record of format 99.*install the later"),
    ],
)
def test_unreadable_record_gives_status_2_and_one_line(copy, spoil, words):
    import re

    path = copy.folder / "models/mini/digits/record.json"
    spoil(path)
    before = sorted((p, p.stat().st_mtime_ns) for p in copy.folder.rglob("*") if ".crayon" not in p.parts)
    text = copy.crayon("audit", TABLE, check=False)
    assert copy.status == 2
    assert "Traceback" not in text
    (line,) = [line for line in text.splitlines() if "unrecorded: models/mini/digits/record.json" in line]
    assert re.search(words, line)
    assert sorted((p, p.stat().st_mtime_ns) for p in copy.folder.rglob("*") if ".crayon" not in p.parts) == before


def test_one_number_explained(copy):
    text = copy.crayon("audit", "--allow-dirty", TABLE, "--cell", BASE)
    for words in (
        "valid: 11 jobs",
        "seed 0: ",
        "refine waterbirds crayon_attention, seeds 0 1: alpha 3000",
        "104 answers to 52 items by simulated-1, simulated-2; annotators agree on",
        "source: 104 simulated",
        ANSWERS,
        "simulated annotators",
    ):
        assert words in text
    tree = json.loads(copy.crayon("audit", "--allow-dirty", TABLE, "--cell", BASE, "--json"))
    assert tree["cell"] == BASE
    assert tree["verdict"]["valid"] is True
    pruned = copy.crayon("audit", "--allow-dirty", TABLE, "--cell", "digits/crayon_pruning/MGA")
    assert "neurons are pruned" in pruned
    one = copy.crayon("audit", "--allow-dirty", "results/mini/runs.csv", "--cell", f"{BASE}/1")
    assert "seed 1: " in one
    assert "seed 0: " not in one
    text = copy.crayon("audit", TABLE, "--cell", "waterbirds/crayon_attention/WGB", check=False)
    assert copy.status == 2
    assert f"did you mean '{BASE}'?" in refuse(text)


def test_what_an_answer_reaches(copy):
    reach = json.loads(copy.crayon("audit", "--from", ANSWERS, "--item", "train-00003", "--json"))
    assert {row["annotator"] for row in reach["answers"]} == {"simulated-1", "simulated-2"}
    assert set(reach["numbers"][TABLE]) == {BASE, BASE.replace("WGA", "MGA")}
    assert len(reach["numbers"]["results/mini/runs.csv"]) == 4
    text = copy.crayon("audit", "--from", ANSWERS, "--annotator", "simulated-2")
    assert "simulated-2: " in text
    assert "of 104 answers" in text
    data = json.loads(copy.crayon("audit", "--from", "data/mini/digits/images.npy", "--json"))
    assert len(data["numbers"][TABLE]) == 12  # all six methods on digits
    for arguments, words in (
        (("--from", "annotations/waterbirds/attention.csv"), f"did you mean '{ANSWERS}'?"),
        (("--from", ANSWERS, "--item", "train-99999"), "There is no item 'train-99999'"),
        (("--from", "data/mini/digits/images.npy", "--item", "x"), "is no file of answers"),
    ):
        text = copy.crayon("audit", *arguments, check=False)
        assert copy.status == 2
        assert words in refuse(text)


def commit(project: Project, message: str) -> None:
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", message)


@pytest.fixture
def history(copy) -> Project:
    """The copy as a git repository that tracks only results: no data, no records."""
    (copy.folder / ".gitignore").write_text("/*/mini\n!/results/mini\n/results/*.*\n/.*\n/crayon\n*.record.json\n")
    copy.run("git", "init", "-q", "-b", "main")
    copy.run("git", "config", "user.email", "test@example.org")
    copy.run("git", "config", "user.name", "test")
    commit(copy, "first")
    return copy


@pytest.mark.slow
def test_what_changed_between_two_revisions_from_git_alone(history, tmp_path):
    change_alpha(history, 9e5)
    content = yaml.safe_load((history.folder / "params.yaml").read_text())
    benchmarks = content["suites"]["mini"]["benchmarks"]
    benchmarks["digits"]["refinement"] |= {"learning_rate": 0.02, "epochs": 12}  # enough to move a number
    benchmarks["waterbirds"]["methods"]["crayon_attention"] |= {"learning_rate": 0.02, "epochs": 12}
    (history.folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    flip_one(history)
    history.snakemake(TABLE)
    commit(history, "second")
    clone = Project(tmp_path / "clone")
    history.run("git", "clone", "-q", str(history.folder), str(clone.folder))
    found = json.loads(clone.crayon("audit", "--diff", "HEAD~1", "HEAD", "--json"))
    (answers,) = found["answers"].items()
    assert answers[0] == ANSWERS
    assert [(row["old"], row["new"]) for row in answers[1]] == [("yes", "no")]
    for row in found["changed"]:
        causes = " ".join(row["causes"])
        assert ("settings.alpha 3000.0 -> 900000.0" in causes) == row["cell"].startswith("waterbirds/crayon_attention/")
        assert (f"answers: {ANSWERS}" in causes) == row["cell"].startswith("waterbirds/crayon_attention/")
        assert ("training.learning_rate 0.0" in causes) or row["cell"].startswith("digits/")
    cells = {row["cell"] for row in found["changed"]}
    before = history.run("git", "show", f"HEAD~1:{TABLE}").splitlines()[1:]
    after = (history.folder / TABLE).read_text().splitlines()[1:]
    changed = {a for a, b in zip(after, before, strict=True) if a != b}
    assert len(cells) == len(changed)
    assert changed
    text = clone.crayon("audit", "--diff", "HEAD~1", "HEAD")
    assert "1 answers changed, 0 added, 0 removed" in text
    assert "0 of 24 numbers differ between HEAD and workspace" in clone.run(
        "crayon", "audit", "--diff", "HEAD", "workspace"
    )


@pytest.mark.slow
def test_revisions_that_cannot_be_compared_are_one_sentence(history, tmp_path):
    def words(project: Project, *revisions: str) -> str:
        text = project.crayon("audit", "--diff", *revisions, check=False)
        assert project.status == 2
        return refuse(text)

    assert "there is no revision 'nowhere'" in words(history, "HEAD", "nowhere")
    (history.folder / "note").write_text("x")
    commit(history, "second")
    shallow = Project(tmp_path / "shallow")
    history.run("git", "clone", "-q", "--depth", "1", f"file://{history.folder}", str(shallow.folder))
    assert "git fetch --unshallow" in words(shallow, "HEAD~1", "HEAD")
    exported = Project(tmp_path / "exported")
    shutil.copytree(history.folder, exported.folder, symlinks=True, ignore=shutil.ignore_patterns(".git"))
    assert "this folder is not a git checkout" in words(exported, "HEAD~1", "HEAD")
    assert "valid: " in exported.crayon("audit", "--allow-dirty", TABLE)  # needs no git
    (history.folder / "results/mini/table1.provenance.json").unlink()
    commit(history, "third")
    assert "results/mini/table1.provenance.json: is not in HEAD" in words(history, "HEAD~1", "HEAD")


@pytest.mark.slow
def test_a_folder_with_blanks_and_umlauts(project, tmp_path):
    odd = Project(tmp_path / "Größe und Maß" / "ein Ordner")
    shutil.copytree(project.folder, odd.folder, symlinks=True)
    assert odd.planned() == set()
    assert "valid: " in odd.crayon("audit", "--allow-dirty", TABLE)
    (odd.folder / TABLE).unlink()
    odd.snakemake(TABLE)
    assert odd.read(TABLE) == project.read(TABLE)


@pytest.mark.slow
def test_the_crate_of_a_result_is_valid(copy, monkeypatch):
    models = pytest.importorskip("rocrate_validator.models")
    from importlib.resources import files

    from rocrate_validator import services
    from rocrate_validator.utils import http

    copy.crayon("audit", "--allow-dirty", TABLE, "--ro-crate", "crate")
    crate = copy.folder / "crate"
    assert (crate / "annotations/mini/waterbirds/attention.csv").read_bytes() == copy.read(ANSWERS)
    # The validator fetches the vocabulary of RO-Crate 1.1 from the web. The package rocrate holds that of 1.3, in which
    # four terms have other addresses.
    vocabulary = json.loads(files("rocrate").joinpath("data/ro-crate.jsonld").read_text(encoding="utf-8"))["@context"]
    for term, place in (
        ("ComputationalWorkflow", ""),
        ("FormalParameter", ""),
        ("input", "properties/"),
        ("output", "properties/"),
    ):
        vocabulary[term] = f"https://bioschemas.org/{place}{term}"

    class Answer:
        status_code, ok, headers = 200, True, {"Content-Type": "application/ld+json"}
        text = json.dumps({"@context": vocabulary})

        def json(self):
            return json.loads(self.text)

        def raise_for_status(self):
            pass

    monkeypatch.setattr(http.HttpRequester, "get", lambda self, url, **options: Answer(), raising=False)
    for profile in ("ro-crate-1.1", "process-run-crate", "workflow-ro-crate", "workflow-run-crate"):
        found = services.validate(
            services.ValidationSettings(
                rocrate_uri=str(crate),
                profile_identifier=profile,
                requirement_severity=models.Severity.REQUIRED,
                skip_availability_check=True,
                offline=True,
            )
        )
        assert found.passed(), (profile, [issue.message for issue in found.get_issues()])
    text = copy.crayon("audit", "--allow-dirty", TABLE, "--ro-crate", "crate", check=False)
    assert copy.status == 2
    assert "crate: exists already" in refuse(text)


@pytest.mark.slow
def test_a_touch_runs_nothing(copy):
    for number, path in enumerate(sorted(copy.folder.glob("*/mini/**/*"))):
        if path.is_file():
            os.utime(path, (2 * 10**9 - number, 2 * 10**9 - number))
    assert copy.planned() == set()
    assert "valid: " in copy.crayon("audit", "--allow-dirty", TABLE)


@pytest.mark.slow
def test_two_at_once_one_trains_the_changed_method_alone(copy):
    before = {path: path.stat().st_ino for path in copy.folder.glob("runs/mini/*/*/*/last.safetensors")}
    change_alpha(copy)
    command = ["snakemake", "--cores", "2", "--", TABLE]
    first = subprocess.Popen(
        command, cwd=copy.folder, env=copy.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    turn = copy.folder / ".crayon/running.pid"
    while not (turn.exists() and turn.read_text().strip() == str(first.pid)):
        assert first.poll() is None
    text = copy.snakemake(TABLE, check=False)
    assert copy.status != 0
    assert f"process {first.pid} runs the workflow in this folder" in refuse(text)
    assert first.wait() == 0
    assert copy.planned() == set()
    trained = {path for path, inode in before.items() if path.stat().st_ino != inode}
    assert trained == set(copy.folder.glob("runs/mini/waterbirds/crayon_attention/*/last.safetensors"))
    assert len(trained) == 2  # seeds


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_the_next_run_mends_it(copy, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        runs = copy.folder / "runs/mini/waterbirds/crayon_attention"
        shutil.rmtree(runs)
        runs.symlink_to(disk)
        change_alpha(copy)
        text = copy.snakemake(TABLE, check=False)
        assert copy.status != 0
        assert "the disk is full; nothing was written" in text
        assert "Traceback" not in text
        assert not list(disk.rglob("record.json"))
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        copy.snakemake(TABLE)
        assert copy.planned() == set()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)

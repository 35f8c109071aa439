"""One tiny project, run once through the real commands, for all tests of the chain."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from .. import paper, tiny
from ..commands import crayon

TABLE = "results/mini/table1.csv"


class Project:
    """A folder with a tiny suite, and the commands run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def environment(self) -> dict[str, str]:
        """This environment's tools first, and nothing of the user's."""
        return os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "1",
            "GIT_CEILING_DIRECTORIES": str(self.folder.parent),
            "XDG_CACHE_HOME": str(self.folder / ".cache"),
        }

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command; return its output, both streams."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if check:
            assert done.returncode == 0, done.stdout[-6000:]
        self.status = done.returncode
        return done.stdout

    def crayon(self, *arguments: str, check: bool = True) -> str:
        """Run a command of Crayon in this process, which saves its start-up; return its output, both streams."""
        done = crayon(*arguments, cwd=self.folder)
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        self.status = done.returncode
        return done.stdout + done.stderr

    def snakemake(self, *arguments: str, check: bool = True) -> str:
        return self.run("snakemake", "--cores", "2", *arguments, check=check)

    def planned(self, target: str = TABLE) -> set[str]:
        """Rule and benchmark of the jobs that a dry run would run."""
        text = self.run("snakemake", "--cores", "2", "-n", "--quiet", "progress", "--", target)
        if "Nothing to be done" in text:
            return set()
        found = set()
        for block in re.split(r"\n *(?=(?:local)?rule )", text):  # indented where jobs would be submitted together
            rule = re.match(r"(?:local)?rule (\w+):", block)
            if rule:
                named = re.search(r"wildcards: (.*)", block)
                values = dict(pair.split("=") for pair in named[1].split(", ")) if named else {}
                values.pop("suite", None)
                found.add(" ".join([re.sub(r"_\d+$", "", rule[1]), *values.values()]))
        return found

    def read(self, path: str) -> bytes:
        return (self.folder / path).read_bytes()

    def numbers(self) -> dict[str, bytes]:
        """The tables of all results, by name, without times."""
        found = self.folder.glob("results/*/*.csv")
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in found if path.name != "runtime.csv"}

    def keep(self, path: str):
        """Remember a file; return a function that restores it with a new modification time, as an editor would."""
        content = self.read(path)
        return lambda: (self.folder / path).write_bytes(content)


def make(folder: Path) -> Project:
    content = tiny.params()
    suite = content["suites"]["mini"]
    suite["methods"] = ["crayon_attention", "crayon_pruning", "jtt", "flac", "erm"]
    suite["controls"], suite["studies"] = {}, {}
    return Project(tiny.write(folder, content))


@pytest.fixture(scope="session")
def shared(tmp_path_factory, worker_id) -> Callable[[str, Callable[[Path], str]], tuple[Project, str]]:
    """Makes a project once for all processes of pytest-xdist, by whichever comes first; each gets a copy of its own.

    It is given a name, and what fills a folder that is not there yet and returns what was printed.
    """
    alone = worker_id == "master"
    root = tmp_path_factory.getbasetemp() if alone else tmp_path_factory.getbasetemp().parent

    def find(name: str, fill: Callable[[Path], str]) -> tuple[Project, str]:
        filled, output = root / name / "project", root / name / "output"
        with FileLock(root / f"{name}.lock"):
            if not output.exists():
                shutil.rmtree(root / name, ignore_errors=True)
                (root / name).mkdir()
                output.write_text(fill(filled), encoding="utf-8")
        own = tmp_path_factory.mktemp(f"own-{name}") / "project"
        shutil.copytree(filled, own, symlinks=True)
        return Project(own), output.read_text(encoding="utf-8")

    return find


@pytest.fixture(scope="session")
def project(shared) -> Project:
    """The tiny project after `snakemake results/mini/table1.csv`."""
    found, found.first_output = shared("chain", lambda folder: make(folder).snakemake(TABLE))
    return found


@pytest.fixture(scope="session")
def whole(shared) -> Project:
    """The suite `paper`, scaled down, after `snakemake` without a target."""

    def fill(folder: Path) -> str:
        root = folder.with_name("served")
        root.mkdir()
        with paper.served(root) as address:
            return Project(paper.whole(folder, root, address)).snakemake()

    found, found.first_output = shared("paper", fill)
    return found


@pytest.fixture
def copy(project, tmp_path) -> Project:
    """A copy of the tiny project that a test may damage."""
    shutil.copytree(project.folder, tmp_path / "copy", symlinks=True)
    return Project(tmp_path / "copy")


@pytest.fixture(scope="session")
def versioned(project, shared) -> Project:
    """The project under git and DVC, `dvc repro` after `snakemake`."""
    found, found.repro = shared("dvc", lambda folder: version(project, folder))
    return found


def version(project: Project, folder: Path) -> str:
    """Copy the project into a git and DVC repository; return what `dvc repro` prints."""
    shutil.copytree(project.folder, folder, symlinks=True)
    found = Project(folder)
    (folder / "crayon").symlink_to(tiny.ROOT / "crayon")  # dvc.yaml depends on the code
    (folder / ".gitignore").write_text(
        "/raw\n/data\n/models\n/interpretations\n/annotations\n/labels\n/runs\n/curves\n/evaluations\n/auxiliary\n/sources\n"
        "/results/*.*\n/results/*/stored\n"
    )
    found.run("git", "init", "-q", "-b", "main")
    found.run("git", "config", "user.email", "test@example.org")
    found.run("git", "config", "user.name", "test")
    found.run("dvc", "init", "-q")
    shutil.copytree(tiny.ROOT / ".dvc/plots", folder / ".dvc/plots")
    before = found.run("sh", "-c", "ls -i runs/*/*/*/*/last.safetensors")
    said = found.run("dvc", "repro")
    assert found.run("sh", "-c", "ls -i runs/*/*/*/*/last.safetensors") == before  # nothing was trained
    found.run("git", "add", "-A")
    found.run("git", "commit", "-qm", "first")
    return said


@pytest.fixture
def mine(versioned, tmp_path) -> Project:
    """A copy of the project under git and DVC, with its cache, that a test may damage."""
    shutil.copytree(versioned.folder, tmp_path / "mine", symlinks=True)
    found = Project(tmp_path / "mine")
    found.repro = versioned.repro
    return found

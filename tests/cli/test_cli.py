"""The command line: a fault gives one sentence and an exit status, no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from crayon.cli.app import main

from .. import tiny
from ..commands import crayon, process, refused


@pytest.fixture
def project(tmp_path):
    return tiny.write(tmp_path)


def test_version_and_help_need_no_project(tmp_path):
    assert process("--version", cwd=tmp_path).stdout == "crayon 0.2.0\n"
    verbs = process("--help", cwd=tmp_path).stdout
    for verb in (
        "download",
        "original",
        "interpret",
        "answer",
        "annotate",
        "ingest",
        "refine",
        "evaluate",
        "render",
        "audit",
    ):
        assert verb in verbs


def test_check_says_what_the_suite_holds(project):
    assert "suite mini: waterbirds, digits" in process("check", cwd=project).stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("download", "waterbird"), "There is no benchmark 'waterbird'; did you mean 'waterbirds'?"),
        (("refine", "waterbirds", "ermm"), "There is no run 'ermm'; did you mean 'erm'?"),
        (("refine", "waterbirds", "erm", "--seed", "77"), "no job 'refine waterbirds erm 77'"),
        (("answer", "waterbirds", "attenton"), "There is no kind 'attenton'; did you mean 'attention'?"),
        (("render", "table9"), "There is no result 'table9'; did you mean 'table"),
        (("render", "figure4", "--show"), "--show is for quick, table1, "),
        (("original", "waterbirds"), "data/mini/waterbirds/manifest.csv: there is no such file"),
        (("audit",), "results/mini: has no result yet"),
        (("audit", "results/table9.csv"), "did you mean 'results/mini/table"),
    ],
)
def test_a_wrong_argument_or_a_missing_input_is_one_sentence(project, arguments, words):
    assert words in refused(crayon(*arguments, cwd=project))


def test_without_params_the_sentence_says_where_to_go(tmp_path):
    assert "params.yaml: there is no such file" in refused(process("check", cwd=tmp_path))


def test_a_wrong_param_is_one_sentence(project):
    content = yaml.safe_load((project / "params.yaml").read_text())
    content["suites"]["mini"]["compute"]["treads"] = 1
    (project / "params.yaml").write_text(yaml.safe_dump(content))
    assert "'treads'; did you mean 'threads'?" in refused(crayon("check", cwd=project))


def test_a_folder_that_cannot_be_written_is_one_sentence(project):
    (project / "data").write_text("in the way")
    message = refused(crayon("download", "waterbirds", cwd=project))
    assert "cannot be written" in message
    assert not list(project.glob("**/*.part"))


def test_a_full_disk_leaves_nothing_half_written(project):
    """A limit on the size of files stands in for the disk: a write fails half way through images.npy."""
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        "from crayon.cli.app import main; sys.argv = ['crayon', 'download', 'waterbirds']; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=project, capture_output=True, text=True, check=False)
    message = refused(done)
    assert "images.npy: the disk is full; nothing was written" in message
    assert not any(path.is_file() for path in (project / "data").rglob("*"))


def test_no_verb_loads_what_it_does_not_need(project):
    """Start-up: neither params, images nor answers load torch or pandas; steps that compute on drawn images load
    neither torchvision, which takes as long as torch itself, nor pandas, matplotlib or skimage."""
    script = (
        "import sys; from crayon.report.build import load_plan; load_plan();"
        "import crayon.pipeline.steps.download, crayon.pipeline.steps.ingest;"
        "light = {'torch', 'pandas', 'matplotlib', 'skimage', 'sklearn', 'snakemake'} & set(sys.modules);"
        "import crayon.pipeline.steps as steps; from importlib import import_module;"
        "names = 'pretrain original interpret simulate refine evaluate auxiliary stage_one'.split();"
        "[import_module(f'{steps.__name__}.{name}') for name in names];"
        "heavy = {'torchvision', 'pandas', 'matplotlib', 'skimage', 'sklearn', 'snakemake', 'seaborn'};"
        "heavy &= set(sys.modules);"
        "print(sorted(light), sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=project, capture_output=True, text=True, check=True)
    assert done.stdout == "[] []\n"


def test_a_full_gpu_is_one_sentence(capsys):
    from torch import OutOfMemoryError

    def run():
        raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    with pytest.raises(SystemExit, match="1"):
        main(run)
    said = capsys.readouterr().err
    assert said.startswith("crayon: there is no room on the GPU; ")
    assert said.endswith("Tried to allocate 2.00 GiB.\n")


def test_the_log_holds_the_sentence_too(project):
    process("--log", "logs/x.log", "download", "waterbird", cwd=project)
    assert "There is no benchmark" in Path(project / "logs/x.log").read_text()


def test_a_secret_line_is_printed_and_not_logged(tmp_path, capsys, monkeypatch):
    from crayon.utils import log

    monkeypatch.setattr(log.logger, "handlers", list(log.logger.handlers))
    log.log_to(tmp_path / "log.txt")
    log.report("http://here/?token=1", secret=True)
    log.report("said")
    assert (tmp_path / "log.txt").read_text() == "said\n"
    assert "token=1" in capsys.readouterr().err


def test_the_library_is_silent_unless_asked():
    program = "from crayon.utils.log import report; report('progress')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")

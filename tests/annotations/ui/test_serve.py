"""`crayon annotate`: what is refused at start, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest

from crayon.annotations.answers import read_answers
from crayon.utils.files import write_npy

from ...commands import crayon, refused
from . import made
from .serving import Server

KIND = ("annotate", made.NAME, "--kind", "attention", "--port", "0")


@pytest.fixture
def project(tmp_path):
    return made.make(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("annotate", "waterbird", "--kind", "attention"), "did you mean 'waterbirds'"),
        (("annotate", made.NAME, "--kind", "maps"), "There is no kind 'maps'"),
        ((*KIND, "--order", "radnom"), "did you mean 'random'"),
        ((*KIND, "--annotator", "../ann"), "--annotator '../ann': A name has up to 64"),
        ((*KIND, "--host", "no.such.host.invalid"), "--host no.such.host.invalid: is not an address"),
        (
            ("annotate", "digits", "--kind", "attention"),
            "suites.mini.benchmarks.digits.annotation: its source is",
        ),
    ],
)
def test_a_wrong_argument_is_one_sentence(project, arguments, words):
    assert words in refused(crayon(*arguments, cwd=project))
    assert not (project / "annotations").exists()


def test_missing_and_malformed_files_are_one_sentence(project):
    maps = project / "interpretations/mini" / made.NAME / "maps.npy"
    write_npy(maps.with_name("logits.npy"), np.zeros((3, 2), np.float32))
    message = refused(crayon(*KIND, "--grid", "8", cwd=project))
    assert "logits.npy: is (3, 2), not one row for each of the 30 maps" in message
    maps.with_name("logits.npy").unlink()
    assert "logits.npy: there is no such file; make it with" in refused(crayon(*KIND, "--grid", "8", cwd=project))
    write_npy(maps, np.zeros((3, 2, 2), np.float16))
    assert "not a map of floats for each of the 30 training images" in refused(crayon(*KIND, cwd=project))
    maps.unlink()
    assert "maps.npy: there is no such file; make it with `snakemake" in refused(crayon(*KIND, cwd=project))
    answers = project / made.ANSWERS / "attention.csv"
    answers.parent.mkdir(parents=True)
    answers.write_text("item,annotator,answer\ntrain-00000,ann,blue\n")
    made_again = ("annotate", made.NAME, "--kind", "neurons")
    (answers.parent / "neurons.csv").write_bytes(answers.read_bytes())
    assert "line 2" in refused(crayon(*made_again, cwd=project))


def test_a_taken_port_is_one_sentence(project):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        message = refused(crayon("annotate", made.NAME, "--kind", "attention", "--port", port, cwd=project))
    assert f"--port {port}: is used" in message


def test_the_end_says_how_many_answers_were_given_and_where(project):
    with Server(project, "--annotator", "ann", "--annotator", "ben") as server:
        assert server.said[0].startswith("ann: http://127.0.0.1:")
        assert server.said[0].endswith("/?annotator=ann")
        second = crayon(*KIND, cwd=project)
        assert f"another program is adding answers to it (process {server.process.pid})" in refused(second)
        for number in range(3):
            server.give(number, "ann")
        server.give(0, "ben")
        server.give(0, "ben", "no")
        status, words = server.stop()
    assert status == 0
    assert words.splitlines()[-1] == (
        "5 answers given; annotations/mini/waterbirds/attention.csv holds 4: ann 3, ben 1."
    )
    assert "Traceback" not in words


def test_a_termination_ends_it_as_ctrl_c_does(project):
    with Server(project) as server:
        status, words = server.stop(signal.SIGTERM)
    assert (status, words.splitlines()[-1]) == (
        0,
        "0 answers given; annotations/mini/waterbirds/attention.csv holds none.",
    )


def test_killed_between_two_answers_it_loses_none(project):
    answers = project / made.ANSWERS / "attention.csv"
    given = {}
    for start in range(3):
        with Server(project) as server:
            assert server.session("ann")["answers"].count("y") == len(given)
            for number in range(4 * start, 4 * start + 4):
                server.give(number, "ann")
                given[number] = "yes"
            server.process.kill()
    known = [f"train-{n:05d}" for n in range(30)]
    assert len(read_answers(answers, known, made.digest(project))) == len(given) == 12


def test_another_host_demands_the_token_of_the_link(project):
    with Server(project, "--host", "0.0.0.0", "--annotator", "ann") as server:
        link = re.search(r"http://\S+:(\d+)/\?token=([0-9a-f]{32})$", server.said[0])
        assert link
        here = f"http://127.0.0.1:{link[1]}"
        assert httpx.get(here + "/").status_code == 403
        assert httpx.get(f"{here}/?token={link[2]}").status_code == 200
        answered = httpx.get(here + "/api/session", headers={"X-Crayon-Token": link[2]}).json()
        assert answered["annotator"] == "ann"


def test_the_page_loads_neither_matplotlib_nor_pandas(project):
    script = (
        "import sys, crayon.annotations.ui.serve; print(sorted({'matplotlib', 'pandas', 'skimage'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=project, capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout == "[]\n"
    assert Path(project).exists()

"""A real server process, and a plain client for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx

from . import made


class Server:
    """Run `crayon annotate` in a project for the `with` block; kill it if it was not stopped."""

    def __init__(
        self,
        project: Path,
        *arguments: str,
        kind: str = "attention",
        port: int = 0,
        order: str | None = "random",
        min_seconds: float = 0.05,
    ) -> None:
        command = [
            sys.executable,
            "-m",
            "crayon",
            "annotate",
            made.NAME,
            "--kind",
            kind,
            "--port",
            str(port),
            *(("--order", order) if order else ()),
            *("--min-seconds", str(min_seconds)),
            *arguments,
        ]
        self.process = subprocess.Popen(
            command, cwd=project, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self.said: list[str] = []
        for line in self.process.stderr:
            self.said.append(line.strip())
            if "Ctrl-C" in line:
                break
        else:
            raise AssertionError("\n".join(self.said))
        links = [word for line in self.said for word in line.split() if word.startswith("http://")]
        *self.links, self.overview = links
        self.address = links[0].split("?")[0].rstrip("/")
        self.client = httpx.Client(base_url=self.address)
        self.shown: dict[str, str] = {}

    @property
    def port(self) -> int:
        return int(self.address.rsplit(":", 1)[1])

    def session(self, annotator: str) -> dict:
        return self.client.get("/api/session", headers={"X-Crayon-Annotator": annotator}).raise_for_status().json()

    def give(self, number: int, annotator: str, said: str = "yes", seconds: float = 1.0) -> httpx.Response:
        if annotator not in self.shown:
            self.shown[annotator] = self.session(annotator)["shown"]
        return self.client.post(
            "/api/answers",
            json={"answers": {said: [number]}, "seconds": seconds},
            headers={"X-Crayon-Annotator": annotator, "X-Crayon-Shown": self.shown[annotator]},
        ).raise_for_status()

    def stop(self, how: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """The exit status, and the output at the end."""
        self.process.send_signal(how)
        words = self.process.communicate(timeout=20)[1]
        return self.process.returncode, words

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stderr and not self.process.stderr.closed:
            self.process.stderr.close()

"""The annotation page: time of an answer, the server's memory before and after, and the pace of a scripted browser.

    python perf/page.py --answers 1000 --presses 100

Makes up a benchmark (noise, random maps), starts `crayon annotate` as a process of its own, and answers in two ways:

- A client requests what the page does: the item, its three pictures, the answer, one after another, by two annotators
  in turn. Every tenth answer is changed. The server's time is what it says itself (Server-Timing); the client's is from
  request to response.
- A browser (Chromium, driven by Playwright) presses Y as soon as the page accepts an answer, which is half a second
  after the screen appeared (`--min-seconds`), one by one and with `--grid 12`; in every second group, it takes out two
  pictures and presses Shift-Y. It never waits for the server; a press that the page refuses counts as refused. `next
  screen` is the time from the key until the next screen is in the page, `painted` until its frame is painted (at 60 Hz,
  a frame is painted every 17 ms). So the pace is that of somebody who needs no time to think, and not of people.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import yaml
from harness import Table, device_name, parser, positive, stop

from crayon.data.dataset import write_manifest
from crayon.utils.files import write_npy

ROOT = Path(__file__).parent.parent
NAME = "waterbirds"
VIEWS = ("image", "overlaid", "red")
GRID = 12
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def make(folder: Path, images: int, size: int) -> None:
    """A project whose benchmark has so many training images."""
    content = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    benchmark = content["suites"]["mini"]["benchmarks"][NAME]
    benchmark["annotation"] = {"source": "people"}
    (folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    generator = np.random.default_rng(0)
    classes = benchmark["classes"]
    data = folder / "data/mini" / NAME
    rows = [(f"train-{n:05d}", "train", classes[n % 2], benchmark["groups"][0]) for n in range(images)]
    write_manifest(data / "manifest.csv", rows)
    write_npy(data / "images.npy", generator.integers(0, 256, (images, size, size, 3), dtype=np.uint8))
    write_npy(data / "masks.npy", np.zeros((0, size, size), bool))
    maps = generator.random((images, 7, 7)).astype(np.float16)
    write_npy(folder / "interpretations/mini" / NAME / "maps.npy", maps)
    logits = generator.normal(size=(images, len(classes))).astype(np.float32)
    write_npy(folder / "interpretations/mini" / NAME / "logits.npy", logits)


def start(folder: Path, *arguments: str) -> tuple[subprocess.Popen, str]:
    """The server's process, and its address."""
    command = [sys.executable, "-m", "crayon", "annotate", NAME, "--kind", "attention", "--port", "0", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if line.startswith("http://"):
            return process, line.strip().rstrip("/")
    raise SystemExit(f"the server did not start (status {process.wait()})")


def memory(pid: int) -> float:
    """Anonymous memory of the process in MiB, without mapped files."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return int(status["RssAnon"].split()[0]) / 1024


def answer(client: httpx.Client, number: int, said: str, who: dict[str, str]) -> tuple[float, float]:
    """Milliseconds of the server, and from request to response."""
    started = time.perf_counter()
    body = {"answers": {said: [number]}, "seconds": 1.0}
    response = client.post("/api/answers", json=body, headers=who).raise_for_status()
    whole = 1000 * (time.perf_counter() - started)
    return float(response.headers["server-timing"].split("dur=")[1]), whole


def show(client: httpx.Client, number: int, who: dict[str, str]) -> list[float]:
    """Milliseconds of the server for each picture of an item."""
    client.get(f"/api/items/{number}", headers=who).raise_for_status()
    pictures = (client.get(f"/api/items/{number}/{view}.png", headers=who).raise_for_status() for view in VIEWS)
    return [float(picture.headers["server-timing"].split("dur=")[1]) for picture in pictures]


def browse(address: str, presses: int) -> dict[str, list[float]]:
    """Answer as fast as the page accepts answers.

    Returns:
        `pace`: answers a minute; `refused`: presses that did not count; `next screen` and `painted`: milliseconds.
    """
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        stop(f"there is no browser; install one of {', '.join(BROWSERS)}, or give --presses 0.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1280, "height": 800})
        tab.goto(f"{address}/?annotator=cem")
        tab.locator("#guide").wait_for()
        tab.keyboard.press("Enter")
        tab.locator("#ask").wait_for()
        refused = 0
        began = time.perf_counter()
        for press in range(presses):
            key = "y"
            if tab.locator("#grid li").count() > 2 and press % 2:
                for name in ("ArrowRight", "Space", "ArrowRight", "Space"):
                    tab.keyboard.press(name)
                key = "Shift+Y"
            tab.locator("#answers:not([data-wait])").wait_for()
            tab.keyboard.press(key)
            refused += tab.locator("#refusal").inner_text() != ""
        took = time.perf_counter() - began
        answered = int(tab.locator("#bar").evaluate("bar => bar.value"))
        times = "name => performance.getEntriesByName(name).map(({ duration }) => duration)"
        measured = {
            name: tab.evaluate(times, f"key to {long}")
            for name, long in {"next screen": "next screen", "painted": "painted screen"}.items()
        }
        browser.close()
    return {"pace": [60 * answered / took], "refused": [refused], **measured}


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--answers", type=positive, default=1000)
    made.add_argument("--images", type=positive, default=4795, help="as many as Waterbirds has to train on")
    made.add_argument("--size", type=positive, default=224)
    made.add_argument("--presses", type=int, default=100, help="answering keys of the browser; 0: no browser")
    options = made.parse_args()
    if options.presses * GRID >= options.images:
        stop(f"--presses {options.presses}: too many; give more than {GRID} times as many --images.")
    setting = f"{options.answers} answers, {options.presses} presses, {options.images} images of {options.size} px"
    table = Table("page", setting, device_name())
    given, changed, pictures = [], [], []
    paces: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix="crayon-page-") as name:
        make(Path(name), options.images, options.size)
        began = time.perf_counter()
        process, address = start(Path(name))
        ready = time.perf_counter() - began
        try:
            with httpx.Client(base_url=address, timeout=60) as client:
                annotators = [{"X-Crayon-Annotator": who} for who in ("ann", "ben")]
                for who in annotators:
                    session = client.get("/api/session", headers=who).raise_for_status().json()
                    who["X-Crayon-Shown"] = session["shown"]
                show(client, 0, annotators[0])
                before = memory(process.pid)
                for count in range(options.answers):
                    number, who = count // 2, annotators[count % 2]
                    pictures += show(client, number, who)
                    given.append(answer(client, number, "yes", who))
                    if count % 10 == 9:
                        changed.append(answer(client, number, "no", who))
                after = memory(process.pid)
        finally:
            process.terminate()
            process.communicate()
        for variant, arguments in {"one by one": (), f"grid {GRID}": ("--grid", str(GRID))}.items():
            if options.presses < 1:
                break
            process, address = start(Path(name), "--goal", "0", *arguments)
            try:
                paces[variant] = browse(address, options.presses)
            finally:
                process.terminate()
                process.communicate()
            (Path(name) / f"annotations/mini/{NAME}/attention.csv").unlink()
    table.add("ready", "from its start", [ready])
    for (measured, variant), values in {
        ("answer", "server"): [server for server, _ in given],
        ("answer", "client"): [client for _, client in given],
        ("changed answer", "server"): [server for server, _ in changed],
        ("picture", "server"): pictures,
    }.items():
        if values:
            table.add(measured, variant, values, "ms", percentile_99=np.percentile(values, 99))
    table.add("server's memory", "before", [before], "MB")
    table.add("server's memory", "after", [after], "MB")
    for variant, one in paces.items():
        table.add("pace of a browser", variant, one["pace"], "answers/min")
        table.add("presses refused", variant, one["refused"], "presses")
        for measured in ("next screen", "painted"):
            table.add(measured, variant, one[measured], "ms", percentile_99=np.percentile(one[measured], 99))
    table.finish(options.csv)


if __name__ == "__main__":
    main()

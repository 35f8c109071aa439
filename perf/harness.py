"""What the benchmarks share: their options, timing in turns, peak memory, one table and one CSV file.

Torch is loaded only where a clock or a memory reading is asked for, so that benchmarks without it start at once.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

FOLDER = Path("build/perf")
"""Where CSV files go unless --csv says otherwise; git ignores it."""

PACKAGES = ("crayon-attention", "torch", "torchvision", "numpy", "pillow", "snakemake", "dvc")


def parser(doc: str, repeats: str | None = None) -> argparse.ArgumentParser:
    """A parser with --csv; with --repeats too if `repeats`, the text for its default value, is given."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if repeats is not None:
        made.add_argument("--repeats", type=positive, help=f"how often each is timed (default {repeats})")
    made.add_argument("--csv", type=Path, help="the CSV file (default: build/perf/<name>.csv)")
    return made


def add_compute(made: argparse.ArgumentParser) -> None:
    """--device and --threads."""
    made.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    made.add_argument("--threads", type=positive, default=os.cpu_count(), help="of PyTorch on the CPU (default: all)")


def positive(text: str) -> int:
    """An argument that must be 1 or more."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"is {number}; it must be 1 or more")
    return number


def start(options: argparse.Namespace) -> torch.device:
    """Set up PyTorch as crayon's commands do, and return the device chosen by --device."""
    from crayon.utils.device import start_torch
    from crayon.utils.errors import CrayonError

    try:
        return start_torch(options.threads, options.device)
    except CrayonError as error:
        stop(str(error))


def stop(message: str) -> None:
    """Print a one-line message and exit with status 1."""
    print(f"FAILED  {message}", file=sys.stderr)
    sys.exit(1)


def demand(what: str, difference: float, tolerance: float) -> None:
    """Stop unless two formulations agree."""
    if not difference <= tolerance:  # NaN too
        stop(f"{what} of ours and of the plain formulation differ by {difference:.3g}, above {tolerance:g}.")


class Clock:
    """Seconds of calls, waiting for the GPU before and after."""

    def __init__(self, device: torch.device | None = None) -> None:
        self.device = device

    def __call__(self, run: Callable[[], object]) -> float:
        """Seconds that `run()` takes."""
        self.wait()
        started = time.perf_counter()
        run()
        self.wait()
        return time.perf_counter() - started

    def wait(self) -> None:
        """Wait until the GPU is idle."""
        if self.device is not None and self.device.type == "cuda":
            import torch

            torch.cuda.synchronize(self.device)


def in_turn(takes: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """What each of `takes` returns, `repeats` times, one after another, so that the machine's load meets all alike."""
    found: dict[str, list[float]] = {name: [] for name in takes}
    for _ in range(repeats):
        for name, take in takes.items():
            found[name].append(take())
    return found


def peak_memory(device: torch.device, run: Callable[[], object]) -> float | None:
    """Peak memory of `run()` in MB above the memory in use before; None if the system does not report it.

    On a GPU what PyTorch allocates; on a CPU the process's resident memory, of which glibc gives back what is free
    beforehand (Linux alone).
    """
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - before) / 1e6
    try:
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        before = status("VmRSS")
        run()
        return status("VmHWM") - before
    except OSError:
        return None


def status(key: str, process: int | str = "self") -> float:
    """A memory value such as VmRSS that the kernel reports for a process, in MB; OSError if it reports none."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError(f"the kernel tells no {key} of {process}")


def device_name(device: torch.device | None = None, threads: int | None = None) -> str:
    """The card's name, or the processor's and how much of it is used."""
    if device is not None and device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    model = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return f"CPU ({model}), {os.cpu_count()} processors" + (f", {threads} threads" if threads else "")


def versions() -> str:
    """Python's version, and those of the packages that are installed."""
    found = [f"python {platform.python_version()}"]
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found.append(f"{package} {metadata.version(package)}")
    return "; ".join(found)


@dataclass
class Table:
    """The measurements of one benchmark.

    Attributes:
        name: of the benchmark; the CSV file's, too.
        setting: a description of the measured configuration.
        device: see `device_name`.
        rows: one a measurement.
    """

    name: str
    setting: str
    device: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    load: str = field(default_factory=lambda: " ".join(f"{value:.2f}" for value in os.getloadavg()))

    def add(self, measured: str, variant: str, values: Sequence[float], unit: str = "s", **more: Any) -> None:
        """A row: `values` become repeats, median, least and greatest; `more` are columns of its own, numbers or words.

        A column that is None is empty.
        """
        spread = {"median": statistics.median(values), "least": min(values), "greatest": max(values)}
        self.rows.append(
            {"measured": measured, "variant": variant, "unit": unit, "repeats": len(values)} | spread | more
        )

    def add_compared(
        self,
        measured: str,
        seconds: Mapping[str, Sequence[float]],
        base: str | None,
        images: int | None = None,
        more: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """A row for each variant, with images a second and, turn by turn, how many times faster than `base` it is.

        Args:
            images: how many images a call takes.
            more: variant -> further columns.
        """
        for variant, values in seconds.items():
            columns: dict[str, Any] = {}
            if images is not None:
                columns["images_per_second"] = images / statistics.median(values)
            if base is not None:
                turns = [one / other for one, other in zip(seconds[base], values, strict=True)]
                columns |= {
                    "ratio": statistics.median(turns),
                    "ratio_least": min(turns),
                    "ratio_greatest": max(turns),
                }
            self.add(measured, variant, values, **columns, **(more or {}).get(variant, {}))

    def finish(self, csv: Path | None) -> None:
        """Print the table and publish the CSV file."""
        import pandas as pd

        from crayon.utils.files import publish

        print(f"{self.name}: {self.setting}\n{self.device}; {versions()}; load before {self.load}\n")
        frame = pd.DataFrame(self.rows)
        print(frame.to_string(index=False, na_rep="-", float_format=lambda value: f"{value:.4g}"))
        path = csv or FOLDER / f"{self.name}.csv"
        same = {"setting": self.setting, "device": self.device, "versions": versions(), "load": self.load}
        path.parent.mkdir(parents=True, exist_ok=True)
        with publish(path) as file:
            frame.assign(benchmark=self.name, **same).to_csv(
                file, index=False, float_format="%.6g", lineterminator="\n"
            )
        print(f"\nwritten: {path}")

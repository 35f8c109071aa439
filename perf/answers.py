"""Reading answers: seconds and peak memory for a million rows, each with all columns.

    python perf/answers.py --rows 1000000

Writes the file as people's pages write it (digests of 64 digits, times, two annotators an item), and reads it as
ingestion does, every check included.
"""

from __future__ import annotations

import hashlib
import resource
import tempfile
import time
from pathlib import Path

from harness import Table, device_name, parser, positive, stop

from crayon.annotations.answers import COLUMNS, read_answers


def write(path: Path, rows: int) -> tuple[list[str], str]:
    """The items and the digest of what was shown."""
    digest = hashlib.sha256(b"shown").hexdigest()
    items = [f"train-{number:07d}" for number in range((rows + 1) // 2)]
    with path.open("w", encoding="utf-8") as file:
        file.write(",".join(COLUMNS) + "\n")
        for number in range(rows):
            said = ("yes", "No", "unsure")[number % 3]
            file.write(
                f"{items[number // 2]},annotator-{number % 2},{said},{number % 90 / 10},2026-01-01T00:00:00Z,people,"
                f"page 1,{digest},\n"
            )
    return items, digest


def main() -> None:
    made = parser(__doc__, "3")
    made.add_argument("--rows", type=positive, default=1_000_000)
    options = made.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "answers.csv")
        items, digest = write(path, options.rows)
        table = Table("answers", f"{options.rows} rows, {path.stat().st_size / 1e6:.0f} MB", device_name())
        taken, processor = [], []
        for _ in range(options.repeats or 3):
            started, used = time.monotonic(), time.process_time()
            answers = read_answers(path, items, digest)
            taken.append(time.monotonic() - started)
            processor.append(time.process_time() - used)
            if len(answers) != options.rows:
                stop(f"{len(answers)} of {options.rows} answers were read.")
            del answers
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    table.add("reading answers", "wall", taken, peak_mb=peak)
    table.add("reading answers", "processor", processor)
    table.finish(options.csv)


if __name__ == "__main__":
    main()

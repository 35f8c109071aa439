"""Does the chain below a result still hold? Params, code, and every file read and written, against the records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .errors import RecordError
from .jobs import Plan
from .ledger import Ledger
from .records import Digests


def run(plan: Plan, targets: Sequence[str], full: bool = False) -> bool:
    """Print a verdict on each target, and every break by name; True if all hold.

    Args:
        targets: outputs of the plan; those of results/ that exist if empty.
        full: do not trust remembered digests.

    Raises:
        RecordError: no target is given and none exists, or a target is not the plan's.
    """
    if not targets:
        targets = [path for path in plan.producers if path.startswith("results/") and Path(path).exists()]
        if not targets:
            raise RecordError("results/: holds no result yet; make one with `snakemake --cores 2 results/table1.csv`.")
    digests = Digests()
    if full:
        digests.known = {}
    ledger = Ledger(plan, digests)
    broken: dict[str, list[str]] = {}
    for target in targets:
        jobs = plan.below(target)
        bad = [job for job in jobs if ledger.breaks(job)]
        broken |= {job.name: ledger.breaks(job) for job in bad}
        edited = [path for job in jobs if (path := ledger.edited(job))]
        verdict = f"broken: {len(bad)} of {len(jobs)} jobs do not hold" if bad else f"holds: {len(jobs)} jobs"
        print(f"{target}  {verdict}" + "".join(f"; edited by hand: {path}" for path in edited))
    for name, reasons in broken.items():
        own = [reason for reason in reasons if not reason.startswith("stale:")]
        for reason in own:
            print(f"  {name}: {reason}")
    if broken:
        follow = sum(all(reason.startswith("stale:") for reason in reasons) for reasons in broken.values())
        if follow:
            print(f"  and {follow} jobs that depend on these")
    digests.save()
    return not broken

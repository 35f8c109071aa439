"""The provenance of a table, <table>.provenance.json: the records of all jobs that the table depends on."""

from __future__ import annotations

from functools import partial

from crayon.pipeline.plan import Plan
from crayon.pipeline.provenance import Provenance
from crayon.pipeline.record import Recording, read_record
from crayon.utils.files import write_json
from crayon.utils.log import report


def run(plan: Plan, result: str) -> None:
    """Write the provenance of a table; `result` is the name of the rule that renders the table."""
    job = plan.find("provenance", result=result)
    recording = Recording(job)
    content = Provenance.of(plan.suite, {name: read_record(path) for name, path in job.inputs.items()})
    recording.publish({"provenance": partial(write_json, value=content.content())})
    report(f"provenance {result}  {len(content.jobs)} jobs -> {job.outputs['provenance']}")

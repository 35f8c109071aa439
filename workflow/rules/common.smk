# The plan of the active suite, and what the rules ask of it.
import atexit
import os
import re
import sys
from pathlib import Path

from crayon.pipeline.snakemake import Workflow
from crayon.report.build import load_plan
from crayon.report.registry import RESULTS
from crayon.utils.errors import CrayonError
from crayon.utils.files import write_text
from crayon.utils.log import show_progress

show_progress()
try:
    PLAN = Workflow(load_plan(), enforce=workflow.is_main_process)
except CrayonError as error:
    sys.exit(f"crayon: {error}")
SUITE = PLAN.suite
RENDERED = [result for result in RESULTS.values() if result.name in PLAN.plan.jobs]
atexit.register(PLAN.remember)  # a dry run computes digests, too
if workflow.nodes is None:  # more trainings at once than there are processors would only be in each other's way
    workflow.register_resource("_cores", min(workflow.cores, os.cpu_count()))
    if PLAN.gpu_jobs and "gpu" not in workflow.global_resources:  # nor than there are GPUs
        workflow.register_resource("gpu", PLAN.gpu_jobs)


onstart:
    # Whenever Snakemake looks for jobs to start, a timer makes it look again a second later, so that a limit of jobs per
    # second is kept. The timers add up: after 100 jobs, it looks 100 times a second. Jobs on this machine need no limit.
    if workflow.nodes is None:
        workflow.scheduler.job_rate_limiter = None
    if workflow.executor_plugin.name == "slurm":
        try:
            PLAN.before_slurm(workflow.dag.needrun_jobs())
        except CrayonError as error:
            sys.exit(f"crayon: {error}")


wildcard_constraints:
    suite=PLAN.name,
    benchmark="|".join(SUITE.every),
    run="|".join(PLAN.runs),
    kind="attention|neurons",
    seed=r"\d+",
    result="|".join(job.wildcards["result"] for job in PLAN.plan.jobs.values() if job.rule == "provenance"),


def more(amount):
    """An amount that grows with each attempt, so that what ran out of time or memory does not do so again."""
    return lambda wildcards, attempt: amount * attempt


def constraints(batch):
    """The values of the wildcards in the rules of a batch."""
    runs = {} if batch.together else {"run": "|".join(batch.runs)}
    return {"benchmark": "|".join(batch.benchmarks)} | runs


def caption(result):
    """A file with a result's caption, as Snakemake's report wants it."""
    file = Path(".crayon/captions").absolute() / f"{result.name}.rst"
    if not file.exists() or file.read_text(encoding="utf-8") != result.caption:
        write_text(file, result.caption)
    return str(file)


def rendered(result):
    """The outputs of a result, the one that Snakemake's report shows with its caption."""
    outputs = {name: PLAN.plan.result_path(file) for name, file in result.files.items()}
    if result.shown is not None:
        outputs[result.shown] = report(outputs[result.shown], caption=caption(result), category=result.category)
    return outputs

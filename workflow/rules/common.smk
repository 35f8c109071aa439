# The plan of the active suite, and what the rules ask of it.
import atexit
import sys

from crayon.errors import CrayonError
from crayon.workflow import Workflow

try:
    PLAN = Workflow(enforce=workflow.is_main_process)
except CrayonError as error:
    sys.exit(f"crayon: {error}")
SUITE = PLAN.suite
atexit.register(PLAN.remember)  # a dry run computes digests, too


wildcard_constraints:
    suite=PLAN.name,
    benchmark="|".join(SUITE.benchmarks),
    run="|".join(PLAN.runs),
    kind="attention|neurons",
    seed=r"\d+",

import os
import sys

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # also in the commands that tests start: several tests run at a time

from crayon.utils.log import show_progress

show_progress()  # as the command line does, so that tests can read the messages


@pytest.fixture(autouse=True)
def _alike():
    """Each test computes with one thread and from the same seed, whatever ran before; torch is not loaded for this."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
        torch.manual_seed(0)

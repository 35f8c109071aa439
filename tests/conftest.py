import os
import sys

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # also in the commands that tests start: several tests run at a time

from crayon.utils.log import show_progress

show_progress()  # as the command line does, so that tests can read the messages


@pytest.fixture(autouse=True)
def _one_thread():
    """Each test computes with one thread, whatever an earlier one set; torch is not loaded for this."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)

import pytest

from crayon.utils.log import show_progress

show_progress()  # as the command line does, so that tests can read the messages


@pytest.fixture(autouse=True)
def _one_thread(request):
    """Results on the CPU are pinned to one thread; torch is loaded only where a test did so."""
    import sys

    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)

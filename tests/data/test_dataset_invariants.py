"""Two guarantees of the miniatures that a golden digest alone does not prove."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from crayon.data.synthetic import digits

from .. import tiny

DIGESTS = """
from tests.data.test_miniatures import digest, draw_backgrounds, draw_celeba, draw_waterbirds
print(digest(draw_waterbirds()), digest(draw_celeba()), digest(draw_backgrounds()))
import hashlib
from crayon.data.synthetic.figures import draw_figures
print(hashlib.sha256(draw_figures(0, 40, 48)[0].tobytes()).hexdigest())
import numpy as np
x = np.random.default_rng(0).uniform(-50, 50, 100_000)
print(hashlib.sha256(np.exp(x).tobytes() + np.sin(x.astype(np.float32)).tobytes()).hexdigest())
"""


def _vector_features() -> list[str]:
    """CPU features that numpy would use on this processor and that can be disabled."""
    try:
        from numpy._core import _multiarray_umath as core
    except ImportError:  # numpy 1
        from numpy.core import _multiarray_umath as core
    return [name for name in core.__cpu_dispatch__ if core.__cpu_features__.get(name)]


def _digests(**environment: str) -> list[str]:
    command = [sys.executable, "-c", DIGESTS]
    return subprocess.run(
        command, cwd=tiny.ROOT, env=os.environ | environment, capture_output=True, text=True, check=True
    ).stdout.splitlines()


def test_processors_without_vector_units_draw_the_same_bits():
    features = _vector_features()
    if not features:
        pytest.skip("numpy uses no optional instructions here")
    *here, control = _digests()
    *plain, plain_control = _digests(NPY_DISABLE_CPU_FEATURES=" ".join(features))
    if control == plain_control:
        pytest.skip("numpy's own exp and sine agree too, so that nothing is shown")
    assert here == plain


@pytest.mark.parametrize("splits", [1, 2, 3, 4])
def test_no_column_of_a_photograph_is_in_two_splits(splits):
    columns = [np.arange(512)[digits._stripe(number, splits, 512)] for number in range(splits)]
    together = np.concatenate(columns)
    assert len(set(together.tolist())) == len(together)
    assert len(columns[0]) == 256
    assert min(len(part) for part in columns) >= 48

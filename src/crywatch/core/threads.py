"""How many threads the libraries compute with: another number sums in another order."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

# What OpenMP and the BLAS libraries read when they are loaded.
VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Compute on ``count`` threads, also as a decorator: a fixed number sums in one order."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# BlazeNet's layers are too small to be shared: on a machine with other work a second thread costs
# three times the CPU and gains nothing.
one_thread = partial(torch_threads, 1)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Every library computes on one thread: those loaded, those loaded within, and child processes.

    What gains by more says how many itself (`torch_threads`), and then sums on that many anywhere.
    """
    from threadpoolctl import threadpool_limits

    before = {name: os.environ.get(name) for name in VARIABLES}
    os.environ.update(dict.fromkeys(VARIABLES, "1"))
    try:
        # torch's MKL is linked into it, where threadpoolctl does not see it.
        with threadpool_limits(1), one_thread() if "torch" in sys.modules else nullcontext():
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})

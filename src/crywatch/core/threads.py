"""How many threads torch computes with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial


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

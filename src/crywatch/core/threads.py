"""How many threads torch computes with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, also as a decorator.

    BlazeNet's layers are too small to be shared: on a machine with other work a second thread costs
    three times the CPU and gains nothing. And one thread sums in one order on any machine.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

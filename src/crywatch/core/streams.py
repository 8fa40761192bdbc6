"""The standard streams of a command, which whoever starts it may have closed."""

from __future__ import annotations

import os
import sys


def open_closed() -> None:
    """Give closed streams something to stand for them, so that no other file takes their number.

    What is printed to a closed standard output is an OSError, as on a full disk: results that
    nobody gets are no success. Messages to a closed standard error are lost.
    """
    for number, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # takes the lowest number that is free: this one
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)


def give_up_output() -> None:
    """Drop what standard output has not taken: Python would try it once more at its end."""
    sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")

"""Sessions: recordings of one infant that are not far apart in time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

GAP_S = 6 * 3600.0


def number_sessions(times: Sequence[datetime], gap_s: float = GAP_S) -> list[int]:
    """The number of the session of each time, from 0: a gap of ``gap_s`` or more starts a new one.

    The order of ``times`` does not matter.
    """
    numbers = [0] * len(times)
    number, last = 0, None
    for at in sorted(range(len(times)), key=lambda index: times[index]):
        if last is not None:
            number += (times[at] - last).total_seconds() >= gap_s
        numbers[at], last = number, times[at]
    return numbers

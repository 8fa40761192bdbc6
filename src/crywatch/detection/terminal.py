"""What was found in a file, for people at a terminal: a bar of the recording, and colours."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import numpy as np

from crywatch.core.names import shown
from crywatch.detection.detect import Detection

BLOCKS = " ▁▂▃▄▅▆▇█"  # of a probability, by eighths
LEAST_CELLS, MOST_CELLS = 10, 60  # of the bar
RED, GREEN, YELLOW, DIM = 31, 32, 33, 2  # of ECMA-48


def is_terminal() -> bool:
    """Whether standard output shows colours and blocks (no-color.org and ``TERM=dumb`` forbid)."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    try:
        BLOCKS.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def to_terminal(detection: Detection, columns: int) -> str:
    """Two lines a file and one an event, at most ``columns`` wide but for the path.

    The bar is the recording from its start to its end: a cell is as high as its highest second.
    """
    if detection.error is not None:
        return _coloured("error", YELLOW) + f"  {shown(detection.error)}"
    return "\n".join(_lines(detection, columns))


def _lines(detection: Detection, columns: int) -> Iterator[str]:
    found = len(detection.events)
    crying_s = sum(event.offset_s - event.onset_s for event in detection.events)
    said = f"{found} event{'s' * (found > 1)}, {clock(crying_s)} of {clock(detection.duration_s)}"
    verdict = _coloured("cry", RED) + f"  {said}" if found else _coloured("no cry", GREEN)
    yield f"{shown(detection.path)}  {verdict}"
    yield "  " + _bar(detection, min(columns - 4, MOST_CELLS))
    for event in detection.events:
        times = f"{clock(event.onset_s)} to {clock(event.offset_s)}"
        yield f"  {times}  {_coloured(f'{event.peak:.2f}', RED)}"


def _bar(detection: Detection, cells: int) -> str:
    scores = np.array([second.cry for second in detection.seconds])
    called = np.zeros(len(scores), dtype=bool)
    for event in detection.events:
        called[int(event.onset_s) : int(np.ceil(event.offset_s))] = True
    cells = min(max(cells, LEAST_CELLS), len(scores))
    edges = np.linspace(0, len(scores), cells + 1).astype(int)
    bar = ""
    for first, last in zip(edges[:-1], edges[1:], strict=True):
        block = BLOCKS[round(float(scores[first:last].max()) * (len(BLOCKS) - 1))]
        bar += _coloured(block, RED if called[first:last].any() else DIM)
    return f"|{bar}|"


def clock(time_s: float) -> str:
    """h:mm:ss, or m:ss below an hour."""
    minutes, seconds = divmod(round(time_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def _coloured(text: str, code: int) -> str:
    return f"\x1b[{code}m{text}\x1b[0m"

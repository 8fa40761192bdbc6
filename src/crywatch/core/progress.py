"""Progress bars with rate and time left on a terminal, silence elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")
LANE = "CRYWATCH_LANE"  # of the environment: the line of the terminal for this process's bars


def progress(items: Iterable[T], what: str, total: int | None = None, unit: str = "it") -> tqdm:
    """Wrap ``items`` in a bar on standard error; it stays quiet when that is not a terminal."""
    return tqdm(items, desc=what, total=total, unit=unit, **_place())


def progress_bar(
    what: str, total: int | None, unit: str = "it", scale: bool = False, done: int = 0
) -> tqdm:
    """A bar to be updated by hand; ``scale`` prints thousands as k, M (for bytes).

    ``done`` was there before: it counts as progress, and not in the rate or the time left.
    """
    return tqdm(desc=what, total=total, unit=unit, unit_scale=scale, initial=done, **_place())


def _place() -> dict[str, Any]:
    """Where a bar stands on the terminal, if there is one; below it nothing stays."""
    lane = int(os.environ.get(LANE) or 0)
    return {"disable": not sys.stderr.isatty(), "position": lane or None, "leave": not lane}

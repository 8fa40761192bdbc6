"""Has what comes in moved away from what the champion was trained on?

`build_reference` keeps with a model what its training sounds were like; `compare` holds recent
recordings against that. One excerpt is taken of a clip, and one clip of a group: what is compared
are independent draws, as the tests ask for.
"""

from __future__ import annotations

from crywatch.operations.drift.comparison import DriftReport, Quantity, Spread, compare
from crywatch.operations.drift.measures import DriftConfig
from crywatch.operations.drift.reference import build_reference

__all__ = ["DriftConfig", "DriftReport", "Quantity", "Spread", "build_reference", "compare"]

"""Has what comes in moved away from what the champion was trained on?

`build_reference` keeps with a model what its training sounds were like; `check_drift` tests recent
recordings against that. One excerpt is taken of a clip, and one clip of a group: the tests need
independent draws.
"""

from __future__ import annotations

from crywatch.operations.drift.measures import DriftConfig
from crywatch.operations.drift.reference import build_reference
from crywatch.operations.drift.two_sample import (
    DriftQuantity,
    DriftReport,
    QuantitySpread,
    check_drift,
)

__all__ = [
    "DriftConfig",
    "DriftReport",
    "DriftQuantity",
    "QuantitySpread",
    "build_reference",
    "check_drift",
]

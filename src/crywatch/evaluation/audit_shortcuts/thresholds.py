"""Which clips the audit scores, and the thresholds that part val chooses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from crywatch.detection.systems import System
from crywatch.evaluation.channel_scores import AS_RECORDED, SystemScorer, audible


def is_heard(scorer: SystemScorer, clip: Any, channel: str) -> bool:
    """Whether ``clip``, a row of table split_clips, is scored through ``channel``.

    Test clips go through every channel. As recorded are also scored: the others of part val, by
    which thresholds are chosen, and for a system that never heard a corpus all clips of it.
    """
    if clip.split == "test":
        return True
    if channel != AS_RECORDED:
        return False
    chooses = clip.split == "val" and clip.label == "other"
    return chooses or scorer.system.leave_out == clip.corpus


def thresholds(
    scores: pd.DataFrame, rate: float, systems: Sequence[System] = ()
) -> dict[str, float]:
    """By system the lowest threshold with at most ``rate`` false alarms on the others of part val.

    ``scores`` know their clips. Those of a corpus that one of ``systems`` never heard choose
    nothing for it. A system whose validation part has no others gets none.
    """
    chosen = audible(scores[scores["channel"] == AS_RECORDED])
    chosen = chosen[(chosen["split"] == "val") & (chosen["label"] == "other") & chosen["canonical"]]
    never_heard = {system.name: system.leave_out for system in systems if system.leave_out}
    if never_heard:
        chosen = chosen[chosen["corpus"] != chosen["system"].map(never_heard)]
    lowest = {}
    for name, frame in chosen.groupby("system", sort=False):
        falling = np.sort(frame["score"].to_numpy())[::-1]
        allowed = int(np.floor(rate * len(falling) + 1e-9))
        # Just above the first score that must not alarm.
        lowest[str(name)] = float(np.nextafter(falling[allowed], np.inf))
    return lowest

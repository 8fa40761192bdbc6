"""Which systems are compared, on which clips, at the thresholds that part val chooses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from crywatch.detection.detectors import Detector
from crywatch.detection.systems import System
from crywatch.evaluation.channel_scores import AS_RECORDED, SystemScorer, audible
from crywatch.metrics.curves import max_f1

UNTRAINED = ("yamnet",)  # families that never heard any corpus of the rebuild


@dataclass(frozen=True)
class Contender(SystemScorer):
    """A system, its detector, and the corpora that are left out for it."""

    left_out: tuple[str, ...]

    @property
    def is_main(self) -> bool:
        """Whether it is measured on the test part of all corpora."""
        return not self.system.leave_out


def contenders(
    systems: Sequence[System], detectors: Mapping[str, Detector], corpora: Iterable[str]
) -> list[Contender]:
    """``systems`` with their detectors; the untrained are compared on every corpus left out."""
    there = set(corpora)
    every = tuple(dict.fromkeys(s.leave_out for s in systems if s.leave_out in there))
    return [
        Contender(s, detectors[s.name], every if s.family in UNTRAINED else (s.leave_out,))
        for s in systems
    ]


def is_heard(contender: Contender, clip: Any, channel: str) -> bool:
    """Whether ``clip``, a row of table split_clips, is scored through ``channel``.

    Clips of part val are scored as recorded, those of part test through every channel too. A
    system that never heard a corpus is measured on all clips of it, as recorded.
    """
    if channel != AS_RECORDED:
        return clip.split == "test" and contender.is_main
    if clip.corpus in contender.left_out:
        return True
    if contender.is_main:
        return clip.split in ("val", "test")
    # What a left out corpus of cries alone is measured against.
    return clip.split == "test" and clip.label == "other"


def thresholds(scores: pd.DataFrame) -> dict[str, float]:
    """By system the threshold of the highest F1 per second of part val, as recorded.

    ``scores`` know their clips. A system without cries in that part gets none.
    """
    chosen = scores[(scores["split"] == "val") & (scores["channel"] == AS_RECORDED)]
    chosen = audible(chosen[chosen["canonical"]])
    return {
        str(name): max_f1(frame["is_cry"].to_numpy(), frame["score"].to_numpy()).threshold
        for name, frame in chosen.groupby("system", sort=False)
        if frame["is_cry"].any()
    }

"""Every system on the same seconds: as recorded, and through each channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crywatch.audio.channels import Channel, apply
from crywatch.audio.decode import read_clean
from crywatch.core.progress import progress
from crywatch.data.truth import Truth, silent_seconds
from crywatch.detection.detectors import Detector
from crywatch.detection.systems import System
from crywatch.evaluation.audit_shortcuts.scores import AS_RECORDED, audible
from crywatch.metrics.curves import max_f1

UNTRAINED = ("yamnet",)  # families that never heard any corpus of the rebuild


@dataclass(frozen=True)
class Compared:
    """A system, its detector, and the corpora that are left out for it."""

    system: System
    detector: Detector
    left_out: tuple[str, ...]

    @property
    def is_main(self) -> bool:
        """Whether it is measured on the test part of all corpora."""
        return not self.system.leave_out


def compared(
    systems: Sequence[System], detectors: Mapping[str, Detector], corpora: Sequence[str]
) -> list[Compared]:
    """``systems`` with their detectors; the untrained are compared on every corpus left out."""
    left = [s.leave_out for s in systems if s.leave_out in corpora]
    every = tuple(dict.fromkeys(left))
    return [
        Compared(s, detectors[s.name], every if s.family in UNTRAINED else (s.leave_out,))
        for s in systems
    ]


def score(
    systems: Sequence[Compared],
    clips: pd.DataFrame,
    truth: Truth,
    channels: Mapping[str, Channel],
) -> pd.DataFrame:
    """Table "audit_scores" of ``clips`` (split_clips, labelled); one clip in memory at a time.

    Clips of part val are scored as recorded, those of part test through every channel too. A
    system that never heard a corpus is measured on all clips of it, as recorded.
    """
    parts = []
    rows = [clip for clip in clips.itertuples() if any(_wants(one, clip) for one in systems)]
    for clip in progress(rows, "compare", unit="clip"):
        wave = read_clean(clip.path)
        silent = silent_seconds(wave)
        known = {"is_cry": truth.segments(clip.clip_id, len(silent)), "silent": silent}
        known |= {"start_s": np.arange(len(silent), dtype=float)}
        heard = {AS_RECORDED: wave}
        if clip.split == "test":
            heard |= {name: apply(one, wave, clip.clip_id) for name, one in channels.items()}
        for channel, changed in heard.items():
            for one in systems:
                if channel == AS_RECORDED and not _wants(one, clip):
                    continue
                if channel != AS_RECORDED and not one.is_main:
                    continue
                scores = np.asarray(one.detector.score(changed), dtype=np.float64)
                head = {"system": one.system.name, "channel": channel, "clip_id": clip.clip_id}
                parts.append(pd.DataFrame(head | known | {"score": scores}))
    return pd.concat(parts, ignore_index=True)


def _wants(one: Compared, clip: tuple) -> bool:
    """Whether a row of table split_clips is scored as recorded."""
    if clip.corpus in one.left_out:
        return True
    if one.is_main:
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

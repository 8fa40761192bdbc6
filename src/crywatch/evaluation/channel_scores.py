"""Every second of the clips scored by several systems: as recorded, and through each channel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from crywatch.audio.channels import Channel, apply
from crywatch.audio.decode import read_clean
from crywatch.core.progress import progress
from crywatch.data.truth import Truth, silent_seconds
from crywatch.detection.detectors import Detector
from crywatch.detection.systems import System

AS_RECORDED = "as recorded"  # stands for the channel of what goes through none


@dataclass(frozen=True)
class SystemScorer:
    """A system with its detector."""

    system: System
    detector: Detector


S = TypeVar("S", bound=SystemScorer)


def channel_scores(
    scorers: Sequence[S],
    clips: pd.DataFrame,
    truth: Truth,
    channels: Mapping[str, Channel],
    wants: Callable[[S, Any, str], bool],
    task: str,
) -> pd.DataFrame:
    """Table "audit_scores" of ``clips`` (split_clips, labelled); one clip in memory at a time.

    ``wants`` says whether a system is to score a clip (a row of ``clips``) through a channel, or
    `AS_RECORDED`; a clip that none wants as recorded is passed over. ``task`` names the bar of
    progress.
    """
    parts = []
    rows = [
        clip
        for clip in clips.itertuples()
        if any(wants(scorer, clip, AS_RECORDED) for scorer in scorers)
    ]
    for clip in progress(rows, task, unit="clip"):
        wave = read_clean(clip.path)
        silent = silent_seconds(wave)
        known = {"start_s": np.arange(len(silent), dtype=float), "silent": silent}
        known |= {"is_cry": truth.segments(clip.clip_id, len(silent))}
        for name in (AS_RECORDED, *channels):
            wanting = [scorer for scorer in scorers if wants(scorer, clip, name)]
            if not wanting:
                continue
            sound = wave if name == AS_RECORDED else apply(channels[name], wave, clip.clip_id)
            for scorer in wanting:
                scores = np.asarray(scorer.detector.score(sound), dtype=np.float64)
                head = {"system": scorer.system.name, "channel": name, "clip_id": clip.clip_id}
                parts.append(pd.DataFrame(head | known | {"score": scores}))
    return pd.concat(parts, ignore_index=True)


def with_clips(scores: pd.DataFrame, clips: pd.DataFrame) -> pd.DataFrame:
    """``scores`` with what the measures need to know of their clips."""
    columns = ["clip_id", "corpus", "split", "canonical", "label", "group_id"]
    return scores.merge(clips[columns], on="clip_id", how="left", validate="many_to_one")


def audible(seconds: pd.DataFrame) -> pd.DataFrame:
    """Without the seconds that were silent before any channel."""
    return seconds[~seconds["silent"]]

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
class Listener:
    """A system with its detector."""

    system: System
    detector: Detector


L = TypeVar("L", bound=Listener)


def channel_scores(
    listeners: Sequence[L],
    clips: pd.DataFrame,
    truth: Truth,
    channels: Mapping[str, Channel],
    wants: Callable[[L, Any, str], bool],
    task: str,
) -> pd.DataFrame:
    """Table "audit_scores" of ``clips`` (split_clips, labelled); one clip in memory at a time.

    ``wants`` says whether a listener scores a clip (a row of ``clips``) through a channel, or
    `AS_RECORDED`; a clip that none wants as recorded is passed over. ``task`` names the bar of
    progress.
    """
    parts = []
    rows = [
        clip
        for clip in clips.itertuples()
        if any(wants(listener, clip, AS_RECORDED) for listener in listeners)
    ]
    for clip in progress(rows, task, unit="clip"):
        wave = read_clean(clip.path)
        silent = silent_seconds(wave)
        known = {"start_s": np.arange(len(silent), dtype=float), "silent": silent}
        known |= {"is_cry": truth.segments(clip.clip_id, len(silent))}
        for name in (AS_RECORDED, *channels):
            wanting = [listener for listener in listeners if wants(listener, clip, name)]
            if not wanting:
                continue
            heard = wave if name == AS_RECORDED else apply(channels[name], wave, clip.clip_id)
            for listener in wanting:
                scores = np.asarray(listener.detector.score(heard), dtype=np.float64)
                head = {"system": listener.system.name, "channel": name, "clip_id": clip.clip_id}
                parts.append(pd.DataFrame(head | known | {"score": scores}))
    return pd.concat(parts, ignore_index=True)


def with_clips(scores: pd.DataFrame, clips: pd.DataFrame) -> pd.DataFrame:
    """``scores`` with what the measures need to know of their clips."""
    columns = ["clip_id", "corpus", "split", "canonical", "label", "group_id"]
    return scores.merge(clips[columns], on="clip_id", how="left", validate="many_to_one")


def audible(seconds: pd.DataFrame) -> pd.DataFrame:
    """Without the seconds that were silent before any channel."""
    return seconds[~seconds["silent"]]

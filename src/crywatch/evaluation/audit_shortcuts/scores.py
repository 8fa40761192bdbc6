"""Every system on every second: as recorded, and after each fixed channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd

from crywatch.audio.channels import Channel, apply
from crywatch.audio.decode import read_clean
from crywatch.core.progress import progress
from crywatch.data.truth import Truth, silent_seconds
from crywatch.detection.systems import System

if TYPE_CHECKING:
    from collections.abc import Iterator

AS_RECORDED = "as recorded"  # stands for the channel of what goes through none


class Scorer(Protocol):
    """What `crywatch.detection.detectors.Detector` offers here."""

    def score(self, wave: np.ndarray) -> np.ndarray:
        """[samples] at 16 kHz to [plain seconds] in 0..1."""


@dataclass(frozen=True)
class Audited:
    """A system with its detector."""

    system: System
    detector: Scorer


def load(system: System) -> Audited:
    """``system`` with its detector; ModelError if there is none."""
    from crywatch.detection.systems import load_system

    return Audited(system, load_system(system))


def score(
    audited: Sequence[Audited],
    clips: pd.DataFrame,
    truth: Truth,
    channels: Mapping[str, Channel],
) -> pd.DataFrame:
    """Table "audit_scores" of ``clips`` (split_clips, labelled); one clip in memory at a time.

    Test clips go through every channel. As recorded are also scored: the others of part val, by
    which thresholds are chosen, and for a system that never heard a corpus all clips of it.
    """
    parts = []
    wanted = clips[[bool(_hearers(clip, audited)) for clip in clips.itertuples()]]
    for clip in progress(wanted.itertuples(), "audit: channels", len(wanted), "clip"):
        hearers = _hearers(clip, audited)
        wave = read_clean(clip.path)
        silent = silent_seconds(wave)
        is_cry = truth.segments(clip.clip_id, len(silent))
        heard = {AS_RECORDED: wave}
        if clip.split == "test":
            heard |= _through(channels, wave, clip.clip_id)
        for channel, changed in heard.items():
            for one in audited if channel != AS_RECORDED else hearers:
                scores = np.asarray(one.detector.score(changed), dtype=np.float64)
                columns = {"start_s": np.arange(len(scores), dtype=float), "score": scores}
                columns |= {"is_cry": is_cry, "silent": silent}
                head = {"system": one.system.name, "channel": channel, "clip_id": clip.clip_id}
                parts.append(pd.DataFrame(head | columns))
    return pd.concat(parts, ignore_index=True)


def _hearers(clip: tuple, audited: Sequence[Audited]) -> list[Audited]:
    """The systems that are to score ``clip``, a row of table split_clips."""
    if clip.split == "test" or (clip.split == "val" and clip.label == "other"):
        return list(audited)
    return [one for one in audited if one.system.leave_out == clip.corpus]


def _through(
    channels: Mapping[str, Channel], wave: np.ndarray, clip_id: str
) -> dict[str, np.ndarray]:
    return {name: apply(channel, wave, clip_id) for name, channel in channels.items()}


def known(scores: pd.DataFrame, clips: pd.DataFrame) -> pd.DataFrame:
    """``scores`` with what the measures need to know of their clips."""
    columns = ["clip_id", "corpus", "split", "canonical", "label", "group_id"]
    return scores.merge(clips[columns], on="clip_id", how="left", validate="many_to_one")


def audible(seconds: pd.DataFrame) -> pd.DataFrame:
    """Without the seconds that were silent before any channel."""
    return seconds[~seconds["silent"]]


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
    return dict(_thresholds(chosen, rate))


def _thresholds(others: pd.DataFrame, rate: float) -> Iterator[tuple[str, float]]:
    for system, frame in others.groupby("system", sort=False):
        falling = np.sort(frame["score"].to_numpy())[::-1]
        allowed = int(np.floor(rate * len(falling) + 1e-9))
        # Just above the first score that must not alarm.
        yield str(system), float(np.nextafter(falling[allowed], np.inf))

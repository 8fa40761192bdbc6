"""What a detector says of the recordings of one part, and what is true of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.cleaned import read_clean
from crywatch.core.progress import progress
from crywatch.data.selection import MADE, Source, sounds, strong_labels
from crywatch.data.truth import Interval, Truth, cut_at, silent_seconds

if TYPE_CHECKING:
    import pandas as pd

    from crywatch.detection.detectors import Detector


@dataclass(frozen=True)
class Recording:
    """One recording: a clip, a soundscape, an untrimmed one."""

    clip_id: str
    corpus: str
    group_id: str
    duration_s: float
    scores: np.ndarray  # [plain seconds], as the detector gives them
    is_cry: np.ndarray  # [plain seconds] bool
    known: np.ndarray  # [plain seconds] bool: is_cry is the truth
    strong: bool  # whether it is known when it cries; else somewhere in it
    cries: tuple[Interval, ...]  # of a strong one, apart from each other, inside of it

    @property
    def quiet_s(self) -> float:
        """Seconds of sound that is known to be no cry."""
        if not self.strong:
            return 0.0
        return self.duration_s - sum(cry.offset_s - cry.onset_s for cry in self.cries)

    @property
    def n_cries(self) -> int:
        """Cries to be found; a weakly labelled clip is one."""
        return len(self.cries) if self.strong else 1

    def quiet_between(self, onset_s: float, offset_s: float) -> float:
        """Seconds of a strong recording from onset to offset that are no cry."""
        cried = sum(
            max(0.0, min(offset_s, cry.offset_s) - max(onset_s, cry.onset_s)) for cry in self.cries
        )
        return offset_s - onset_s - cried

    def touched(self, onset_s: float, offset_s: float) -> list[int]:
        """Numbers of the cries that have sound in common with the stretch."""
        if not self.strong:
            return [0]
        return [
            number
            for number, cry in enumerate(self.cries)
            if cry.onset_s < offset_s and cry.offset_s > onset_s
        ]


def known_clips(sources: Sequence[Source], part: str) -> pd.DataFrame:
    """Rows of the recordings of ``part`` that count: labelled, each sound once."""
    clips = sounds(source.clips for source in sources)
    return clips[(clips["split"] == part) & clips["canonical"]].reset_index(drop=True)


def listen(
    detector: Detector, clips: pd.DataFrame, events_of: Iterable[Source], what: str
) -> list[Recording]:
    """Score ``clips`` (table "split_clips"); their strong labels are those of ``events_of``."""
    truth = Truth(clips, strong_labels(source.events for source in events_of))
    columns = [clips[name] for name in ("clip_id", "corpus", "group_id", "path")]
    recordings = []
    rows = zip(*columns, strict=True)
    for clip_id, corpus, group_id, path in progress(rows, what, len(clips), "clip"):
        wave = read_clean(path)
        scores = np.asarray(detector.score(wave), dtype=np.float64)
        duration_s, strong = len(wave) / RATE_HZ, truth.is_strong(clip_id)
        is_cry, known = np.ones(len(scores), dtype=bool), np.zeros(len(scores), dtype=bool)
        if not truth.is_weak(clip_id):
            is_cry, known = truth.segments(clip_id, len(scores)), strong | ~silent_seconds(wave)
        recordings.append(
            Recording(
                clip_id=clip_id,
                corpus=corpus,
                group_id=group_id,
                duration_s=duration_s,
                scores=scores,
                is_cry=is_cry,
                known=known,
                strong=strong,
                cries=tuple(cut_at(truth.cries(clip_id), duration_s)),
            )
        )
    return recordings


@dataclass(frozen=True)
class Seconds:
    """Plain seconds whose truth is known."""

    scores: np.ndarray  # [n]
    labels: np.ndarray  # [n] bool
    groups: np.ndarray  # [n] str: what may not be on both sides of a border


def known_seconds(recordings: Sequence[Recording]) -> Seconds:
    """Of all ``recordings``, but no second of a weak cry, and no silent one of a clip that cries.

    Recordings that were made of clips are groups of their own: as one group, which `split` makes
    of them since they share clips, there would be nothing to hold out.
    """
    groups = [r.clip_id if r.corpus in MADE else r.group_id for r in recordings]
    return Seconds(
        np.concatenate([recording.scores[recording.known] for recording in recordings]),
        np.concatenate([recording.is_cry[recording.known] for recording in recordings]),
        np.repeat(np.array(groups), [int(recording.known.sum()) for recording in recordings]),
    )

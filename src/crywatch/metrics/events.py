"""Event-level metrics: did the detector find each cry, when, and how often did it call for none.

Event F1 (collar), intersection F1 and PSDS are those of sed_scores_eval (Ebbers, Serizel and
Haeb-Umbach, ICASSP 2022), with the settings of ICSD (arXiv 2408.10561) and DCASE task 4. A
detection is a run of seconds at or above the threshold.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from types import ModuleType

import numpy as np
import pandas as pd

from crywatch.data.truth import CRY, Interval

COLLARS = {  # of onset and offset, in seconds, and for the offset the share of the event's length
    "onset_collar": 0.2,
    "offset_collar": 0.2,
    "offset_collar_rate": 0.2,
}
INTERSECTION = {"dtc_threshold": 0.5, "gtc_threshold": 0.5}
PSDS1 = {"dtc_threshold": 0.7, "gtc_threshold": 0.7}
PSDS2 = {"dtc_threshold": 0.1, "gtc_threshold": 0.1}
CROSS_TRIGGER = {"cttc_threshold": 0.3, "alpha_ct": 0.5}  # of PSDS2
MAX_FALSE_ALARMS = 100.0  # an hour, up to which PSDS is the area
OTHER = "other"  # all other labelled sounds, the class of cross triggers
LATE = 0.9  # quantile of the latency


@dataclass(frozen=True)
class ScoredRecording:
    """The scores of one strongly labelled recording and what is true of it."""

    clip_id: str
    duration_s: float
    scores: np.ndarray  # [plain seconds]
    cries: list[Interval]
    others: list[Interval]  # labelled sounds that are no cries


@dataclass(frozen=True)
class EventMetrics:
    """Metrics of one detector at one threshold; None where nothing of the kind was there."""

    recordings: int
    hours: float  # of sound
    events: int  # cries
    threshold: float
    event_f1: float | None  # collar of 0.2 s, for the offset or 20 % of the event
    intersection_f1: float | None  # 0.5 / 0.5
    psds1: float | None  # 0.7 / 0.7; over all thresholds
    psds2: float | None  # 0.1 / 0.1 / 0.3; over all thresholds
    false_alarms_per_hour: float | None  # runs that touch no cry, by the hours without cries
    found: float | None  # share of the cries with a second at or above the threshold
    latency_s: float | None  # median from onset to the first decision, of the cries found
    latency_p90_s: float | None


def event_metrics(
    recordings: Iterable[ScoredRecording], threshold: float, segment_s: float = 1.0
) -> EventMetrics:
    """Metrics of ``recordings`` with decisions at ``threshold``.

    ``segment_s`` is how much sound the model sees at once: a decision on a second is there when
    the segment that holds it is over.
    """
    recordings = [recording for recording in recordings if len(recording.scores)]
    n_events = sum(len(recording.cries) for recording in recordings)
    seconds = sum(recording.duration_s for recording in recordings)
    quiet_s = seconds - sum(_length(recording.cries) for recording in recordings)
    alarms = sum(false_alarms(recording, threshold) for recording in recordings)
    waits = [w for recording in recordings for w in latencies(recording, threshold, segment_s)]
    known = _Library(recordings) if n_events else None
    return EventMetrics(
        recordings=len(recordings),
        hours=seconds / 3600,
        events=n_events,
        threshold=threshold,
        event_f1=known.event_f1(threshold) if known else None,
        intersection_f1=known.intersection_f1(threshold) if known else None,
        psds1=known.psds(PSDS1) if known else None,
        psds2=known.psds(PSDS2, CROSS_TRIGGER) if known else None,
        false_alarms_per_hour=3600 * alarms / quiet_s if quiet_s > 0 else None,
        found=len(waits) / n_events if n_events else None,
        latency_s=float(np.median(waits)) if waits else None,
        latency_p90_s=float(np.quantile(waits, LATE)) if waits else None,
    )


def best_threshold(recordings: Iterable[ScoredRecording]) -> float | None:
    """Where the intersection F1 of ``recordings`` is highest; None where none is found by any.

    The lowest score where it is best to call every second.
    """
    recordings = [recording for recording in recordings if len(recording.scores)]
    if not any(recording.cries for recording in recordings):
        return None
    return _Library(recordings).best_threshold()


def false_alarms(recording: ScoredRecording, threshold: float) -> int:
    """Runs of seconds at or above ``threshold`` that touch no cry."""
    return sum(
        not any(c.onset_s < run.offset_s and c.offset_s > run.onset_s for c in recording.cries)
        for run in runs(recording.scores, threshold, recording.duration_s)
    )


def latencies(recording: ScoredRecording, threshold: float, segment_s: float = 1.0) -> list[float]:
    """For each cry that is found, seconds from its onset to the end of the first segment called.

    Never longer than the recording goes on: at its end everything is decided.
    """
    waits = []
    called = np.flatnonzero(np.asarray(recording.scores) >= threshold)
    for cry in recording.cries:
        hits = called[(called + 1 > cry.onset_s) & (called < cry.offset_s)]
        if len(hits):
            # The segment of a second; one that was over before the onset did not hear the cry.
            ends = (hits // segment_s + 1) * segment_s
            decided_s = min(float(ends[0]), recording.duration_s)
            waits.append(max(decided_s - cry.onset_s, 0.0))
    return waits


def runs(scores: np.ndarray, threshold: float, duration_s: float) -> list[Interval]:
    """Stretches of plain seconds at or above ``threshold``; the last one lasts to the end."""
    called = np.concatenate([[False], np.asarray(scores) >= threshold, [False]])
    edges = np.flatnonzero(called[1:] != called[:-1])
    ends = _edges(len(scores), duration_s)
    return [
        Interval(float(ends[first]), float(ends[last]))
        for first, last in zip(edges[::2], edges[1::2], strict=True)
    ]


def _edges(count: int, duration_s: float) -> np.ndarray:
    """[count + 1] s: where plain seconds begin, and where the recording ends.

    The last second may be cut short, or stand for a little more than itself.
    """
    edges = np.arange(count + 1, dtype=float)
    edges[-1] = max(duration_s, count - 1 + 1e-3)
    return edges


def _length(intervals: list[Interval]) -> float:
    return sum(interval.offset_s - interval.onset_s for interval in intervals)


@cache
def _sed_scores_eval() -> ModuleType:
    """Imported without dcase_util, and with it librosa, for which it has no use.

    It needs one function of sed_eval, the top of which imports dcase_util for its other modules.
    """
    name = "dcase_util"
    stands_in = name not in sys.modules
    sys.modules.setdefault(name, ModuleType(name))
    try:
        import sed_scores_eval
    finally:
        if stands_in:
            del sys.modules[name]
    return sed_scores_eval


@cache
def _writable() -> type[pd.DataFrame]:
    """A frame whose arrays may be written to: sed_scores_eval's compiled code asks for that.

    Since pandas 3 those of a plain frame are read-only.
    """

    class Writable(pd.DataFrame):
        @property
        def _constructor(self):
            return Writable

        def to_numpy(self, *args, **kwargs):
            return np.array(super().to_numpy(*args, **kwargs))

    return Writable


class _Library:
    """The recordings as sed_scores_eval wants them, and its metrics for the class of cries."""

    def __init__(self, recordings: list[ScoredRecording]):
        library = _sed_scores_eval()
        self.collar, self.intersection = library.collar_based, library.intersection_based
        self.durations = {recording.clip_id: recording.duration_s for recording in recordings}
        self.scores = {recording.clip_id: _frame(recording) for recording in recordings}
        self.truth = {r.clip_id: _rows(r.cries, CRY) for r in recordings}
        self.others = {r.clip_id: _rows(r.others, OTHER) for r in recordings}

    def event_f1(self, threshold: float) -> float:
        """By onsets and offsets within the collar."""
        f1, *_ = self.collar.fscore(self.scores, self.truth, _at(threshold), **COLLARS)
        return float(f1[CRY])

    def intersection_f1(self, threshold: float) -> float:
        """By how much of a detection and of a cry lie in each other."""
        f1, *_ = self.intersection.fscore(self.scores, self.truth, _at(threshold), **INTERSECTION)
        return float(f1[CRY])

    def best_threshold(self) -> float | None:
        """Of the highest intersection F1; None where every F1 is 0."""
        best = self.intersection.best_fscore(self.scores, self.truth, **INTERSECTION)
        f1, threshold = float(best[0][CRY]), float(best[3][CRY])
        if f1 == 0:
            return None
        # Minus infinity where every second is called: no threshold that JSON can hold.
        return max(threshold, min(float(frame[CRY].min()) for frame in self.scores.values()))

    def psds(self, tolerance: dict[str, float], cross: dict[str, float] | None = None) -> float:
        """Of the class of cries; ``cross`` counts only where other sounds are labelled too."""
        scores, truth = self.scores, self.truth
        if cross and any(self.others.values()):
            # A class that is there only to be mistaken for a cry; its own scores do not matter.
            scores = {clip_id: frame.assign(**{OTHER: 0.0}) for clip_id, frame in scores.items()}
            truth = {clip_id: events + self.others[clip_id] for clip_id, events in truth.items()}
            tolerance = tolerance | cross
        _, by_class = self.intersection.psd_roc(
            scores, truth, self.durations, **tolerance, max_efpr=MAX_FALSE_ALARMS
        )
        rates, alarms, *_ = by_class[CRY]
        return float(self.intersection.psds_from_psd_roc(rates, alarms, MAX_FALSE_ALARMS))


def _at(threshold: float) -> float:
    """For sed_scores_eval, which calls what is above a threshold; here it is at or above."""
    return float(np.nextafter(threshold, -np.inf))


def _rows(intervals: list[Interval], label: str) -> list[tuple[float, float, str]]:
    return [(interval.onset_s, interval.offset_s, label) for interval in intervals]


def _frame(recording: ScoredRecording) -> pd.DataFrame:
    edges = _edges(len(recording.scores), recording.duration_s)
    columns = {"onset": edges[:-1], "offset": edges[1:]}
    return _writable()(columns | {CRY: np.asarray(recording.scores, dtype=float)})

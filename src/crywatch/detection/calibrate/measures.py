"""What the rules do on a part: false alarms an hour of non-cry sound, cries found, and how late."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from crywatch.detection.calibrate.listening import Recording
from crywatch.detection.decisions import Calibration, DetectedEvent, Rule, merge_events
from crywatch.metrics.intervals import poisson_interval

ALL = "all"
LATE = 0.9  # quantile of the latency


@dataclass(frozen=True)
class Hearing:
    """How late a model knows of a second."""

    segment_s: float = 1.0  # it hears so much at once
    lookahead_s: float = 0.0  # and so much after that


@dataclass(frozen=True)
class RateRow:
    """One rule on one scope of one part; None where nothing of the kind was there."""

    scope: str  # all, or a corpus
    part: str  # val, test
    stated: float | None  # false alarms an hour; None: the scores at the plain threshold
    on: float
    off: float
    min_event_s: float
    alarms: int  # events that touch no cry
    hours: float  # of non-cry sound
    per_hour: float | None  # alarms by hours
    low: float | None  # exact 95 % interval of it
    high: float | None
    called: float | None  # share of the non-cry sound that lies in events
    cries: int  # of strong labels; a weakly labelled clip is one
    found: float | None  # share of them that an event touches
    latency_s: float | None  # median from a cry's onset to the decision; of strong labels
    latency_p90_s: float | None

    def as_dict(self) -> dict:
        """Plain values."""
        return asdict(self)


def measure(
    recordings: Sequence[Recording],
    calibration: Calibration | None,
    rule: Rule,
    stated: float | None,
    part: str,
    hearing: Hearing,
) -> Iterator[RateRow]:
    """Rows of all recordings together, then of each corpus."""
    scopes = {ALL: list(recordings)}
    for recording in recordings:
        scopes.setdefault(recording.corpus, []).append(recording)
    events = {
        recording.clip_id: merge_events(
            recording.scores if calibration is None else calibration(recording.scores),
            recording.duration_s,
            rule,
        )
        for recording in recordings
    }
    for scope, inside in scopes.items():
        yield _row(scope, part, stated, rule, inside, events, calibration, hearing)


def _row(
    scope: str,
    part: str,
    stated: float | None,
    rule: Rule,
    recordings: Sequence[Recording],
    events: dict[str, tuple[DetectedEvent, ...]],
    calibration: Calibration | None,
    hearing: Hearing,
) -> RateRow:
    alarms = n_found = 0
    called_s = 0.0
    waits: list[float] = []
    for recording in recordings:
        touched: set[int] = set()
        for event in events[recording.clip_id]:
            cries = recording.touched(event.onset_s, event.offset_s)
            touched.update(cries)
            alarms += not cries
            if recording.strong:
                called_s += recording.quiet_between(event.onset_s, event.offset_s)
        n_found += len(touched)
        probabilities = recording.scores if calibration is None else calibration(recording.scores)
        waits += latencies(recording, probabilities, events[recording.clip_id], rule, hearing)
    quiet_s = sum(recording.quiet_s for recording in recordings)
    n_cries = sum(recording.n_cries for recording in recordings)
    hours, bounds = quiet_s / 3600, poisson_interval(alarms)
    return RateRow(
        scope=scope,
        part=part,
        stated=stated,
        on=rule.on,
        off=rule.off,
        min_event_s=rule.min_event_s,
        alarms=alarms,
        hours=hours,
        per_hour=alarms / hours if hours else None,
        low=bounds.low / hours if hours else None,
        high=bounds.high / hours if hours else None,
        called=called_s / quiet_s if quiet_s else None,
        cries=n_cries,
        found=n_found / n_cries if n_cries else None,
        latency_s=float(np.median(waits)) if waits else None,
        latency_p90_s=float(np.quantile(waits, LATE)) if waits else None,
    )


def latencies(
    recording: Recording,
    probabilities: np.ndarray,
    events: Sequence[DetectedEvent],
    rule: Rule,
    hearing: Hearing,
) -> list[float]:
    """For each strongly labelled cry that is found, seconds from its onset until it is called.

    An event is called when a second at or above ``on`` is over and the event is long enough;
    seconds that the model hears at once are over together. A cry within an event that was called
    before waits for its own first second. Nothing waits beyond the recording.
    """
    if not recording.strong:
        return []
    waits = []
    for cry in recording.cries:
        decided = [
            max(
                _called_s(event, probabilities, rule, hearing),
                _end(max(event.onset_s, cry.onset_s)),
            )
            for event in events
            if cry.onset_s < event.offset_s and cry.offset_s > event.onset_s
        ]
        if decided:
            known_s = min(min(decided) + hearing.lookahead_s, recording.duration_s)
            waits.append(max(0.0, known_s - cry.onset_s))
    return waits


def _end(at_s: float, segment_s: float = 1.0) -> float:
    """Of the segment that holds the moment."""
    return (at_s // segment_s + 1) * segment_s


def _called_s(
    event: DetectedEvent, probabilities: np.ndarray, rule: Rule, hearing: Hearing
) -> float:
    """When an event is known to be one."""
    first, last = int(event.onset_s), int(np.ceil(event.offset_s))
    sure = first + int(np.argmax(probabilities[first:last] >= rule.on))
    return max(_end(sure, hearing.segment_s), event.onset_s + rule.min_event_s)

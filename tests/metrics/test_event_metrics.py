"""Event-level metrics against values worked by hand."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from crywatch.data.truth import Interval
from crywatch.metrics.events import (
    ScoredRecording,
    best_threshold,
    event_metrics,
    false_alarms,
    latencies,
    runs,
)


def recording(
    scores: list[float], cries=(), others=(), name: str = "a", duration_s: float | None = None
) -> ScoredRecording:
    return ScoredRecording(
        clip_id=name,
        duration_s=len(scores) if duration_s is None else duration_s,
        scores=np.array(scores),
        cries=[Interval(*cry) for cry in cries],
        others=[Interval(*other) for other in others],
    )


PERFECT = recording([0.1, 0.1, 0.9, 0.8, 0.9, 0.1], [(2.0, 5.0)], name="perfect")
QUIET = recording([0.2] * 6, name="quiet")


def test_a_perfect_detector():
    found = event_metrics([PERFECT, QUIET], 0.5)
    assert (found.recordings, found.events, found.hours) == (2, 1, 12 / 3600)
    assert (found.event_f1, found.intersection_f1, found.psds1, found.psds2) == (1, 1, 1, 1)
    assert (found.false_alarms_per_hour, found.found) == (0.0, 1.0)
    assert found.latency_s == found.latency_p90_s == 1.0


def test_f1_by_hand():
    # A detection within the collar, one 1 s late, one of nothing: 1 hit, 2 false, 1 missed.
    hit = recording([0, 0.9, 0.9, 0, 0, 0], [(1.1, 2.9)], name="hit")
    late = recording([0, 0, 0.9, 0.9, 0.9, 0], [(1.0, 5.0)], name="late")
    nothing = recording([0.9, 0, 0, 0], name="nothing")
    found = event_metrics([hit, late, nothing], 0.5)
    assert found.event_f1 == pytest.approx(2 * 1 / (2 * 1 + 2 + 1))
    # Three quarters of the late cry are covered: by intersection it is a hit.
    assert found.intersection_f1 == pytest.approx(2 * 2 / (2 * 2 + 1 + 0))
    assert found.found == 1.0


def test_the_offset_may_miss_by_a_fifth_of_the_event():
    long = recording([0.9] * 10 + [0] * 2, [(0.1, 11.5)], name="long")  # 1.5 s of 11.4 s
    short = recording([0.9] * 3 + [0] * 2, [(0.1, 4.0)], name="short")  # 1 s of 3.9 s
    assert event_metrics([long], 0.5).event_f1 == 1.0
    assert event_metrics([short], 0.5).event_f1 == 0.0


def test_false_alarms_are_by_hours_without_cries():
    scores = [0.9, 0, 0.9, 0.9, 0, 0.9, 0, 0, 0, 0]
    found = event_metrics([recording(scores, [(3.5, 5.0)])], 0.5)
    # Of three runs the one from 2 to 4 s touches the cry; 8.5 s hold none.
    assert found.false_alarms_per_hour == pytest.approx(2 * 3600 / 8.5)
    assert false_alarms(recording(scores), 0.95) == 0


def alarming(count: int, others=()) -> list[ScoredRecording]:
    """Recordings with a false alarm each, and a long one without; 600 s together."""
    alarms = [recording([0.95, 0.05], others=others, name=f"alarm{n}") for n in range(count)]
    return [*alarms, recording([0.0] * (600 - 2 * count), name="long")]


def test_psds_falls_with_false_alarms_before_the_cry_is_found():
    assert event_metrics([PERFECT, *alarming(0)], 0.5).psds1 == 1.0
    # In 606 s, of 100 an hour: 5 are 29.7 an hour.
    found = event_metrics([PERFECT, *alarming(5)], 0.5).psds1
    assert found == pytest.approx(1 - 5 * 36 / 606, abs=1e-6)
    assert event_metrics([PERFECT, *alarming(20)], 0.5).psds1 == 0.0


def test_psds2_counts_cross_triggers():
    plain = event_metrics([PERFECT, *alarming(5)], 0.5).psds2
    # 5 more of 5 s of barking: 3600 an hour, at weight 0.5 far more than 100.
    assert plain == pytest.approx(1 - 5 * 36 / 606, abs=1e-6)
    assert event_metrics([PERFECT, *alarming(5, [(0.0, 1.0)])], 0.5).psds2 == 0.0
    # The other sounds alone cost nothing.
    quiet = recording([0.05] * 600, others=[(3.0, 9.0)], name="long")
    assert event_metrics([PERFECT, quiet], 0.5).psds2 == 1.0


def test_latency_is_to_the_end_of_the_first_segment_called():
    cry = [(2.5, 8.0)]
    assert latencies(recording([0, 0, 0.9, 0, 0, 0, 0, 0], cry), 0.5) == [0.5]
    assert latencies(recording([0, 0, 0, 0, 0.9, 0, 0, 0], cry), 0.5) == [2.5]
    assert latencies(recording([0, 0.9, 0, 0, 0, 0, 0, 0], cry), 0.5) == []
    # A model of 5 s decides on second 2 when second 5 begins, and at the end of the recording.
    assert latencies(recording([0.9] * 5 + [0] * 3, cry), 0.5, segment_s=5.0) == [2.5]
    assert latencies(recording([0] * 5 + [0.9] * 3, cry), 0.5, segment_s=5.0) == [5.5]


def test_a_cut_last_second_ends_with_the_recording():
    short = recording([0.1, 0.9], [(1.0, 1.6)], duration_s=1.6)
    assert runs(short.scores, 0.5, 1.6) == [Interval(1.0, 1.6)]
    assert event_metrics([short], 0.5).event_f1 == 1.0
    assert latencies(short, 0.5) == [pytest.approx(0.6)]


def test_a_last_second_stands_for_the_rest_of_the_recording():
    long = recording([0.1, 0.9], [(2.1, 2.4)], duration_s=2.4)
    assert runs(long.scores, 0.5, 2.4) == [Interval(1.0, 2.4)]
    assert event_metrics([long], 0.5).false_alarms_per_hour == 0.0


def test_without_a_cry_there_are_false_alarms_only():
    found = event_metrics([recording([0.9, 0.1])], 0.5)
    assert found.false_alarms_per_hour == 1800.0
    assert (found.event_f1, found.psds1, found.found, found.latency_s) == (None,) * 4
    assert best_threshold([QUIET]) is None
    assert best_threshold([]) is None


def test_the_best_threshold_parts_cries_from_the_rest():
    threshold = best_threshold([PERFECT, recording([0.6, 0.3, 0.6], name="b")])
    assert 0.6 < threshold < 0.8


def test_the_best_threshold_of_a_detector_that_finds_nothing_is_none():
    assert best_threshold([recording([0.9, 0.9, 0.0, 0.0], [(3.0, 4.0)])]) is None


def test_where_calling_every_second_is_best_the_threshold_is_the_lowest_score():
    whole = recording([0.9, 0.5, 0.9, 0.9], [(0.0, 4.0)])
    assert best_threshold([whole]) == 0.5
    assert event_metrics([whole], 0.5).intersection_f1 == 1.0


def test_a_score_at_the_threshold_is_called_by_every_metric():
    found = event_metrics([recording([0.1, 0.5, 0.5, 0.1], [(1.0, 3.0)])], 0.5)
    assert (found.event_f1, found.intersection_f1, found.found) == (1.0, 1.0, 1.0)
    missed = event_metrics([recording([0.1, 0.5, 0.5, 0.1], [(1.0, 3.0)])], np.nextafter(0.5, 1))
    assert (missed.event_f1, missed.intersection_f1, missed.found) == (0.0, 0.0, 0.0)


def test_nothing_is_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        event_metrics([PERFECT, QUIET], 0.5)

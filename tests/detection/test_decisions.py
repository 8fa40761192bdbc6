"""Calibrated probabilities, rules for events, and the decision that a model folder carries."""

from __future__ import annotations

import json

import numpy as np
import pytest

from crywatch.core.errors import ConfigError, ModelError
from crywatch.detection.decisions import (
    KEY,
    Calibration,
    Decision,
    RatedRule,
    Rule,
    decision_of,
    expit,
    logit,
    merge_events,
)

SCORES = np.linspace(0, 1, 101)
ISOTONIC = Calibration("isotonic", scores=(0.2, 0.5, 0.8), probabilities=(0.0, 0.3, 0.3))
DECISION = Decision(
    ISOTONIC,
    (
        RatedRule(1.0, Rule(0.9, 0.8, 2.0, 1.0), 0, 6.5, False),
        RatedRule(10.0, Rule(0.7, 0.5, 1.0, 1.0), 3, 9.5, True),
    ),
    10.0,
    {"seconds": 1200.0},
)


def spans(scores, duration_s=None, **changes):
    options = {"on": 0.5, "off": 0.5, "min_event_s": 1.0, "max_gap_s": 0.0} | changes
    events = merge_events(scores, duration_s or float(len(scores)), Rule(**options))
    return [(event.onset_s, event.offset_s, event.peak) for event in events]


def test_runs_become_events_with_their_peak():
    assert spans([0.1, 0.6, 0.9, 0.2, 0.5]) == [(1.0, 3.0, 0.9), (4.0, 5.0, 0.5)]


def test_gaps_up_to_the_limit_are_merged():
    assert spans([0.9, 0.1, 0.8], max_gap_s=1.0) == [(0.0, 3.0, 0.9)]
    assert spans([0.9, 0.1, 0.1, 0.8], max_gap_s=1.0) == [(0.0, 1.0, 0.9), (3.0, 4.0, 0.8)]


def test_short_events_are_dropped():
    assert spans([0.9, 0.1, 0.1, 0.8, 0.8], min_event_s=2.0) == [(3.0, 5.0, 0.8)]


def test_the_last_offset_stays_inside_the_recording():
    assert spans([0.1, 0.9], duration_s=1.6) == [(1.0, 1.6, 0.9)]


def test_a_recording_shorter_than_an_event_can_hold_one():
    assert spans([0.9], duration_s=0.3) == [(0.0, 0.3, 0.9)]
    assert spans([0.9], duration_s=1.2, min_event_s=3.0) == []


def test_hysteresis_carries_an_event_to_both_sides_and_begins_none():
    scores = [0.4, 0.4, 0.8, 0.4, 0.1, 0.1, 0.4, 0.4]
    assert spans(scores, off=0.3) == [(0.0, 4.0, 0.8)]
    assert spans(scores, off=0.3, min_event_s=5.0) == []
    # The shortest event is measured with what hysteresis adds.
    assert spans(scores, off=0.3, min_event_s=4.0) == [(0.0, 4.0, 0.8)]
    assert spans(scores, min_event_s=2.0) == []


def test_nothing_called_is_no_event():
    assert spans([0.1, 0.2]) == [] and spans([]) == []


@pytest.mark.parametrize(
    "calibration",
    [Calibration("temperature", slope=0.4), Calibration("platt", 2.0, -3.0), ISOTONIC],
    ids=lambda calibration: calibration.method,
)
def test_probabilities_keep_the_order_of_the_scores(calibration):
    found = calibration(SCORES)
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found[1:-1]) > 0).all()
    assert np.diff(found).min() >= 0  # a score of 0 or 1 is as one just inside


def test_values():
    assert Calibration("temperature", slope=0.5)([0.9])[0] == pytest.approx(0.75)  # odds 9 to 3
    assert Calibration("platt", 1.0, np.log(3))([0.5])[0] == pytest.approx(0.75)
    np.testing.assert_allclose(ISOTONIC([0.0, 0.35, 0.65, 1.0]), [0, 0.15, 0.3, 0.3], atol=1e-3)
    np.testing.assert_allclose(expit(logit(SCORES)), SCORES, atol=1e-6)
    assert np.isfinite(logit([0.0, 1.0])).all()


def test_a_decision_survives_its_file():
    description = json.loads(json.dumps({KEY: DECISION.as_dict()}))
    assert decision_of(description) == DECISION
    assert decision_of({}) is None


def test_rates_are_looked_up():
    assert DECISION.rated().false_alarms_per_hour == 10.0
    assert DECISION.rated(1.0).rule.on == 0.9
    with pytest.raises(ConfigError, match="2 false alarms an hour .* name one of 1, 10"):
        DECISION.rated(2.0)


@pytest.mark.parametrize(
    "damage",
    [
        {"rates": [{"rule": {"on": 1}}]},
        {"calibration": None},
        {"calibration": {"method": "x", "colour": 1}},
    ],
)
def test_a_damaged_decision_is_named(damage):
    with pytest.raises(ModelError, match="there: decision: .*make it again"):
        decision_of({KEY: DECISION.as_dict() | damage}, "there")

"""Event-level rows: who is measured on what, and that no threshold is chosen on the test part."""

from __future__ import annotations

import pandas as pd
import pytest

from crywatch.data.truth import Interval, Truth
from crywatch.evaluation.evaluate.detection.events import CHOSEN, FIXED, measure_events, recordings
from crywatch.metrics.rows import flat
from tests.helpers.score_cases import scored_system

# Scores of whole seconds by clip; a name tells corpus, part and label.
SCORES = {
    "a/val-cry": [0.1, 0.6, 0.6, 0.1],
    "a/val-other": [0.4, 0.1, 0.4, 0.1],
    "a/test-cry": [0.1, 0.55, 0.9, 0.1],
    "a/test-other": [0.2, 0.9, 0.2, 0.1],
    "a/test-cry-weak": [0.9, 0.9, 0.9, 0.9],
    "b/test-cry": [0.1, 0.6, 0.6, 0.1],  # of a corpus without a validation part
    "c/val-cry": [0.1, 0.6, 0.6, 0.1],
    "c/test-other": [0.9, 0.9, 0.9, 0.9],  # no cry to find
}
EVENTS = [(name, 1.0, 3.0, "cry") for name in SCORES if "cry" in name and "weak" not in name]
EVENTS += [("a/test-other", 1.0, 2.0, "dog"), ("a/test-other", 4.5, 6.0, "dog")]


def known(changed: dict[str, list[float]] | None = None) -> pd.DataFrame:
    rows = [
        {"clip_id": name, "corpus": name[0], "split": name.split("/")[1].split("-")[0], "score": s}
        for name, scores in (SCORES | (changed or {})).items()
        for s in scores
    ]
    return pd.DataFrame(rows).assign(duration_s=4.0)


@pytest.fixture(scope="module")
def truth() -> Truth:
    labels = ["cry" if "cry" in name else "other" for name in SCORES]
    clips = pd.DataFrame({"clip_id": list(SCORES), "label": labels, "weak": False})
    events = pd.DataFrame(EVENTS, columns=["clip_id", "onset_s", "offset_s", "label"])
    return Truth(clips, events)


def rows(truth: Truth, leave_out: str = "", segment_s: float = 1.0, changed=None) -> dict:
    model = scored_system("blazenet/m", leave_out, segment_s)
    found = list(measure_events(model, known(changed), truth, 0.95))
    assert {(row.model, row.part) for row in found} == {("blazenet/m", "test")}
    by_key = {(row.scope, row.threshold_from): row for row in found}
    assert len(by_key) == len(found)
    return by_key


def test_each_scope_with_a_cry_to_find_is_measured_at_both_thresholds(truth):
    found = rows(truth)
    assert set(found) == {("a", FIXED), ("a", CHOSEN), ("b", FIXED)}
    fixed, chosen = found["a", FIXED].metrics, found["a", CHOSEN].metrics
    assert fixed.threshold == 0.95 and 0.4 < chosen.threshold < 0.6
    # Two strongly labelled clips of 4 s; one cry is found, and one other sound is taken for one.
    assert (fixed.recordings, fixed.events, fixed.hours) == (2, 1, 8 / 3600)
    assert (fixed.found, fixed.false_alarms_per_hour) == (0.0, 0.0)
    assert (chosen.found, chosen.false_alarms_per_hour) == (1.0, 3600 / 6)
    assert chosen.intersection_f1 == pytest.approx(2 / 3)
    row = flat(found["a", CHOSEN])
    assert (row["threshold_from"], row["events"], row["psds1"]) == ("validation", 1, 0.0)


def test_no_threshold_is_chosen_on_the_test_part(truth):
    before = rows(truth)["a", CHOSEN].metrics
    other_test = {name: [0.8, 0.99, 0.99, 0.7] for name in SCORES if "/test" in name}
    assert rows(truth, changed=other_test)["a", CHOSEN].metrics.threshold == before.threshold
    other_val = {"a/val-cry": [0.1, 0.2, 0.2, 0.1], "a/val-other": [0.1] * 4}
    assert rows(truth, changed=other_val)["a", CHOSEN].metrics.threshold < 0.2


def test_a_corpus_left_out_chooses_no_threshold(truth):
    assert set(rows(truth, leave_out="a")) == {("a", FIXED), ("b", FIXED)}


def test_a_decision_waits_for_the_segment(truth):
    assert rows(truth)["a", CHOSEN].metrics.latency_s == 1.0
    assert rows(truth, segment_s=5.0)["a", CHOSEN].metrics.latency_s == 3.0


def test_events_end_with_their_recording(truth):
    seconds = known()
    found = {one.clip_id: one for one in recordings(seconds[seconds["corpus"] == "a"], truth)}
    assert list(found) == ["a/test-cry", "a/test-other", "a/val-cry", "a/val-other"]
    assert found["a/test-other"].others == [Interval(1.0, 2.0)]
    cut = Truth(
        pd.DataFrame({"clip_id": ["a/test-cry"], "label": ["cry"], "weak": [False]}),
        pd.DataFrame(
            [("a/test-cry", 3.5, 4.02, "cry")], columns=["clip_id", "onset_s", "offset_s", "label"]
        ),
    )
    (one,) = recordings(seconds[seconds["clip_id"] == "a/test-cry"], cut)
    assert one.cries == [Interval(3.5, 4.0)]

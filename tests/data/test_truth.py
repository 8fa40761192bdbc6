"""Labels of seconds: from strong labels where there are any, else the clip's own."""

from __future__ import annotations

import pandas as pd
import pytest

from crywatch.core.errors import TableError
from crywatch.data.truth import Interval, Truth, crying_segments, merged

CLIPS = pd.DataFrame(
    {
        "clip_id": ["a/strong", "a/trimmed", "a/weak", "a/other", "a/dog"],
        "label": ["cry", "cry", "cry", "other", "other"],
        "weak": [True, False, True, False, True],
    }
)
EVENTS = pd.DataFrame(
    [
        ("a/strong", 3.0, 3.5, "cry"),
        ("a/strong", 0.5, 1.5, "cry"),
        ("a/strong", 1.25, 2.0, "cry"),
        ("a/strong", 4.0, 5.0, "dog"),
        ("a/dog", 1.0, 2.0, "dog"),
        ("a/dog", 1.5, 3.0, "speech"),
    ],
    columns=["clip_id", "onset_s", "offset_s", "label"],
)


@pytest.fixture(scope="module")
def truth() -> Truth:
    return Truth(CLIPS, EVENTS)


def test_a_crying_clip_without_events_is_strong_in_nothing(truth):
    assert {clip: truth.is_strong(clip) for clip in CLIPS["clip_id"]} == {
        "a/strong": True,
        "a/trimmed": False,
        "a/weak": False,
        "a/other": True,
        "a/dog": True,
    }
    assert truth.segments("a/trimmed", 3).tolist() == [True] * 3


def test_no_second_of_a_weak_cry_has_a_label(truth):
    assert [clip for clip in CLIPS["clip_id"] if truth.is_weak(clip)] == ["a/weak"]
    with pytest.raises(TableError, match="a/weak: a weak clip"):
        truth.segments("a/weak", 3)
    # Nothing cries in a weak clip of another sound: all its seconds are known.
    assert truth.segments("a/dog", 2).tolist() == [False] * 2


def test_other_sounds_are_no_cry_whatever_is_labelled_in_them(truth):
    assert truth.segments("a/other", 2).tolist() == [False] * 2
    assert truth.segments("a/dog", 3).tolist() == [False] * 3
    assert truth.cries("a/dog") == []
    assert truth.others("a/dog") == [Interval(1.0, 3.0)]


def test_overlapping_cries_are_one(truth):
    assert truth.cries("a/strong") == [Interval(0.5, 2.0), Interval(3.0, 3.5)]
    assert truth.others("a/strong") == [Interval(4.0, 5.0)]
    assert truth.segments("a/strong", 5).tolist() == [True, True, False, True, False]


def test_intervals_that_touch_are_one():
    assert merged([Interval(1, 2), Interval(0, 1), Interval(3, 4)]) == [
        Interval(0, 2),
        Interval(3, 4),
    ]
    assert merged([Interval(0, 5), Interval(1, 2)]) == [Interval(0, 5)]


def test_a_second_holds_a_cry_if_half_of_it_does():
    def seconds(*events):
        return crying_segments([Interval(*event) for event in events], 5).tolist()

    assert seconds() == [False] * 5
    assert seconds((1.0, 3.0)) == [False, True, True, False, False]
    assert seconds((1.5, 3.25)) == [False, True, True, False, False]
    assert seconds((1.75, 2.25)) == [False] * 5
    assert seconds((0.0, 0.25), (0.5, 0.75)) == [True] + [False] * 4
    assert seconds((4.25, 9.0)) == [False] * 4 + [True]


def test_a_longer_segment_holds_a_cry_if_half_a_second_of_it_does():
    assert crying_segments([Interval(4.8, 5.6)], 2, 5.0).tolist() == [False, True]
    assert crying_segments([Interval(4.5, 6.0)], 2, 5.0).tolist() == [True, True]

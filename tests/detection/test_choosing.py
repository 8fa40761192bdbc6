"""Options of a line of Table 4: a second of a cry clip by its activity, and balanced others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crywatch.audio.activity import ActivityConfig
from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.cleaned import write_flac
from crywatch.data.selection import Source
from crywatch.detection.blazenet.choosing import (
    active_seconds,
    active_segments,
    balanced_segments,
)
from crywatch.detection.blazenet.data import SegmentRef
from tests.helpers.blazenet_cases import sound, write_clips
from tests.helpers.evaluation_cases import write_cries

ACTIVITY = ActivityConfig(active_db=25.0, least_share=0.25, quiet_db=35.0)


def with_pauses(*loud: bool) -> np.ndarray:
    """A second of sound each, 60 dB lower where it is not loud."""
    wave = sound(len(loud) * RATE_HZ)
    return wave * np.repeat(np.where(loud, 1.0, 1e-3), RATE_HZ).astype(np.float32)


def test_a_quiet_second_of_a_crying_clip_is_not_active():
    assert active_seconds(with_pauses(True, False, True, False), ACTIVITY) == {0, 2}
    anything = replace(ACTIVITY, least_share=0.0)
    assert active_seconds(with_pauses(True, False, True, False), anything) == {0, 1, 2, 3}


def test_seconds_of_clips_without_onsets_are_asked_and_no_others(tmp_path):
    rows = []
    for name in ("cry", "strong_cry", "other"):
        path = tmp_path / f"{name}.flac"
        write_flac(path, with_pauses(True, False, True))
        label = "other" if name == "other" else "cry"
        rows.append({"clip_id": f"a/{name}", "path": str(path), "label": label, "split": "train"})
    source = Source(
        write_clips(tmp_path / "clips.parquet", rows),
        write_cries(tmp_path / "events.parquet", {"a/strong_cry": [(0.0, 3.0)]}),
    )
    refs = [
        SegmentRef(row["clip_id"], index, row["label"] == "cry")
        for row in rows
        for index in range(3)
    ]
    refs.append(SegmentRef("untrimmed/cry", 1, True))
    found = active_segments(refs, source, ACTIVITY)
    assert [ref for ref in refs if ref not in found] == [SegmentRef("a/cry", 1, True)]


@pytest.mark.parametrize(("cries", "others", "left"), [(3, 10, 3), (3, 3, 3), (4, 2, 2)])
def test_at_most_as_many_others_as_cries_are_drawn_by_the_seed(cries, others, left):
    refs = [SegmentRef("a/cry", n, True) for n in range(cries)]
    refs += [SegmentRef("a/other", n, False) for n in range(others)]
    found = balanced_segments(refs, 1)
    assert sum(ref.is_cry for ref in found) == cries and len(found) == cries + left
    assert found == balanced_segments(refs, 1) == sorted(found, key=refs.index)
    if others == 10:
        assert any(balanced_segments(refs, seed) != found for seed in range(2, 6))

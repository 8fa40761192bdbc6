"""Stage cries: where a cry begins and ends, what is dropped, and what comes back from the store."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crywatch.audio.extents import ExtentConfig, Stretch
from crywatch.audio.segments import RATE_HZ
from crywatch.core.errors import ConfigError, TableError
from crywatch.corpora.shared.base import Details
from crywatch.corpora.shared.details import ClipDetails, write_details
from crywatch.data.tables import conform, write_table
from crywatch.data.tables.clips import EVENTS, SPLIT_CLIPS
from crywatch.speaker.cries import (
    Annotation,
    CriesConfig,
    cut_clips,
    cut_recording,
    publisher_annotations,
    recordings_of_infants,
    run,
)
from crywatch.speaker.cries.drawing import draw
from crywatch.speaker.cries.store import CryRow, CryStore, write_cries
from tests.helpers.split_cases import row

EXTENTS = ExtentConfig(15.0, 20.0, 0.08, 0.06)
CONFIG = CriesConfig("unused", 0.5, 0.3, EXTENTS, 1)
BURSTS = ((0.5, 1.3), (1.6, 2.4), (2.6, 2.8), (4.2, 5.0))  # the third is short


def bursts(peak: float = 0.25, seconds: float = 6.0) -> np.ndarray:
    """Tones at the times of `BURSTS` over faint noise."""
    rng = np.random.default_rng(0)
    wave = 1e-4 * rng.standard_normal(round(seconds * RATE_HZ))
    for onset_s, offset_s in BURSTS:
        time = np.arange(round(onset_s * RATE_HZ), round(offset_s * RATE_HZ))
        wave[time] += np.sin(2 * np.pi * 440 * time / RATE_HZ)
    return (peak * wave / np.abs(wave).max()).astype(np.float32)


def hears(*seconds: int):
    """A detector that is sure of those seconds."""
    return lambda wave: np.isin(np.arange(len(wave) // RATE_HZ), seconds).astype(float)


def times(cries) -> np.ndarray:
    return np.array([(cry.onset_s, cry.offset_s) for cry in cries])


def test_expirations_where_the_detector_hears_crying():
    cut = cut_recording(bursts(), hears(0, 1, 2), CONFIG)
    assert times(cut.cries) == pytest.approx(np.array([(0.5, 1.3), (1.6, 2.4)]), abs=0.03)
    assert times(cut.crying).tolist() == [[*(0.0, 3.0)]] and cut.found_by == "detector"
    assert np.abs(cut.wave).max() == pytest.approx(1.0)
    assert cut.peak_dbfs == pytest.approx(20 * np.log10(0.25), abs=0.01)


def test_an_expiration_goes_on_over_the_border_of_two_seconds():
    cut = cut_recording(bursts(), hears(1, 2), CONFIG)
    assert times(cut.cries)[1] == pytest.approx(np.array((1.6, 2.4)), abs=0.03)
    assert times(cut.cries)[0] == pytest.approx(np.array((1.0, 1.3)), abs=0.03)


def test_annotations_come_before_the_detector():
    noted = Annotation((Stretch(4.0, 9.0),))
    cut = cut_recording(bursts(), hears(0, 1), CONFIG, noted)
    assert times(cut.cries) == pytest.approx(np.array([(4.2, 5.0)]), abs=0.03)
    assert times(cut.crying).tolist() == [[*(4.0, 6.0)]] and cut.found_by == "annotation"


def test_what_the_publisher_cut_stays_whole_and_short_ones_are_dropped():
    cut = cut_recording(bursts(), hears(), CONFIG, Annotation(cut=True))
    assert times(cut.cries).tolist() == [[*(0.0, 6.0)]]
    assert not cut_recording(
        bursts(seconds=6.0)[:3200], hears(), CONFIG, Annotation(cut=True)
    ).cries


@pytest.mark.parametrize("wave", [np.zeros(RATE_HZ, np.float32), np.zeros(0, np.float32)])
def test_silence_has_no_cries(wave):
    cut = cut_recording(wave, hears(0), CONFIG)
    assert not cut.cries and np.isfinite(cut.wave).all()


def infant_clip(folder, name: str, wave: np.ndarray, **changes) -> dict:
    known = {"infant_id": "toy/mia", "label": "cry", "session_id": "s", "recorded_at": None}
    clip = row(folder, f"toy/{name}", wave, **(known | changes))
    return clip | {"cluster_id": None, "canonical": True, "group_id": "g", "split": "train"}


def test_cries_come_back_from_the_store_in_the_order_of_time(tmp_path, monkeypatch):
    """The whole stage, with a detector that hears crying everywhere."""
    monkeypatch.setattr("crywatch.detection.detectors.load_detector", lambda folder: Everywhere())
    clips = [
        infant_clip(tmp_path, name, bursts(peak), recorded_at=pd.Timestamp(at, tz="UTC"))
        for name, peak, at in (("late", 0.5, "2025-01-02"), ("early", 0.1, "2025-01-01"))
    ]
    clips.append(infant_clip(tmp_path, "silent", np.zeros(16_000, np.float32)))
    clips.append(infant_clip(tmp_path, "copy", bursts(), label="cry") | {"canonical": False})
    clips.append(infant_clip(tmp_path, "fan", bursts(), label="other"))
    write_table(conform(pd.DataFrame(clips), SPLIT_CLIPS), tmp_path / "c.parquet", SPLIT_CLIPS)
    for name in ("first", "second"):
        summary = run(tmp_path / "c.parquet", [], [], CONFIG, tmp_path / name)
    store = CryStore(tmp_path / "first")
    assert store.recordings == ["toy/early", "toy/late"]
    assert (summary.recordings, summary.cries, summary.infants) == (2, 6, 1)
    assert summary.without == {"crying": 0, "long_cries": 1}
    assert store.table["cry_id"].tolist()[:4] == [
        *(f"toy/early#{n}" for n in range(3)),
        "toy/late#0",
    ]
    for clip_id in store.recordings:
        for cry, number in zip(store.waves(clip_id), store.rows(clip_id), strict=True):
            length_s = store.table["offset_s"][number] - store.table["onset_s"][number]
            assert len(cry) == round(length_s * RATE_HZ)
            assert np.abs(cry).max() == pytest.approx(1.0, abs=0.02)
    assert store.digest == CryStore(tmp_path / "second").digest
    with pytest.raises(TableError, match="toy/fan"):
        store.rows("toy/fan")


class Everywhere:
    def score(self, wave):
        return np.ones(max(1, len(wave) // RATE_HZ))


def test_nothing_found_is_an_error_that_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("crywatch.detection.detectors.load_detector", lambda folder: Everywhere())
    clip = infant_clip(tmp_path, "silent", np.zeros(16_000, np.float32))
    write_table(conform(pd.DataFrame([clip]), SPLIT_CLIPS), tmp_path / "c.parquet", SPLIT_CLIPS)
    with pytest.raises(TableError, match=r"1 recordings.*threshold"):
        run(tmp_path / "c.parquet", [], [], CONFIG, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_store_whose_files_do_not_belong_together_is_refused(tmp_path):
    clip = infant_clip(tmp_path, "a", bursts())
    write_cries(tmp_path / "s", [CryRow(clip, 0.0, 1.0, "detector", -3.0, np.zeros(16_000))])
    np.save(tmp_path / "s/waves.npy", np.zeros(5, dtype="<i2"))
    with pytest.raises(TableError, match="16000 samples"):
        CryStore(tmp_path / "s")
    (tmp_path / "s/waves.npy").unlink()
    with pytest.raises(TableError, match="waves.npy is missing"):
        CryStore(tmp_path / "s")


def test_annotations_are_events_of_crying_and_clips_that_were_cut(tmp_path):
    events = [
        ("toy/a", 1.0, 2.0, "cry"),
        ("toy/a", 1.5, 3.0, "cry"),
        ("toy/b", 0.0, 1.0, "snoring"),
    ]
    columns = ["clip_id", "onset_s", "offset_s", "label"]
    write_table(pd.DataFrame(events, columns=columns), tmp_path / "e.parquet", EVENTS)
    told = [ClipDetails("toy/c", Details(kind="cry")), ClipDetails("toy/d", Details(kind="bout"))]
    write_details(told, tmp_path / "d.parquet")
    cut = cut_clips([tmp_path / "d.parquet"])
    assert cut == {"toy/c"}
    clip_ids = ["toy/a", "toy/b", "toy/c", "toy/d"]
    found = publisher_annotations(clip_ids, [tmp_path / "e.parquet"], cut)
    assert found == {
        "toy/a": Annotation((Stretch(1.0, 3.0),)),
        "toy/c": Annotation(cut=True),
    }


def test_only_what_may_hold_a_cry_of_a_known_infant(tmp_path):
    clips = [
        infant_clip(tmp_path, "a", bursts()),
        infant_clip(tmp_path, "b", bursts(), label="unknown"),
        infant_clip(tmp_path, "c", bursts(), infant_id=None),
    ]
    found = recordings_of_infants(conform(pd.DataFrame(clips), SPLIT_CLIPS), set())
    assert found["clip_id"].tolist() == ["toy/a", "toy/b"]


def test_a_bout_and_the_cries_cut_from_it_count_once(tmp_path):
    clips = [
        infant_clip(tmp_path, name, bursts(), recording_id=recording)
        for name, recording in (("bout", "one"), ("a", "one"), ("b", "one"), ("whole", "two"))
    ]
    found = recordings_of_infants(conform(pd.DataFrame(clips), SPLIT_CLIPS), {"toy/a", "toy/b"})
    assert found["clip_id"].tolist() == ["toy/a", "toy/b", "toy/whole"]


def test_steps_are_drawn_and_settings_are_checked():
    cut = cut_recording(bursts(), hears(0, 1), CONFIG)
    axes = draw("toy/a", bursts(), cut).axes
    assert "2 cries" in axes[2].get_title(loc="left") and len(axes) == 4
    for change in ({"threshold": 0.0}, {"min_cry_s": 0.0}, {"pictures": -1}):
        with pytest.raises(ConfigError, match="cries"):
            CriesConfig(**({**vars(CONFIG)} | change))

"""Stage ``mixtures``: both kinds of recordings, and what they share: joints, rows and counts."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from crywatch.audio.joints import crossfaded
from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.cleaned import read_clean
from crywatch.core import params
from crywatch.core.errors import ConfigError
from crywatch.data import mixtures
from crywatch.data.mixtures import MixturesConfig
from crywatch.data.mixtures.recordings import RecordingWriter, check_per_part, check_share
from crywatch.data.tables import PARTS, empty, read_table, write_table
from crywatch.data.tables.clips import EVENTS, SPLIT_CLIPS
from tests.helpers.split_cases import clips_table, cry_like, noise, row


@pytest.fixture(scope="module")
def config() -> MixturesConfig:
    """The project's, with one recording of a kind and part."""
    found = params.typed(params.compose().mixtures, MixturesConfig, "mixtures")
    one = dict.fromkeys(PARTS, 1)
    scenes = found.soundscapes
    kinds = {kind: replace(getattr(scenes, kind), per_part=one) for kind in ("ten_s", "untrimmed")}
    return MixturesConfig(replace(found.untrimmed, per_part=one), replace(scenes, **kinds))


def test_the_stage_writes_both_kinds_below_its_folder(config, tmp_path):
    rows = [
        row(tmp_path / "audio", f"a/{part}-{label}", wave, label=label)
        | {"cluster_id": None, "canonical": True, "group_id": f"a/{part}-{label}", "split": part}
        for number, part in enumerate(PARTS)
        for label, wave in (("cry", cry_like(number, 3.0)), ("other", noise(number, 3.0)))
    ]
    clips, events = tmp_path / "clips.parquet", tmp_path / "events.parquet"
    write_table(clips_table(rows, SPLIT_CLIPS), clips, SPLIT_CLIPS)
    write_table(empty(EVENTS), events, EVENTS)
    summary = mixtures.run(clips, events, config, 1, tmp_path / "out")
    metrics = summary.as_metrics()
    for kind, count in (("untrimmed", 3), ("soundscapes", 6)):
        table = read_table(tmp_path / "out" / kind / "clips.parquet", SPLIT_CLIPS)
        assert len(table) == count and set(table["corpus"]) == {kind}
        assert metrics[f"{kind}_recordings_val"] == count / 3
        assert metrics[f"{kind}_seconds"] == pytest.approx(table["duration_s"].sum(), abs=0.1)
        for clip in table.itertuples():
            assert len(read_clean(clip.path)) == round(clip.duration_s * RATE_HZ)
    assert metrics["soundscapes_cry_events"] > 0


def test_linear_ramps_keep_a_level_and_roots_keep_a_power():
    ones = [np.ones(100, dtype=np.float32)] * 3
    joined = crossfaded(ones, 10)
    assert joined.starts == (0, 90, 180)
    assert joined.wave == pytest.approx(np.ones(280))
    waves = [noise(seed, 2.0) for seed in range(2)]
    middle = slice(32_000 - 16_000, 32_000)
    power = np.mean(crossfaded(waves, 16_000, equal_power=True).wave[middle] ** 2)
    assert power == pytest.approx(0.01, rel=0.05)
    assert np.mean(crossfaded(waves, 16_000).wave[middle] ** 2) < 0.75 * power


def test_the_given_waves_are_left_as_they_are():
    waves = [np.ones(50, dtype=np.float32), np.ones(50, dtype=np.float32)]
    crossfaded(waves, 10)
    assert all((wave == 1).all() for wave in waves)


def test_a_row_names_all_sources(tmp_path):
    sources = pd.DataFrame(
        {"corpus": ["b", "a", "b"], "label": ["other", "cry", "other"], "licence": ["y", "x", "y"]}
    )
    writer = RecordingWriter(tmp_path, tmp_path / "final")
    cry = ("made/t-1", 0.5, 1.0, "cry")
    path = writer.add("made/t-1", "val", "kind", noise(1, 1.0), sources, [cry])
    writer.add("made/t-2", "val", "kind", noise(1, 2.0), sources.iloc[:0], [])
    assert path == (tmp_path / "final" / "audio" / "t-1.flac").as_posix()
    row, bare = writer.rows
    assert (row["source_path"], row["licence"], row["label"]) == ("a+b", "x; y", "cry")
    assert (bare["source_path"], bare["licence"], bare["label"]) == ("generated",) * 2 + ("other",)
    writer.write_tables()
    table = read_table(tmp_path / "clips.parquet", SPLIT_CLIPS)
    assert set(table["group_id"]) == {"made/val"} and table["duration_s"].tolist() == [1.0, 2.0]
    assert len(read_clean(tmp_path / "audio" / "t-2.flac")) == 2 * RATE_HZ
    assert len(read_table(tmp_path / "events.parquet", EVENTS)) == 1
    assert writer.summary().as_metrics() == {
        "recordings_train": 0,
        "recordings_val": 2,
        "recordings_test": 0,
        "seconds": 3.0,
        "cry_seconds": 0.5,
    }


def test_tables_may_be_empty(tmp_path):
    RecordingWriter(tmp_path, tmp_path).write_tables()
    assert read_table(tmp_path / "clips.parquet", SPLIT_CLIPS).empty


@pytest.mark.parametrize("counts", [{"train": 1, "val": 1}, {"train": 1, "val": 1, "test": -1}])
def test_counts_are_asked_for_each_part(counts):
    with pytest.raises(ConfigError, match="x.per_part: needs a number for each of train, val"):
        check_per_part("x.per_part", counts)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_one(share):
    with pytest.raises(ConfigError, match="x.share: .* is not in 0..1"):
        check_share("x.share", share)

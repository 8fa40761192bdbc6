"""What stages share that make recordings: joints keep levels, rows say what they are made of."""

import numpy as np
import pandas as pd
import pytest

from crywatch.audio.joints import crossfaded
from crywatch.core.errors import ConfigError
from crywatch.data.made import check_per_part, check_share, clip_row, write_tables
from crywatch.data.tables import read_table
from crywatch.data.tables.clips import EVENTS, SPLIT_CLIPS
from tests.helpers.split_cases import noise


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
    row = clip_row("made/t-1", "t-1.flac", "val", "kind", noise(1, 1.0), sources)
    assert (row["source_path"], row["licence"], row["label"]) == ("a+b", "x; y", "cry")
    bare = clip_row("made/t-2", "t-2.flac", "val", "kind", noise(1, 1.0), sources.iloc[:0])
    assert (bare["source_path"], bare["licence"], bare["label"]) == ("generated",) * 2 + ("other",)
    write_tables(tmp_path, [row, bare], [("made/t-1", 0.5, 1.0, "cry")])
    table = read_table(tmp_path / "clips.parquet", SPLIT_CLIPS)
    assert set(table["group_id"]) == {"made/val"} and table["duration_s"].tolist() == [1.0, 1.0]
    assert len(read_table(tmp_path / "events.parquet", EVENTS)) == 1


def test_tables_may_be_empty(tmp_path):
    write_tables(tmp_path, [], [])
    assert read_table(tmp_path / "clips.parquet", SPLIT_CLIPS).empty


@pytest.mark.parametrize("counts", [{"train": 1, "val": 1}, {"train": 1, "val": 1, "test": -1}])
def test_counts_are_asked_for_each_part(counts):
    with pytest.raises(ConfigError, match="x.per_part: needs a number for each of train, val"):
        check_per_part("x.per_part", counts)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_one(share):
    with pytest.raises(ConfigError, match="x.share: .* is not in 0..1"):
        check_share("x.share", share)

"""Joined recordings: onsets are true to the audio, and no clip leaves its part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.cleaned import read_clean, write_flac
from crywatch.core.errors import ConfigError, TableError
from crywatch.data.mixtures.untrimmed import (
    CROSSFADE_S,
    MAX_CRY_CLIPS,
    UntrimmedConfig,
    choose,
    join,
    run,
)
from crywatch.data.selection import LABELS
from crywatch.data.tables import PARTS, read_table, write_table
from crywatch.data.tables.clips import EVENTS, SPLIT_CLIPS
from tests.helpers.split_cases import clips_table, cry_like, noise, row

CONFIG = UntrimmedConfig(
    min_duration_s=4.0,
    max_duration_s=9.0,
    per_part={"train": 8, "val": 4, "test": 4},
    single_source=0.5,
)


def _split_rows(folder: Path) -> list[dict[str, object]]:
    rows = []
    for part in PARTS:
        for number in range(12):
            cry = number < 5
            clip_id = f"{'ab'[number % 2]}/{part}{number}"
            seed = PARTS.index(part) * 100 + number
            wave = (cry_like if cry else noise)(seed, 1.0 + 0.25 * (number % 4))
            rows.append(
                row(folder, clip_id, wave, label="cry" if cry else "other")
                | {
                    "licence": f"licence {'ab'[number % 2]}",
                    "cluster_id": None,
                    "canonical": number != 4,
                    "group_id": clip_id,
                    "split": part,
                }
            )
    rows[-1] |= {"label": "unknown"}
    return rows


@pytest.fixture(scope="module")
def split_clips(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("split")
    table = clips_table(_split_rows(folder), SPLIT_CLIPS)
    write_table(table, folder / "clips.parquet", SPLIT_CLIPS)
    return folder / "clips.parquet"


@pytest.fixture(scope="module")
def built(split_clips, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("data") / "untrimmed"
    run(split_clips, CONFIG, 0, out)
    return out


def weak(clips: pd.DataFrame, *names: str) -> pd.DataFrame:
    return clips.assign(weak=clips["clip_id"].isin(names))


def bags(folder: Path, clips: pd.DataFrame, min_weak: int) -> pd.DataFrame:
    write_table(clips, folder / "clips.parquet", SPLIT_CLIPS)
    run(folder / "clips.parquet", replace(CONFIG, min_weak=min_weak), 0, folder / "out")
    return read_table(folder / "out" / "bags.parquet", SPLIT_CLIPS)


def test_without_weak_clips_the_bags_are_the_recordings(built):
    assert (built / "bags.parquet").read_bytes() == (built / "clips.parquet").read_bytes()


def test_weak_clips_are_the_bags_of_a_part_that_has_them_and_joined_into_none(
    split_clips, tmp_path
):
    cries, others = ("a/train0", "b/train1", "a/val0"), ("a/train6", "b/train7", "b/test7")
    clips = weak(read_table(split_clips, SPLIT_CLIPS), *cries, *others)
    found = bags(tmp_path, clips, min_weak=2)
    real = found[found["corpus"] != "untrimmed"].groupby("split")["clip_id"].apply(list)
    # One weak cry of part val is too few, and the test part's weak sound has no weak cry beside it.
    assert real.to_dict() == {"train": ["a/train0", "b/train1", "a/train6", "b/train7"]}
    counts = found[found["corpus"] == "untrimmed"].groupby(["split", "label"]).size()
    assert counts.to_dict() == {(p, label): 2 for p in ("val", "test") for label in LABELS}
    members = pd.read_csv(tmp_path / "out" / "members.csv")["member_clip_id"]
    assert not set(cries) & set(members)
    assert set(others) & set(members)


def test_weak_cries_without_weak_others_have_joined_ones_beside_them(split_clips, tmp_path):
    clips = weak(read_table(split_clips, SPLIT_CLIPS), "a/train0")
    found = bags(tmp_path, clips, min_weak=1)
    of = found[found["split"] == "train"].groupby(["label", "corpus"]).size().to_dict()
    assert of == {("cry", "a"): 1, ("other", "untrimmed"): CONFIG.per_part["train"] // 2}


def test_recordings_are_as_ordered(built, split_clips):
    table = read_table(built / "clips.parquet", SPLIT_CLIPS)
    assert table["split"].value_counts().to_dict() == CONFIG.per_part
    for part in PARTS:
        labels = table.loc[table["split"] == part, "label"].value_counts()
        assert labels["cry"] == labels["other"] == CONFIG.per_part[part] // 2
    assert (table["group_id"] == "untrimmed/" + table["split"]).all()
    assert table["canonical"].all() and (table["corpus"] == "untrimmed").all()
    assert table["duration_s"].max() <= CONFIG.max_duration_s
    for clip in table.itertuples():
        wave = read_clean(clip.path)
        assert len(wave) / RATE_HZ == clip.duration_s
        assert Path(clip.path) == built / "audio" / f"{clip.clip_id.split('/')[1]}.flac"


def test_members_stay_in_their_part_and_are_canonical_and_labelled(built, split_clips):
    sources = read_table(split_clips, SPLIT_CLIPS).set_index("clip_id")
    table = read_table(built / "clips.parquet", SPLIT_CLIPS).set_index("clip_id")
    members = pd.read_csv(built / "members.csv")
    used = sources.loc[members["member_clip_id"]]
    assert (used["split"].to_numpy() == table.loc[members["clip_id"], "split"].to_numpy()).all()
    assert used["canonical"].all() and set(used["label"]) == {"cry", "other"}
    for clip_id, group in members.groupby("clip_id"):
        kinds = sources.loc[group["member_clip_id"]]
        assert (kinds["label"] == "cry").any() == (table.at[clip_id, "label"] == "cry")
        assert (kinds["label"] == "cry").sum() <= MAX_CRY_CLIPS
        one = kinds["corpus"].nunique() == 1
        assert table.at[clip_id, "category"] == ("single_source" if one else "several_sources")
        assert table.at[clip_id, "licence"] == "; ".join(sorted(set(kinds["licence"])))
    assert set(table["category"]) == {"single_source", "several_sources"}


def test_events_are_where_the_cry_clips_are_heard(built, split_clips):
    sources = read_table(split_clips, SPLIT_CLIPS).set_index("clip_id")
    table = read_table(built / "clips.parquet", SPLIT_CLIPS).set_index("clip_id")
    events = read_table(built / "events.parquet", EVENTS)
    members = pd.read_csv(built / "members.csv")
    cries = members[sources.loc[members["member_clip_id"], "label"].to_numpy() == "cry"]
    columns = ["clip_id", "onset_s", "offset_s"]
    assert cries[columns].to_numpy().tolist() == events[columns].to_numpy().tolist()
    assert set(events["label"]) == {"cry"}
    fade = round(CROSSFADE_S * RATE_HZ)
    for member in members.itertuples():
        wave = read_clean(table.at[member.clip_id, "path"])
        clip = read_clean(sources.at[member.member_clip_id, "path"])
        onset, offset = round(member.onset_s * RATE_HZ), round(member.offset_s * RATE_HZ)
        assert offset - onset == len(clip) and offset <= len(wave)
        heard = wave[onset:offset]
        # Levels are kept: between the crossfades these are the samples of the clip, rounded.
        assert np.abs(heard - clip)[fade:-fade].max() <= 2 / 32_768


def test_same_seed_same_bytes_and_another_seed_another_set(split_clips, built, tmp_path):
    run(split_clips, CONFIG, 0, tmp_path / "again")
    run(split_clips, CONFIG, 1, tmp_path / "other")
    for file in ("members.csv", "events.parquet", "audio/train-00003.flac"):
        same = (built / file).read_bytes()
        assert (tmp_path / "again" / file).read_bytes() == same
        assert (tmp_path / "other" / file).read_bytes() != same


def test_join_of_a_constant_is_constant():
    """Crossfades of equal, constant clips add up to the constant."""
    waves = [np.full(8_000, 0.25, np.float32)] * 3
    chosen = pd.DataFrame({"clip_id": ["a/0", "a/1", "a/2"], "label": ["other", "cry", "other"]})
    wave, placed = join(waves, chosen)
    fade = round(CROSSFADE_S * RATE_HZ)
    assert len(wave) == 3 * 8_000 - 2 * fade
    assert wave == pytest.approx(0.25, abs=1e-6)
    assert [item.onset_s for item in placed] == [
        number * (8_000 - fade) / RATE_HZ for number in range(3)
    ]
    assert placed[-1].offset_s == len(wave) / RATE_HZ


def test_join_of_one_clip_changes_nothing():
    wave = noise(0, 1.0)
    joined, placed = join([wave], pd.DataFrame({"clip_id": ["a/0"], "label": ["other"]}))
    assert np.array_equal(joined, wave)
    assert (placed[0].onset_s, placed[0].offset_s) == (0.0, 1.0)


def test_one_corpus_of_cries_only_still_gives_recordings(split_clips):
    """A source without other sounds is never the single source of a recording."""
    clips = read_table(split_clips, SPLIT_CLIPS)
    clips = clips[(clips["corpus"] == "a") | (clips["label"] == "cry")]
    for seed in range(10):
        for with_cry in (True, False):
            chosen = choose(clips, with_cry, CONFIG, np.random.default_rng(seed))
            assert (chosen["label"] == "cry").any() == with_cry
            assert (chosen["label"] == "other").any()


@pytest.mark.parametrize("label", ["cry", "other"])
def test_a_part_without_a_label_is_an_error_that_names_both(split_clips, tmp_path, label):
    clips = read_table(split_clips, SPLIT_CLIPS)
    clips = clips[~((clips["split"] == "val") & (clips["label"] == label))]
    write_table(clips, tmp_path / "clips.parquet", SPLIT_CLIPS)
    with pytest.raises(TableError, match=f"part val .*{label}"):
        run(tmp_path / "clips.parquet", CONFIG, 0, tmp_path / "untrimmed")
    assert [path.name for path in tmp_path.iterdir()] == ["clips.parquet"]


def test_a_single_cry_in_a_part_is_enough(split_clips, tmp_path):
    clips = read_table(split_clips, SPLIT_CLIPS)
    last = (clips["split"] == "val") & (clips["label"] == "cry") & clips["canonical"]
    clips = clips.drop(index=clips.index[last][1:])
    write_table(clips, tmp_path / "clips.parquet", SPLIT_CLIPS)
    summary = run(tmp_path / "clips.parquet", CONFIG, 0, tmp_path / "untrimmed")
    assert summary.recordings == CONFIG.per_part
    assert 0 < summary.cry_seconds < summary.seconds


@pytest.mark.parametrize("with_cry", [True, False])
def test_recordings_keep_to_the_durations(split_clips, with_cry):
    """Of the recording: the crossfades make it shorter than its clips together."""
    clips = read_table(split_clips, SPLIT_CLIPS)
    config = UntrimmedConfig(min_duration_s=6.2, max_duration_s=8.0, per_part={}, single_source=0.5)
    for seed in range(250):
        chosen = choose(clips, with_cry, config, np.random.default_rng(seed))
        seconds = chosen["duration_s"].sum() - CROSSFADE_S * (len(chosen) - 1)
        assert 6.2 <= seconds <= 8.0


@pytest.mark.parametrize("label", ["cry", "other"])
def test_long_clips_do_not_make_a_recording_too_long(split_clips, tmp_path, label):
    clips = read_table(split_clips, SPLIT_CLIPS)
    config = replace(CONFIG, min_duration_s=6.2, max_duration_s=8.0)
    long = tmp_path / "long.flac"
    write_flac(long, np.full(round(7.0 * RATE_HZ), 0.1, dtype=np.float32))
    endless = tmp_path / "endless.flac"
    write_flac(endless, np.full(round(9.0 * RATE_HZ), 0.1, dtype=np.float32))
    rows = clips.index[(clips["label"] == label) & clips["canonical"]]
    for path, seconds, chosen in ((long, 7.0, rows[::3]), (endless, 9.0, rows[1::3])):
        clips.loc[chosen, ["path", "duration_s"]] = [str(path), seconds]
    write_table(clips, tmp_path / "clips.parquet", SPLIT_CLIPS)
    run(tmp_path / "clips.parquet", config, 0, tmp_path / "untrimmed")
    table = read_table(tmp_path / "untrimmed" / "clips.parquet", SPLIT_CLIPS)
    assert table["duration_s"].max() <= 8.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_duration_s": 61.0, "max_duration_s": 60.0}, "not 61 and 60"),
        ({"per_part": {"train": 2, "test": 2}}, "per_part: .* val"),
        ({"single_source": 50.0}, "single_source: 50"),
    ],
)
def test_settings_out_of_range_are_named(split_clips, tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        run(split_clips, replace(CONFIG, **change), 0, tmp_path / "untrimmed")

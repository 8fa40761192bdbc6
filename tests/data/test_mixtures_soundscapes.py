"""Soundscapes: labels and levels are true to the audio, and no clip leaves its part."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crywatch import corpora
from crywatch.audio.extents import ExtentConfig
from crywatch.audio.mixer import PEAK, Soundscape, render
from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.cleaned import read_clean
from crywatch.core.errors import ConfigError, TableError
from crywatch.corpora import Refused
from crywatch.data.mixtures.draw import KindConfig, Range, RoomConfig, SoundscapesConfig
from crywatch.data.mixtures.soundscapes import run
from crywatch.data.tables import PARTS, empty, read_table, write_table
from crywatch.data.tables.clips import EVENTS, SPLIT_CLIPS
from tests.helpers.split_cases import clips_table, cry_like, noise, row, tone

CONFIG = SoundscapesConfig(
    ten_s=KindConfig({"train": 8, "val": 4, "test": 4}, max_cries=3, max_confusers=2),
    untrimmed=KindConfig({"train": 2, "val": 1, "test": 1}, max_cries=4, max_confusers=4),
    untrimmed_s=Range(14.0, 18.0),
    cry_share=0.5,
    max_clip_s=30.0,
    foreground_s=Range(1.0, 4.0),
    snr_db=Range(-5.0, 25.0),
    background_dbfs=Range(-45.0, -30.0),
    backgrounds=["rain"],
    max_dynamics_db=12.0,
    confusers=[],
    extents=ExtentConfig(20.0, 25.0, min_gap_s=0.3, min_length_s=0.06),
    rooms=RoomConfig(0.5, rt60_s=Range(0.15, 0.5), direct_db=Range(0.0, 12.0)),
)
OWN = ("a/train0", 0.5, 1.3)  # a cry with a strong label


def bursts(seed: int) -> np.ndarray:
    """Two sounds of half a second with a second between them; [samples], 16 kHz."""
    wave = np.zeros(3 * RATE_HZ, dtype=np.float32)
    for start_s in (0.4, 1.9):
        start = round(start_s * RATE_HZ)
        wave[start : start + RATE_HZ // 2] = tone(seed, 0.5)
    return wave


def _rows(folder: Path) -> list[dict[str, object]]:
    rows = []
    for number, part in enumerate(PARTS):
        clips = [(cry_like(10 * number + k, 2.0 + k), "cry", "hungry") for k in range(4)]
        clips += [(noise(10 * number + k, 2.5), "other", "rain") for k in range(2)]
        clips += [(bursts(number), "other", "dog"), (tone(number, 1.2, 900.0), "other", "bell")]
        silence = np.zeros(2 * RATE_HZ, dtype=np.float32)
        clips += [(silence, "other", "rain"), (silence, "cry", "hungry")]
        clips += [(noise(99 + number, 2.0), "unknown", "rain")]
        for k, (wave, label, category) in enumerate(clips):
            clip_id = f"{'ab'[k % 2]}/{part}{k}"
            columns = {"label": label, "category": category, "cluster_id": None, "split": part}
            columns |= {"canonical": k != 3, "group_id": clip_id, "licence": f"licence {k % 2}"}
            rows.append(row(folder, clip_id, wave, **columns))
    return rows


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """split/clips.parquet, and split/events.parquet with the corpora's own events."""
    folder = tmp_path_factory.mktemp("sources")
    table = clips_table(_rows(folder / "audio"), SPLIT_CLIPS)
    write_table(table, folder / "split" / "clips.parquet", SPLIT_CLIPS)
    own = pd.DataFrame([(*OWN, "cry")], columns=list(empty(EVENTS).columns))
    write_table(own, folder / "split" / "events.parquet", EVENTS)
    return folder


def make(sources: Path, out: Path, config=CONFIG, seed=0, split: Path | None = None):
    events = sources / "split/events.parquet"
    return run(split or sources / "split/clips.parquet", events, config, seed, out)


@pytest.fixture(scope="module")
def built(sources, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("data") / "soundscapes"
    make(sources, out)
    return out


def annotations(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "annotations.jsonl").read_text().splitlines()]


def reader(sources: Path):
    paths = read_table(sources / "split/clips.parquet", SPLIT_CLIPS).set_index("clip_id")["path"]
    return lambda clip_id: read_clean(paths[clip_id])


def changed(sources: Path, folder: Path, change) -> Path:
    """The split's table after ``change``, below ``folder``."""
    table = change(read_table(sources / "split/clips.parquet", SPLIT_CLIPS))
    write_table(table, folder / "clips.parquet", SPLIT_CLIPS)
    return folder / "clips.parquet"


def test_mixtures_are_as_ordered(built):
    table = read_table(built / "clips.parquet", SPLIT_CLIPS)
    for kind, category in ((CONFIG.ten_s, "10s"), (CONFIG.untrimmed, "untrimmed")):
        found = table[table["category"] == category]
        assert found["split"].value_counts().to_dict() == kind.per_part
        for part, count in kind.per_part.items():
            cries = (found.loc[found["split"] == part, "label"] == "cry").sum()
            assert cries == (count + 1) // 2
    assert (table.loc[table["category"] == "10s", "duration_s"] == 10.0).all()
    assert table.loc[table["category"] == "untrimmed", "duration_s"].between(14, 18).all()
    assert (table["group_id"] == "soundscapes/" + table["split"]).all()
    assert table["canonical"].all() and (table["corpus"] == "soundscapes").all()
    for clip in table.itertuples():
        assert Path(clip.path) == built / "audio" / f"{clip.clip_id.split('/')[1]}.flac"
        assert len(read_clean(clip.path)) == round(clip.duration_s * RATE_HZ)


def test_no_clip_crosses_the_border_of_the_split(built, sources):
    clips = read_table(sources / "split/clips.parquet", SPLIT_CLIPS).set_index("clip_id")
    table = read_table(built / "clips.parquet", SPLIT_CLIPS).set_index("clip_id")
    for record in annotations(built):
        background = clips.loc[record["background"]["clip_id"]]
        used = clips.loc[[found["clip_id"] for found in record["foregrounds"]]]
        assert set(used["split"]) | {background["split"]} == {record["part"]}
        assert used["canonical"].all() and background["canonical"]
        assert (background["label"], background["category"]) == ("other", "rain")
        assert not used["category"].eq("rain").any()
        names = np.where(used["label"] == "cry", "cry", used["category"])
        assert names.tolist() == [found["label"] for found in record["foregrounds"]]
        licences = {background["licence"], *used["licence"]}
        assert table.at[record["clip_id"], "licence"] == "; ".join(sorted(licences))


def test_events_are_the_foregrounds_stretches(built):
    table = read_table(built / "clips.parquet", SPLIT_CLIPS).set_index("clip_id")
    events = read_table(built / "events.parquet", EVENTS)
    assert (events["offset_s"] <= table.loc[events["clip_id"], "duration_s"].to_numpy()).all()
    cry_clips = set(events.loc[events["label"] == "cry", "clip_id"])
    assert cry_clips == set(table.index[table["label"] == "cry"])
    for (_, _), found in events.groupby(["clip_id", "label"]):
        gaps_s = found["onset_s"].to_numpy()[1:] - found["offset_s"].to_numpy()[:-1]
        assert (gaps_s >= CONFIG.extents.min_gap_s - 1e-9).all()
    for record in annotations(built):
        mine = events[events["clip_id"] == record["clip_id"]]
        for foreground in Soundscape.from_annotation(record).foregrounds:
            assert foreground.span.length_s <= CONFIG.foreground_s.max
            for event in foreground.events():
                covering = (mine["onset_s"] <= event.onset_s) & (mine["offset_s"] >= event.offset_s)
                assert (mine.loc[covering, "label"] == foreground.label).any()
        cries = [found for found in record["foregrounds"] if found["label"] == "cry"]
        kind = CONFIG.ten_s if record["category"] == "10s" else CONFIG.untrimmed
        assert len(cries) <= kind.max_cries
        assert len(record["foregrounds"]) - len(cries) <= kind.max_confusers


def test_a_pause_is_no_event_and_a_clips_own_events_come_first(built):
    dogs = own = 0
    for record in annotations(built):
        for found in Soundscape.from_annotation(record).foregrounds:
            if found.label == "dog" and len(found.stretches) == 2:
                dogs += 1
                assert found.stretches[0].length_s == 0.5 >= found.stretches[1].length_s
                assert found.events()[1].onset_s - found.events()[0].onset_s == pytest.approx(1.5)
            if found.clip_id == OWN[0]:
                own += 1
                assert all(OWN[1] <= s.onset_s < s.offset_s <= OWN[2] for s in found.stretches)
    assert dogs and own


def test_an_annotation_is_enough_to_build_the_mixture_again(built, sources):
    for record in annotations(built):
        again = render(Soundscape.from_annotation(record), reader(sources))
        assert np.abs(again.wave - read_clean(record["path"])).max() <= 0.6 / 32_768
        assert again.gain_db == record["gain_db"]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_finished_files_have_the_drawn_levels(sources, tmp_path, share):
    """Measured: what is left when the background alone is taken away, against it."""
    config = replace(CONFIG, rooms=replace(CONFIG.rooms, share=share))
    config = replace(config, ten_s=replace(config.ten_s, max_cries=1, max_confusers=0))
    make(sources, tmp_path / "out", config)
    seen = 0
    for record in annotations(tmp_path / "out"):
        plan = Soundscape.from_annotation(record)
        assert (plan.rt60_s is None) == (share == 0.0)
        if record["category"] != "10s":
            continue
        heard = read_clean(record["path"]) / 10 ** (record["gain_db"] / 20)
        background = render(replace(plan, foregrounds=()), reader(sources)).wave
        rms = np.sqrt(np.mean(np.square(background, dtype=np.float64)))
        assert 20 * np.log10(rms) == pytest.approx(plan.background.level_dbfs, abs=0.01)
        for found in plan.foregrounds:
            seen += 1
            active = np.zeros(len(heard), dtype=bool)
            for event in found.events():
                active[event.samples()] = True
            ratio = np.mean((heard - background)[active] ** 2) / np.mean(background[active] ** 2)
            assert 10 * np.log10(ratio) == pytest.approx(found.snr_db, abs=0.1)
            before = (heard - background)[: max(found.events()[0].samples().start - 320, 0)]
            assert np.abs(before).max(initial=0) < 1e-3  # no sound before its onset
    assert seen == 8


def test_a_mixture_that_would_clip_is_scaled_as_its_annotation_says(sources, tmp_path):
    config = replace(CONFIG, background_dbfs=Range(-12.0, -12.0), snr_db=Range(20.0, 20.0))
    make(sources, tmp_path / "out", config)
    for record in annotations(tmp_path / "out"):
        peak = np.abs(read_clean(record["path"])).max()
        assert record["gain_db"] < 0 and peak == pytest.approx(PEAK, abs=1e-4)


def test_same_seed_same_bytes_and_another_seed_another_set(sources, built, tmp_path):
    make(sources, tmp_path / "other", seed=1)
    before = {p.relative_to(built): p.read_bytes() for p in built.rglob("*") if p.is_file()}
    make(sources, built)
    after = {p.relative_to(built): p.read_bytes() for p in built.rglob("*") if p.is_file()}
    assert after == before
    for name in ("annotations.jsonl", "audio/train-00003.flac", "metadata/test/soundscapes.tsv"):
        assert (tmp_path / "other" / name).read_bytes() != before[Path(name)]


def test_a_mixture_does_not_depend_on_how_many_there_are(sources, built, tmp_path):
    kinds = {
        "ten_s": replace(CONFIG.ten_s, per_part={"train": 3, "val": 6, "test": 0}),
        "untrimmed": replace(CONFIG.untrimmed, per_part={"train": 1, "val": 0, "test": 2}),
    }
    make(sources, tmp_path / "out", replace(CONFIG, **kinds))
    common = 0
    for path in (tmp_path / "out" / "audio").iterdir():
        if (built / "audio" / path.name).is_file():
            common += 1
            assert path.read_bytes() == (built / "audio" / path.name).read_bytes()
    assert common == 3 + 4 + 1 + 1


def test_the_loader_of_icsd_reads_the_tables(built, tmp_path):
    events = read_table(built / "events.parquet", EVENTS)
    for part in ("train", "validation", "test"):
        shutil.copytree(built / "metadata" / part, tmp_path / "data" / "metadata" / part)
        target = tmp_path / "data" / "audio" / part / "soundscapes"
        target.mkdir(parents=True)
        for path in (built / "audio").glob(f"{part[:3]}*.flac"):
            shutil.copy(path, target / path.name)
    table = read_table(built / "clips.parquet", SPLIT_CLIPS).set_index("clip_id")
    entries = list(corpora.get("icsd").index(tmp_path))
    assert len(entries) == len(table) and not any(isinstance(e, Refused) for e in entries)
    for entry in entries:
        clip_id = f"soundscapes/{Path(entry.source_path).stem}"
        assert entry.label == table.at[clip_id, "label"]
        mine = events[events["clip_id"] == clip_id]
        expected = sorted(zip(mine["onset_s"], mine["offset_s"], mine["label"], strict=True))
        assert [(e.onset_s, e.offset_s, e.label) for e in entry.events] == expected
    for table_path in (built / "metadata").rglob("*_durations.tsv"):
        assert list(pd.read_csv(table_path, sep="\t")) == ["filename", "duration"]


@pytest.mark.parametrize("steady", [True, False])
def test_without_a_list_the_steady_clips_are_backgrounds(sources, tmp_path, steady):
    config = replace(CONFIG, backgrounds=[], max_dynamics_db=12.0 if steady else 0.0)
    summary = make(sources, tmp_path / "out", config)
    used = {record["background"]["clip_id"] for record in annotations(tmp_path / "out")}
    if not steady:
        assert summary.generated_backgrounds == 1.0 and used == {None}
        return
    categories = read_table(sources / "split/clips.parquet", SPLIT_CLIPS).set_index("clip_id")
    # Of the dog's bursts none is long enough.
    assert set(categories.loc[list(used), "category"]) == {"rain", "bell"}
    assert summary.generated_backgrounds == 0.0


def test_a_part_without_background_gets_noise_and_the_summary_says_so(sources, tmp_path):
    split = changed(
        sources, tmp_path, lambda t: t[~((t["split"] == "val") & (t["category"] == "rain"))]
    )
    summary = make(sources, tmp_path / "out", split=split)
    assert summary.generated_backgrounds == pytest.approx(5 / 20)
    for record in annotations(tmp_path / "out"):
        assert (record["background"]["noise"] in ("pink", "brown")) == (record["part"] == "val")


def test_the_summary_counts_what_was_made(sources, built, tmp_path):
    summary = make(sources, tmp_path / "out")
    events = read_table(built / "events.parquet", EVENTS)
    cries = events[events["label"] == "cry"]
    records = annotations(built)
    snrs_db = [found["snr_db"] for record in records for found in record["foregrounds"]]
    assert summary.as_metrics() == {
        "recordings_train": 10.0,
        "recordings_val": 5.0,
        "recordings_test": 5.0,
        "seconds": round(sum(record["duration_s"] for record in records), 1),
        "cry_seconds": round((cries["offset_s"] - cries["onset_s"]).sum(), 1),
        "cry_events": len(cries),
        "other_events": len(events) - len(cries),
        "generated_backgrounds": 0.0,
        "in_rooms": sum(record["rt60_s"] is not None for record in records) / 20,
        "mean_snr_db": round(np.mean(snrs_db), 2),
    }


def test_only_the_confusers_of_the_list_are_heard(sources, tmp_path):
    make(sources, tmp_path / "out", replace(CONFIG, confusers=["bell"]))
    labels = {e for e in read_table(tmp_path / "out/events.parquet", EVENTS)["label"]}
    assert labels == {"cry", "bell"}


@pytest.mark.parametrize("silent_is_left", [True, False])
def test_a_part_without_a_cry_that_sounds_is_an_error(sources, tmp_path, silent_is_left):
    def change(table):
        cries = (table["split"] == "test") & (table["label"] == "cry")
        return table[~(cries & ((table["peak_dbfs"] > -100) | (not silent_is_left)))]

    with pytest.raises(TableError, match="part test has no clip labelled 'cry' .* not silent"):
        make(sources, tmp_path / "out", split=changed(sources, tmp_path, change))
    assert [path.name for path in tmp_path.iterdir()] == ["clips.parquet"]
    make(
        sources, tmp_path / "out", replace(CONFIG, cry_share=0.0), split=tmp_path / "clips.parquet"
    )


def test_digital_silence_within_a_strong_event_is_never_scaled_to_a_cry(sources, tmp_path):
    wave = np.zeros(20 * RATE_HZ, dtype=np.float32)
    wave[RATE_HZ : 2 * RATE_HZ] = cry_like(3, 1.0)
    rows = []
    for part in PARTS:
        columns = {"label": "cry", "category": "hungry", "cluster_id": None, "split": part}
        columns |= {"canonical": True, "group_id": f"c/{part}"}
        rows.append(row(tmp_path / "audio", f"c/{part}", wave, **columns))
    more = clips_table(rows, SPLIT_CLIPS)
    split = changed(sources, tmp_path, lambda t: pd.concat([t[t["label"] != "cry"], more]))
    own = [(f"c/{part}", 0.5, 19.5, "cry") for part in PARTS]
    own = pd.DataFrame(own, columns=list(empty(EVENTS).columns))
    write_table(own, tmp_path / "events.parquet", EVENTS)
    run(split, tmp_path / "events.parquet", CONFIG, 0, tmp_path / "out")
    cries = 0
    for record in annotations(tmp_path / "out"):
        for found in Soundscape.from_annotation(record).foregrounds:
            cries += found.label == "cry"
            inside = [(s.onset_s, s.offset_s) for s in found.stretches if found.label == "cry"]
            assert all(0.9 <= onset_s < offset_s <= 2.1 for onset_s, offset_s in inside)
    assert cries


@pytest.mark.parametrize(
    ("zero", "count"), [(("ten_s", "untrimmed"), 0), (("ten_s",), 4), (("untrimmed",), 16)]
)
def test_no_mixture_of_a_kind_may_be_asked_for(sources, tmp_path, zero, count):
    none = dict.fromkeys(PARTS, 0)
    kinds = {name: replace(getattr(CONFIG, name), per_part=none) for name in zero}
    summary = make(sources, tmp_path / "out", replace(CONFIG, **kinds))
    table = read_table(tmp_path / "out" / "clips.parquet", SPLIT_CLIPS)
    assert len(table) == sum(summary.recordings.values()) == count
    events = read_table(tmp_path / "out" / "events.parquet", EVENTS)
    assert len(events) == summary.cry_events + summary.other_events


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cry_share": 1.5}, "soundscapes.cry_share: 1.5"),
        ({"ten_s": KindConfig({"train": 1}, 1, 1)}, "soundscapes.ten_s.per_part: .* val"),
        ({"ten_s": replace(CONFIG.ten_s, max_cries=0)}, "ten_s: needs max_cries .* not 0 and 2"),
        ({"untrimmed_s": Range(9.0, 3.0)}, "untrimmed_s: needs 0.3 < min <= max, not 9 and 3"),
        ({"untrimmed_s": Range(0.2, 3.0)}, "untrimmed_s: needs 0.3 < min"),
        ({"foreground_s": Range(0.01, 3.0)}, "foreground_s: needs 0.3 < min"),
        ({"snr_db": Range(3.0, -3.0)}, "snr_db: needs min <= max, not 3 and -3"),
        ({"rooms": replace(CONFIG.rooms, share=-1.0)}, "rooms.share: -1"),
        ({"rooms": replace(CONFIG.rooms, rt60_s=Range(0.0, 1.0))}, "rooms.rt60_s: needs 0 <"),
        ({"max_dynamics_db": -1.0}, "max_dynamics_db: -1 .* below 0"),
        ({"extents": ExtentConfig(30.0, 20.0, 0.3, 0.1)}, "extents: .* not 30 and 20"),
        ({"extents": ExtentConfig(20.0, 25.0, 0.3, 0.0)}, "extents: .* not 0.3 and 0"),
    ],
)
def test_settings_out_of_range_are_named(sources, tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        make(sources, tmp_path / "out", replace(CONFIG, **change))
    assert not (tmp_path / "out").exists()

"""The split: no group crosses a border, each clip has one part, one seed gives one split."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crywatch.core.atomic import read_json
from crywatch.core.errors import ConfigError, TableError
from crywatch.corpora.shared.base import Details
from crywatch.corpora.shared.details import FILE as DETAILS
from crywatch.corpora.shared.details import ClipDetails, write_details
from crywatch.data.split import Pair, SplitConfig, duplicate_clusters, run
from crywatch.data.split.groups import assign_parts, group_ids
from crywatch.data.tables import PARTS, read_table, write_table
from crywatch.data.tables.clips import DUPLICATES, EVENTS, OVERLAPS, SPLIT_CLIPS
from tests.helpers.split_cases import clips_table, corpus_folder, cry_like, noise, row

RATIOS = {"train": 0.8, "val": 0.1, "test": 0.1}
CONFIG = SplitConfig(ratios=RATIOS, similarity=0.8, evidence=16.0)

# (group, stratum) of each row
rows_of_groups = st.lists(
    st.tuples(st.integers(0, 30).map("g{:02d}".format), st.sampled_from(["a", "b", "c"])),
    min_size=1,
    max_size=120,
)


@given(rows_of_groups, st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_groups_never_cross_and_every_row_has_one_part(rows, seed):
    groups, strata = zip(*rows, strict=True)
    parts = assign_parts(groups, strata, RATIOS, seed)
    assert len(parts) == len(rows)
    assert set(parts) <= set(PARTS)
    assert pd.Series(parts).groupby(list(groups)).nunique().max() == 1
    assert assign_parts(groups, strata, RATIOS, seed) == parts


@given(rows_of_groups, st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_a_stratum_with_three_groups_of_its_own_is_in_every_part(rows, seed):
    groups, strata = zip(*rows, strict=True)
    frame = pd.DataFrame({"group": groups, "stratum": strata})
    frame["split"] = assign_parts(groups, strata, RATIOS, seed)
    pure = frame.groupby("group")["stratum"].nunique() == 1
    for _, own in frame.groupby("stratum"):
        if pure[own["group"].unique()].sum() >= 3:
            assert set(own["split"]) == set(PARTS)


@given(st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_ratios_hold_in_every_stratum_where_groups_are_many(seed):
    rng = np.random.default_rng(seed)
    groups = [f"g{number:03d}" for number in np.repeat(np.arange(300), rng.integers(1, 6, 300))]
    stratum = {group: "abc"[int(rng.integers(3))] for group in sorted(set(groups))}
    strata = [stratum[group] for group in groups]
    parts = assign_parts(groups, strata, RATIOS, seed)
    shares = pd.crosstab(pd.Series(strata), pd.Series(parts), normalize="index")
    for part, ratio in RATIOS.items():
        assert shares[part].to_numpy() == pytest.approx(ratio, abs=0.03)


def test_another_seed_is_another_split():
    groups = [f"g{number:03d}" for number in range(100)]
    first, second = (assign_parts(groups, ["a"] * 100, RATIOS, seed) for seed in (0, 1))
    assert first != second


@given(
    st.lists(
        st.tuples(st.integers(0, 8), st.one_of(st.none(), st.integers(0, 5))),
        min_size=1,
        max_size=25,
    ),
    st.lists(st.tuples(st.integers(0, 24), st.integers(0, 24)), max_size=6),
)
@settings(max_examples=60, deadline=None)
def test_groups_are_the_connected_rows(rows, links):
    frame = pd.DataFrame(rows, columns=["recording_id", "infant_id"]).astype(object)
    frame = frame.where(frame.notna(), None)
    frame["clip_id"] = [f"c/{number:02d}" for number in range(len(frame))][::-1]
    links = [(i, j) for i, j in links if i < len(frame) and j < len(frame)]
    # The slow way: spread the smallest name over equal values until nothing changes.
    names = frame["clip_id"].tolist()
    for _ in frame.index:
        for i, (recording, infant) in enumerate(rows):
            for j, (other_recording, other_infant) in enumerate(rows):
                same = recording == other_recording or (
                    infant is not None and infant == other_infant
                )
                if same or (i, j) in links or (j, i) in links:
                    names[i] = names[j] = min(names[i], names[j])
    assert group_ids(frame, links) == names


def _pairs_table(members: list[dict[str, object]]) -> pd.DataFrame:
    base = {"path": "x", "source_path": "x", "duration_s": 1.0, "rate_hz": 16_000,
            "bandwidth_hz": 8_000.0, "peak_dbfs": -3.0, "rms_dbfs": -20.0, "label": "cry",
            "category": "any", "infant_id": None, "session_id": None, "recorded_at": pd.NaT,
            "licence": "CC0 1.0"}  # fmt: skip
    return clips_table(
        [
            base
            | {
                "clip_id": f"toy/{number}",
                "corpus": "toy",
                "recording_id": f"r{number}",
                "sha256": hashlib.sha256(bytes([number])).hexdigest(),
            }
            | member
            for number, member in enumerate(members)
        ]
    ).assign(weak=False)


def never(first, second):
    raise AssertionError(f"rows {first} and {second} are a pair")


def test_a_member_linked_through_another_has_its_own_similarity():
    clips = _pairs_table([{}, {"bandwidth_hz": 9_000.0}, {}, {}])
    asked = []

    def compare(first, second):
        asked.append((first, second))
        return 0.7

    clusters = duplicate_clusters(clips, [Pair(1, 2, 0.9), Pair(2, 3, 0.85)], compare)
    assert clusters["clip_id"].tolist() == ["toy/1", "toy/2", "toy/3"]
    assert clusters["similarity"].tolist() == [1.0, 0.9, 0.7]
    assert asked == [(1, 3)]


def test_the_widest_copy_is_canonical_and_listed_first():
    clips = _pairs_table([{"bandwidth_hz": hz} for hz in (3_900.0, 7_900.0, 8_000.0, 7_910.0)])
    pairs = [Pair(0, 1, 0.9), Pair(1, 3, 0.95)]
    clusters = duplicate_clusters(clips, pairs, never)
    assert clusters["clip_id"].tolist() == ["toy/1", "toy/3", "toy/0"]
    assert clusters["canonical"].tolist() == [True, False, False]
    assert clusters["similarity"].tolist() == [1.0, 0.95, 0.9]
    assert set(clusters["cluster_id"]) == {"toy/0"}


def test_clusters_are_joined_by_sound_not_by_recording():
    clips = _pairs_table([{"recording_id": "r"}] * 4)
    clusters = duplicate_clusters(clips, [Pair(0, 1, 1.0), Pair(2, 3, 1.0)], never)
    assert clusters["cluster_id"].nunique() == 2
    assert clusters.groupby("cluster_id")["canonical"].sum().tolist() == [1, 1]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory) -> list[Path]:
    """Two corpora: ``b`` holds three clips of ``a`` again, softer; ``b`` has infants too."""
    folder = tmp_path_factory.mktemp("corpora")
    a = [
        row(folder, f"a/{n}", cry_like(n, 2.0), label="cry" if n < 6 else "other")
        for n in range(12)
    ]
    b = [row(folder, f"b/copy{n}", 0.3 * cry_like(n, 2.0), label="cry") for n in range(3)]
    b += [
        row(folder, f"b/{n}", noise(n, 2.0), infant_id=f"b/infant{n // 2}", label="unknown")
        for n in range(8)
    ]
    return [corpus_folder(folder / name, rows) for name, rows in (("a", a), ("b", b))]


def test_run_writes_what_it_promises(corpora, tmp_path):
    summary = run(corpora, CONFIG, 0, tmp_path / "split", tmp_path / "infants")
    clips = read_table(tmp_path / "split/clips.parquet", SPLIT_CLIPS)
    clusters = read_table(tmp_path / "split/duplicates.parquet", DUPLICATES)
    assert summary.n_clips == len(clips) == 23
    assert summary.n_clusters == summary.n_cross_corpus_clusters == summary.n_duplicates == 3
    for number in range(3):
        pair = clips[clips["clip_id"].isin([f"a/{number}", f"b/copy{number}"])]
        assert pair["cluster_id"].nunique() == pair["group_id"].nunique() == 1
        assert pair["canonical"].sum() == 1
    assert set(clips.loc[clips["cluster_id"].notna(), "clip_id"]) == set(clusters["clip_id"])
    assert clips.loc[clips["cluster_id"].isna(), "canonical"].all()
    for keeps in ("group_id", "recording_id", "infant_id", "cluster_id"):
        assert clips.groupby(keeps)["split"].nunique().max() == 1
    assert set(clips.loc[clips["label"] == "other", "split"]) == set(PARTS)

    metrics = read_json(tmp_path / "split/metrics.json")
    assert metrics["clusters_across_corpora"] == 3
    table = pd.read_csv(tmp_path / "split/split.csv")
    assert table["clips"].sum() == len(clips)
    assert table["seconds"].sum() == pytest.approx(clips["duration_s"].sum(), abs=0.5)


def test_same_inputs_give_the_same_bytes(corpora, tmp_path):
    for name in ("first", "second"):
        run(corpora, CONFIG, 0, tmp_path / name, tmp_path / f"{name} infants")
    files = ("clips", "duplicates", "overlaps")
    for file in (*(f"{name}.parquet" for name in files), "split.csv", "metrics.json"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


@pytest.mark.parametrize("seed", range(3))
def test_clips_that_overlap_stay_together_and_both_stay(tmp_path, seed):
    """A mixture in one corpus, an excerpt in another: no border between them and their source."""
    sources = [cry_like(n, 6.0) for n in range(10)]
    a = [row(tmp_path, f"a/{n}", wave, label="cry") for n, wave in enumerate(sources)]
    b = []
    for n in range(5):
        mixture = 0.1 * noise(n, 8.0)
        mixture[8_000 : 8_000 + 80_000] += sources[n][:80_000]
        b.append(row(tmp_path, f"b/mixture{n}", 0.5 * mixture, label="cry"))
        b.append(row(tmp_path, f"b/cut{n}", sources[n][40_000:80_000], label="cry"))
    folders = [corpus_folder(tmp_path / name, rows) for name, rows in (("a", a), ("b", b))]
    summary = run(folders, CONFIG, seed, tmp_path / "split", tmp_path / "infants")
    clips = read_table(tmp_path / "split/clips.parquet", SPLIT_CLIPS).set_index("clip_id")
    overlaps = read_table(tmp_path / "split/overlaps.parquet", OVERLAPS)
    assert clips["canonical"].all() and summary.n_duplicates == 0
    found = {(pair.first_clip_id, pair.second_clip_id): pair for pair in overlaps.itertuples()}
    assert summary.n_overlaps == len(overlaps) >= 10
    assert summary.n_cross_corpus_overlaps == 10
    for n in range(5):
        cut, mixture = found[f"a/{n}", f"b/cut{n}"], found[f"a/{n}", f"b/mixture{n}"]
        assert (cut.offset_s, mixture.offset_s) == pytest.approx((2.5, -0.5), abs=0.03)
        assert cut.share > 0.7 and cut.shared_s == pytest.approx(2.5, abs=0.5)
        members = clips.loc[[f"a/{n}", f"b/cut{n}", f"b/mixture{n}"]]
        assert members["group_id"].nunique() == members["split"].nunique() == 1
    assert clips["group_id"].nunique() == 10


def test_no_duplicates_and_only_duplicates(tmp_path):
    wave = noise(0, 1.0)
    for name, waves in (("none", [noise(n, 1.0) for n in range(3)]), ("only", [wave] * 3)):
        rows = [row(tmp_path, f"{name}/{n}", wave) for n, wave in enumerate(waves)]
        folder = corpus_folder(tmp_path / "corpora" / name, rows)
        summary = run([folder], CONFIG, 0, tmp_path / name / "split", tmp_path / "infants")
        clips = read_table(tmp_path / name / "split/clips.parquet", SPLIT_CLIPS)
        assert clips["canonical"].tolist() == (
            [True] * 3 if name == "none" else [True, False, False]
        )
        assert summary.n_clusters == (0 if name == "none" else 1)


@pytest.mark.parametrize(
    "ratios",
    [{"train": 0.9, "test": 0.1}, RATIOS | {"val": 0.0}, RATIOS | {"dev": 0.1}],
)
def test_ratios_must_be_of_the_three_parts(corpora, tmp_path, ratios):
    with pytest.raises(ConfigError, match="split.ratios"):
        run(
            corpora,
            SplitConfig(ratios=ratios, similarity=0.8, evidence=16.0),
            0,
            tmp_path / "split",
            tmp_path / "infants",
        )
    assert not (tmp_path / "split").exists()


@pytest.mark.parametrize(("key", "value"), [("evidence", 0.0), ("similarity", 1.5)])
def test_thresholds_must_make_sense(corpora, tmp_path, key, value):
    with pytest.raises(ConfigError, match=f"split.{key}"):
        run(corpora, replace(CONFIG, **{key: value}), 0, tmp_path / "split", tmp_path / "infants")


def test_a_clip_listed_twice_is_refused(corpora, tmp_path):
    with pytest.raises(TableError, match="a/0"):
        run([corpora[0], corpora[0]], CONFIG, 0, tmp_path / "split", tmp_path / "infants")


def test_no_clips_are_refused(tmp_path):
    with pytest.raises(TableError, match="no clips"):
        run(
            [corpus_folder(tmp_path / "t", [])], CONFIG, 0, tmp_path / "split", tmp_path / "infants"
        )


@pytest.mark.parametrize("label", ["cry", "other"])
def test_weak_clips_are_those_so_named_and_long_recordings_of_ones_own(tmp_path, label):
    rows = [
        row(tmp_path, f"{corpus}/{n}", noise(n, seconds), label=label)
        for corpus in ("toy", "recordings")
        for n, seconds in enumerate((0.5, 1.5, 2.0))
    ]
    folders = []
    for corpus in ("toy", "recordings"):
        own = [each for each in rows if each["corpus"] == corpus]
        folders.append(corpus_folder(tmp_path / corpus, own))
    kinds = {"toy/0": "weak", "toy/1": "real", "toy/2": "weak"}
    details = [ClipDetails(clip_id, Details(kind=kind)) for clip_id, kind in kinds.items()]
    write_details(details, folders[0] / DETAILS)
    events = [("toy/2", 0.5, 1.0, "cry"), ("recordings/1", 0.5, 1.0, "dog")]
    table = pd.DataFrame(events, columns=list(EVENTS.columns))
    write_table(table, folders[0] / "events.parquet", EVENTS)
    config = replace(CONFIG, weak_over_s=1.5)
    summary = run(folders, config, 0, tmp_path / "split", tmp_path / "infants")
    clips = read_table(tmp_path / "split/clips.parquet", SPLIT_CLIPS)
    # Not the one that is known where it cries, nor the one that is as long as the limit. A clip of
    # a kind with onsets is weak where it cries, for then its onsets are missing.
    expected = {"toy/0", "recordings/2"} | ({"toy/1"} if label == "cry" else set())
    assert set(clips.loc[clips["weak"], "clip_id"]) == expected
    assert summary.n_weak == summary.as_metrics()["weak_clips"] == len(expected)


def test_a_copy_that_is_known_by_the_second_is_canonical_before_a_wider_weak_one():
    clips = _pairs_table([{"bandwidth_hz": hz} for hz in (8_000.0, 3_000.0)])
    clusters = duplicate_clusters(clips.assign(weak=[True, False]), [Pair(0, 1, 0.9)], never)
    assert clusters["clip_id"].tolist() == ["toy/1", "toy/0"]


def test_a_labelled_copy_is_canonical_before_a_wider_unknown_one():
    members = [("unknown", 8_000.0), ("cry", 3_000.0), ("cry", 4_000.0)]
    clips = _pairs_table([{"label": label, "bandwidth_hz": hz} for label, hz in members])
    pairs = [Pair(0, 1, 0.9), Pair(1, 2, 0.9), Pair(0, 2, 0.9)]
    clusters = duplicate_clusters(clips, pairs, never)
    assert clusters["clip_id"].tolist() == ["toy/2", "toy/1", "toy/0"]


@pytest.mark.parametrize("seed", range(5))
def test_a_stratum_of_copies_only_is_in_every_part(seed):
    """All cries of ESC-50 are copies of another corpus': none of its groups is its own alone."""
    groups = [f"g{n}" for n in range(20)] + [f"g{n}" for n in range(4)]
    strata = ["other corpus/cry"] * 20 + ["esc50/cry"] * 4
    parts = assign_parts(groups, strata, RATIOS, seed)
    assert set(parts[20:]) == set(PARTS)

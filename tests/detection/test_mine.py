"""Stage ``mine``: the top seconds of every clip, and how many of them hold a cry."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from crywatch.core.errors import TableError
from crywatch.core.models import ModelFolder, save
from crywatch.data.features import FeatureStore, StoreInfo
from crywatch.data.tables import read_table, write_table
from crywatch.data.tables.clips import EVENTS, MINED
from crywatch.detection.anomaly import mine
from crywatch.detection.anomaly.mine import MineConfig, load_head, run, top_seconds
from crywatch.detection.anomaly.network import RtfmNetwork, score_seconds
from tests.helpers.anomaly_cases import seconds_of, two_corpora, vector_store, write_two_corpora
from tests.helpers.blazenet_cases import write_clips

INFO = StoreInfo("toy", 4, "digest")


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    head = RtfmNetwork(INFO.dim).state_dict()
    weights = {f"head.{name}": value for name, value in head.items()}
    save(tmp_path / "model", ModelFolder({"kind": "rtfm", "dim": INFO.dim}, weights))
    return tmp_path / "model"


@pytest.fixture
def first_number_is_the_score(monkeypatch):
    monkeypatch.setattr(mine, "score_seconds", lambda network, vectors: vectors[:, 0])


def constructed(folder, scores: dict[str, list[float]], **columns: list[str]):
    """Clips and a store whose first numbers are ``scores``."""
    rows = [
        {"clip_id": clip_id} | {name: values[i] for name, values in columns.items()}
        for i, clip_id in enumerate(scores)
    ]
    vectors = {
        clip_id: np.pad(np.array(values, dtype=np.float32)[:, None], ((0, 0), (0, 3)))
        for clip_id, values in scores.items()
    }
    return write_clips(folder / "clips.parquet", rows), vector_store(folder / "s", vectors, INFO)


def events_table(folder, events: list[tuple[str, float, float]]):
    rows = [(clip_id, onset, offset, "cry") for clip_id, onset, offset in events]
    frame = pd.DataFrame(rows, columns=["clip_id", "onset_s", "offset_s", "label"])
    write_table(frame, folder / "events.parquet", EVENTS)
    return folder / "events.parquet"


def test_top_seconds_by_hand():
    scores = np.array([0.2, 0.9, 0.1, 0.9, 0.5])
    assert top_seconds(scores, 1) == [1]
    assert top_seconds(scores, 3) == [1, 3, 4]  # the earlier of two equal ones first
    assert top_seconds(scores, 9) == [1, 3, 4, 0, 2]
    assert top_seconds(np.full(4, 0.5), 2) == [0, 1]
    assert top_seconds(np.array([0.3]), 2) == [0]


def test_every_part_is_mined_and_short_clips_give_what_they_have(
    tmp_path, model, first_number_is_the_score
):
    clips, store = constructed(
        tmp_path,
        {"a/long": [0.1, 0.75, 0.5, 0.25], "a/short": [0.25], "a/tie": [0.5, 0.5, 0.5]},
        label=["cry", "other", "cry"],
        split=["train", "val", "test"],
    )
    summary = run(clips, model, store, MineConfig(2), tmp_path / "mined.parquet")
    mined = read_table(tmp_path / "mined.parquet", MINED)
    assert list(mined.itertuples(index=False, name=None)) == [
        ("a/long", 1.0, 0.75, 0),
        ("a/long", 2.0, 0.5, 1),
        ("a/short", 0.0, 0.25, 0),
        ("a/tie", 0.0, 0.5, 0),
        ("a/tie", 1.0, 0.5, 1),
    ]
    assert summary.as_metrics("trimmed") == {"trimmed_clips": 3, "trimmed_seconds": 5}


def test_the_scores_are_the_networks_over_the_whole_recording(tmp_path, model):
    clips, store = write_two_corpora(tmp_path, INFO, ("train", "val", "test"))
    summary = run(clips, model, store, MineConfig(2), tmp_path / "mined.parquet")
    rows = {row["clip_id"]: row for row in two_corpora()}
    # Neither the duplicate nor the clip without a label.
    expected = sorted(set(rows) - {"a/copy_cry", "a/unknown"})
    mined = read_table(tmp_path / "mined.parquet", MINED)
    assert sorted(mined["clip_id"].unique()) == expected
    assert summary.n_seconds == sum(min(2, seconds_of(rows[clip_id])) for clip_id in expected)
    network, features = load_head(model), FeatureStore(store)
    for clip_id, group in mined.groupby("clip_id"):
        scores = score_seconds(network, features.clip(clip_id))
        assert group["rank"].tolist() == list(range(len(group)))
        assert np.array_equal(group["score"], np.sort(scores)[::-1][:2])
        assert np.array_equal(group["score"], scores[group["start_s"].astype(int)])


def test_equal_inputs_give_equal_bytes(tmp_path, model):
    clips, store = write_two_corpora(tmp_path, INFO, ("train", "val", "test"))
    for name in ("one", "two"):
        run(clips, model, store, MineConfig(2), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_clip_without_features_is_named(tmp_path, model):
    clips, store = write_two_corpora(tmp_path, INFO)
    with pytest.raises(TableError, match="'a/test_cry0' has no features"):
        run(clips, model, store, MineConfig(2), tmp_path / "mined.parquet")
    assert not (tmp_path / "mined.parquet").exists()


def test_precision_and_chance_by_hand(tmp_path, model, first_number_is_the_score):
    clips, store = constructed(
        tmp_path,
        {
            "u/hit": [0.9, 0.8, 0.1, 0.1],  # both mined, one of them holds the cry
            "u/miss": [0.9, 0.8, 0.1, 0.1, 0.1],  # neither does
            "u/trained_on": [0.9, 0.8],
            "u/other": [0.9, 0.8],
        },
        label=["cry", "cry", "cry", "other"],
        split=["val", "test", "train", "val"],
    )
    events = events_table(
        tmp_path, [("u/hit", 1.0, 3.0), ("u/miss", 4.0, 5.0), ("u/trained_on", 0.0, 2.0)]
    )
    summary = run(clips, model, store, MineConfig(2), tmp_path / "mined.parquet", events)
    assert summary.precision == pytest.approx((1 / 2 + 0 / 2) / 2)
    assert summary.chance == pytest.approx((2 / 4 + 1 / 5) / 2)
    assert summary.as_metrics("untrimmed")["untrimmed_precision"] == summary.precision


def test_without_a_held_out_cry_there_is_no_precision(tmp_path, model, first_number_is_the_score):
    clips, store = constructed(tmp_path, {"u/a": [0.5]}, label=["cry"], split=["train"])
    events = events_table(tmp_path, [("u/a", 0.0, 1.0)])
    summary = run(clips, model, store, MineConfig(2), tmp_path / "mined.parquet", events)
    assert summary.precision is None and summary.chance is None
    assert set(summary.as_metrics("u")) == {"u_clips", "u_seconds"}

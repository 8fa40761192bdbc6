"""Corpus probes: they find what tells corpora apart, and nothing where there is nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crywatch.audio.segments import RATE_HZ, n_segments
from crywatch.audio.waves.cleaned import write_flac
from crywatch.core.errors import ConfigError
from crywatch.detection.systems import System
from crywatch.evaluation.evaluate.shortcuts.probe import (
    SUBSETS,
    ProbeConfig,
    ProbeRow,
    permuted,
    probe,
    probe_row,
)
from crywatch.evaluation.score.cache import ScoreCache
from crywatch.evaluation.score.probed import LEVEL, ProbeInput, chosen, hear, inputs, levels
from crywatch.evaluation.score.scorers import Scorer
from crywatch.evaluation.scored import ProbeSource
from tests.helpers.blazenet_cases import clip_rows, sound
from tests.helpers.score_cases import with_models

CONFIG = ProbeConfig(folds=4, permutations=4)


def seconds(shift: float, n_groups: int = 12, dim: int = 3):
    """Two corpora of cries, ``shift`` deviations apart; ten seconds of every group."""
    rng = np.random.default_rng(3)
    rows, vectors = [], []
    for number, corpus in enumerate(("a", "b")):
        for group in range(n_groups):
            head = {"clip_id": f"{corpus}/{group}", "corpus": corpus, "label": "cry"}
            head |= {"split": "test" if group % 2 else "train", "group_id": f"{corpus}-{group}"}
            rows += [head] * 10
            vectors.append(shift * number + rng.standard_normal((10, dim)))
    return pd.DataFrame(rows), np.concatenate(vectors).astype(np.float32)


def rows_of(table: pd.DataFrame, vectors: np.ndarray) -> list[ProbeRow]:
    source = ProbeSource("x", "x", "")
    subsets = [(parts, label) for parts in SUBSETS for label in ("cry", "other")]
    found = [probe_row(table, vectors, source, subset, CONFIG, 1) for subset in subsets]
    return [row for row in found if row is not None]


@pytest.mark.parametrize(("shift", "low", "high"), [(0.0, 0.35, 0.65), (4.0, 0.95, 1.0)])
def test_a_probe_finds_what_is_there(shift, low, high):
    rows = rows_of(*seconds(shift))
    assert [(row.parts, row.label, row.n) for row in rows] == [
        ("all", "cry", 240),
        ("unseen", "cry", 120),
    ]
    for row in rows:
        assert row.corpora == ["a", "b"] and row.chance == 0.5
        assert low <= row.balanced_accuracy <= high
        assert 0.3 <= row.permuted <= 0.7 and row.permuted <= row.permuted_high
    assert (rows[0].groups, rows[1].groups) == (12, 6)


def test_folds_keep_groups_together():
    """Vectors that name their group, and nothing of the corpus, tell nothing of a new group."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 10)
    corpora = np.where(rng.permutation(20) < 10, "a", "b")[groups]
    vectors = np.eye(20)[groups]
    assert probe(vectors, corpora, groups, 5, 1) <= 0.6
    # With its own seconds in the folds each group would be told by heart.
    assert probe(vectors, corpora, np.arange(200), 5, 1) == 1.0


def test_the_rare_corpus_counts_as_much():
    corpora = np.array(["a"] * 190 + ["b"] * 10)
    constant = np.zeros((200, 1))
    assert probe(constant, corpora, np.arange(200), 5, 1) == pytest.approx(0.5)


def test_names_are_drawn_by_recording():
    table, _ = seconds(0.0)
    drawn = permuted(table, [1, 0])
    assert sorted(drawn) == sorted(table["corpus"])
    assert pd.Series(drawn).groupby(table["group_id"].to_numpy()).nunique().eq(1).all()
    assert (drawn == permuted(table, [1, 0])).all()
    assert (drawn != permuted(table, [1, 1])).any()
    assert (drawn != table["corpus"].to_numpy()).any()


def test_a_corpus_of_one_group_is_not_probed():
    few, vectors = seconds(4.0)
    few.loc[few["corpus"] == "b", "group_id"] = "b-0"
    assert rows_of(few, vectors) == []


def test_clips_are_taken_from_groups_by_turns():
    rows = [
        {"clip_id": f"a/{n}", "label": "cry", "split": "test", "group_id": "big"} for n in range(20)
    ]
    rows += [
        {"clip_id": f"a/own-{n}", "label": "cry", "split": "test", "group_id": f"own-{n}"}
        for n in range(3)
    ]
    rows += [{"clip_id": "a/o", "label": "other", "split": "test"}]
    clips = clip_rows(rows)
    kept = chosen(clips, 5)
    cries = kept[kept["label"] == "cry"]
    assert len(cries) == 5 and cries["group_id"].nunique() == 4
    assert len(kept) == 6
    shuffled = chosen(clips.sample(frac=1, random_state=0), 5)
    assert set(shuffled["clip_id"]) == set(kept["clip_id"])


class Network:
    """Pictures of two frames, features that count seconds."""

    def score(self, wave: np.ndarray) -> np.ndarray:
        return np.zeros(n_segments(len(wave)))

    def pictures(self, wave: np.ndarray) -> np.ndarray:
        return np.tile(np.array([[1.0, 3.0], [5.0, 5.0]]), (n_segments(len(wave)), 1, 1))

    def features(self, wave: np.ndarray) -> np.ndarray:
        return np.arange(n_segments(len(wave)), dtype=float)[:, None]


def scorers(folder, monkeypatch, *pairs: tuple[str, str]) -> list[Scorer]:
    monkeypatch.setattr("crywatch.evaluation.score.scorers.load_system", lambda _: Network())
    systems = [System(name, "", "", row) for name, row in pairs]
    return [Scorer(system) for system in with_models(folder / "models", systems)]


def test_sources_are_front_ends_and_features(tmp_path, monkeypatch):
    pairs = [("blazenet/a", "blazenet/a"), ("blazenet/a_s2", "blazenet/a")]
    given = inputs(scorers(tmp_path, monkeypatch, *pairs))
    sources = [one.source for one in given]
    names = [source.name for source in sources]
    assert names[0] == LEVEL and len(names) == 5
    assert names[2] == "picture of blazenet, mean and deviation"  # one of each family
    assert names[3:] == ["features of blazenet/a", "features of blazenet/a_s2"]
    assert [source.row for source in sources[3:]] == ["features of blazenet/a"] * 2
    assert [source.system_row for source in sources] == ["", "", "", "blazenet/a", "blazenet/a"]

    wave = sound(3 * RATE_HZ)
    wave[RATE_HZ : 2 * RATE_HZ] = 0  # is left out
    write_flac(tmp_path / "a.flac", wave)
    row = {"clip_id": "a/a", "label": "cry", "split": "test", "path": str(tmp_path / "a.flac")}
    entries = hear(given, clip_rows([row]), ScoreCache(tmp_path / "work"))
    assert pd.read_parquet(entries[0])["start_s"].tolist() == [0.0, 2.0]
    vectors = dict(zip(names, map(np.load, entries[1:]), strict=True))
    assert vectors["features of blazenet/a"].ravel().tolist() == [0.0, 2.0]
    assert vectors[names[2]].tolist() == [[2.0, 5.0, 1.0, 0.0]] * 2
    assert vectors[names[1]].shape == (2, 128)


def test_vectors_are_made_once(tmp_path, monkeypatch):
    write_flac(tmp_path / "a.flac", sound(2 * RATE_HZ))
    row = {"clip_id": "a/a", "label": "cry", "split": "test", "path": str(tmp_path / "a.flac")}
    cache, clips = ScoreCache(tmp_path / "work"), clip_rows([row])
    one = scorers(tmp_path, monkeypatch, ("blazenet/a", "blazenet/a"))
    entries = hear(inputs(one), clips, cache)
    times = [path.stat().st_mtime_ns for path in entries]
    two = scorers(tmp_path, monkeypatch, ("blazenet/a", "blazenet/a"), ("robust/b", "robust/b"))
    again = hear(inputs(two), clips, cache)
    assert set(entries) < set(again)
    (tmp_path / "a.flac").unlink()
    assert hear(inputs(two), clips, cache) == again
    assert [path.stat().st_mtime_ns for path in entries[1:]] == times[1:]


def test_a_front_end_of_longer_segments_is_refused(tmp_path):
    write_flac(tmp_path / "a.flac", sound(3 * RATE_HZ))
    row = {"clip_id": "a/a", "label": "cry", "split": "test", "path": str(tmp_path / "a.flac")}
    source = ProbeSource("features of blazenet/all_5s", "", "")
    long = ProbeInput(source, "key", lambda wave: np.zeros((1, 2)))
    with pytest.raises(ConfigError, match="all_5s: a vector for each plain second"):
        hear([long], clip_rows([row]), ScoreCache(tmp_path / "work"))
    assert not (tmp_path / "work").exists()


def test_levels_are_rms_and_peak_in_dbfs():
    wave = np.zeros(2 * RATE_HZ, dtype=np.float32)
    wave[:RATE_HZ:2] = 0.1
    assert levels(wave)[0] == pytest.approx([-23.01, -20.0], abs=0.01)
    assert np.isfinite(levels(wave)).all()

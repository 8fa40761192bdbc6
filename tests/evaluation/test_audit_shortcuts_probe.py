"""Corpus probes: they find what tells corpora apart, and nothing where there is nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crywatch.audio.decode import write_flac
from crywatch.audio.segments import RATE_HZ, n_segments
from crywatch.core.errors import ConfigError
from crywatch.detection.systems import System
from crywatch.evaluation.audit_shortcuts.front_ends import (
    LEVEL,
    ProbedSeconds,
    ProbeInput,
    chosen,
    hear,
    levels,
    sources,
)
from crywatch.evaluation.audit_shortcuts.probe import ProbeConfig, permuted, probe, probe_rows
from crywatch.evaluation.channel_scores import SystemScorer
from tests.helpers.blazenet_cases import clip_rows, sound

CONFIG = ProbeConfig(clips=10, folds=4, permutations=4)


def seconds(shift: float, n_groups: int = 12, dim: int = 3) -> ProbedSeconds:
    """Two corpora of cries, ``shift`` deviations apart; ten seconds of every group."""
    rng = np.random.default_rng(3)
    rows, vectors = [], []
    for number, corpus in enumerate(("a", "b")):
        for group in range(n_groups):
            head = {"clip_id": f"{corpus}/{group}", "corpus": corpus, "label": "cry"}
            head |= {"split": "test" if group % 2 else "train", "group_id": f"{corpus}-{group}"}
            rows += [head] * 10
            vectors.append(shift * number + rng.standard_normal((10, dim)))
    return ProbedSeconds(pd.DataFrame(rows), {"x": np.concatenate(vectors).astype(np.float32)})


GIVEN = [ProbeInput("x", "x", "", lambda wave: wave)]


@pytest.mark.parametrize(("shift", "low", "high"), [(0.0, 0.35, 0.65), (4.0, 0.95, 1.0)])
def test_a_probe_finds_what_is_there(shift, low, high):
    rows = list(probe_rows(seconds(shift), GIVEN, CONFIG, 1))
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
    table = seconds(0.0).table
    drawn = permuted(table, [1, 0])
    assert sorted(drawn) == sorted(table["corpus"])
    assert pd.Series(drawn).groupby(table["group_id"].to_numpy()).nunique().eq(1).all()
    assert (drawn == permuted(table, [1, 0])).all()
    assert (drawn != permuted(table, [1, 1])).any()
    assert (drawn != table["corpus"].to_numpy()).any()


def test_a_corpus_of_one_group_is_not_probed():
    few = seconds(4.0)
    few.table.loc[few.table["corpus"] == "b", "group_id"] = "b-0"
    assert list(probe_rows(few, GIVEN, CONFIG, 1)) == []


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


def scorer(name: str, row: str) -> SystemScorer:
    return SystemScorer(System(name, "", "", row), Network())


def test_sources_are_front_ends_and_features(tmp_path):
    given = sources([scorer("blazenet/a", "blazenet/a"), scorer("blazenet/a_s2", "blazenet/a")])
    names = [source.name for source in given]
    assert names[0] == LEVEL and len(names) == 5
    assert names[2] == "picture of blazenet, mean and deviation"  # one of each family
    assert names[3:] == ["features of blazenet/a", "features of blazenet/a_s2"]
    assert [source.row for source in given[3:]] == ["features of blazenet/a"] * 2
    assert [source.system_row for source in given] == ["", "", "", "blazenet/a", "blazenet/a"]

    wave = sound(3 * RATE_HZ)
    wave[RATE_HZ : 2 * RATE_HZ] = 0  # is left out
    write_flac(tmp_path / "a.flac", wave)
    row = {"clip_id": "a/a", "label": "cry", "split": "test", "path": str(tmp_path / "a.flac")}
    heard = hear(clip_rows([row]), given)
    assert len(heard.table) == 2 and heard.table["group_id"].tolist() == ["a/a"] * 2
    assert heard.vectors["features of blazenet/a"].ravel().tolist() == [0.0, 2.0]
    assert heard.vectors[names[2]].tolist() == [[2.0, 5.0, 1.0, 0.0]] * 2
    assert heard.vectors[names[1]].shape == (2, 128)


def test_a_front_end_of_longer_segments_is_refused(tmp_path):
    write_flac(tmp_path / "a.flac", sound(3 * RATE_HZ))
    row = {"clip_id": "a/a", "label": "cry", "split": "test", "path": str(tmp_path / "a.flac")}
    long = ProbeInput("features of blazenet/all_5s", "", "", lambda wave: np.zeros((1, 2)))
    with pytest.raises(ConfigError, match="all_5s: a vector for each plain second"):
        hear(clip_rows([row]), [long])


def test_levels_are_rms_and_peak_in_dbfs():
    wave = np.zeros(2 * RATE_HZ, dtype=np.float32)
    wave[:RATE_HZ:2] = 0.1
    assert levels(wave)[0] == pytest.approx([-23.01, -20.0], abs=0.01)
    assert np.isfinite(levels(wave)).all()

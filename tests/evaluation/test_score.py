"""Stage ``score``: who is scored on what, that nothing is scored twice, and nothing trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from crywatch.audio.channels import apply, channel
from crywatch.audio.segments import RATE_HZ, n_segments
from crywatch.audio.waves.cleaned import read_clean
from crywatch.core import code
from crywatch.core.digest import file_sha256
from crywatch.core.errors import ConfigError, ModelError, TableError
from crywatch.core.models import WEIGHTS
from crywatch.data.selection import Source
from crywatch.data.tables import read_table, write_table
from crywatch.data.tables.clips import SPLIT_CLIPS
from crywatch.data.tables.evaluation import SCORES
from crywatch.detection.detectors import load_detector
from crywatch.detection.systems import System, load_system
from crywatch.evaluation.score.scorers import detector_code
from crywatch.evaluation.scored import (
    AS_RECORDED,
    BACKGROUND_SCALED,
    DETECTION,
    PAUSES,
    PAUSES_SCALED,
    SHORTCUTS,
    SYSTEMS,
)
from tests.helpers.baseline_cases import world as small_world
from tests.helpers.evaluation_cases import World, duration_s
from tests.helpers.robust_model_cases import write_robust
from tests.helpers.score_cases import CHANNELS, CONFIG, score, scored, with_models

NAMES = ["blazenet/all_1s", "blazenet/all_5s", "rtfm/trimmed"]
LEFT_OUT = "blazenet/no_cries"


class Peak:
    """The highest sample of a second; counts what it is given."""

    n_parameters = 3

    def __init__(self):
        self.heard = 0

    def score(self, wave: np.ndarray) -> np.ndarray:
        self.heard += 1
        count = n_segments(len(wave))
        padded = np.pad(wave, (0, max(0, count * RATE_HZ - len(wave))))[: count * RATE_HZ]
        return np.abs(padded).reshape(count, -1).max(axis=1)

    def features(self, wave: np.ndarray) -> np.ndarray:
        return self.score(wave)[:, None]


# Models in their folders


@pytest.fixture(scope="module")
def world(tmp_path_factory, one_thread) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def stored(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scored") / "score"
    systems = [world.system(name) for name in NAMES] + [world.system(LEFT_OUT, "cries")]
    systems.append(System("robust/r", str(write_robust(world.root / "r")), "", "robust/r"))
    given = {DETECTION: systems[:-1], SYSTEMS: systems[-1:], SHORTCUTS: systems[-1:]}
    score(folder, world.sources, given, load_system)
    return scored(folder, world.sources)


def test_processes_change_only_the_time(world, stored, tmp_path):
    folder = tmp_path / "score"
    systems = [world.system(name) for name in NAMES] + [world.system(LEFT_OUT, "cries")]
    systems.append(System("robust/r", str(world.root / "r"), "", "robust/r"))
    given = {DETECTION: systems[:-1], SYSTEMS: systems[-1:], SHORTCUTS: systems[-1:]}
    score(folder, world.sources, given, load_system, replace(CONFIG, workers=2))
    for path in sorted(file for file in stored.folder.rglob("*") if file.is_file()):
        assert (folder / path.relative_to(stored.folder)).read_bytes() == path.read_bytes(), path


def test_every_second_not_trained_on_is_scored(world, stored):
    clips = read_table(world.split_clips, SPLIT_CLIPS)
    unseen = set(clips.loc[(clips["split"] != "train") & (clips["label"] != "unknown"), "clip_id"])
    made = {"untrimmed/cry-0", "untrimmed/other-0"}
    for name, expected in {**dict.fromkeys(NAMES, unseen | made), "robust/r": unseen}.items():
        scores = stored.scores(name, AS_RECORDED)
        assert scores["score"].between(0, 1).all()
        by_clip = scores.groupby("clip_id")["start_s"].apply(list)
        assert set(by_clip.index) == expected
        for clip_id, starts in by_clip.items():
            count = n_segments(round(duration_s(clip_id) * RATE_HZ))
            assert starts == list(range(count)), (name, clip_id)
    left_out = set(stored.scores(LEFT_OUT, AS_RECORDED)["clip_id"])
    assert (
        left_out - unseen - made == set(clips.loc[clips["corpus"] == "cries", "clip_id"]) - unseen
    )


def test_scores_are_those_of_the_detector(world, stored):
    paths = dict(zip(stored.clips["clip_id"], stored.clips["path"], strict=True))
    for system in (*(world.system(name) for name in NAMES), System("robust/r", "", "", "")):
        detector = load_detector(system.source or world.root / "r")
        scores = stored.scores(system.name, AS_RECORDED)
        for clip_id in ("few/cry-long", "few/other-short", "both/cry-0"):
            found = scores.loc[scores["clip_id"] == clip_id, "score"].to_numpy()
            np.testing.assert_array_equal(found, detector.score(read_clean(paths[clip_id])))
    dull = channel("dull", CHANNELS)
    heard = apply(dull, read_clean(paths["both/cry-0"]), "both/cry-0")
    scores = stored.scores("robust/r", "dull")
    found = scores.loc[scores["clip_id"] == "both/cry-0", "score"].to_numpy()
    np.testing.assert_array_equal(found, load_detector(world.root / "r").score(heard))


def test_the_index_says_what_was_scored(world, stored):
    by_name = {system.name: system for system in stored.index.systems}
    assert by_name["blazenet/all_1s"].parameters == 89_680
    assert by_name["blazenet/all_5s"].segment_s == 5.0
    assert by_name[LEFT_OUT].leave_out == "cries"
    assert by_name["robust/r"].evaluations == (SHORTCUTS, SYSTEMS)
    assert [system.name for system in stored.index.of(DETECTION)] == [*NAMES, LEFT_OUT]
    assert stored.index.matched == ["dull"] and stored.index.shifts == ["phone"]


def test_a_row_group_is_a_system_and_channel(stored):
    file = pq.ParquetFile(stored.folder / "scores.parquet")
    names = [file.schema.names.index(name) for name in ("system", "channel")]
    groups = []
    for number in range(file.num_row_groups):
        for place in names:
            values = file.metadata.row_group(number).column(place).statistics
            assert values is None or values.min == values.max
        first = file.read_row_group(number, ["system", "channel"]).slice(0, 1).to_pylist()
        groups += [tuple(row.values()) for row in first]
    assert len(groups) == len(set(groups)) > len(NAMES)


# What is heard of what


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Source:
    return small_world(tmp_path_factory.mktemp("small"), per_class=2)


def systems(folder: Path, *names: str, leave_out: str = "") -> list[System]:
    return with_models(folder / "models", [System(name, "", leave_out, name) for name in names])


def parts(table: pd.DataFrame, source: Source) -> set[tuple[str, str]]:
    clips = read_table(source.clips, SPLIT_CLIPS).set_index("clip_id")
    return {(clips.loc[clip, "split"], clips.loc[clip, "label"]) for clip in set(table["clip_id"])}


def test_each_clip_is_scored_where_it_counts(source, tmp_path):
    audited = systems(tmp_path, "robust/a") + systems(tmp_path, "robust/b", leave_out="mixed")
    compared = systems(tmp_path, "blazenet/c", "yamnet/z") + audited[1:]
    score(tmp_path / "score", [source], {SHORTCUTS: audited, SYSTEMS: compared}, lambda _: Peak())
    found = read_table(tmp_path / "score" / "scores.parquet", SCORES)
    assert not found.duplicated(["system", "channel", "clip_id", "start_s"]).any()
    heard = found.groupby("system")["channel"].unique().apply(set)
    background = {BACKGROUND_SCALED, PAUSES, PAUSES_SCALED}
    assert heard["robust/a"] - background == {AS_RECORDED, "matched", "quiet"}
    assert heard["robust/b"] - background == {AS_RECORDED, "matched", "quiet"}
    assert heard["blazenet/c"] == heard["yamnet/z"] == {AS_RECORDED, "dull", "phone"}
    unseen = {(part, label) for part in ("val", "test") for label in ("cry", "other")}
    for name in ("robust/a", "blazenet/c"):
        mine = found[found["system"] == name]
        assert parts(mine[mine["channel"] == AS_RECORDED], source) == unseen
        through = mine[~mine["channel"].isin([AS_RECORDED, *background])]
        assert parts(through, source) == {("test", "cry"), ("test", "other")}
    # Who never heard a corpus hears all of it; the untrained every one that somebody never heard.
    for name in ("robust/b", "yamnet/z"):
        mine = found[(found["system"] == name) & (found["channel"] == AS_RECORDED)]
        train = mine[mine["clip_id"].str.contains("-train-")]
        assert set(train["clip_id"].str.split("/").str[0]) == {"mixed"}
    silence = found[found["channel"] == BACKGROUND_SCALED]
    assert silence["clip_id"].str.contains("/silence-test-").all() and len(silence)


def test_silent_seconds_are_those_as_recorded(world, stored):
    known = stored.known
    assert set(known["clip_id"]) >= set(stored.scores(NAMES[0], AS_RECORDED)["clip_id"])
    assert known["silent"].dtype == bool
    wave = read_clean(str(stored.clips.set_index("clip_id").loc["few/other-short", "path"]))
    assert known.loc[known["clip_id"] == "few/other-short", "silent"].tolist() == [False]
    assert len(wave) < RATE_HZ


# Nothing twice


def heard(tmp_path: Path, source: Source, names: list[str], **told) -> dict[str, int]:
    """How often each of the systems was given a sound."""
    detectors = {name: Peak() for name in names}
    listed = [System(name, str(tmp_path / "models" / name), "", name) for name in names]
    given = {DETECTION: listed, SHORTCUTS: listed[:1], SYSTEMS: listed[:1]}
    score(tmp_path / "score", [source], given, lambda system: detectors[system.name], **told)
    return {name: detector.heard for name, detector in detectors.items()}


def test_a_new_or_changed_system_scores_itself_alone(source, tmp_path):
    systems(tmp_path, "robust/a", "robust/b", "robust/c")
    first = heard(tmp_path, source, ["robust/a", "robust/b"])
    assert min(first.values()) > 0
    before = (tmp_path / "score" / "scores.parquet").read_bytes()
    assert heard(tmp_path, source, ["robust/a", "robust/b"]) == {"robust/a": 0, "robust/b": 0}
    assert (tmp_path / "score" / "scores.parquet").read_bytes() == before
    found = heard(tmp_path, source, ["robust/a", "robust/b", "robust/c"])
    assert found["robust/a"] == found["robust/b"] == 0 < found["robust/c"]
    (tmp_path / "models" / "robust" / "b" / WEIGHTS).write_bytes(b"other")
    found = heard(tmp_path, source, ["robust/a", "robust/b", "robust/c"])
    assert found["robust/a"] == found["robust/c"] == 0
    assert found["robust/b"] == first["robust/b"]


def test_a_changed_channel_is_heard_alone(source, tmp_path):
    systems(tmp_path, "robust/a")
    heard(tmp_path, source, ["robust/a"])
    clips = read_table(source.clips, SPLIT_CLIPS)
    n_test = int((clips["split"] == "test").sum())
    found = heard(tmp_path, source, ["robust/a"], channels=CHANNELS | {"dull": []})
    assert found == {"robust/a": n_test}
    quieter = replace(CONFIG.audited.background, level_dbfs=-30.0)
    config = replace(CONFIG, audited=replace(CONFIG.audited, background=quieter))
    found = heard(tmp_path, source, ["robust/a"], config=config, channels=CHANNELS | {"dull": []})
    assert 0 < found["robust/a"] < n_test


def test_changed_sounds_are_scored_again(source, tmp_path):
    systems(tmp_path, "robust/a")
    first = heard(tmp_path, source, ["robust/a"])
    clips = read_table(source.clips, SPLIT_CLIPS)
    clips["label"] = np.where(clips["label"] == "cry", "cry", "other")
    write_table(clips, tmp_path / "same.parquet", SPLIT_CLIPS)
    same = Source(tmp_path / "same.parquet", source.events)
    assert heard(tmp_path, same, ["robust/a"]) == {"robust/a": 0}
    clips.loc[clips["split"] == "test", "sha256"] += "x"
    write_table(clips, tmp_path / "other.parquet", SPLIT_CLIPS)
    other = Source(tmp_path / "other.parquet", source.events)
    assert heard(tmp_path, other, ["robust/a"]) == first


def test_what_is_not_asked_for_any_more_goes(source, tmp_path):
    systems(tmp_path, "robust/a", "robust/b")
    heard(tmp_path, source, ["robust/a"])
    alone = set((tmp_path / "work").iterdir())
    heard(tmp_path, source, ["robust/a", "robust/b"])
    assert set((tmp_path / "work").iterdir()) > alone
    heard(tmp_path, source, ["robust/a"])
    assert set((tmp_path / "work").iterdir()) == alone


def test_after_a_kill_whole_channels_stay(source, tmp_path):
    systems(tmp_path, "robust/a")

    class Killed(Peak):
        def score(self, wave: np.ndarray) -> np.ndarray:
            if self.heard == n_unseen + 1:
                raise KeyboardInterrupt
            return super().score(wave)

    n_unseen = int((read_table(source.clips, SPLIT_CLIPS)["split"] != "train").sum())
    listed = [System("robust/a", str(tmp_path / "models/robust/a"), "", "robust/a")]
    with pytest.raises(KeyboardInterrupt):
        score(tmp_path / "score", [source], {DETECTION: listed}, lambda _: Killed())
    assert not (tmp_path / "score").exists()
    left = heard(tmp_path, source, ["robust/a"])["robust/a"]
    whole = heard(tmp_path / "again", source, systems_again(tmp_path))["robust/a"]
    assert left == whole - n_unseen


def systems_again(tmp_path: Path) -> list[str]:
    systems(tmp_path / "again", "robust/a")
    return ["robust/a"]


def test_code_of_other_kinds_changes_no_key(monkeypatch):
    before = {kind: detector_code((kind,)) for kind in ("svc", "blazenet", "robust", "yamnet")}
    head = detector_code(("rtfm", "robust"))

    def changed(path: Path) -> str:
        return "changed" if Path(path).stem in ("mfcc", "svc") else file_sha256(path)

    monkeypatch.setattr(code.digest, "file_sha256", changed)
    after = {kind: detector_code((kind,)) for kind in before}
    assert [kind for kind in before if before[kind] != after[kind]] == ["svc"]
    monkeypatch.setattr(
        code.digest,
        "file_sha256",
        lambda path: "changed" if "robust/detector" in str(path) else file_sha256(path),
    )
    assert detector_code(("rtfm", "robust")) != head
    assert detector_code(("blazenet",)) == before["blazenet"]


# Errors


def test_what_is_not_there_is_named(source, tmp_path):
    listed = systems(tmp_path, "robust/a")
    given = {DETECTION: listed, SHORTCUTS: listed, SYSTEMS: listed}
    wrong = replace(CONFIG, compared=replace(CONFIG.compared, matched=["dulll"]))
    with pytest.raises(ConfigError, match="channels has no 'dulll'"):
        score(tmp_path / "score", [source], given, lambda _: Peak(), wrong)
    for name, key in {SHORTCUTS: "audited", SYSTEMS: "compared"}.items():
        with pytest.raises(ConfigError, match=rf"score\.{key}\.systems"):
            score(tmp_path / "score", [source], given | {name: []}, lambda _: Peak())
    gone = [replace(listed[0], source=str(tmp_path / "gone"))]
    with pytest.raises(ModelError, match=r"gone: no model here \(model.json is missing\)"):
        score(tmp_path / "score", [source], {DETECTION: gone}, lambda _: Peak())
    assert not (tmp_path / "score").exists()


def test_scores_of_other_clips_are_told(source, tmp_path):
    listed = systems(tmp_path, "robust/a")
    score(tmp_path / "score", [source], {DETECTION: listed}, lambda _: Peak())
    clips = read_table(source.clips, SPLIT_CLIPS)
    write_table(clips[clips["corpus"] != "mixed"], tmp_path / "fewer.parquet", SPLIT_CLIPS)
    with pytest.raises(TableError, match="clip 'mixed/.*score again"):
        _ = scored(tmp_path / "score", [Source(tmp_path / "fewer.parquet", source.events)]).known

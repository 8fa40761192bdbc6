"""Gates: what is refused, with which numbers, and what is chance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from crywatch.core import paths
from crywatch.core.digest import files_sha256
from crywatch.core.errors import ConfigError, RegistryError, TableError
from crywatch.operations.register import listening
from crywatch.operations.register.challenge import Champion, all_sources, judge
from crywatch.operations.register.config import Guard, MainConfig
from crywatch.operations.register.gates import (
    InfantsCount,
    count_infants,
    no_more_infants,
    no_worse,
)
from crywatch.operations.register.listening import Model
from crywatch.operations.register.slices import Count, Slice, band, bands, rate
from crywatch.operations.register.training import read_members, trained_on, write_training
from tests.helpers.register_cases import (
    CURVES,
    Hears,
    config,
    write_infants,
    write_model,
    write_recordings,
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Recordings are made once; nothing changes them."""
    folder = tmp_path_factory.mktemp("recorded")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_recordings()
        write_training([Path("data/split/clips.parquet")], Path("training.parquet"))
        for name, curve in CURVES.items():
            write_model(Path(name), curve)
    return folder


@pytest.fixture
def project(recorded, monkeypatch):
    monkeypatch.chdir(recorded)
    monkeypatch.setattr(listening, "load_detector", Hears)
    return recorded


def model(name: str) -> Model:
    return Model(Path(name), files_sha256([Path(name)]), name)


def judged(challenger: str, champion: str | None, infants=None, training="training.parquet", **to):
    before = None
    if champion:
        before = Champion(model(champion), Path(training), infants)
    return judge(model(challenger), before, all_sources(), config(**to), 0)


def failed(found) -> dict[str, str]:
    return {gate.slice: gate.said for gate in found.failed}


def test_better_on_the_main_slice_and_nowhere_worse_is_kept_by_all_gates(project):
    found = judged("RIGHT", "DEAF")
    assert failed(found) == {}
    main = found.gates[0]
    assert (main.name, main.slice) == ("better_on_main", "pooled")
    assert "average precision per second 0." in main.said and " to 1.000" in main.said
    assert main.said.endswith("needs a gain above 0 at p 0.05 or less")
    names = [gate.slice for gate in found.gates]
    assert names[1:] == [
        "corpus donateacry",
        "corpus esc50",
        "other sounds",
        "confuser dog",
        "confuser rain",
        "all cries",
        "noise below 0 dB",
        "noise 10 dB and more",
        "sound without a cry",
        "mahalanobis, over twice the promise",
    ]
    assert [one.name for one in found.reported] == names[:-1]


def test_an_equal_model_is_not_better_and_no_worse(project):
    found = judged("RIGHT", "RIGHT")
    assert list(failed(found)) == ["pooled"]
    assert "gain +0.000" in failed(found)["pooled"] and "-0.0" not in str(found.slices)


def test_a_class_of_confusers_that_is_called_a_cry_refuses_a_better_model(project):
    found = judged("DOGS", "DEAF")
    assert found.gates[0].passed
    lost = failed(found)
    assert set(lost) == {"other sounds", "confuser dog", "sound without a cry"}
    assert "share called a cry 0.000 to 1.000" in lost["confuser dog"]
    assert "8 clips of 8 groups" in lost["confuser dog"]
    assert "lost more than 0.5" in lost["confuser dog"]
    assert "false alarms an hour 0.0 to" in lost["sound without a cry"]


def test_a_band_of_noise_that_is_missed_refuses_a_better_model(project):
    found = judged("NOISY", "DEAF")
    assert found.gates[0].passed
    lost = failed(found)
    assert "share of cries found 1.000 to 0.000" in lost["noise below 0 dB"]
    assert "4 cries of 4 groups" in lost["noise below 0 dB"]
    assert "noise 10 dB and more" not in lost


def test_a_corpus_that_is_lost_refuses_a_model(project):
    lost = failed(judged("CORPUS", "RIGHT"))
    assert "AUC per second 1.000 to 0." in lost["corpus esc50"]
    assert "corpus donateacry" not in lost


def test_a_corpus_of_cries_alone_is_judged_by_what_is_found(project):
    lost = failed(judged("DEAF", "RIGHT"))
    assert "share of cries found 1.000 to 0.000" in lost["corpus donateacry"]
    assert "8 cries of 8 groups" in lost["corpus donateacry"]


def test_what_the_champion_was_trained_on_counts_for_neither(project, tmp_path):
    clips = pd.read_parquet("data/split/clips.parquet")
    known = pd.read_parquet("training.parquet")
    named = clips[clips["clip_id"] == "esc50/dog-val-0"][["clip_id", "sha256", "group_id"]]
    moved = clips[clips["clip_id"] == "esc50/cry-val-1"][["clip_id", "sha256", "group_id"]]
    rows = [known, named.assign(sha256="other"), moved.assign(clip_id="old", group_id="old")]
    pd.concat(rows).to_parquet(tmp_path / "training.parquet")
    tables = [paths.SPLIT_CLIPS, paths.SOUNDSCAPES / "clips.parquet"]
    out = trained_on(tmp_path / "training.parquet", tables, read_members())
    val = {name for name in out if "val" in name}
    # By its group's name, by its sound, and the soundscape that holds it.
    assert val == {"esc50/dog-val-0", "esc50/cry-val-1", "soundscapes/val-00001"}
    found = judged("DOGS", "DEAF", training=tmp_path / "training.parquet")
    assert (found.recordings, found.left_out) == (40, 3)
    assert "7 clips of 7 groups" in failed(found)["confuser dog"]


def test_the_rest_of_a_group_that_was_trained_on_is_left_out_too(project, tmp_path):
    clips = pd.read_parquet("data/split/clips.parquet")
    clips.loc[clips["clip_id"].isin(["esc50/dog-val-0", "esc50/dog-val-1"]), "group_id"] = "g"
    clips.to_parquet(tmp_path / "clips.parquet")
    known = clips[clips["clip_id"] == "esc50/dog-val-0"][["clip_id", "sha256", "group_id"]]
    known.assign(group_id="as it was called").to_parquet(tmp_path / "training.parquet")
    out = trained_on(tmp_path / "training.parquet", [tmp_path / "clips.parquet"], read_members())
    assert out == {"esc50/dog-val-0", "esc50/dog-val-1"}


def test_a_list_of_training_clips_that_cannot_be_read_is_said(project, tmp_path):
    (tmp_path / "training.parquet").write_text("x")
    with pytest.raises(RegistryError, match="no list of training clips"):
        judged("DOGS", "DEAF", training=tmp_path / "training.parquet")


def test_without_a_champion_floors_decide(project):
    first = config().first
    assert failed(judged("RIGHT", None)) == {}
    lost = failed(judged("DOGS", None, first=replace(first, false_alarms_per_hour=100.0)))
    assert "; at most 100" in lost["sound without a cry"]
    lost = failed(judged("DEAF", None, first=replace(first, main=0.95)))
    assert "at least 0.95" in lost["pooled"]


def test_a_champion_of_few_groups_cannot_be_beaten(project):
    found = judged("RIGHT", "DEAF", least_groups=30)
    assert "16 groups of a class tell nothing, 30 are needed" in failed(found)["pooled"]


def test_scores_are_kept_by_model_and_clips(project, monkeypatch):
    judged("RIGHT", "DEAF")
    monkeypatch.setattr(listening, "load_detector", None)  # would fail
    again = judged("RIGHT", "DEAF")
    assert again == judged("RIGHT", "DEAF")
    moved = main_with(scope="all")
    assert judged("RIGHT", "DEAF", main=moved).gates[0].slice == "all"
    write_model(Path("changed"), CURVES["RIGHT"], other=1)
    with pytest.raises(TypeError):
        judged("changed", "DEAF")


def main_with(**changes) -> MainConfig:
    return replace(config().main, **changes)


# One slice at a time


def a_slice(gain, low=None, high=None, groups=10, rows=100, kind="confuser") -> Slice:
    return Slice("s", kind, "m", 0.5, 0.5, gain, low, high, None, rows, "clips", groups)


@pytest.mark.parametrize(
    ("one", "passed", "said"),
    [
        (a_slice(0.0, -0.1, 0.1), True, "may lose up to 0.05"),
        (a_slice(-0.05, -0.06, -0.04), True, "may lose up to 0.05"),  # no chance, within tolerance
        (a_slice(-0.1, -0.2, -0.01), False, "lost more than 0.05, and no chance"),
        (a_slice(-0.1, -0.2, 0.0), True, "but it may be chance"),
        (a_slice(-0.51, -1.0, 0.2), False, "lost more than 0.5"),  # however wide
        (a_slice(-0.4, -0.5, -0.3, groups=4), True, "so few groups may lose up to 0.5"),
        (a_slice(-0.6, groups=1), False, "lost more than 0.5"),
        (a_slice(-1.0, groups=1, rows=1), True, "fewer than 2 clips lost tell nothing"),
        (a_slice(-1.0, groups=1, rows=2), False, "lost more than 0.5"),
        (a_slice(-40.0, groups=1, rows=1, kind="false_alarms"), False, "lost more than 0.5"),
    ],
)
def test_a_loss_refuses_if_it_is_no_chance_or_too_large(one, passed, said):
    gate = no_worse(one, Guard(0.05, 0.5), least_groups=5, least_lost=2)
    assert gate.passed == passed and gate.said.endswith(said)


def test_a_rate_is_paired_by_group():
    # The same group loses in both rows: one draw of two.
    counts = [Count("a", 0, 1, 1.0), Count("a", 0, 1, 1.0), Count("b", 1, 1, 1.0)]
    found = rate("s", "called", counts, "clips", 0)
    assert (found.champion, found.challenger) == pytest.approx((1 / 3, 1.0))
    assert found.gain == pytest.approx(-2 / 3)  # more is called: worse
    assert (found.low, found.high) == (-1.0, 0.0)
    assert (found.rows, found.groups) == (3, 2)
    assert rate("s", "found", counts, "cries", 0).gain == pytest.approx(2 / 3)
    assert rate("s", "found", [], "cries", 0) is None
    assert rate("s", "found", counts[:2], "cries", 0).low is None


def test_bands_of_noise():
    assert bands([0.0, 10.0]) == ["below 0 dB", "0 to 10 dB", "10 dB and more"]
    assert [band(db, [0.0, 10.0]) for db in (-0.1, 0.0, 9.9, 10.0)] == [
        "below 0 dB",
        "0 to 10 dB",
        "0 to 10 dB",
        "10 dB and more",
    ]


@pytest.mark.parametrize(
    ("seen", "champions", "passed"),
    [
        (InfantsCount(4, 1), InfantsCount(4, 1), True),
        (InfantsCount(4, 2), InfantsCount(4, 1), False),
        (InfantsCount(40, 2), InfantsCount(4, 1), True),  # more infants, a smaller share
        (InfantsCount(40, 11), InfantsCount(4, 1), False),
        (None, InfantsCount(4, 1), False),
        (InfantsCount(4, 4), None, True),  # nothing to compare with, and said
        (None, None, True),
    ],
)
def test_infants_over_twice_the_promise(seen, champions, passed):
    gate = no_more_infants(seen, champions, config().infants)
    assert gate.passed == passed
    if seen and champions:
        assert f"{seen.over_twice} of {seen.promised} now" in gate.said


def test_infants_are_counted_as_the_evaluation_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_infants(over=1)
    path = Path("data/fit_infants/mahalanobis/tables.json")
    assert count_infants(path, "val") == InfantsCount(4, 1)
    assert count_infants(Path("nothing.json"), "val") is None
    path.write_text("{}")
    with pytest.raises(TableError, match="not as stage fit_infants writes it"):
        count_infants(path, "val")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"part": "test"}, "the test part chooses nothing"),
        ({"part": "train"}, "no part that was held out"),
        ({"main": MainConfig("esc50", "auc", 0, 0.05)}, "not pooled or all"),
        ({"main": MainConfig("all", "f1", 0, 0.05)}, "not one of auc"),
        ({"guards": {}}, "needs exactly ranked"),
        ({"guards": config().guards | {"noise": Guard(0.3, 0.1)}}, "guards.noise: needs 0 <="),
        ({"noise_bands_db": [3.0, 1.0]}, "rising"),
        ({"least_groups": 1}, "least_groups of 2"),
    ],
)
def test_limits_that_cannot_be_kept_are_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        config(**changes).check()

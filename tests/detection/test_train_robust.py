"""Stage ``train_robust``: the loop, a killed training going on, and what is left out."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from crywatch.audio.waves.cleaned import read_clean
from crywatch.core.atomic import read_json
from crywatch.core.digest import files_sha256
from crywatch.core.errors import ConfigError, TableError
from crywatch.core.models import EMBEDDINGS, load
from crywatch.data.features import FeatureStore
from crywatch.detection.detectors import load_detector
from crywatch.detection.robust import train_robust
from crywatch.detection.robust.train_robust import RobustVariant, TrainRobustConfig, run
from crywatch.detection.robust.training import scale_schedule
from tests.helpers.blazenet_cases import write_clips
from tests.helpers.robust_cases import World, recipe, section

VARIANTS = {
    "one": RobustVariant(1, "", "one"),
    "two": RobustVariant(2, "", "one"),
    "no_b": RobustVariant(1, "b", "no_b"),
    "backbone": RobustVariant(1, "", "one", embeddings=True),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def taught(tmp_path_factory) -> World:
    return World(tmp_path_factory.mktemp("taught"), taught=True)


def config(*overrides: str) -> TrainRobustConfig:
    return replace(section(*overrides), variants=VARIANTS)


def train(world: World, folder: Path, name: str = "one", cfg=None, on_validation=None):
    return run(
        name,
        cfg or config(),
        world.split,
        world.sounds,
        [world.split.clips],
        1.0,
        folder / "out",
        folder / "work",
        on_validation,
    )


@pytest.fixture(scope="module")
def undisturbed(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    seen = []
    return folder / "out", train(world, folder, on_validation=seen.append), seen


def test_every_validation_is_reported_and_the_last_weights_are_kept(undisturbed):
    out, summary, seen = undisturbed
    assert [progress.step for progress in summary.history] == [3, 6, 8]
    assert seen == summary.history
    assert summary.chosen == summary.history[-1]
    with open(out / "history.csv", newline="") as handle:
        lines = list(csv.DictReader(handle))
    assert [float(line["val_channel_auc"]) for line in lines] == pytest.approx(
        [progress.val.channel_auc for progress in seen]
    )
    assert all(np.isfinite(list(progress.as_row().values())).all() for progress in seen)


def test_the_model_folder_describes_itself(undisturbed):
    out, summary, _ = undisturbed
    assert {path.name for path in out.iterdir()} == {
        "model.json",
        "model.safetensors",
        "metrics.json",
        "history.csv",
    }
    told = load(out).description
    assert (told["kind"], told["parameters"], told["segment_s"]) == ("robust", 89_680, 1.0)
    assert told["corpora"] == ["a", "b"]
    assert told["trained_on"]["seed"] == 1 and told["trained_on"]["leave_out"] == ""
    assert told["trained_on"]["recipe"]["augmentation"]["room"]["share"] == 0.3
    assert read_json(out / "metrics.json")["val_auc"] == summary.chosen.val.auc
    assert not (out.parent / "work").exists()
    weights = load(out).part("backbone")
    assert sum(value.numel() for value in weights.values()) == 89_680


def test_equal_inputs_give_equal_bytes_and_another_seed_others(world, undisturbed, tmp_path):
    train(world, tmp_path / "same")
    assert files_sha256([tmp_path / "same/out"]) == files_sha256([undisturbed[0]])
    train(world, tmp_path / "other", "two")
    mine, other = (load(f).weights for f in (undisturbed[0], tmp_path / "other/out"))
    assert not any(torch.equal(mine[name], other[name]) for name in mine)


class Killed(BaseException):
    """Stands for the end of the process."""


TEACHER = "robust_teacher@train_robust.teacher=yamnet"
ADVERSARIAL = "robust_alignment@train_robust.alignment=adversarial"


@pytest.mark.parametrize("overrides", [(), (ADVERSARIAL, TEACHER)], ids=["recipe", "heads"])
def test_a_training_killed_twice_goes_on_to_the_same_bytes(taught, tmp_path, overrides):
    cfg, world = config(*overrides), taught
    train(world, tmp_path / "whole", cfg=cfg)
    seen: list[int] = []
    for at in (3, 8):

        def killer(progress, at=at):
            seen.append(progress.step)
            if progress.step == at:
                raise Killed

        with pytest.raises(Killed):
            train(world, tmp_path, cfg=cfg, on_validation=killer)
        assert not (tmp_path / "out").exists()
    train(world, tmp_path, cfg=cfg, on_validation=lambda progress: seen.append(progress.step))
    # What was validated is not done again.
    assert seen == [3, 6, 8]
    assert files_sha256([tmp_path / "out"]) == files_sha256([tmp_path / "whole/out"])


def test_changed_settings_do_not_go_on_from_what_was_begun(world, tmp_path):
    def killer(_):
        raise Killed

    with pytest.raises(Killed):
        train(world, tmp_path, on_validation=killer)
    seen: list[int] = []
    cfg = config("train_robust.training.lr=0.001")
    train(world, tmp_path, cfg=cfg, on_validation=lambda progress: seen.append(progress.step))
    assert seen == [3, 6, 8]


def test_changed_groups_do_not_go_on_from_what_was_begun(world, tmp_path):
    def killer(_):
        raise Killed

    with pytest.raises(Killed):
        train(world, tmp_path, on_validation=killer)
    rows = [dict(row) for row in world.rows]
    for row in rows:
        if row["clip_id"] in ("a/other-train-2", "a/other-train-3"):
            row["group_id"] = "one"
    split = replace(world.split, clips=write_clips(tmp_path / "clips.parquet", rows))
    seen: list[int] = []
    folders = (tmp_path / "out", tmp_path / "work")
    on_validation = lambda progress: seen.append(progress.step)  # noqa: E731
    run("one", config(), split, world.sounds, [split.clips], 1.0, *folders, on_validation)
    assert seen == [3, 6, 8]


def test_the_best_weights_can_be_kept(world, tmp_path):
    summary = train(world, tmp_path, cfg=config("train_robust.training.keep=best"))
    values = [p.val.average_precision + p.val.channel_average_precision for p in summary.history]
    assert summary.chosen == summary.history[int(np.argmax(values))]


@pytest.mark.parametrize("teacher", ["none", "yamnet"])
def test_leaving_a_corpus_out_leaves_nothing_of_it(taught, tmp_path, monkeypatch, teacher):
    seen = []

    def spy(train_clips, val_clips, *args, **kwargs):
        seen.extend([*train_clips["clip_id"], *val_clips["clip_id"]])
        return train_robust_on(train_clips, val_clips, *args, **kwargs)

    train_robust_on = train_robust.train_on
    monkeypatch.setattr(train_robust, "train_on", spy)
    cfg = config(f"robust_teacher@train_robust.teacher={teacher}")
    summary = train(taught, tmp_path, "no_b", cfg)
    assert ("a/unknown-train-0" in seen) == (teacher == "yamnet")
    assert seen and all(clip_id.startswith("a/") for clip_id in seen)
    assert "a/cry-train-0" not in seen  # in one group with a clip of b
    assert not any("test" in clip_id for clip_id in seen)
    assert summary.corpora == ("a",) == tuple(load(tmp_path / "out").description["corpora"])


def test_an_unlabelled_clip_is_not_heard_where_its_group_validates(taught, tmp_path, monkeypatch):
    """Without b's cries the validation part has none: a tenth of a's groups of cries moves."""
    rows = [dict(row) for row in taught.rows if not row["clip_id"].startswith("a/cry-val")]
    for row in rows:
        if row["clip_id"].startswith(("a/cry-train", "a/unknown-train")):
            row["group_id"] = "x" if row["clip_id"] == "a/cry-train-3" else "y"
    seen = {}

    def spy(train_clips, val_clips, *args, **kwargs):
        seen["train"], seen["val"] = train_clips, val_clips
        return train_robust_on(train_clips, val_clips, *args, **kwargs)

    train_robust_on = train_robust.train_on
    monkeypatch.setattr(train_robust, "train_on", spy)
    moved = []
    for group in ("x", "y"):
        # The unlabelled clip shares a group with either one of the two groups of cries.
        for row in rows:
            if row["clip_id"] == "a/unknown-train-0":
                row["group_id"] = group
        split = replace(taught.split, clips=write_clips(tmp_path / "clips.parquet", rows))
        folders = (tmp_path / "out", tmp_path / "work")
        run("no_b", config(TEACHER), split, taught.sounds, [split.clips], 1.0, *folders)
        groups = {part: set(frame["group_id"]) for part, frame in seen.items()}
        assert not groups["train"] & groups["val"]
        moved.append("a/unknown-train-0" not in set(seen["train"]["clip_id"]))
    assert sorted(moved) == [False, True]


def test_a_backbone_has_its_numbers_beside_it_and_a_kill_there_loses_no_step(
    world, undisturbed, tmp_path, monkeypatch
):
    def failing(path):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("crywatch.detection.robust.embeddings.read_clean", failing)
        with pytest.raises(Killed):
            train(world, tmp_path, "backbone")
    assert not (tmp_path / "out").exists()
    seen: list[int] = []
    train(world, tmp_path, "backbone", on_validation=lambda progress: seen.append(progress.step))
    assert seen == [] and not (tmp_path / "work").exists()
    store, detector = FeatureStore(tmp_path / "out" / EMBEDDINGS), load_detector(tmp_path / "out")
    assert "a/cry-test-0" in store and "a/unknown-train-0" not in store
    wave = read_clean(world.root / "a/cry-test-0.flac")
    np.testing.assert_array_equal(store.clip("a/cry-test-0"), detector.features(wave))
    described = load(tmp_path / "out").description
    assert described | {"name": "one"} == load(undisturbed[0]).description


def test_it_learns(world, tmp_path):
    cfg = config("train_robust.training={steps: 60, val_every: 30, lr: 0.005, ema: 0.9}")
    summary = train(world, tmp_path, cfg=cfg)
    assert summary.history[1].train_loss < summary.history[0].train_loss
    assert summary.chosen.val.auc > 0.9


def test_a_teacher_that_is_not_at_hand_is_missed_aloud(world, tmp_path, capsys):
    train(world, tmp_path / "asked", cfg=config(TEACHER))
    assert "set yamnet.handle" in capsys.readouterr().err
    train(world, tmp_path / "labels")
    assert not capsys.readouterr().err
    asked, labels = (load(tmp_path / name / "out") for name in ("asked", "labels"))
    assert asked.description["trained_on"]["recipe"]["teacher"]["weight"] == 0
    assert all(torch.equal(asked.weights[k], labels.weights[k]) for k in labels.weights)


def test_bad_inputs_are_named(world, tmp_path):
    with pytest.raises(ConfigError, match=r"train_robust\.variants has no 'three'"):
        train(world, tmp_path, "three")
    with pytest.raises(ConfigError, match=r"lower train_robust\.training\.lr"):
        train(world, tmp_path, cfg=config("train_robust.training.lr=1e30"))
    only = [row for row in world.rows if "cry-val" not in row["clip_id"]]
    split = replace(world.split, clips=write_clips(tmp_path / "clips.parquet", only))
    with pytest.raises(TableError, match="variant one: the val part lacks"):
        run(
            *("one", config(), split, world.sounds, [split.clips], 1.0),
            *(tmp_path / "out", tmp_path / "work"),
        )
    assert not (tmp_path / "out").exists()


def test_the_schedule_scales_steps():
    given = recipe().training
    given.steps, given.val_every = 100, 30
    assert (scale_schedule(given, 0.12).steps, scale_schedule(given, 0.12).val_every) == (12, 4)
    assert (scale_schedule(given, 0.0001).steps, scale_schedule(given, 0.0001).val_every) == (2, 1)
    assert given.steps == 100

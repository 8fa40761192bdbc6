"""Stage ``ablate_robust``: recipes as changes, folds by group, and what is measured."""

from __future__ import annotations

import numpy as np
import pytest

from crywatch.core import params
from crywatch.core.atomic import read_json
from crywatch.core.digest import files_sha256
from crywatch.core.errors import ConfigError, TableError
from crywatch.data.selection import strong_labels
from crywatch.data.tables import read_table
from crywatch.data.tables.clips import SPLIT_CLIPS
from crywatch.report.pages import ReportOrigin, render
from crywatch.studies import ablate_robust
from crywatch.studies.ablate_robust import AblateRobustConfig, run
from crywatch.studies.ablate_robust.measures import measure
from crywatch.studies.recipes import recipes_page
from tests.helpers.dag import ROOT
from tests.helpers.report_cases import ablations_folder
from tests.helpers.robust_cases import World, recipe

RECIPES = {"base": {}, "no_room": {"augmentation": {"room": None}}, "wrong": {"draw": {}}}


def config(**changes) -> AblateRobustConfig:
    given = {"folds": 2, "seed": 1, "whole": ["a"], "steps": 3, "recipes": RECIPES}
    return AblateRobustConfig(**given | changes)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return World(tmp_path_factory.mktemp("world"))


def ablate(world: World, folder, name: str = "base", cfg=None):
    return run(
        name,
        cfg or config(),
        recipe(),
        world.split,
        world.sounds,
        1.0,
        folder / "out",
        folder / "work",
    )


@pytest.fixture(scope="module")
def done(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("done")
    return folder / "out", ablate(world, folder)


def test_every_recipe_of_the_configuration_is_one():
    chosen = ["robust_recipes@ablate_robust.recipes=all"]
    composed = params.compose(chosen, ROOT / "conf", "studies")
    given = params.typed(composed.ablate_robust, AblateRobustConfig, "ablate_robust")
    assert len(given.recipes) > 20
    base = recipe("robust_teacher@train_robust.teacher=yamnet")
    made = {name: given.recipe(name, base) for name in given.recipes}
    plain = made.pop("base")
    assert all(found != plain for found in made.values())
    assert made["paper_front_end"].front_end.scale == "paper"
    assert made["moments"].alignment.kind == "moments"


def test_what_was_measured(done):
    out, summary = done
    metrics = read_json(out / "metrics.json")
    for scope in ("pooled", "a", "b"):
        for heard in ("clean", "channel"):
            for unit in ("second", "clip"):
                assert 0 <= metrics[f"{scope}/{heard}/{unit}/average_precision"] <= 1
    assert "pooled/channel/second/recall_at_1pct" in metrics
    assert read_json(out / "recipe.json")["training"]["steps"] == 3
    assert summary.n_clips == 24
    assert not (out.parent / "work").exists()


def test_no_network_hears_the_groups_it_is_measured_on(world, tmp_path, monkeypatch):
    train_on, score_clips = ablate_robust.train_on, ablate_robust.score_clips
    heard: list[set] = []
    measured: list[set] = []

    def training(train_clips, *args, **kwargs):
        heard.append(set(train_clips["group_id"]))
        assert not set(train_clips["split"]) & {"test"}
        return train_on(train_clips, *args, **kwargs)

    groups = {row["clip_id"]: row.get("group_id", row["clip_id"]) for row in world.rows}

    def scoring(network, sounds, clip_ids, *args):
        measured.append({groups[clip_id] for clip_id in clip_ids})
        assert not measured[-1] & heard[-1]
        return score_clips(network, sounds, clip_ids, *args)

    monkeypatch.setattr(ablate_robust, "train_on", training)
    monkeypatch.setattr(ablate_robust, "score_clips", scoring)
    ablate(world, tmp_path)
    assert len(heard) == 2 and len(measured) == 4
    assert not measured[0] & measured[2]
    labelled = [r for r in world.rows if r["split"] != "test" and r["label"] != "unknown"]
    everything = {groups[r["clip_id"]] for r in labelled}
    assert measured[0] | measured[2] == everything


def test_equal_inputs_give_equal_bytes_and_a_recipe_others(world, done, tmp_path):
    ablate(world, tmp_path / "same")
    assert files_sha256([tmp_path / "same/out"]) == files_sha256([done[0]])
    ablate(world, tmp_path / "other", "no_room")
    assert read_json(tmp_path / "other/out/tables.json") != read_json(done[0] / "tables.json")


def test_the_page_shows_each_recipe_beside_the_whole_one(tmp_path):
    folder = ablations_folder(tmp_path)
    report = recipes_page(
        folder, ["base", "no_room"], "Recipes", ReportOrigin("demo", "generated", "")
    )
    page = render("sections.md", report)
    assert "| no_room | 0.400 (-0.100) | 0.400 (-0.100) |" in page
    assert "| base | 0.500 | 0.500 |" in page and "0.900" not in page
    with pytest.raises(TableError, match=r"best/metrics\.json is missing: run `dvc repro"):
        recipes_page(folder, ["best"], "Recipes", ReportOrigin("demo", "generated", ""))


def test_bad_settings_are_named(world, tmp_path):
    with pytest.raises(ConfigError, match=r"ablate_robust\.recipes has no 'best'"):
        ablate(world, tmp_path, "best")
    with pytest.raises(ConfigError, match=r"ablate_robust\.recipes\.wrong: .*draw"):
        ablate(world, tmp_path, "wrong")
    with pytest.raises(TableError, match=r"ablate_robust\.folds is 20"):
        ablate(world, tmp_path, cfg=config(folds=20))


def test_silent_seconds_count_in_no_row_per_second_but_in_the_clip(world):
    clips = read_table(world.split.clips, SPLIT_CLIPS)
    clips = clips[clips["clip_id"].isin(["a/cry-val-0", "a/other-val-0"])]
    scores = {"a/cry-val-0": np.array([0.9, 0.1]), "a/other-val-0": np.array([0.4, 0.2])}
    silent = {"a/cry-val-0": np.array([False, True]), "a/other-val-0": np.array([False, False])}
    events = strong_labels([world.split.events])
    rows = measure(clips, events, silent, {"clean": scores})
    second = next(r for r in rows if (r.scope, r.unit) == ("pooled", "second"))
    assert (second.metrics.n, second.metrics.average_precision) == (3, 1.0)
    loud = {clip_id: np.zeros(2, dtype=bool) for clip_id in silent}
    rows = measure(clips, events, loud, {"clean": scores})
    second = next(r for r in rows if (r.scope, r.unit) == ("pooled", "second"))
    assert second.metrics.n == 4 and second.metrics.average_precision < 1.0

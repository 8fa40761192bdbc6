"""Stage ``mine``: the top seconds of every clip, and how many of them hold a cry; its training."""

from __future__ import annotations

import runpy
from dataclasses import asdict, replace
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.core.atomic import read_json
from crywatch.core.digest import files_sha256
from crywatch.core.errors import ConfigError, TableError
from crywatch.core.models import ModelFolder, load, save
from crywatch.core.paths import MINED_SECONDS
from crywatch.data.features import FeatureStore, StoreInfo
from crywatch.data.selection import Source, labelled
from crywatch.data.tables import read_table, write_table
from crywatch.data.tables.clips import EVENTS, MINED
from crywatch.detection.anomaly import mine
from crywatch.detection.anomaly.bags import collect
from crywatch.detection.anomaly.losses import build
from crywatch.detection.anomaly.mine import (
    DatasetConfig,
    MineConfig,
    MineInputs,
    Mining,
    mine_clips,
    run,
    top_seconds,
)
from crywatch.detection.anomaly.network import RtfmNetwork, load_head, score_seconds
from crywatch.detection.anomaly.training import evaluate, train_on
from crywatch.detection.embedders import EmbedderConfig
from tests.helpers.anomaly_cases import (
    MIL,
    RTFM,
    fields_of,
    seconds_of,
    training_config,
    two_corpora,
    vector_store,
    write_two_corpora,
)
from tests.helpers.blazenet_cases import write_clips
from tests.helpers.code_cases import edit

INFO = StoreInfo("toy", 4, "digest")
EMBEDDER = EmbedderConfig("toy", 4, "")
DATASETS = {"trimmed": DatasetConfig(5), "untrimmed": DatasetConfig(10)}
EXTRA = {"mine": DatasetConfig(5)}  # in the configuration, but of no table

pytestmark = pytest.mark.usefixtures("one_thread")


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
    summary = mine_clips(labelled(clips), Mining(model, store, 2), tmp_path / "mined.parquet")
    mined = read_table(tmp_path / "mined.parquet", MINED)
    assert list(mined.itertuples(index=False, name=None)) == [
        ("a/long", 1.0, 0.75, 0),
        ("a/long", 2.0, 0.5, 1),
        ("a/short", 0.0, 0.25, 0),
        ("a/tie", 0.0, 0.5, 0),
        ("a/tie", 1.0, 0.5, 1),
    ]
    assert summary.as_metrics() == {"clips": 3, "seconds": 5}


def test_the_scores_are_the_networks_over_the_whole_recording(tmp_path, model):
    clips, store = write_two_corpora(tmp_path, INFO, ("train", "val", "test"))
    summary = mine_clips(labelled(clips), Mining(model, store, 2), tmp_path / "mined.parquet")
    rows = {row["clip_id"]: row for row in two_corpora()}
    # Neither the duplicate nor the clip without a label.
    expected = sorted(set(rows) - {"a/copy_cry", "a/unknown"})
    mined = read_table(tmp_path / "mined.parquet", MINED)
    assert sorted(mined["clip_id"].unique()) == expected
    assert summary.seconds == sum(min(2, seconds_of(rows[clip_id])) for clip_id in expected)
    network, features = load_head(model), FeatureStore(store)
    for clip_id, group in mined.groupby("clip_id"):
        scores = score_seconds(network, features.clip(clip_id))
        assert group["rank"].tolist() == list(range(len(group)))
        assert np.array_equal(group["score"], np.sort(scores)[::-1][:2])
        assert np.array_equal(group["score"], scores[group["start_s"].astype(int)])


def test_equal_inputs_give_equal_bytes(tmp_path, model):
    clips, store = write_two_corpora(tmp_path, INFO, ("train", "val", "test"))
    for name in ("one", "two"):
        mine_clips(labelled(clips), Mining(model, store, 2), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_clip_without_features_is_named(tmp_path, model):
    clips, store = write_two_corpora(tmp_path, INFO)
    with pytest.raises(TableError, match="'a/test_cry0' has no features"):
        mine_clips(labelled(clips), Mining(model, store, 2), tmp_path / "mined.parquet")
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
    summary = mine_clips(
        labelled(clips), Mining(model, store, 2), tmp_path / "mined.parquet", Source(clips, events)
    )
    assert summary.precision == pytest.approx((1 / 2 + 0 / 2) / 2)
    assert summary.chance == pytest.approx((2 / 4 + 1 / 5) / 2)
    assert summary.as_metrics()["precision"] == summary.precision


def test_without_a_held_out_cry_there_is_no_precision(tmp_path, model, first_number_is_the_score):
    clips, store = constructed(tmp_path, {"u/a": [0.5]}, label=["cry"], split=["train"])
    events = events_table(tmp_path, [("u/a", 0.0, 1.0)])
    summary = mine_clips(
        labelled(clips), Mining(model, store, 2), tmp_path / "mined.parquet", Source(clips, events)
    )
    assert summary.precision is None and summary.chance is None
    assert set(summary.as_metrics()) == {"clips", "seconds"}


# The training


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A table, its features and its events."""
    folder = tmp_path_factory.mktemp("inputs")
    clips, store = write_two_corpora(folder, INFO, ("train", "val", "test"))
    return clips, store, events_table(folder, [("a/val_cry0", 0.0, 1.0)])


def go(inputs, folder, dataset="trimmed", seed=3, on_evaluation=None, **changes):
    clips, features, events = inputs
    known = {"untrimmed": Source(clips, events)}
    config = training_config(**({"steps": 12, "val_every": 4} | changes))
    return run(
        dataset,
        MineConfig(**fields_of(config), top_t=2, datasets=DATASETS | EXTRA),
        EMBEDDER,
        MineInputs({"trimmed": clips, "untrimmed": clips}, known, features),
        1.0,
        seed,
        folder / "out",
        folder / "work",
        on_evaluation,
    )


@pytest.fixture(scope="module")
def undisturbed(inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder / "out", go(inputs, folder)


def test_the_conf_is_a_training_of_the_papers_recipe():
    conf = params.compose(["profile=full"])
    config = params.typed(conf.mine, MineConfig, "mine")
    assert config.datasets == DATASETS
    assert (config.top_k, config.lr, config.steps, config.batch_size) == (2, 1e-3, 20_000, 128)
    assert config.patience_steps == 2000 and config.dropout == 0.7


@pytest.mark.parametrize("expected", [RTFM, MIL], ids=lambda loss: loss.name)
def test_both_losses_are_configured_with_the_published_weights(expected):
    conf = params.compose([f"loss@mine.loss={expected.name}"])
    assert params.typed(conf.mine, MineConfig, "mine").loss == expected


def test_the_model_folder_describes_itself(undisturbed):
    out, summary = undisturbed
    assert {path.name for path in out.iterdir()} == {
        "model.json",
        "model.safetensors",
        "mined",
        "metrics.json",
    }
    model = load(out)
    assert model.description == {
        "kind": "rtfm",
        "name": "toy, miner trimmed",
        "segment_s": 1.0,
        "embedder": asdict(EMBEDDER) | {"digest": INFO.digest},
        "dim": 4,
        "segments": 5,
        "top_k": 2,
        "temporal": "msnl",
        "loss": asdict(RTFM),
        "corpora": ["a", "b"],
    }
    assert all(name.startswith("head.") for name in model.weights)
    assert read_json(out / "metrics.json") == summary.as_metrics()
    # Eight of each: neither the duplicate nor the clip without a label.
    training = summary.training
    assert (training.n_abnormal, training.n_normal, training.steps) == (8, 8, 12)


def test_full_connection_layers_hear_every_second_alone(inputs, undisturbed, tmp_path):
    go(inputs, tmp_path, temporal="fc")
    assert load(tmp_path / "out").description["temporal"] == "fc"
    store = FeatureStore(inputs[1])
    vectors = next(v for v in map(store.clip, store) if len(v) > 3)
    alone = {}
    for folder in (tmp_path / "out", undisturbed[0]):
        head = load_head(folder)
        apart = np.concatenate([score_seconds(head, second[None]) for second in vectors])
        alone[head.temporal] = np.allclose(score_seconds(head, vectors), apart, atol=1e-6)
    assert alone == {"fc": True, "msnl": False}
    with pytest.raises(ConfigError, match="temporal: 'lstm' is unknown; there are msnl, fc"):
        go(inputs, tmp_path / "other", temporal="lstm")


def test_the_saved_network_is_that_of_the_best_validation(inputs, undisturbed):
    out, summary = undisturbed
    bags = collect(labelled(inputs[0]), FeatureStore(inputs[1]), 5, "val")
    found = evaluate(load_head(out), bags, build(RTFM, 2, bags.dim))
    assert found == pytest.approx(
        (summary.training.best.val_auc, summary.training.best.val_loss), rel=1e-5
    )


def test_the_mined_seconds_are_those_of_the_network_beside_them(inputs, undisturbed, tmp_path):
    out, summary = undisturbed
    mined = mine_clips(labelled(inputs[0]), Mining(out, inputs[1], 2), tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (out / MINED_SECONDS).read_bytes()
    assert mined == summary.mined and mined.precision is None


def test_untrimmed_bags_have_ten_segments_and_onsets_that_are_known(inputs, tmp_path):
    summary = go(inputs, tmp_path, "untrimmed", steps=2)
    assert load(tmp_path / "out").description["segments"] == 10
    assert summary.mined.chance is not None
    assert summary.as_metrics()["precision"] == summary.mined.precision


def test_the_other_loss_trains_another_network(inputs, undisturbed, tmp_path):
    go(inputs, tmp_path, loss=MIL)
    assert load(tmp_path / "out").description["loss"]["name"] == "mil"
    assert files_sha256([tmp_path / "out"]) != files_sha256([undisturbed[0]])


def test_trap_the_test_part_is_never_trained_on(inputs, undisturbed, tmp_path):
    """Its labels do not matter, and a training runs without a single vector of it."""
    clips = pd.read_parquet(inputs[0])
    is_test = clips["split"] == "test"
    assert is_test.any()
    clips.loc[is_test, "label"] = "other"
    table = write_clips(tmp_path / "clips.parquet", clips.to_dict("records"))
    go((table, *inputs[1:]), tmp_path)
    assert files_sha256([tmp_path / "out"]) == files_sha256([undisturbed[0]])
    _, store = write_two_corpora(tmp_path / "seen", INFO)
    assert not any(clip_id in FeatureStore(store) for clip_id in clips["clip_id"][is_test])
    config = training_config(steps=12, val_every=4)
    trained, _ = train_on(
        "trimmed", inputs[0], "", FeatureStore(store), 5, config, 1.0, 3, tmp_path, None
    )
    expected = load(undisturbed[0]).part("head")
    assert all(torch.equal(expected[k], v) for k, v in trained.network.state_dict().items())


def test_seeds_and_nothing_else_decide_the_bytes(inputs, undisturbed, tmp_path):
    go(inputs, tmp_path / "same")
    go(inputs, tmp_path / "other", seed=4)
    assert files_sha256([tmp_path / "same/out"]) == files_sha256([undisturbed[0]])
    assert files_sha256([tmp_path / "other/out"]) != files_sha256([undisturbed[0]])


class Killed(BaseException):
    """Stands for the end of the process."""


def killer(at: int, seen: list[int]):
    def on_evaluation(evaluation):
        seen.append(evaluation.step)
        if evaluation.step == at:
            raise Killed

    return on_evaluation


def test_a_killed_stage_goes_on_to_the_same_bytes(inputs, undisturbed, tmp_path):
    with pytest.raises(Killed):
        go(inputs, tmp_path, on_evaluation=killer(8, []))
    assert not (tmp_path / "out").exists()
    seen: list[int] = []
    go(inputs, tmp_path, on_evaluation=killer(-1, seen))
    assert seen == [12]
    assert files_sha256([tmp_path / "out"]) == files_sha256([undisturbed[0]])


@pytest.mark.parametrize(
    "before", [{"seed": 4}, {"lr": 0.01}, {"dataset": "untrimmed"}, {"loss": MIL}], ids=str
)
def test_the_state_of_another_training_is_not_gone_on_from(inputs, undisturbed, tmp_path, before):
    with pytest.raises(Killed):
        go(inputs, tmp_path, on_evaluation=killer(4, []), **before)
    go(inputs, tmp_path)
    assert files_sha256([tmp_path / "out"]) == files_sha256([undisturbed[0]])


def test_the_state_of_other_code_is_not_gone_on_from(inputs, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        edit(patch, "data/features.py")
        with pytest.raises(Killed):
            go(inputs, tmp_path, on_evaluation=killer(8, []))
    seen: list[int] = []
    go(inputs, tmp_path, on_evaluation=killer(-1, seen))
    assert seen == [4, 8, 12]


def test_unknown_data_sets_and_a_missing_label_are_refused(inputs, tmp_path):
    with pytest.raises(ConfigError, match=r"mine\.datasets has no 'video'"):
        go(inputs, tmp_path, "video")
    with pytest.raises(ConfigError, match=r"the project has no 'mine'; there are trimmed"):
        go(inputs, tmp_path, "mine")
    clips = pd.read_parquet(inputs[0])
    no_cry = clips[(clips["split"] != "val") | (clips["label"] != "cry")]
    table = write_clips(tmp_path / "clips.parquet", no_cry.to_dict("records"))
    with pytest.raises(TableError, match="part val has no clip labelled 'cry'"):
        go((table, *inputs[1:]), tmp_path)


def test_numbers_of_another_embedder_than_the_configured_one_are_refused(inputs, tmp_path):
    table, _, events = inputs
    other = vector_store(
        tmp_path / "other", {"a/x": np.zeros((1, 4), np.float32)}, replace(INFO, name="logmel")
    )
    with pytest.raises(ConfigError, match=r"numbers of logmel, but embedder\.name is toy: run"):
        go((table, other, events), tmp_path)


@pytest.mark.parametrize(
    ("name", "title"), [("logmel", "log-mel stand-in"), ("vggish", "VGGish"), ("yamnet", "YAMNet")]
)
def test_the_record_of_a_miner_names_the_embedder_that_ran(tmp_path, monkeypatch, name, title):
    script = Path(__file__).resolve().parents[2] / "pipelines" / "mine.py"
    main = runpy.run_path(str(script))["main"]
    values = params.compose([f"embedder={name}", "embedder.handle=weights"])
    (tmp_path / "params.yaml").write_text(OmegaConf.to_yaml(values))
    log = MagicMock()
    log.__enter__.return_value = log
    monkeypatch.setattr(tracking, "stage_run", lambda *_: log)
    monkeypatch.setitem(main.__globals__, "run", MagicMock())
    monkeypatch.chdir(tmp_path)
    main("trimmed")
    log.tags.assert_called_with({"embedder": name, "features": title})
    log.model.assert_called_once_with(f"{name}-miner-trimmed", paths.MINE / "trimmed")


def test_leaving_a_corpus_out_drops_its_groups_from_train_and_val(inputs, tmp_path):
    _, summary = train_on(
        "trimmed",
        inputs[0],
        "b",
        FeatureStore(inputs[1]),
        5,
        training_config(steps=1),
        1.0,
        3,
        tmp_path,
        None,
    )
    # Of four cries in corpus a one shares its group with a clip of b.
    assert (summary.n_abnormal, summary.n_normal) == (3, 4)

"""Stage ``train_miner``: the anomaly network from clip labels, and the folder that it leaves."""

from __future__ import annotations

from dataclasses import asdict

import pandas as pd
import pytest

from crywatch.core import params
from crywatch.core.atomic import read_json
from crywatch.core.digest import files_sha256
from crywatch.core.errors import ConfigError, TableError
from crywatch.core.models import load
from crywatch.data.features import FeatureStore, StoreInfo
from crywatch.data.selection import labelled
from crywatch.detection.anomaly import train_miner
from crywatch.detection.anomaly.bags import collect
from crywatch.detection.anomaly.losses import build
from crywatch.detection.anomaly.mine import load_head
from crywatch.detection.anomaly.train_miner import DatasetConfig, TrainMinerConfig, run
from crywatch.detection.anomaly.training import evaluate
from crywatch.detection.embedders import EmbedderConfig
from tests.helpers.anomaly_cases import MIL, RTFM, fields_of, training_config, write_two_corpora
from tests.helpers.blazenet_cases import write_clips
from tests.helpers.code_cases import edit

pytestmark = pytest.mark.usefixtures("one_thread")

INFO = StoreInfo("logmel", 8, "digest of the embedder")
EMBEDDER = EmbedderConfig("logmel", 8, "")
DATASETS = {"trimmed": DatasetConfig(5), "untrimmed": DatasetConfig(10)}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A table and a store without a single vector of the test part."""
    return write_two_corpora(tmp_path_factory.mktemp("inputs"), INFO)


EXTRA = {"mine": DatasetConfig(5)}  # in the configuration, but of no table


def go(inputs, folder, dataset="trimmed", seed=3, on_evaluation=None, **changes):
    config = training_config(**({"steps": 12, "val_every": 4} | changes))
    return run(
        dataset,
        TrainMinerConfig(**fields_of(config), datasets=DATASETS | EXTRA),
        EMBEDDER,
        {"trimmed": inputs[0], "untrimmed": inputs[0]},
        inputs[1],
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
    config = params.typed(conf.train_miner, TrainMinerConfig, "train_miner")
    assert config.datasets == DATASETS
    assert (config.top_k, config.lr, config.steps, config.batch_size) == (2, 1e-3, 20_000, 128)
    assert config.patience_steps == 2000 and config.dropout == 0.7


@pytest.mark.parametrize("expected", [RTFM, MIL], ids=lambda loss: loss.name)
def test_both_losses_are_configured_with_the_published_weights(expected):
    conf = params.compose([f"loss@train_miner.loss={expected.name}"])
    assert params.typed(conf.train_miner, TrainMinerConfig, "train_miner").loss == expected


def test_the_model_folder_describes_itself(undisturbed):
    out, summary = undisturbed
    assert {path.name for path in out.iterdir()} == {
        "model.json",
        "model.safetensors",
        "metrics.json",
    }
    model = load(out)
    assert model.description == {
        "kind": "rtfm",
        "name": "miner trimmed",
        "segment_s": 1.0,
        "embedder": asdict(EMBEDDER) | {"digest": INFO.digest},
        "dim": 8,
        "segments": 5,
        "top_k": 2,
        "loss": asdict(RTFM),
        "corpora": ["a", "b"],
    }
    assert all(name.startswith("head.") for name in model.weights)
    assert read_json(out / "metrics.json") == summary.as_metrics()
    # Eight of each: neither the duplicate nor the clip without a label.
    assert (summary.n_abnormal, summary.n_normal, summary.steps) == (8, 8, 12)


def test_the_saved_network_is_that_of_the_best_validation(inputs, undisturbed):
    out, summary = undisturbed
    bags = collect(labelled(inputs[0]), FeatureStore(inputs[1]), 5, "val")
    found = evaluate(load_head(out), bags, build(RTFM, 2, bags.dim))
    assert found == pytest.approx((summary.best.val_auc, summary.best.val_loss), rel=1e-5)


def test_untrimmed_bags_have_ten_segments(inputs, tmp_path):
    go(inputs, tmp_path, "untrimmed", steps=2)
    assert load(tmp_path / "out").description["segments"] == 10


def test_the_other_loss_trains_another_network(inputs, undisturbed, tmp_path):
    go(inputs, tmp_path, loss=MIL)
    assert load(tmp_path / "out").description["loss"]["name"] == "mil"
    assert files_sha256([tmp_path / "out"]) != files_sha256([undisturbed[0]])


def test_trap_the_test_part_is_never_read(inputs, undisturbed, tmp_path):
    """The store of these tests has no test clip; their labels do not matter either."""
    clips = pd.read_parquet(inputs[0])
    is_test = clips["split"] == "test"
    assert is_test.any()
    assert not any(clip_id in FeatureStore(inputs[1]) for clip_id in clips["clip_id"][is_test])
    clips.loc[is_test, "label"] = "other"
    table = write_clips(tmp_path / "clips.parquet", clips.to_dict("records"))
    go((table, inputs[1]), tmp_path)
    assert files_sha256([tmp_path / "out"]) == files_sha256([undisturbed[0]])


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
    with pytest.raises(ConfigError, match=r"train_miner\.datasets has no 'video'"):
        go(inputs, tmp_path, "video")
    with pytest.raises(ConfigError, match=r"the project has no 'mine'; there are trimmed"):
        go(inputs, tmp_path, "mine")
    clips = pd.read_parquet(inputs[0])
    no_cry = clips[(clips["split"] != "val") | (clips["label"] != "cry")]
    table = write_clips(tmp_path / "clips.parquet", no_cry.to_dict("records"))
    with pytest.raises(TableError, match="part val has no clip labelled 'cry'"):
        go((table, inputs[1]), tmp_path)


def test_leaving_a_corpus_out_drops_its_groups_from_train_and_val(inputs, tmp_path):
    _, summary = train_miner.train_on(
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

"""A training shared by two processes on the CPU: the numbers of one process, written once."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from omegaconf import OmegaConf
from torch.utils.data import SequentialSampler

from crywatch.core import params, paths
from crywatch.core.atomic import read_json
from crywatch.core.errors import ConfigError
from crywatch.core.models import load
from crywatch.data.tables import empty, write_table
from crywatch.data.tables.clips import EVENTS, SPLIT_CLIPS
from crywatch.detection.blazenet.data import EpochSampler, Process, SharedBatches
from crywatch.detection.blazenet.module import BlazeNetModule, BlazenetRecipe
from crywatch.detection.blazenet.train_blazenet import TrainBlazenetConfig, TrainerConfig, rank
from tests.helpers.blazenet_cases import picture_store, write_clips
from tests.helpers.dag import ROOT
from tests.helpers.evaluation_cases import write_cries

pytestmark = pytest.mark.nightly

# 25 segments in batches of 8: the last one has a single row, and none for the second process.
TRAIN = {"a/cry1": 5, "a/cry2": 4, "a/other1": 6, "a/other2": 5, "b/cry3": 2, "b/other3": 3}
VAL = {"a/cry4": 4, "a/other4": 4, "b/cry5": 3, "b/other5": 4}
RANKED = ("RANK", "NODE_RANK", "LOCAL_RANK", "SLURM_PROCID", "WORLD_SIZE")
SHARED = {"accelerator": "cpu", "devices": 2, "num_nodes": 1, "strategy": "ddp"}


@pytest.mark.parametrize("of", [1, 2, 3])
@pytest.mark.parametrize("n", [16, 17, 25])
def test_the_parts_of_a_batch_make_up_the_batch_of_one_process(n, of):
    def batches(place: Process) -> list[list[int]]:
        sampler = SharedBatches(EpochSampler(n, 1), 8, lambda: place)
        sampler.sampler.set_epoch(3)
        assert len(list(sampler)) == len(sampler)
        return list(sampler)

    alone = batches(Process())
    parts = [batches(Process(number, of)) for number in range(of)]
    for whole, *shared in zip(alone, *parts, strict=True):
        own = shared[: len(whole)]  # the others leave the row they are given out
        assert sorted(sum(own, [])) == sorted(whole)
        sizes = [len(part) for part in own]
        assert max(sizes) - min(sizes) <= 1
        assert shared[len(whole) :] == [whole[:1]] * (of - len(own))
    assert sorted(sum(alone, [])) == list(range(n))


@pytest.mark.parametrize("of", [1, 2, 3])
def test_the_shares_of_all_processes_give_the_mean_over_a_batch(of):
    values = np.random.default_rng(0).random(17)
    whole = [values[:8].mean(), values[8:16].mean(), values[16]]
    means = np.zeros((of, 3))
    for number in range(of):
        place = Process(number, of)
        batches = SharedBatches(SequentialSampler(values), 8, lambda place=place: place)
        assert batches.of == of
        means[number] = [batches.share(i) * values[part].sum() for i, part in enumerate(batches)]
    np.testing.assert_allclose(means.mean(axis=0), whole)


def test_a_row_that_fills_a_part_is_not_validated():
    for number, expected in enumerate((1, 0)):
        place = Process(number, 2)
        batches = SharedBatches(SequentialSampler(range(1)), 8, lambda place=place: place)
        module = BlazeNetModule(BlazenetRecipe(0.1, 0.9, 1, 0.1), None, batches)
        assert list(batches) == [[0]]
        module.validation_step((torch.zeros(1, 64, 64), torch.ones(1, dtype=torch.int64)), 0)
        assert [len(part) for part in module._val[0]] == [expected, expected]


def test_a_process_knows_that_it_follows(monkeypatch):
    for name in RANKED:
        monkeypatch.delenv(name, raising=False)
    alone, shared = TrainerConfig(), TrainerConfig(devices=2, strategy="ddp")
    assert rank() == 0 and not shared.follows
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert not shared.follows
    monkeypatch.setenv("NODE_RANK", "1")
    assert rank() == 1 and shared.follows and not alone.follows


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"devices": 0}, "devices and num_nodes must be at least 1"),
        ({"devices": 2}, "'auto' with 2 processes"),
        ({"devices": 2, "strategy": "ddp_spawn"}, "'ddp_spawn' with 2 processes"),
        ({"num_nodes": 2, "strategy": "fsdp"}, "'fsdp' with 2 processes"),
    ],
)
def test_what_cannot_share_a_training_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        replace(TrainerConfig(), **changes).check()


@pytest.mark.parametrize("name", ["cpu", "ddp_cpu", "gpu"])
def test_every_trainer_composes(name):
    config = params.compose([f"trainer@train_blazenet.trainer={name}"], ROOT / "conf")
    trainer = params.typed(config.train_blazenet, TrainBlazenetConfig, "here").trainer
    trainer.check()
    assert asdict(trainer) == OmegaConf.to_container(config.train_blazenet.trainer)
    if name == "cpu":
        assert trainer == TrainerConfig()


def clip_rows(clips: dict[str, int], part: str) -> list[dict]:
    labels = {clip_id: "cry" if "cry" in clip_id else "other" for clip_id in clips}
    return [{"clip_id": c, "label": labels[c], "split": part} for c in clips]


def project(folder: Path, trainer: dict) -> Path:
    """A project whose stage train_blazenet has its inputs, and ``trainer`` in params.yaml."""
    folder.mkdir()
    clips = clip_rows(TRAIN, "train") + clip_rows(VAL, "val")
    counts = TRAIN | VAL
    picture_store(folder / paths.PICTURES / "ours_1s", counts, {c for c in counts if "cry" in c})
    write_clips(folder / paths.SPLIT_CLIPS, clips)
    write_cries(folder / paths.SPLIT_EVENTS, {})
    for made in (paths.UNTRIMMED, paths.SOUNDSCAPES):
        write_table(empty(SPLIT_CLIPS), folder / made / "clips.parquet", SPLIT_CLIPS)
        write_table(empty(EVENTS), folder / made / "events.parquet", EVENTS)
    config = OmegaConf.to_container(params.compose(conf_dir=ROOT / "conf"), resolve=True)
    config["schedule"]["scale"] = 1.0
    config["train_blazenet"] |= {"max_epochs": 5, "batch_size": 8, "lr_step": 3}
    config["train_blazenet"]["recipes"]["ours"]["lr"] = 0.02
    config["train_blazenet"]["trainer"] |= trainer
    (folder / "params.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> dict[str, Path]:
    """The stage's script by two processes, and what it calls by this one."""
    folder, script = tmp_path_factory.mktemp("ddp"), ROOT / "pipelines" / "train_blazenet.py"
    made = {"one": project(folder / "one", {}), "two": project(folder / "two", SHARED)}
    unset = (*RANKED, *(name for name in os.environ if name.startswith("MLFLOW_")))
    with pytest.MonkeyPatch.context() as patch:
        for name in unset:
            patch.delenv(name, raising=False)
        patch.setenv("PYTHONPATH", str(ROOT / "src"))
        command = [sys.executable, script, "all_1s"]
        result = subprocess.run(command, cwd=made["two"], capture_output=True, text=True)
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
        patch.chdir(made["one"])
        runpy.run_path(str(script))["train"]("all_1s")
    return made


def test_two_processes_come_to_the_numbers_of_one(trained):
    out = {name: where / paths.TRAIN_BLAZENET / "all_1s" for name, where in trained.items()}
    weights = {name: load(folder).weights for name, folder in out.items()}
    assert weights["one"].keys() == weights["two"].keys()
    for name, value in weights["one"].items():
        torch.testing.assert_close(weights["two"][name], value, rtol=1e-3, atol=1e-5)
    history = {name: pd.read_csv(folder / "history.csv") for name, folder in out.items()}
    assert len(history["one"]) == 5
    np.testing.assert_allclose(history["two"], history["one"], rtol=1e-4, atol=1e-5)
    losses = history["one"]["train_loss"]
    assert losses.iloc[-1] < 0.9 * losses.iloc[0]  # it was no standstill that was compared
    metrics = {name: read_json(folder / "metrics.json") for name, folder in out.items()}
    for name, value in metrics["one"].items():
        assert metrics["two"][name] == pytest.approx(value, rel=1e-4), name


def test_the_first_process_alone_writes_and_records(trained):
    from mlflow.tracking import MlflowClient

    two = trained["two"]
    assert {path.name for path in (two / paths.TRAIN_BLAZENET / "all_1s").iterdir()} == {
        "model.json",
        "model.safetensors",
        "metrics.json",
        "history.csv",
        "embeddings",
    }
    assert not list((two / paths.WORK).rglob("*.ckpt"))
    client = MlflowClient(f"sqlite:///{two / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("crywatch")
    runs = client.search_runs([experiment.experiment_id])
    stage = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert len(stage) == 1 and len(runs) == 2
    epochs = client.get_metric_history(stage[0].info.run_id, "val_loss")
    assert sorted({point.step for point in epochs}) == [0, 1, 2, 3, 4]
    assert stage[0].data.params["trainer.strategy"] == "ddp"

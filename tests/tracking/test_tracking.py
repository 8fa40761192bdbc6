"""What a stage's run holds, and models that it logs."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from threadpoolctl import threadpool_info, threadpool_limits

from crywatch import tracking
from crywatch.core.digest import file_sha256
from crywatch.core.errors import ConfigError
from crywatch.tracking import lineage, parent, sender, store
from tests.helpers.tracking_cases import (
    artifacts,
    history,
    rebuild,
    runs,
    sent,
    stage,
    write_lock,
)

pytest_plugins = ["tests.helpers.tracking_fixtures"]


def test_a_stage_records_what_it_ran_with(project):
    with tracking.stage_run("split") as log:
        log.metrics({"clips": 12, "seconds": 60.5})
    run = stage("split")
    assert run.info.run_name == "split"
    assert run.info.status == "FINISHED"
    assert run.info.end_time >= run.info.start_time
    assert run.data.params == {
        "ratio": "[8, 1, 1]",
        "near.window_s": "2.0",
        "seed": "3",
        "schedule.scale": "0.5",
    }
    assert run.data.metrics["clips"] == 12
    assert run.data.metrics["seconds"] == 60.5
    assert run.data.metrics["duration_s"] >= 0
    assert run.data.metrics["peak_memory_mib"] > 10
    tags = run.data.tags
    assert (tags["stage"], tags["profile"], tags["dvc.stage"]) == ("split", "tiny", "split")


def test_a_key_names_the_run_and_picks_its_variant(project):
    with tracking.stage_run("train_blazenet", "all_5s"):
        pass
    run = stage("train_blazenet@all_5s")
    assert run.info.run_name == run.data.tags["dvc.stage"] == "train_blazenet@all_5s"
    assert (run.data.tags["stage"], run.data.tags["variant"]) == ("train_blazenet", "all_5s")
    assert run.data.params["segment_s"] == "5.0"
    assert run.data.params["lr"] == "0.001"
    assert not [name for name in run.data.params if name.startswith("variants")]


def test_a_section_may_have_more_parameters_than_one_request_takes(project):
    with tracking.stage_run("many"):
        pass
    assert len(stage("many").data.params) == 152


def test_metrics_of_every_epoch_are_kept_with_their_step(project):
    with tracking.stage_run("split") as log:
        for epoch in range(450):  # more than one batch
            log.metrics({"loss": 1 / (epoch + 1)}, step=epoch)
    kept = sorted(history(stage("split"), "loss"))
    assert kept == [(epoch, pytest.approx(1 / (epoch + 1))) for epoch in range(450)]


def test_metrics_are_sent_in_batches(project, monkeypatch):
    batches = []
    with tracking.stage_run("split") as log:
        assert sent()
        client, run_id = store.open_store().client, stage("split").info.run_id
        whole = type(client).log_batch

        def log_batch(self, to, metrics=(), **rest):
            if metrics and to == run_id:
                batches.append(len(metrics))
            return whole(self, to, metrics=metrics, **rest)

        monkeypatch.setattr(type(client), "log_batch", log_batch)
        for epoch in range(250):
            log.metrics({"loss": 0.5, "auc": 0.9}, step=epoch)
    assert stage("split").info.status == "FINISHED"
    assert len(batches) <= 4
    assert sum(batches) == 502  # with duration and peak memory


def test_metrics_that_are_none_are_left_out_and_nan_is_kept(project):
    with tracking.stage_run("split") as log:
        log.metrics({"none": None, "nan": float("nan"), "one": np.float32(1)})
    metrics = stage("split").data.metrics
    assert "none" not in metrics
    assert np.isnan(metrics["nan"])
    assert metrics["one"] == 1


def test_one_call_may_log_more_metrics_than_one_request_takes(project):
    with tracking.stage_run("split") as log:
        log.metrics({f"m{number}": 1.0 for number in range(1500)})
    assert len([name for name in stage("split").data.metrics if name[1:].isdigit()]) == 1500


def test_headline_metrics_are_on_the_parent_too(project):
    with tracking.stage_run("split") as log:
        log.headline({"auc": 0.91, "none": None})
    assert stage("split").data.metrics["auc"] == 0.91
    [rebuild] = runs(**{parent.STAGE: "rebuild"})
    assert rebuild.data.metrics["auc"] == 0.91
    assert "none" not in rebuild.data.metrics


def test_files_tables_figures_and_texts_are_artifacts(project):
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().plot([0, 1], [0, 1])
    Path("summary.json").write_text("{}")
    Path("folder").mkdir()
    Path("folder/inside.txt").write_text("x")
    with tracking.stage_run("split") as log:
        log.figure(figure, "roc.png")
        log.table(pd.DataFrame({"corpus": ["esc50"], "clips": [4]}), "split.csv")
        log.text("# Words", "notes.md")
        log.artifact("summary.json")
        log.artifact("folder", "kept")
    run = stage("split")
    assert artifacts(run) == {"figures", "tables", "notes.md", "summary.json", "kept"}
    assert artifacts(run, "figures") == {"figures/roc.png"}
    assert artifacts(run, "kept") == {"kept/inside.txt"}
    table = project / "mlartifacts" / run.info.run_id / "artifacts/tables/split.csv"
    assert table.read_text() == "corpus,clips\nesc50,4\n"


def test_a_data_set_is_an_input_with_its_digest(project):
    Path("clips.parquet").write_bytes(b"clips")
    with tracking.stage_run("split") as log:
        log.dataset("clips", "clips.parquet")
    [used] = stage("split").inputs.dataset_inputs
    assert used.dataset.name == "clips"
    assert file_sha256("clips.parquet").startswith(used.dataset.digest)
    assert len(used.dataset.digest) >= 32
    assert json.loads(used.dataset.source) == {"uri": "clips.parquet"}


def test_the_path_of_a_data_set_may_hold_a_quote(project):
    Path('two "words".csv').write_text("x")
    with tracking.stage_run("split") as log:
        log.dataset("words", 'two "words".csv')
    [used] = stage("split").inputs.dataset_inputs
    assert json.loads(used.dataset.source) == {"uri": 'two "words".csv'}


def test_a_stage_of_one_corpus_is_tagged_with_it(project):
    with tracking.stage_run("clean", "esc50"):
        pass
    with tracking.stage_run("train_blazenet", "all_1s"):
        pass
    assert stage("clean@esc50").data.tags["corpus"] == "esc50"
    assert "corpus" not in stage("train_blazenet@all_1s").data.tags


def test_the_data_set_of_a_miner_is_picked_by_its_key(project):
    with tracking.stage_run("mine", "untrimmed"):
        pass
    logged = stage("mine@untrimmed").data.params
    assert logged == {"top_k": "2", "segments": "10", "seed": "3", "schedule.scale": "0.5"}


def write_entry(name: str, listed: dict) -> None:
    """A stage's entry in dvc.lock, with the parameters that dvc.yaml lists for it."""
    body = {"cmd": "true", "params": {"params.yaml": listed}}
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": {name: body}}))


def test_sections_that_dvc_yaml_lists_are_parameters_too(project, monkeypatch):
    rebuild(monkeypatch, 1)
    with tracking.stage_run("clean"):
        pass
    values = yaml.safe_load(Path("params.yaml").read_text())
    listed = {name: values[name] for name in ("clean", "split")} | {"train_blazenet.lr": 0.001}
    write_entry("clean", listed)
    sender.settle(store.open_store())
    logged = stage("clean").data.params
    assert logged["rate_hz"] == "16000"
    assert logged["split.near.window_s"] == "2.0"
    assert not [name for name in logged if name.startswith(("clean", "train_blazenet"))]


def test_what_is_said_of_the_corpus_is_a_parameter_too(project):
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["corpus"] = {"esc50": {"folder": "here", "cry": {"a": "b"}}, "icsd": {"folder": ""}}
    Path("params.yaml").write_text(yaml.safe_dump(values))
    write_entry("download@esc50", {"corpus.esc50": {"folder": "before"}, "split": {}})
    with tracking.stage_run("download", "esc50"):
        pass
    logged = stage("download@esc50").data.params
    assert logged["corpus.esc50.folder"] == "here" and logged["corpus.esc50.cry.a"] == "b"
    assert not [name for name in logged if "icsd" in name]


def test_outputs_are_recorded_as_dvc_wrote_them(project, monkeypatch):
    rebuild(monkeypatch, 1)
    with tracking.stage_run("split"):
        pass
    outs = {"one.json": "1" * 32, "data/split": "2" * 32 + ".dir"}
    write_lock({"split": ([], outs)})
    sender.settle(store.open_store())
    tags = stage("split").data.tags
    assert {path: tags[f"out.{path}"] for path in outs} == outs
    assert tags[parent.OUTS] == lineage.outs_digest(lineage.lock_stages()["split"].outs)


def test_a_study_has_the_parameters_and_the_entry_of_its_own_files(project, monkeypatch):
    rebuild(monkeypatch, 1)
    Path("studies").mkdir()
    Path("studies/params.yaml").write_text("year: {weeks: 52}\n")
    with tracking.stage_run("year"):
        pass
    listed = {"studies/params.yaml": {"year": {"weeks": 52}}, "params.yaml": {"seed": 3}}
    body = {"cmd": "true", "params": listed, "outs": [{"path": "data/year", "md5": "1" * 32}]}
    Path("studies/dvc.lock").write_text(yaml.safe_dump({"stages": {"year": body}}))
    assert lineage.lock_stages()["year"].params == {"year": {"weeks": 52}, "seed": 3}
    sender.settle(store.open_store())
    run = stage("year").data
    assert run.params["weeks"] == "52"
    assert run.tags["out.data/year"] == "1" * 32 and run.tags["dvc.lock.entry"]


def test_a_stage_sums_alike_whatever_number_of_threads_it_finds(project):
    rng = np.random.default_rng(0)
    filters, frames = rng.normal(size=(40, 1025)), rng.normal(size=(1025, 157))
    products = set()
    for count in (1, 2):
        with threadpool_limits(count), tracking.stage_run("split"):
            products.add((filters @ frames).tobytes())  # in other last bits by two threads
            assert {pool["num_threads"] for pool in threadpool_info()} == {1}
    assert len(products) == 1


def test_a_stage_that_fails_is_failed_and_so_is_its_parent(project):
    with pytest.raises(ValueError, match="no clips"), tracking.stage_run("split") as log:
        log.metrics({"clips": 1})
        raise ValueError("no clips")
    run = stage("split")
    assert run.info.status == "FAILED"
    assert run.data.tags["error"] == "ValueError: no clips"
    assert run.data.metrics["clips"] == 1, "what came before the error is kept"
    assert [r.info.status for r in runs(**{parent.STAGE: "rebuild"})] == ["FAILED"]


def test_an_error_that_a_user_can_act_on_is_one_line(project, capsys):
    with pytest.raises(SystemExit) as ended, tracking.stage_run("clean", "esc50"):
        raise ConfigError("clean.rate_hz must be 16000")
    assert ended.value.code == 1
    assert capsys.readouterr().err.endswith("crywatch: clean@esc50: clean.rate_hz must be 16000\n")
    run = stage("clean@esc50")
    assert run.info.status == "FAILED"
    assert run.data.tags["error"] == "ConfigError: clean.rate_hz must be 16000"


def test_the_environment_names_the_experiment_of_dvc(project, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "puffy-daks")
    with tracking.stage_run("split"):
        pass
    assert {run.data.tags["dvc.exp"] for run in runs()} == {"puffy-daks"}


def test_the_commit_is_recorded_and_only_the_lock_may_change_unnoticed(project):
    def git(*args: str) -> str:
        named = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        command = ["git", *named, *args]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert lineage.commit() == lineage.Commit("", False)
    git("init", "--quiet")
    Path("dvc.lock").write_text("stages: {}\n")
    git("add", "params.yaml", "dvc.lock")
    git("commit", "--quiet", "-m", "first")
    sha = git("rev-parse", "HEAD")
    Path("dvc.lock").write_text("stages: {split: {}}\n")
    assert lineage.commit() == lineage.Commit(sha, False), "DVC writes the lock while it runs"
    with tracking.stage_run("split"):
        pass
    assert stage("split").data.tags["git.commit"] == sha
    assert stage("split").data.tags["git.dirty"] == "false"
    [rebuild] = runs(**{parent.STAGE: "rebuild"})
    assert rebuild.info.run_name.startswith(f"manual tiny {sha[:7]}, ")
    Path("params.yaml").write_text("seed: 4\n")
    assert lineage.commit() == lineage.Commit(sha, True)


# Models


class LoudDetector:
    """Each second's score is its mean."""

    decision = None

    def __init__(self, gain: float) -> None:
        self.gain = gain

    def score(self, wave: np.ndarray) -> np.ndarray:
        return wave.reshape(-1, 16000).mean(axis=1) * self.gain


@pytest.fixture
def loud(monkeypatch) -> None:
    """crywatch.detection.detectors with a loader that needs no network."""

    def load_detector(folder: str) -> LoudDetector:
        return LoudDetector(json.loads(Path(folder, "model.json").read_text())["gain"])

    fake = types.SimpleNamespace(load_detector=load_detector)
    monkeypatch.setitem(sys.modules, "crywatch.detection.detectors", fake)


def test_a_model_is_logged_with_signature_and_example_and_scores_clips(project, loud, monkeypatch):
    import mlflow

    Path("model/embeddings").mkdir(parents=True)  # made by it: no part of it
    Path("model/model.json").write_text('{"gain": 2.0, "corpora": ["esc50", "donateacry"]}')
    opened = store.open_store()
    other = opened.client.create_run(opened.experiment_id, run_name="other").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", other)
    with tracking.stage_run("train_blazenet", "all_1s") as log:
        log.model("blazenet-all_1s", Path("model"))
        log.metrics({"after": 1.0})
    run = stage("train_blazenet@all_1s")
    assert run.info.status == "FINISHED"
    assert run.data.metrics["after"] == 1.0
    assert opened.client.get_run(other).outputs.model_outputs == []
    [output] = run.outputs.model_outputs
    logged = opened.client.get_logged_model(output.model_id)
    assert logged.name == "blazenet-all_1s"
    info = mlflow.models.get_model_info(logged.model_uri)
    assert info.signature.inputs.inputs[0].shape == (-1, -1)
    assert info.signature.inputs.inputs[0].type == np.float32
    assert info.saved_input_example_info is not None
    folder = Path(mlflow.artifacts.download_artifacts(logged.model_uri))
    terms = {
        "corpora": "donateacry, esc50",
        "commercial_use": "no",
        "licences": "donateacry: ODbL 1.0 / DbCL 1.0; esc50: CC BY-NC 3.0",
    }
    assert terms.items() <= logged.tags.items() and terms.items() <= run.data.tags.items()
    assert info.metadata["commercial_use"] is False
    assert info.metadata["corpora"] == ["donateacry", "esc50"]
    assert (folder / "code/crywatch/detection/detectors.py").is_file()
    assert [path.name for path in (folder / "artifacts/model").iterdir()] == ["model.json"]
    needed = (folder / "requirements.txt").read_text()
    assert "crywatch" not in needed and "+" not in needed, "these are on no index"
    loaded = mlflow.pyfunc.load_model(logged.model_uri)
    waves = np.zeros((2, 32000), dtype=np.float32)
    waves[1, 16000:] = 0.25
    np.testing.assert_allclose(loaded.predict(waves), [0.0, 0.5])
    with pytest.raises(mlflow.exceptions.MlflowException, match="[Ss]chema|type|shape"):
        loaded.predict(waves.astype(str))


def test_a_network_that_embeds_infants_is_logged_and_embeds(project):
    """The real one: what it needs to load is in the package and in its requirements."""
    import mlflow

    from crywatch.core.models import save
    from crywatch.speaker.ecapa import EcapaConfig, build, to_model

    ecapa = build(EcapaConfig("random", 8, []), 0).eval()
    Path("model").mkdir()
    save(Path("model"), to_model(ecapa, "ecapa ge2e", {"corpora": ["donateacry"]}))
    with tracking.stage_run("train_speaker", "ge2e") as log:
        log.model("ecapa-ge2e", Path("model"))
    [output] = stage("train_speaker@ge2e").outputs.model_outputs
    logged = store.open_store().client.get_logged_model(output.model_id)
    assert logged.tags["commercial_use"] == "yes"
    folder = Path(mlflow.artifacts.download_artifacts(logged.model_uri))
    needed = (folder / "requirements.txt").read_text()
    assert "speechbrain==" in needed and "torchaudio==" in needed and "librosa" not in needed
    waves = 0.1 * np.random.default_rng(0).standard_normal((2, 16000)).astype(np.float32)
    found = mlflow.pyfunc.load_model(logged.model_uri).predict(waves)
    np.testing.assert_allclose(found, ecapa.embed(list(waves)), atol=1e-6)


def test_the_parameters_of_one_loss_stand_for_themselves(project):
    values = yaml.safe_load(Path("params.yaml").read_text())
    losses = {"ge2e": {"ge2e_softmax": {"weight": 1.0}}, "aam": {"aam": {"margin": 0.2}}}
    values["train_speaker"] = {"lr": 0.001, "losses": losses}
    Path("params.yaml").write_text(yaml.safe_dump(values))
    with tracking.stage_run("train_speaker", "ge2e"):
        pass
    logged = stage("train_speaker@ge2e").data.params
    assert logged["ge2e_softmax.weight"] == "1.0" and logged["lr"] == "0.001"
    assert not [name for name in logged if "aam" in name or name.startswith("losses")]


def test_the_parameters_of_one_model_stand_for_themselves_and_a_list_of_models_stays(project):
    values = yaml.safe_load(Path("params.yaml").read_text())
    models = {"svc": {"kind": "svc", "seed": 3}, "cnn": {"kind": "cnn", "seed": 4}}
    values["train_baselines"] = {"classes": {"laugh": ["laughing"]}, "models": models}
    values["fit_infants"] = {"models": ["cosine", "mixture"]}
    Path("params.yaml").write_text(yaml.safe_dump(values))
    for name, key in (("train_baselines", "svc"), ("fit_infants", "cosine")):
        with tracking.stage_run(name, key):
            pass
    logged = stage("train_baselines@svc").data.params
    assert logged["kind"] == "svc"
    assert not [name for name in logged if "cnn" in name or name.startswith("models")]
    assert "cosine" in stage("fit_infants@cosine").data.params["models"]

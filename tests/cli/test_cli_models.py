"""The commands on registered models: what they print, write and end with."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from typer.testing import CliRunner

from crywatch.cli import main as cli
from crywatch.core import models
from crywatch.core.errors import CrywatchError
from crywatch.operations.register import PromotionGate, Registration, run
from crywatch.tracking import registry, store
from crywatch.tracking.model_files import snapshot
from tests.helpers.register_cases import config
from tests.helpers.robust_model_cases import write_robust

pytest_plugins = ["tests.helpers.tracking_fixtures"]
GATES = (
    PromotionGate("better_on_main", "pooled", False, "AUC 0.9 to 0.8"),
    PromotionGate("no_worse", "confuser dog", True, "0.1 to 0.1"),
)


@pytest.fixture
def ready(project, monkeypatch):
    """Parameters as conf/ has them, and a sound."""
    # As `tracking.store` sets it, and the project of the tests unsets all that is MLflow's.
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from dataclasses import asdict

    told = yaml.safe_load(Path("params.yaml").read_text())
    told["register"] = asdict(config())
    told["detect"] = {"model": "plain", "min_event_s": 1.0, "max_gap_s": 1.0, "threshold": 0.5}
    Path("params.yaml").write_text(yaml.safe_dump(told))
    noise = np.random.default_rng(0).normal(0, 0.1, 64000) * np.linspace(0, 1, 64000)
    soundfile.write("a.wav", noise, 16000)
    return project


def invoke(*words):
    result = CliRunner().invoke(cli.app, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def register(folder: Path):
    """One that is champion."""
    opened = registry.open_registry()
    held = Path("held") / folder.name / "model"
    held.parent.mkdir(parents=True)
    tags = {registry.DIGEST: snapshot(folder, held), registry.DONE: "now"}
    Path("files").mkdir(exist_ok=True)
    version = registry.add(opened, "cry", held, Path("files"), tags, {}, "tiny")
    registry.move_champion(opened, version, "ada", "")
    return version


def test_register_prints_the_gates_and_writes_what_was_decided(ready, monkeypatch):
    asked = []

    def decide(settings, ask):
        asked.append((settings.model, ask, Path.cwd()))
        return Registration(4, False, False, GATES, "refused: 1 of 2 gates failed")

    monkeypatch.setattr(run, "run", decide)
    (ready / "below").mkdir()
    monkeypatch.chdir(ready / "below")
    words = ["--by", "ada", "--reason", "new corpus", "--json", "r.json", "--model", "other"]
    result = invoke("register", *words)
    assert result.exit_code == 0  # a refusal is no error
    assert result.stdout.splitlines() == [
        "FAILED  better_on_main  pooled        AUC 0.9 to 0.8",
        "kept    no_worse        confuser dog  0.1 to 0.1",
        "version 4: refused: 1 of 2 gates failed",
    ]
    told = json.loads(Path("r.json").read_text())
    assert (told["version"], told["promoted"], told["already"]) == (4, False, False)
    assert told["gates"][1] == {
        "name": "no_worse",
        "slice": "confuser dog",
        "passed": True,
        "said": "0.1 to 0.1",
    }
    [(model, ask, where)] = asked
    assert (model, ask.by, ask.reason, ask.promote, where) == (
        "other",
        "ada",
        "new corpus",
        True,
        ready,
    )
    invoke("register", "--no-promote")
    assert asked[1][0] == "data/calibrate/robust" and not asked[1][1].promote and asked[1][1].by
    invoke("register", "--force", "the old one is deaf")
    assert asked[2][1].force == "the old one is deaf"
    with pytest.raises(CrywatchError, match="exclude each other"):
        invoke("register", "--force", "x", "--no-promote")


def test_rollback_needs_a_reason_and_says_what_it_did(ready):
    register(write_robust(Path("one"), corpora=["esc50"]))
    register(write_robust(Path("two"), corpora=["esc50"]))
    assert invoke("rollback").exit_code == 2
    said = invoke("rollback", "--reason", "it cries wolf", "--by", "ada").stdout
    assert said == "champion: version 2 to version 1: it cries wolf\n"
    found = registry.find(registry.open_registry(), "cry", "champion")
    assert found.version == 1 and found.moves[-1].by == "ada"


def test_detect_uses_the_alias_a_version_or_a_folder(ready, monkeypatch):
    folder = write_robust(Path("plain"), corpora=["esc50"])
    plain = invoke("detect", "a.wav", "--format", "jsonl")
    other = write_robust(Path("other"), corpora=["esc50"])
    model = models.load(other)
    context = model.description["context"] | {"own_weight": 1.0}
    models.save(other, replace(model, description=model.description | {"context": context}))
    register(folder)
    register(other)
    for named, same_as in (("cry/1", "plain"), ("champion", "other"), ("cry/2", "other")):
        found = invoke("detect", "a.wav", "--format", "jsonl", "--model", named)
        wanted = invoke("detect", "a.wav", "--format", "jsonl", "--model", same_as)
        assert found.stdout == wanted.stdout and found.stderr == ""
    assert wanted.stdout != plain.stdout
    (ready / "below").mkdir()
    monkeypatch.chdir(ready / "below")
    below = invoke("detect", "../a.wav", "--format", "jsonl", "--model", "champion")
    assert json.loads(below.stdout)["seconds"] == json.loads(wanted.stdout)["seconds"]
    monkeypatch.chdir(ready)

    # A folder of that name goes before the registry, and that is said.
    shutil.copytree("plain", "champion")
    found = invoke("detect", "a.wav", "--format", "jsonl", "--model", "champion")
    assert found.stdout == plain.stdout
    assert "champion is a folder: it is used, and no registered model" in found.stderr
    shutil.rmtree("champion")

    # params.yaml may name an alias too.
    told = yaml.safe_load(Path("params.yaml").read_text())
    told["detect"]["model"] = "champion"
    Path("params.yaml").write_text(yaml.safe_dump(told))
    assert invoke("detect", "a.wav", "--format", "jsonl").stdout == wanted.stdout

    # Without the store it is the one that it was.
    Path("mlflow.db").rename("gone.db")
    store.open_store.cache_clear()
    offline = invoke("detect", "a.wav", "--format", "jsonl", "--model", "champion")
    assert offline.stdout == wanted.stdout and "cry/champion is version 2" in offline.stderr


@pytest.mark.parametrize(("name", "noted"), [("phone2", 0), ("phones/3", 1)])
def test_a_folder_goes_before_the_registry_whatever_its_name_ends_with(
    ready, name, noted, tmp_path_factory, monkeypatch
):
    write_robust(Path(name))
    assert invoke("detect", "a.wav", "--model", name).stderr.count("\n") == noted
    elsewhere = tmp_path_factory.mktemp("elsewhere")  # outside of any project
    shutil.copytree(name, elsewhere / name)
    shutil.copy("a.wav", elsewhere)
    monkeypatch.chdir(elsewhere)
    assert invoke("detect", "a.wav", "--model", name).exit_code == 0


def test_detect_says_what_is_missing(ready):
    from crywatch.core.errors import ModelError, RegistryError

    with pytest.raises(RegistryError, match="cry/champion: no such model is registered"):
        invoke("detect", "a.wav", "--model", "champion")
    with pytest.raises(ModelError, match="no model here"):
        invoke("detect", "a.wav", "--model", "nothing/robust_2")

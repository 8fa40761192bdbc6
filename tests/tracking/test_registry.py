"""Registered models: versions, aliases, and files that are what was registered."""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import requests
import soundfile

from crywatch.core import gate
from crywatch.core.digest import files_sha256
from crywatch.core.errors import CrywatchError, RegistryError, UnreachableError
from crywatch.detection.detectors import load_detector
from crywatch.operations.register import models
from crywatch.operations.register.models import parse, use
from crywatch.tracking import registry, store
from crywatch.tracking.model_files import check, snapshot
from tests.helpers.robust_model_cases import write_robust
from tests.helpers.tracking_cases import rebuild, write_lock

pytest_plugins = ["tests.helpers.tracking_fixtures"]
NAME = "cry"


def add(opened, folder: Path, **tags):
    """Registered, as `register` does it."""
    held = folder.parent / f"held-{folder.name}" / "model"
    held.parent.mkdir(exist_ok=True)
    digest = snapshot(folder, held)
    files = folder.parent / f"files-{folder.name}"
    files.mkdir(exist_ok=True)
    (files / "card.md").write_text(f"# {folder.name}")
    told = {registry.DIGEST: digest} | tags
    return registry.add(opened, NAME, held, files, told, {"main": 0.5}, "tiny")


def a_model(name: str, **told) -> Path:
    return write_robust(Path(name), corpora=["esc50"], **told)


def stored(version) -> Path:
    """The model's files in the store."""
    client = store.open_store().client
    source = client.get_model_version_download_uri(version.name, str(version.version))
    return Path(source.removeprefix("file://")) / "artifacts" / "model"


def test_a_registered_model_is_found_by_alias_and_number_and_comes_back_as_it_was(project):
    import mlflow

    opened = registry.open_registry()
    assert registry.find(opened, NAME, "champion") is None
    assert registry.find(opened, NAME, "1") is None
    assert registry.find(opened, "it's", "1") is None
    first = add(opened, a_model("one"), **{registry.STAGE: "calibrate@one"})
    second = add(opened, a_model("two"))
    registry.describe(opened, first, "# Card of the first")
    registry.set_alias(opened, second, registry.CHALLENGER)
    registry.set_alias(opened, first, registry.CHALLENGER)  # no longer the second's
    registry.move_champion(opened, second, "ada", "better")
    registry.move_champion(opened, first, "ada", "worse after all", "rollback")
    shown = opened.client.get_registered_model(NAME).description
    assert shown.startswith(
        f"Champion: [version 1](#/models/{NAME}/versions/1), rollback by ada at"
    )
    assert "worse after all\n\n[Its files](#/experiments/" in shown
    assert shown.endswith("?workflowType=machine_learning).\n\n# Card of the first")
    found = registry.find(opened, NAME, "champion")
    assert (found.version, found.aliases) == (1, ("challenger", "champion"))
    assert registry.find(opened, NAME, "2").aliases == ()
    assert registry.find(opened, NAME, "3") is None and registry.find(opened, NAME, "x") is None
    assert found.tags[registry.STAGE] == "calibrate@one"
    assert found.tags["commercial_use"] == "no" and found.tags["corpora"] == "esc50"
    [move] = registry.find(opened, NAME, "2").moves
    assert (move.from_version, move.to_version, move.by, move.why) == (None, 2, "ada", "better")
    [back] = found.moves
    assert (back.from_version, back.to_version, back.kind) == (2, 1, "rollback")

    folder = registry.download(opened, found, Path("out/one"))
    assert files_sha256([folder]) == found.digest == files_sha256(["one"])
    card = registry.download_artifact(opened, found, "card.md", Path("out"))
    assert card.read_text() == "# one"
    with pytest.raises(RegistryError, match="has no nothing.md"):
        registry.download_artifact(opened, found, "nothing.md", Path("out"))
    assert registry.with_digest(opened, NAME, found.digest).version == 1
    assert registry.with_digest(opened, NAME, "0" * 64) is None

    run = opened.client.get_run(found.run_id)
    assert run.info.status == "FINISHED" and run.data.tags["crywatch.stage"] == "register"
    logged = mlflow.models.get_model_info(f"models:/{NAME}/1")
    assert "tensor" in str(logged.signature.inputs.to_dict()) and logged.saved_input_example_info
    needed = Path(mlflow.artifacts.download_artifacts(f"models:/{NAME}/1/requirements.txt"))
    assert "safetensors==" in needed.read_text()
    served = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    waves = 0.1 * np.random.default_rng(0).standard_normal((2, 32000)).astype(np.float32)
    scores = served.predict(waves)
    assert scores.shape == (2,)
    files = [base64.b64encode(wav(wave)).decode() for wave in waves]
    of_files = served.predict(np.zeros((1, 1), np.float32), params={"audio": files})
    np.testing.assert_allclose(of_files, scores, atol=1e-3)
    with pytest.raises(CrywatchError, match="no base64"):
        served.predict(np.zeros((1, 1), np.float32), params={"audio": ["a wav"]})


def wav(wave: np.ndarray) -> bytes:
    """A file of 16 kHz, as its bytes."""
    with io.BytesIO() as file:
        soundfile.write(file, wave, 16_000, format="WAV", subtype="PCM_16")
        return file.getvalue()


@pytest.mark.nightly
def test_mlflow_serves_a_registered_version_that_scores_a_wav(project):
    """`mlflow models serve` in its own process, and a request as any client makes it."""
    opened = registry.open_registry()
    registry.set_alias(opened, add(opened, a_model("one")), registry.CHAMPION)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{NAME}@champion"]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    variables = os.environ | {"MLFLOW_TRACKING_URI": opened.uri, "MLFLOW_WORKERS": "1"}
    wave = 0.1 * np.random.default_rng(0).standard_normal(32000).astype(np.float32)
    audio = [base64.b64encode(wav(wave)).decode()]
    with subprocess.Popen(command, env=variables, start_new_session=True) as server:
        try:
            until_s = time.monotonic() + 240
            while True:
                try:
                    requests.get(f"http://127.0.0.1:{port}/ping", timeout=5)
                    break
                except requests.ConnectionError:
                    assert server.poll() is None and time.monotonic() < until_s
                    time.sleep(0.5)
            answer = requests.post(
                f"http://127.0.0.1:{port}/invocations",
                json={"inputs": [[0.0]], "params": {"audio": audio}},
                timeout=120,
            )
        finally:
            os.killpg(server.pid, signal.SIGTERM)
    assert answer.status_code == 200, answer.text
    [score] = answer.json()["predictions"]
    assert score == pytest.approx(load_detector("one").score(wave).max(), abs=1e-3)


def test_a_version_without_a_digest_is_none_of_ours(project):
    opened = registry.open_registry()
    client = opened.client
    client.create_registered_model(NAME)
    client.create_model_version(NAME, "file:///nowhere", None)
    client.set_registered_model_alias(NAME, "champion", "1")
    assert registry.versions(opened, NAME) == []
    assert registry.find(opened, NAME, "champion") is None


def test_files_that_were_changed_in_the_store_are_refused_unread(project):
    opened = registry.open_registry()
    version = add(opened, a_model("one"))
    kept = stored(version)
    told = json.loads((kept / "model.json").read_text())
    (kept / "model.json").write_text(json.dumps(told | {"name": "other"}))
    with pytest.raises(RegistryError, match="cry 1: its files have SHA-256"):
        registry.download(opened, version, Path("out"))
    (kept / "model.json").write_text("{")  # nobody reads it
    with pytest.raises(RegistryError, match="they were changed since, and are not used"):
        registry.download(opened, version, Path("out"))
    (kept / "model.pkl").write_bytes(pickle.dumps("boo"))
    with pytest.raises(RegistryError, match="model.pkl belongs to no model folder"):
        registry.download(opened, version, Path("out"))
    for path in kept.iterdir():
        path.unlink()
    with pytest.raises(RegistryError):
        registry.download(opened, version, Path("out"))
    assert not Path("out").exists() and not list(Path().glob(".tmp-*"))


def test_a_folder_that_is_no_model_is_not_taken(project):
    folder = a_model("one")
    digest = files_sha256([folder])
    (folder / "embeddings").mkdir()  # what the model has made
    (folder / "embeddings" / "esc50.npy").touch()
    assert snapshot(folder, Path("copy")) == digest == files_sha256([Path("copy")])
    with pytest.raises(RegistryError, match="here: embeddings belongs to no model folder"):
        check(folder, digest, "here")  # of the store's, which is a model alone
    shutil.rmtree(folder / "embeddings")
    (folder / "evil.py").write_text("")
    with pytest.raises(RegistryError, match=r"evil\.py belongs to no model folder"):
        snapshot(folder, Path("again"))
    (folder / "evil.py").unlink()
    (folder / "link.json").symlink_to("/etc/passwd")
    with pytest.raises(RegistryError, match=r"link\.json belongs to no model folder"):
        snapshot(folder, Path("again"))
    (folder / "link.json").unlink()
    (folder / "model.safetensors").unlink()
    with pytest.raises(RegistryError, match=r"model\.safetensors is missing"):
        check(folder, "0" * 64, "here")
    with pytest.raises(RegistryError, match="no model folder here: run `dvc repro` first"):
        snapshot(Path("nothing"), Path("again"))


def test_the_runs_that_made_a_model_are_found(project, monkeypatch):
    from crywatch import tracking
    from crywatch.tracking import lineage

    a_model("one")
    outs = {"one": lineage.dvc_digest(Path("one"))}
    rebuild(monkeypatch, 1)
    with tracking.stage_run("calibrate", "robust"):
        pass
    write_lock({"calibrate@robust": ([], outs)})
    opened = registry.open_registry()
    made = registry.making(opened, "calibrate@robust", outs)
    run = opened.client.get_run(made.stage_run)
    assert run.data.tags["crywatch.stage"] == "calibrate@robust"
    assert made.rebuild_run == run.data.tags["mlflow.parentRunId"]
    nobody = registry.Making("", "")
    assert registry.making(opened, "calibrate@robust", {"one": "other"}) == nobody


def test_a_long_card_is_cut_where_a_line_ends(project):
    opened = registry.open_registry()
    version = add(opened, a_model("one"))
    registry.describe(opened, version, "a line of text\n" * 1000)
    said = opened.client.get_model_version(NAME, "1").description
    assert len(said) <= registry.MAX_DESCRIPTION
    assert said.endswith(f"The whole card is `card.md` of run {version.run_id}.\n")
    assert "a line of text\n\nThe whole" in said


# What a command uses


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("champion", "cry/champion"),
        ("cry/challenger", "cry/challenger"),
        ("cry/12", "cry/12"),
        ("cry/latest", None),
        ("other/3", None),
        ("data/calibrate/robust", None),
        ("./champion", None),
        ("3", None),
    ],
)
def test_a_registered_model_is_named_by_alias_or_number(text, meant):
    assert parse(text, "cry") == meant


def test_a_model_is_fetched_once_and_checked_at_each_use(project, monkeypatch):
    opened = registry.open_registry()
    version = add(opened, a_model("one"))
    registry.move_champion(opened, version, "ada", "")
    said = []
    fetched = []
    real = registry.download
    monkeypatch.setattr(
        registry, "download", lambda *given: fetched.append(given[1].version) or real(*given)
    )
    champion = f"{NAME}/champion"
    folder = use(champion, said.append)
    assert use(champion, said.append) == folder and fetched == [1]
    assert folder == models.MODELS / version.digest
    (folder / "extra.json").write_text("{}")
    assert use(champion, said.append) == folder and fetched == [1, 1]
    check(folder, version.digest, "cache")
    with pytest.raises(RegistryError, match="cry/7: no such model is registered"):
        use(f"{NAME}/7", said.append)
    assert said == []


def test_without_the_store_a_model_is_what_it_was(project, monkeypatch):
    opened = registry.open_registry()
    version = add(opened, a_model("one"))
    registry.move_champion(opened, version, "ada", "")
    said = []
    champion = f"{NAME}/champion"
    folder = use(champion, said.append)
    Path("mlflow.db").rename("gone.db")
    store.open_store.cache_clear()
    assert use(champion, said.append) == folder
    assert "there is no MLflow store" in said[0] and "cry/champion is version 1, as it" in said[0]
    assert not Path("mlflow.db").exists()  # none was made to look for it
    with pytest.raises(UnreachableError, match="cry/challenger was never looked up here"):
        use(f"{NAME}/challenger", said.append)
    (folder / "model.json").write_text("{}")
    with pytest.raises(UnreachableError, match="does not hold it whole"):
        use(champion, said.append)


def test_a_server_that_does_not_answer_is_one_line_without_its_password(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ada:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    store.open_store.cache_clear()
    with pytest.raises(UnreachableError, match="cannot be reached") as error:
        registry.open_registry()
    assert "secret" not in str(error.value) and "\n" not in str(error.value)


# What others can write into the store or beside it


@pytest.mark.parametrize("kind", ["relative", "absolute", "link", "control"])
def test_a_tag_is_no_path(project, kind):
    from crywatch.operations.retrain import champion

    precious, models_folder = project / "precious", project / models.MODELS
    for folder in (precious, models_folder, project / "keep/notes", project / "keep" / ("1" * 64)):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    (models_folder / "link").symlink_to(precious)
    (project / "keep" / ("2" * 64)).symlink_to(precious)
    opened = registry.open_registry()
    version = add(opened, a_model("one"))
    registry.move_champion(opened, version, "ada", "")
    tag = {"relative": "../../../precious", "absolute": str(precious), "link": "link"}.get(kind)
    registry.set_tags(opened, version, {registry.DIGEST: tag or "../..\n/../precious"})
    for use_it in (
        lambda: use(f"{NAME}/champion", print),
        lambda: registry.download(opened, registry.find(opened, NAME, "1"), project / "out"),
        lambda: champion.fetch(NAME, project / "keep"),
    ):
        with pytest.raises(gate.GateError, match=f"cry 1: tag {registry.DIGEST}: .* SHA-256"):
            use_it()
    assert (precious / "file").is_file() and not (project / "out").exists()
    assert registry.with_digest(opened, NAME, "0" * 64) is None  # it is in no other's way
    registry.set_tags(opened, version, {registry.DIGEST: version.digest})
    champion_folder = project / "keep" / version.digest
    (champion_folder / "reference").mkdir(parents=True)
    assert champion.fetch(NAME, project / "keep")[0] == 1
    left = {path.name for path in (project / "keep").iterdir()}
    assert left == {"notes", "2" * 64, version.digest} and (precious / "file").is_file()


def test_odd_tags_of_promotions_are_told_by_their_names(project):
    opened = registry.open_registry()
    version = add(opened, a_model("one"))
    for text in ("{", "3", "[3]", '[{"at": "2026"}]', "[[]]", "[" * 4000):
        registry.set_tags(opened, version, {registry.PROMOTION: text, registry.ROLLED_BACK: text})
        odd = registry.find(opened, NAME, "1")
        with pytest.raises(gate.GateError, match=f"^cry 1: tag {registry.PROMOTION}"):
            registry.move_champion(opened, odd, "ada", "")
        with pytest.raises(gate.GateError, match=f"^cry 1: tag {registry.ROLLED_BACK}"):
            assert odd.departure
    assert registry.find(opened, NAME, "champion") is None


def test_an_odd_name_is_no_version(project):
    opened = registry.open_registry()
    add(opened, a_model("one"))
    odd = [
        "\u0663",
        "\u00b2",
        "9" * 400,
        "-1",
        "1' or '1'='1",
        '1" or "1"="1',
        "../1",
        "a:b",
        "a\nb",
    ]
    for text in odd:
        assert registry.find(opened, NAME, text) is None
        assert registry.find(opened, text, "1") is None


DAMAGED = {
    "[": "not JSON",
    "[]": "stands where dict is expected",
    '{"cry/champion": 3}': "keys and values",
    '{"cry/champion": {"store": 1, "version": 1, "sha256": "", "at": ""}}': "str is expected",
    '{"cry/champion": {"store": "%s", "version": 1, "sha256": "..", "at": ""}}': "SHA-256",
}


def test_what_was_looked_up_last_is_damaged(project, monkeypatch):
    opened = registry.open_registry()
    version = add(opened, a_model("one"))
    registry.move_champion(opened, version, "ada", "")
    file = models.MODELS / models.RESOLVED
    file.parent.mkdir(parents=True)

    def gone(create: bool) -> store.Store:
        raise UnreachableError("gone")

    for text, told in DAMAGED.items():
        file.write_text(text.replace("%s", registry.address()))
        with monkeypatch.context() as away:
            away.setattr(registry, "open_registry", gone)
            with pytest.raises(CrywatchError, match=told) as error:
                use(f"{NAME}/champion", print)
        assert models.RESOLVED in str(error.value)
        assert use(f"{NAME}/champion", print) == models.MODELS / version.digest
        assert json.loads(file.read_text())["cry/champion"]["sha256"] == version.digest


def test_a_tag_is_found_with_its_quotes_and_by_no_other(project):
    opened = registry.open_registry()
    ids = {}
    for value in ("its", "it's", 'say "its"'):
        run = opened.client.create_run(opened.experiment_id, tags={"name": value})
        ids[value] = run.info.run_id
    for value, run_id in ids.items():
        assert [run.info.run_id for run in opened.runs(store.tagged("name", value))] == [run_id]

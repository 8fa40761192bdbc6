"""The lineage of a registered model: what it tells, and what it notices."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crywatch import tracking
from crywatch.cli import main as cli
from crywatch.core.digest import file_sha256, files_sha256
from crywatch.core.errors import CrywatchError, UnreachableError
from crywatch.operations.register import devices
from crywatch.operations.trace import trace
from crywatch.operations.trace.checks import DIFFERS, MISSING, OK
from crywatch.operations.trace.record import in_order
from crywatch.operations.trace.text import as_json, as_text
from crywatch.tracking import lineage, parent, registry, store
from tests.helpers.rebuild_cases import git
from tests.helpers.registry_fakes import PROMOTION, Registry, register
from tests.helpers.tracking_cases import made, rebuild, runs, write_lock

pytest_plugins = ["tests.helpers.tracking_fixtures"]

STAGE = "train@robust"
MODEL = "data/train/robust"


@pytest.fixture
def here(project, monkeypatch) -> Path:
    """A project whose two stages ran under one rebuild, committed."""
    values = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(values + "register: {name: cry-detector}\n")
    (project / ".gitignore").write_text("mlflow.db*\nmlartifacts\ndata\n")
    outs = {"data/raw/esc50": "esc50", MODEL: "model"}
    outs = {path: made(path, text) for path, text in outs.items()}
    git(project, "init", "--quiet", "--initial-branch=main")
    for name, value in (("name", "Tester"), ("email", "tester@example.org")):
        git(project, "config", f"user.{name}", value)
    rebuild(monkeypatch, 1)
    monkeypatch.setenv("DVC_EXP_NAME", "puffy-daks")
    with tracking.stage_run("clean", "esc50"):
        pass
    lock = {"clean@esc50": ([], outs["data/raw/esc50"])}
    write_lock(lock)
    with tracking.stage_run("train", "robust") as log:
        log.metrics({"val_auc": 0.75})
    write_lock(lock | {STAGE: (["data/raw"], outs[MODEL])})
    with tracking.stage_run("evaluate") as log:
        log.headline({"robust/robust/auc": 0.5, "other/all_1s/auc": 0.25})
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "-m", "The rebuild")
    return project


@pytest.fixture
def registered(here, monkeypatch) -> Registry:
    [stage] = runs(**{parent.STAGE: STAGE})
    [above] = runs(**{parent.STAGE: "rebuild"})
    tags = {
        "git.commit": git(here, "rev-parse", "HEAD"),
        "crywatch.stage_run": stage.info.run_id,
        "crywatch.rebuild_run": above.info.run_id,
    }
    return register(store.open_store(), monkeypatch, STAGE, Path(MODEL), here / "mlkept", tags)


def states(traced) -> dict[str, str]:
    return {check.what: check.state for check in traced.checks}


@pytest.mark.parametrize(
    "which",
    ["champion", "3", "cry-detector/3", "models:/cry-detector/3", "models:/cry-detector@champion"],
)
def test_a_version_can_be_named_in_each_way(here, registered, which):
    assert trace(here, which).version == 3


@pytest.mark.parametrize("which", ["challenger", "4", "other/3", "models:/cry-detector/9"])
def test_a_version_that_is_not_there_is_an_error(here, registered, which):
    with pytest.raises(CrywatchError, match="no such version"):
        trace(here, which)


def test_the_whole_lineage_is_told(here, registered):
    traced = trace(here, "champion")
    tags = registered.version.tags
    assert (traced.commit, traced.subject) == (tags["git.commit"], "The rebuild")
    assert traced.lock_sha256 == tags["dvc.lock.sha256"]
    assert traced.experiments == ("puffy-daks",)
    assert [step.stage for step in traced.steps] == ["clean@esc50", STAGE]
    stages = lineage.lock_stages()
    ids = {run.data.tags[parent.STAGE]: run.info.run_id for run in runs(stage="clean")}
    assert traced.steps[0].run_id == ids["clean@esc50"]
    assert traced.steps[0].outs == stages["clean@esc50"].outs
    [corpus] = traced.corpora
    assert (corpus.name, corpus.licence) == ("esc50", "CC BY-NC 3.0")
    assert corpus.raw == stages["clean@esc50"].outs["data/raw/esc50"]
    assert traced.rebuild.run_id == tags["crywatch.rebuild_run"]
    assert traced.stage_run.run_id == tags["crywatch.stage_run"]
    assert traced.metrics == {"val_auc": 0.75, "robust/robust/auc": 0.5, "gates": 4.0}
    assert traced.promotions == (PROMOTION,)
    assert set(states(traced).values()) == {OK}
    assert traced.sound


def test_text_and_json_tell_the_same(here, registered):
    traced = trace(here, "3")
    text, told = as_text(traced), json.loads(as_json(traced))
    assert told["sound"] is True and told["promotions"] == [PROMOTION]
    words = [told["commit"], told["lock_sha256"], told["model_sha256"], told["model_dvc"]]
    words += [told["rebuild"]["run_id"], told["stage_run"]["run_id"], told["registering"]["run_id"]]
    words += [step["run_id"] for step in told["steps"]]
    words += ["puffy-daks", "CC BY-NC 3.0", "Ada", PROMOTION["why"], "val_auc = 0.75"]
    assert [word for word in words if word not in text] == []


def change(monkeypatch, registered: Registry, **tags: str) -> None:
    registered.version = replace(registered.version, tags=registered.version.tags | tags)


def test_what_is_missing_is_said(here, registered, monkeypatch):
    gone = {"crywatch.rebuild_run": "f" * 32, "crywatch.stage_run": "", "git.commit": "e" * 40}
    change(monkeypatch, registered, **gone)
    opened = store.open_store()
    for run in runs(**{parent.STAGE: STAGE}):
        opened.client.delete_run(run.info.run_id)
    traced = trace(here, "3")
    missing = {what for what, state in states(traced).items() if state == MISSING}
    assert missing == {
        "commit",
        "dvc.lock of the commit",
        "stage run",
        "upstream runs",
        "parent run",
    }
    assert traced.sound
    assert "rebuild     not in this store" in as_text(traced)


def test_a_run_without_artifacts_leaves_a_lineage_that_says_so(here, registered):
    opened = store.open_store()
    bare = opened.client.create_run(opened.experiment_id).info.run_id
    registered.version = replace(registered.version, run_id=bare)
    traced = trace(here, "3")
    found = states(traced)
    assert {found[name] for name in ("dvc.lock", "params.yaml", "lineage.json", "stage")} == {
        MISSING
    }
    text = as_text(traced)
    assert "stages: not recorded" in text and "params: not recorded" in text


@pytest.mark.parametrize(
    ("tag", "value", "what"),
    [
        ("dvc.lock.sha256", "0" * 64, "dvc.lock"),
        ("params.sha256", "0" * 64, "params.yaml"),
        ("crywatch.model.dvc", "0" * 32 + ".dir", "stage"),
        ("crywatch.model.sha256", "0" * 64, "model"),
    ],
)
def test_what_differs_is_noticed(here, registered, monkeypatch, tag, value, what):
    change(monkeypatch, registered, **{tag: value})
    traced = trace(here, "3")
    assert [name for name, state in states(traced).items() if state == DIFFERS] == [what]
    assert not traced.sound


def test_another_run_than_the_one_that_made_it_is_noticed(here, registered, monkeypatch):
    [other] = runs(**{parent.STAGE: "clean@esc50"})
    change(monkeypatch, registered, **{"crywatch.stage_run": other.info.run_id})
    assert states(trace(here, "3"))["stage run"] == DIFFERS


def test_a_changed_model_in_the_registry_is_noticed(here, registered):
    (registered.model / "clips.csv").write_text("other")
    traced = trace(here, "3")
    assert [name for name, state in states(traced).items() if state == DIFFERS] == ["model"]


def test_files_for_devices_are_held_against_the_version(here, registered, monkeypatch):
    kept = here / "export"
    kept.mkdir()
    (kept / "window.onnx").write_bytes(b"graph")
    files = {"window.onnx": file_sha256(kept / "window.onnx")}
    about = {"name": "robust", "model": {}, "files": files, "corpora": ["esc50"]}
    (kept / "sidecar.json").write_text(json.dumps(about))
    change(monkeypatch, registered, **{devices.DIGEST: files_sha256([kept])})
    client, run_id = store.open_store().client, registered.version.run_id
    assert states(trace(here, "3"))["export"] == DIFFERS, "the run has none"
    client.log_artifacts(run_id, str(kept), "export")
    assert states(trace(here, "3"))["export"] == OK
    (kept / "window.onnx").write_bytes(b"another")
    client.log_artifact(run_id, str(kept / "window.onnx"), "export")
    [found] = [check for check in trace(here, "3").checks if check.state == DIFFERS]
    assert (found.what, found.said) == ("export", "not what was registered: window.onnx")


def test_the_command_prints_it_and_fails_where_something_differs(here, registered, monkeypatch):
    done = CliRunner().invoke(cli.app, ["trace", "champion", "--format", "json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["version"] == 3
    change(monkeypatch, registered, **{"params.sha256": "0" * 64})
    done = CliRunner().invoke(cli.app, ["trace", "champion"])
    assert done.exit_code == 1
    assert "differs  params.yaml" in done.stdout


def test_it_is_printed_from_below_the_project_too(here, registered, monkeypatch):
    monkeypatch.chdir(here / "data")
    for command in ("trace", "runs"):
        store.open_store.cache_clear()
        done = CliRunner().invoke(cli.app, [command, "HEAD" if command == "runs" else "3"])
        assert done.exit_code == 0, done.output


@pytest.mark.parametrize("words", [["trace", "3"], ["runs", "HEAD"], ["reproduce", "3"]])
def test_a_store_that_is_gone_is_said(here, monkeypatch, words):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    store.open_store.cache_clear()
    with pytest.raises(UnreachableError, match="http://127.0.0.1:9 cannot be reached"):
        CliRunner().invoke(cli.app, words, catch_exceptions=False)


def test_a_store_that_goes_away_is_not_taken_for_one_that_differs(here, registered, monkeypatch):
    def gone(*args: object) -> None:
        raise UnreachableError("gone")

    for name in ("download", "download_artifact"):
        with monkeypatch.context() as away, pytest.raises(UnreachableError):
            away.setattr(registry, name, gone)
            trace(here, "3")


def test_stages_come_after_what_they_need():
    def entry(deps: list[str], outs: list[str]) -> lineage.Entry:
        return lineage.Entry("true", tuple(deps), dict.fromkeys(outs, "1"))

    stages = {
        "a": entry(["data/b"], ["data/a"]),
        "b": entry(["data/c/x"], ["data/b"]),
        "c": entry([], ["data/c"]),
        "d": entry([], ["data/d"]),
    }
    found = in_order(stages)
    assert sorted(found) == ["a", "b", "c", "d"]
    assert found.index("c") < found.index("b") < found.index("a")
    circle = {"a": entry(["data/b"], ["data/a"]), "b": entry(["data/a"], ["data/b"])}
    with pytest.raises(CrywatchError, match="need each other"):
        in_order(circle)


@pytest.mark.parametrize("odd", ["--output=evil", "../../x", "a\nb", "HEAD", "'"])
def test_a_tag_is_no_option_of_git(here, registered, monkeypatch, odd):
    before = sorted(here.rglob("*"))
    change(monkeypatch, registered, **{"git.commit": odd})
    assert states(trace(here, "3"))["commit"] == DIFFERS
    assert not [path for path in set(here.rglob("*")) - set(before) if "evil" in path.name]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lineage.json", "[]"),
        ("lineage.json", '{"corpora": {"esc50": 3}}'),
        ("lineage.json", "{"),
        ("dvc.lock", "stages: [1]"),
        ("dvc.lock", "stages: {--force: {cmd: x}}"),
        ("dvc.lock", "stages: {a: {outs: [{path: ../x, md5: y}]}}"),
        ("dvc.lock", "stages: {a: {outs: [{path: /x, md5: y}]}}"),
        ("dvc.lock", "a: &a [*a]\nstages: *a"),
        ("dvc.lock", "<<<<<<<"),
    ],
)
def test_what_was_logged_beside_it_is_told_where_it_is_odd(here, registered, name, text):
    store.open_store().client.log_text(registered.version.run_id, text, name)
    with pytest.raises(CrywatchError, match=name):
        trace(here, "3")

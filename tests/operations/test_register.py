"""Registering: once, through the gates, whatever is killed when; and going back."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from crywatch.core import params, paths
from crywatch.core.errors import ConfigError, CrywatchError, RegistryError
from crywatch.detection.detectors import load_detector
from crywatch.detection.devices import export as exporting
from crywatch.detection.devices.export import ExportConfig
from crywatch.operations import drift
from crywatch.operations.register import devices, listening, models, run
from crywatch.operations.register.run import Request, rollback
from crywatch.tracking import lineage, model_files, registry, store
from crywatch.tracking.registry import CHALLENGER, CHAMPION
from tests.helpers.register_cases import (
    CURVES,
    Hears,
    config,
    write_infants,
    write_model,
    write_recordings,
)
from tests.helpers.tracking_cases import PARAMS

pytest_plugins = ["tests.helpers.tracking_fixtures"]
ADA = Request("ada", "tried it")
FOLDER = Path("data/calibrate/robust")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_recordings()
    return folder


@pytest.fixture
def ready(project, recorded, monkeypatch):
    """A project with recordings, whose models hear levels."""
    for name in ("data", "sounds"):
        shutil.copytree(recorded / name, name)
    told = yaml.safe_load(Path("params.yaml").read_text()) | {
        "calibrate": {"models": {"robust": {"folder": "data/train_robust/robust"}}},
        "data": {"source": "generated"},
        "drift": {"reference_clips": 10},
        "register": {"limits": "of conf"},
        "detect": {"model": "data/calibrate/robust", "min_event_s": 1.0, "max_gap_s": 1.0}
        | {"threshold": None},
    }
    Path("params.yaml").write_text(yaml.safe_dump(told))
    monkeypatch.setattr(listening, "load_detector", Hears)
    monkeypatch.setattr(drift, "DriftConfig", Drift)
    monkeypatch.setattr(drift, "build_reference", reference)
    return project


class Drift:
    """In the place of the section's dataclass."""


def reference(clips_table, model, settings, seed, out_dir):
    """In the place of `drift.build_reference`, which has tests of its own."""
    assert clips_table.is_file() and (model / "model.json").is_file() and seed == PARAMS["seed"]
    out_dir.mkdir(parents=True)
    (out_dir / "reference.json").write_text("{}")


@pytest.fixture(autouse=True)
def _sections(monkeypatch):
    real = params.section

    def section(name, cls, *where):
        return Drift() if name == "drift" else real(name, cls, *where)

    monkeypatch.setattr(params, "section", section)


def made(curve: str, **told):
    """`dvc repro` made this model."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    write_model(FOLDER, CURVES[curve], **told)
    digest = lineage.dvc_digest(FOLDER)
    out = {"path": str(FOLDER), "hash": "md5", "md5": digest}
    stages = {"calibrate@robust": {"cmd": "x", "outs": [out]}}
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))


def registered(asked: Request = ADA, **changes):
    return run.run(config(**changes), asked)


def alias(name: str) -> int | None:
    found = registry.find(registry.open_registry(), "cry", name)
    return found.version if found else None


def artifact(version: int, name: str) -> Path:
    opened = registry.open_registry()
    found = registry.find(opened, "cry", str(version))
    return registry.download_artifact(opened, found, name, Path("artifacts") / str(version))


def test_models_are_promoted_refused_and_rolled_back(ready):
    write_infants(over=1)
    made("DEAF")
    first = registered()
    assert (first.version, first.promoted, first.already) == (1, True, False)
    assert "with no champion before it" in first.why and len(first.gates) == 3
    assert (alias(CHAMPION), alias(CHALLENGER)) == (1, 1)

    made("DOGS")  # better on the main slice, and calls dogs
    second = registered()
    assert (second.version, second.promoted) == (2, False)
    lost = [gate.slice for gate in second.gates if not gate.passed]
    assert lost == ["other sounds", "confuser dog", "sound without a cry"]
    assert "refused over version 1: 3 of 11 gates failed" in second.why
    assert "confuser dog: share called a cry 0.000 to 1.000" in second.why
    assert (alias(CHAMPION), alias(CHALLENGER)) == (1, 2)

    # The same model again: nothing is done, and the gates are told.
    again = registered()
    assert (again.version, again.promoted, again.already) == (2, False, True)
    assert again.gates == second.gates and "judged before by the same" in again.why
    # Other limits: it is judged anew, and no version is made.
    wide = {name: replace(guard, most=1e4, tolerance=1e4) for name, guard in guards()}
    looser = registered(guards=wide)
    assert (looser.version, looser.promoted, looser.already) == (2, True, True)
    assert alias(CHAMPION) == 2

    made("RIGHT")
    third = registered()
    assert (third.version, third.promoted) == (3, True) and alias(CHAMPION) == 3
    made("DEAF")
    assert registered().version == 1  # no fourth
    made("RIGHT")
    assert "the champion already" in registered().why

    # Going back twice goes further back, and no further than there was a champion.
    assert rollback(config(), None, "bob", "it cries wolf").to_version == 2
    assert rollback(config(), None, "bob", "worse still").to_version == 1
    assert alias(CHAMPION) == 1
    with pytest.raises(RegistryError, match="no version was champion before version 1"):
        rollback(config(), None, "bob", "again")
    with pytest.raises(RegistryError, match="there is no version 9"):
        rollback(config(), 9, "bob", "x")
    with pytest.raises(RegistryError, match="version 1 is the champion already"):
        rollback(config(), 1, "bob", "x")

    # What was rolled back from is not promoted again by the gates: only by a person.
    held_back = registered()
    assert (held_back.version, held_back.promoted) == (3, False)
    assert "rolled back from" in held_back.why and "it cries wolf" in held_back.why
    forced = registered(Request("bob", force="it was the microphone"))
    assert (forced.version, forced.promoted) == (3, True) and alias(CHAMPION) == 3
    moves = registry.find(registry.open_registry(), "cry", "3").moves
    assert [move.kind for move in moves] == ["promotion", "promotion"]
    assert "it was the microphone" in moves[1].why and moves[1].from_version == 1


def test_a_rebuild_that_fitted_no_infants_is_told_and_judged_when_it_has(ready):
    made("DEAF")
    first = registered()
    assert first.promoted and len(first.gates) == 2
    missing = (
        f"there is no {paths.FIT_INFANTS}/mahalanobis/tables.json: run `dvc repro fit_infants`"
    )
    assert missing in first.no_infants

    made("RIGHT")
    second = registered(Request("ada", promote=False))
    assert (
        "not judged: no infants were fitted: run `dvc repro fit_infants`" in second.gates[-1].said
    )
    write_infants(over=1)
    again = registered(Request("ada", promote=False))
    assert (again.version, again.no_infants) == (2, "")
    assert "1 of 4 infants; of the champion nothing is recorded" in again.gates[-1].said


def guards():
    return config().guards.items()


def test_what_is_kept_with_a_version(ready):
    write_infants(over=0)
    made("DEAF")
    registered()
    made("RIGHT")
    registered()
    [version] = [v for v in registry.versions(registry.open_registry(), "cry") if v.version == 2]
    tags = version.tags
    assert tags["crywatch.stage"] == "calibrate@robust" and tags["profile"] == "tiny"
    assert tags["crywatch.model.dvc"] == lineage.dvc_digest(FOLDER)
    for name in ("dvc.lock.sha256", "params.sha256", "crywatch.registered"):
        assert tags[name]
    assert {"git.commit", "git.dirty", "crywatch.stage_run", "crywatch.rebuild_run"} <= set(tags)
    [move] = json.loads(tags["crywatch.promotion"])
    assert (move["by"], move["from_version"], move["to_version"]) == ("ada", 1, 2)
    assert move["why"].startswith("tried it; promoted over version 1: all 11 gates kept; pooled:")

    for name in ("dvc.lock", "params.yaml"):
        assert artifact(2, name).read_bytes() == Path(name).read_bytes()
    told = json.loads(artifact(2, "lineage.json").read_text())
    assert told["stages"] == {"calibrate@robust": {str(FOLDER): tags["crywatch.model.dvc"]}}
    assert told["corpora"] == {"esc50": {"clean": "", "raw": "", "licence": "CC BY-NC 3.0"}}
    assert told["infants"]["val"] == {"promised": 4, "over_twice": 0}
    gates = json.loads(artifact(2, "gates.json").read_text())
    assert gates["champion"]["version"] == 1 and gates["reported"]["part"] == "test"
    assert len(gates["slices"]) == len(gates["gates"]) - 1 == 10
    assert artifact(2, "reference/reference.json").is_file()
    trained = pd.read_parquet(artifact(2, "reference/training.parquet"))
    clips = pd.read_parquet("data/split/clips.parquet")
    ours = clips[clips["split"] == "train"]
    assert set(ours["sha256"]) < set(trained["sha256"]) and len(trained) == len(ours) + 2

    card = artifact(2, "card.md").read_text()
    assert card.startswith("# cry: calibrate@robust\n\nPromoted over version 1: all 11 gates")
    for part in (
        "Commercial use: **not allowed**",
        "| esc50 | CC BY-NC 3.0 |",
        "| kept | no_worse | confuser dog | share called a cry 0.000 to 0.000",
        "## The same slices on the test part, which decides nothing",
        "Of no corpus that was left out of its training are there numbers",
        version.digest,
        tags["dvc.lock.sha256"],
    ):
        assert part in card
    client = store.open_store().client
    links, shown = client.get_model_version("cry", "2").description.split("\n\n", 1)
    assert "[Its files](#/experiments/" in links and "/models/m-" in links
    assert card.startswith(shown[:1000])


def test_the_files_for_devices_go_along_where_they_are_of_this_very_model(ready):
    made("DEAF")
    export()
    assert registered().no_devices == ""
    kept = artifact(1, devices.EXPORT)
    assert files(kept) == files(paths.EXPORT)
    assert "`--model champion/export`" in artifact(1, "card.md").read_text()
    folder = models.use("cry/champion/export", print)
    assert files(folder) == files(kept) and models.use("cry/1/export", print) == folder
    wave = np.random.default_rng(0).standard_normal(64_000).astype(np.float32)
    scores = [load_detector(path).score(wave) for path in (folder, FOLDER)]
    np.testing.assert_allclose(*scores, atol=1e-5)

    made("RIGHT")
    assert "data/export is of another model" in registered().no_devices
    with pytest.raises(RegistryError, match="cry 2: no files for devices were registered with it"):
        models.use("cry/champion/export", print)

    # What was changed in the store since is not used.
    source = Path(store.open_store().client.get_run(versions()[0].run_id).info.artifact_uri[7:])
    (source / "export" / "window.onnx").write_bytes(b"another")
    shutil.rmtree(folder)
    with pytest.raises(RegistryError, match="cry 1: its files for devices have SHA-256"):
        models.use("cry/1/export", print)


def test_files_for_devices_that_are_not_whole_are_left_out(ready):
    made("DEAF")
    export()

    def said() -> str:
        with pytest.raises(CrywatchError) as told:
            devices.copy_exported(paths.EXPORT, FOLDER, Path("out"))
        assert not Path("out").exists() and "\n" not in str(told.value)
        return str(told.value)

    (paths.EXPORT / "golden.npz").write_bytes(b"x")
    assert "data/export/golden.npz is not what was exported" in said()
    (paths.EXPORT / "golden.npz").unlink()
    assert "data/export/golden.npz: No such file" in said()
    about = json.loads((paths.EXPORT / "sidecar.json").read_text())
    about["files"] = {"../secret": "0" * 64}
    (paths.EXPORT / "sidecar.json").write_text(json.dumps(about))
    assert "'../secret' must lie below its folder" in said()
    (paths.EXPORT / "sidecar.json").write_text("[]")
    assert "sidecar.json" in said()
    shutil.rmtree(paths.EXPORT)
    assert "there is no data/export/sidecar.json: `dvc repro export` makes it" in said()


def export():
    """Stage `export` made this of the model, on generated sound alone."""
    config = params.section("export", ExportConfig, ROOT / "params.yaml")
    shutil.rmtree(paths.EXPORT, ignore_errors=True)
    exporting.run(FOLDER, config, (), paths.EXPORT)


def versions() -> list[registry.ModelVersion]:
    return registry.versions(registry.open_registry(), "cry")


def test_more_infants_over_twice_the_promise_refuse_a_better_model(ready):
    write_infants(over=1)
    made("DEAF")
    registered()
    write_infants(over=2)
    made("RIGHT")
    found = registered()
    [gate] = [gate for gate in found.gates if not gate.passed]
    assert not found.promoted and gate.name == "infants"
    assert "1 of 4 infants with the champion, 2 of 4 now" in gate.said


def test_a_champion_that_was_tampered_with_is_judged_against_by_nobody(ready):
    made("DEAF")
    registered()
    opened = registry.open_registry()
    source = opened.client.get_model_version_download_uri("cry", "1").removeprefix("file://")
    Path(source, "artifacts/model/model.json").write_text("{}")
    shutil.rmtree("data/work/models", ignore_errors=True)
    made("RIGHT")
    found = registered()
    assert not found.promoted and [gate.name for gate in found.gates] == ["comparable"]
    assert "cry 1: its files have SHA-256" in found.why
    assert (alias(CHAMPION), alias(CHALLENGER)) == (1, 2)
    # Nor does anything go back to it.
    forced = registered(Request("bob", force="the first one is broken"))
    assert forced.promoted and alias(CHAMPION) == 2
    with pytest.raises(RegistryError, match="cry 1: its files have SHA-256"):
        rollback(config(), None, "bob", "x")
    assert alias(CHAMPION) == 2


def test_a_folder_that_dvc_did_not_make_so_is_refused(ready):
    made("DEAF")
    (FOLDER / "metrics.json").write_text("{}")
    with pytest.raises(RegistryError, match="is not what dvc.lock says that calibrate@robust"):
        registered()
    made("DEAF")
    (FOLDER / "weights.pkl").write_bytes(b"x")
    with pytest.raises(RegistryError, match=r"weights\.pkl belongs to no model folder"):
        registered()
    assert registry.versions(registry.open_registry(), "cry") == []
    with pytest.raises(ConfigError, match="the test part chooses nothing"):
        registered(part="test")


@pytest.mark.parametrize("step", ["set_alias", "describe", "move_champion", "set_tags"])
def test_a_kill_leaves_nothing_that_counts_and_is_gone_on_from(ready, monkeypatch, step):
    made("DEAF")

    def killed(*given, **named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(registry, step, killed)
        with pytest.raises(KeyboardInterrupt):
            registered()
    [half] = registry.versions(registry.open_registry(), "cry")
    assert not half.done
    found = registered()
    [whole] = registry.versions(registry.open_registry(), "cry")
    assert whole.done and found.version == 1
    assert (alias(CHAMPION), alias(CHALLENGER)) == (1, 1)


def test_a_kill_before_a_version_is_made_leaves_a_run_and_no_version(ready, monkeypatch):
    made("DEAF")

    def killed(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(registry.pyfunc, "log", killed)
        with pytest.raises(KeyboardInterrupt):
            registered()
    assert registry.versions(registry.open_registry(), "cry") == []
    assert registered().version == 1
    assert not list(Path("data/work").glob(".tmp-*"))


def test_a_model_can_be_registered_only_and_two_do_not_register_at_once(ready):
    made("DEAF")
    found = registered(Request("ada", promote=False))
    assert not found.promoted and "as was asked" in found.why
    assert (alias(CHAMPION), alias(CHALLENGER)) == (None, 1)
    later = registered()  # asked otherwise, it is judged again
    assert (later.version, later.promoted, later.already) == (1, True, True)
    opened = registry.open_registry()
    opened.client.delete_registered_model_alias("cry", CHAMPION)
    copy = Path(".dvc/tmp/worktrees/copy").absolute()  # its registry is the project's
    copy.mkdir(parents=True)
    with run.exclusive(), pytest.raises(RegistryError, match="is at work in this project"):
        registered()
    held = pytest.raises(RegistryError, match="is at work in this project")
    with contextlib.chdir(copy), run.exclusive(), contextlib.chdir(copy.parents[3]), held:
        registered()
    with pytest.raises(RegistryError, match="there is no champion to roll back from"):
        rollback(config(), None, "bob", "x")
    assert model_files.check(FOLDER, files(FOLDER), "x") is None


def files(folder: Path) -> str:
    from crywatch.core.digest import files_sha256

    return files_sha256([folder])

"""Unattended runs: when they rebuild, what they leave, and that a kill anywhere does no harm."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from crywatch.core import params
from crywatch.core.errors import ConfigError
from crywatch.core.gate import GateError
from crywatch.operations.drift import DriftQuantity, DriftReport, QuantitySpread
from crywatch.operations.register import PromotionGate, Registration
from crywatch.operations.retrain import RetrainConfig, unattended
from crywatch.operations.retrain.champion import Drift
from crywatch.operations.retrain.config import NotifyConfig
from tests.helpers.dag import ROOT
from tests.helpers.retrain_cases import (
    CONFIG,
    calls,
    commit,
    corpus,
    make_project,
    notifying,
    put,
    retrain,
    runs,
    write_params,
)

STEPS = ["check", "repro", "keep", "register"]
QUANTITY = DriftQuantity(
    *("level", "dBFS", 9.0, 6.0, 0.001, True),
    QuantitySpread((-40, -35, -30, -25, -20)),
    QuantitySpread((-50, -45, -40, -35, -30)),
    "level: quieter",
)
REPORT = DriftReport(30, 40, 0, (QUANTITY,), "level: quieter")
DRIFT = Drift("some recordings", REPORT, "drift against version 1: level: quieter")


@pytest.fixture
def project(tmp_path) -> Path:
    return make_project(tmp_path)


# When a rebuild is made


def test_the_first_run_rebuilds_and_the_second_does_nothing(project):
    first = retrain(project)
    assert (first.outcome, first.version) == ("promoted", 1)
    assert calls(project) == STEPS
    second = retrain(project)
    assert (second.outcome, second.version, second.reasons) == ("nothing", None, ())
    assert calls(project) == []
    assert [line.outcome for line in runs(project).history()] == ["promoted", "nothing"]


def test_a_readme_is_no_reason_and_code_that_a_stage_depends_on_is(project):
    retrain(project)
    (project / "README.md").write_text("two\n")
    commit(project)
    assert retrain(project).outcome == "nothing"
    (project / "src" / "train" / "__init__.py").write_text("RATE = 2\n")
    assert retrain(project).outcome == "nothing"  # not committed
    sha = commit(project)
    calls(project)
    found = retrain(project)
    assert found.commit == sha
    assert found.reasons == (f"commit {sha[:7]} changes src/train/__init__.py",)
    assert calls(project) == STEPS


def test_parameters_that_no_stage_reads_are_no_reason(project):
    retrain(project)
    write_params(project, detect={"threshold": 0.9}, retrain={"folder": "retraining"})
    assert retrain(project).outcome == "nothing"
    write_params(project, train={"lr": 0.2})
    assert retrain(project).reasons == ("parameters changed: train",)


def test_new_changed_and_removed_recordings_are_a_reason_and_named(project):
    retrain(project)
    calls(project)
    put(corpus(project) / "alice.wav", "another sound under the same name")
    put(corpus(project) / "deep" / "carol.wav", "new")
    (corpus(project) / "bob.wav").unlink()
    found = retrain(project)
    assert found.reasons == ("corpus sounds: 1 new, 1 changed, 1 removed file(s)",)
    assert calls(project) == STEPS
    record = json.loads((runs(project).records / f"{found.id}.json").read_text())
    assert record["changes"]["sounds"] == {
        "new": ["deep/carol.wav"],
        "changed": ["alice.wav"],
        "removed": ["bob.wav"],
    }
    page = (project / found.report).read_text()
    assert "1 changed" in page and "alice" not in page
    assert "alice" not in json.dumps(found.public())
    assert retrain(project).outcome == "nothing"


def test_what_was_only_touched_is_no_change(project):
    retrain(project)
    (corpus(project) / "alice.wav").touch()
    assert retrain(project).outcome == "nothing"


def test_a_corpus_that_is_away_is_said_and_no_reason(project):
    retrain(project)
    corpus(project).rename(project.parent / "unplugged")
    found = retrain(project)
    assert found.outcome == "nothing"
    assert found.notes == ("corpus sounds: its folder is not there",)
    (project.parent / "unplugged").rename(corpus(project))
    assert retrain(project).outcome == "nothing"


def test_a_refused_challenger_is_not_made_again_every_night(project):
    assert retrain(project, refused=True).outcome == "refused"
    calls(project)
    assert retrain(project, refused=True).outcome == "nothing"
    assert calls(project) == []


def test_only_the_reasons_that_are_configured_start_a_rebuild(project):
    retrain(project)
    put(corpus(project) / "carol.wav", "new")
    found = retrain(project, replace(CONFIG, reasons=["commit"]))
    assert found.outcome == "nothing"
    assert found.notes == ("no reason here: corpus sounds: 1 new file(s)",)


def test_a_forced_run_says_why_and_the_same_model_is_no_new_version(project):
    retrain(project)
    calls(project)
    found = retrain(project, force="a library was updated")
    assert found.reasons == ("forced: a library was updated",)
    assert calls(project) == STEPS
    assert (found.outcome, found.version) == ("nothing", 1)
    assert retrain(project).outcome == "nothing"


def test_a_dry_run_says_what_would_be_done_and_leaves_nothing(project):
    found = retrain(project, dry_run=True)
    assert (found.outcome, found.dry_run) == ("nothing", True)
    assert found.reason == "would rebuild: no rebuild is on record here"
    assert calls(project) == []
    assert [path.name for path in runs(project).folder.iterdir()] == ["lock"]


# Drift


def test_drift_alone_is_told_and_rebuilds_only_where_that_is_configured(project):
    retrain(project)
    calls(project)
    found = retrain(project, drift=DRIFT)
    assert found.outcome == "nothing" and "level: quieter" in found.reason
    assert calls(project) == []
    assert runs(project).compared() == "some recordings"
    page = (project / found.report).read_text()
    assert "level" in page and "data:image/svg+xml" in page
    config = replace(CONFIG, reasons=["drift"])
    assert retrain(project, config, drift=DRIFT).reasons == (DRIFT.note,)
    assert retrain(project, config, drift=Drift("some recordings", None, "")).outcome == "nothing"


def test_after_a_promotion_the_recordings_are_compared_with_the_new_champion(project):
    retrain(project, drift=DRIFT)
    assert runs(project).compared() == ""


# What fails


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_fails_is_gone_on_from_by_the_next_run(project, step):
    found = retrain(project, failing=step)
    assert (found.outcome, found.failed_step) == ("failed", "stage train")
    assert found.tail.endswith("ValueError: no")
    assert "ValueError" not in (project / found.report).read_text() + str(found.public())
    calls(project)
    again = retrain(project)
    assert (again.outcome, again.continued) == ("promoted", found.id)
    assert f"goes on with run {found.id}, which stopped at stage train" in again.notes
    assert calls(project) == STEPS
    assert retrain(project).outcome == "nothing"


FETCHING = ["check", "fetch sounds", "repro", "keep", "register"]


@pytest.mark.parametrize("step", FETCHING)
def test_a_corpus_that_its_publisher_changed_is_fetched_once(project, step):
    retrain(project, without_copy=True)
    put(corpus(project) / "carol.wav", "new")
    calls(project)
    found = retrain(project, without_copy=True, failing=step)
    assert found.outcome == "failed"
    assert found.reasons == ("corpus sounds: 1 changed file(s)",)
    calls(project)
    again = retrain(project, without_copy=True)
    assert (again.outcome, again.version, again.continued) == ("promoted", 2, found.id)
    left_out = ["fetch sounds"] if FETCHING.index(step) > FETCHING.index("fetch sounds") else []
    assert calls(project) == [name for name in FETCHING if name not in left_out]
    assert retrain(project, without_copy=True).outcome == "nothing"


def test_work_on_other_inputs_is_not_gone_on_with(project):
    retrain(project, failing="repro")
    calls(project)
    put(corpus(project) / "carol.wav", "new")
    found = retrain(project)
    assert found.outcome == "promoted" and found.continued == ""
    assert "its inputs have changed" in found.notes[0]
    assert calls(project) == STEPS


def test_a_commit_that_is_not_there_is_a_failure_with_a_record(project):
    found = retrain(project, replace(CONFIG, ref="no-such-branch"))
    assert found.outcome == "failed"
    assert "retrain.ref" in found.tail
    assert runs(project).history()[0].outcome == "failed"


def test_an_interruption_is_recorded_and_not_swallowed(project):
    with pytest.raises(KeyboardInterrupt):
        retrain(project, drift=DRIFT, failing="never", refused=_Interrupt())
    [line] = runs(project).history()
    assert line.outcome == "failed" and "KeyboardInterrupt" in line.reason
    assert retrain(project).continued == line.id


class _Interrupt:
    def __bool__(self) -> bool:
        raise KeyboardInterrupt


# Kills


def _is_killed(project: Path, kill_at: int) -> bool:
    """A run in a child that is killed at its n-th change of a file; whether it was."""
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        return os.WIFSIGNALED(status)
    count = 0

    def deadly(call):
        def wrapped(*args, **kwargs):
            nonlocal count
            count += 1
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)

        return wrapped

    try:
        os.replace = deadly(os.replace)
        os.unlink = deadly(os.unlink)
        os.ftruncate = deadly(os.ftruncate)
        retrain(project, notifying(command=["true"]), without_copy=True)
    finally:
        os._exit(0)


def changed_project(folder: Path) -> Path:
    """One whose publisher changed its corpus after the first rebuild."""
    project = make_project(folder)
    retrain(project, without_copy=True)
    put(corpus(project) / "carol.wav", "new")
    return project


def test_a_kill_at_any_change_of_a_file_ends_like_an_undisturbed_run(tmp_path):
    quiet = notifying(command=["true"])
    calm = changed_project(tmp_path / "calm")
    retrain(calm, quiet, without_copy=True)
    wanted = _end_state(calm)
    killed = 0
    for kill_at in range(1, 60):
        project = changed_project(tmp_path / str(kill_at))
        if not _is_killed(project, kill_at):
            break
        killed += 1
        found = retrain(project, quiet, without_copy=True)
        assert found.outcome in ("promoted", "nothing")
        assert _end_state(project) == wanted
        assert retrain(project, quiet, without_copy=True).outcome == "nothing"
        outcomes = [line.outcome for line in runs(project).history()]
        assert outcomes.count("promoted") == 2
    assert 15 < killed < 58


def test_a_model_that_a_person_went_back_from_is_not_told_as_promoted():
    kept = PromotionGate("no_worse", "pooled", True, "0.91 against 0.90")
    told = Registration(5, False, True, (kept,), "refused: it was rolled back from")
    assert not unattended._was_promoted(told, None)
    assert unattended._was_promoted(replace(told, gates=(), why="the champion already"), None)


def _end_state(project: Path) -> dict:
    state = json.loads((project / "retraining" / "state.json").read_text())
    for name in ("record", "commit"):
        del state[name]
    folder = project / "retraining"
    left = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name not in ("records", "reports", "logs")
    }
    versions = json.loads((project / "registry.json").read_text())
    lock = (folder / "dvc.lock").read_text()
    return {"state": state, "files": sorted(left), "versions": len(versions), "lock": lock}


# What is left


def test_the_folder_is_its_owners_alone_and_old_records_go(project):
    for _ in range(4):
        retrain(project, replace(CONFIG, keep_records=2))
    ids = [line.id[:6] for line in runs(project).history()]
    # A champion was being fetched when its run was killed.
    left = runs(project).folder / "champion" / ".tmp-0"
    (left / "model").mkdir(parents=True)
    assert retrain(project).outcome == "nothing" and not left.exists()
    # The clock of these tests goes back: the numbers are the order.
    assert ids == ["000003", "000004"]
    assert not list((runs(project).folder / "reports").iterdir())
    assert runs(project).folder.stat().st_mode & 0o077 == 0
    kept = list(runs(project).folder.rglob("*.json"))
    assert kept and all(path.stat().st_mode & 0o077 == 0 for path in kept)


def test_a_report_says_reasons_gates_and_times(project):
    found = retrain(project, refused=True, drift=DRIFT)
    for suffix in ("html", "md"):
        page = runs(project).report(found.id, suffix).read_text()
        for word in (
            "refused",
            "corpus sounds",
            "0.91 against 0.90",
            "dvc repro",
            "level",
            "0.001",
        ):
            assert word in page
        assert str(project) not in page
    assert found.kept_commit == f"kept of {found.commit}"


# Configuration


def test_the_configuration_is_whole():
    config = params.section("retrain", RetrainConfig, ROOT / params.PARAMS_FILE)
    assert config == RetrainConfig()
    assert f"/{config.folder}/" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"reasons": ["weather"]}, "retrain.reasons"),
        ({"params": "mine"}, "retrain.params"),
        ({"notify": NotifyConfig(outcomes=["all"])}, "retrain.notify.outcomes"),
        ({"notify": NotifyConfig(webhook_env="https://x/secret")}, "environment variable"),
        ({"heartbeat_s": 0}, "heartbeat_s"),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_refused(changed, said):
    with pytest.raises(ConfigError, match=said) as caught:
        RetrainConfig(**changed)
    assert "secret" not in str(caught.value).replace("a secret", "")


def test_a_relative_folder_of_a_corpus_is_refused(project):
    write_params(project, folder="sounds")
    found = retrain(project)
    assert found.outcome == "failed" and "corpus.sounds.folder" in found.tail


@pytest.mark.parametrize("name", ["state.json", "unfinished.json", "records/000001-x.json"])
@pytest.mark.parametrize("text", ["{", "[]", '{"id": 3}'])
def test_a_damaged_file_of_earlier_runs_is_told_by_its_name(project, name, text):
    retrain(project)
    put(runs(project).folder / "logs" / "0 note.txt", "a person's")
    put(runs(project).folder / name, text)
    with pytest.raises(GateError, match=name):
        _ = runs(project).state(), runs(project).history(), runs(project).journal()


@pytest.mark.parametrize("folder", ["..", "/tmp/x", ".", "", "a/../../b"])
def test_what_a_retraining_keeps_lies_in_the_project(folder):
    with pytest.raises(ConfigError, match="retrain.folder: .*name one in the project"):
        RetrainConfig(folder=folder)


def test_only_what_runs_left_is_taken_away(project):
    folder = runs(project).folder
    for path in ("reports/.tmp-1", ".tmp-2", "champion/a/.tmp-3", "mine/deeper/.tmp-4"):
        put(folder / path, "x")
    (folder / "champion" / "a" / ".tmp-5").mkdir()
    (project.parent / "other").mkdir()
    (folder / "reports" / ".tmp-6").symlink_to(project.parent / "other")
    retrain(project)
    assert [path.name for path in folder.rglob(".tmp-*")] == [".tmp-4"]
    assert (project.parent / "other").is_dir()

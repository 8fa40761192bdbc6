"""Retraining as a Prefect flow, on a local Prefect server of its own."""

from __future__ import annotations

import inspect
import sys
import types
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.retrain_cases import make_project, runs, write_params

pytestmark = pytest.mark.nightly

pytest.importorskip("prefect")

TOKEN = "hf_plantedTOKEN0123"


@dataclass(frozen=True)
class Step:
    name: str
    seconds: float
    said: str = ""


@dataclass(frozen=True)
class Record:
    """What the flow reads of a record; a test holds it equal to the real one."""

    outcome: str = "promoted"
    reason: str = "new recordings | of esc50"
    started_at: str = "2030-01-02T03:04:05Z"
    ended_at: str = "2030-01-02T04:04:05Z"
    commit: str = "a" * 40
    version: int | None = 7
    report: str = "retraining/reports/000001.html"
    notes: tuple[str, ...] = ()
    steps: tuple[Step, ...] = (Step("checkout", 1.25), Step("dvc repro", 60.0, "made anew"))
    tail: str = ""

    def public(self) -> dict[str, Any]:
        return asdict(self) | {"report": Path(self.report).name}


@dataclass(frozen=True)
class RetrainConfig:
    ref: str = "HEAD"


class AlreadyRunning(Exception):
    """Another one runs."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with a database of its own, and no settings of the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        patch.setenv("DO_NOT_TRACK", "1")
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        patch.setenv("PREFECT_LOGGING_LEVEL", "WARNING")
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        from prefect.testing.utilities import prefect_test_harness

        with prefect_test_harness(server_startup_timeout=120):
            yield


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    (tmp_path / "params.yaml").write_text("retrain: {ref: main}\n")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return tmp_path


@pytest.fixture
def retrains(monkeypatch):
    """Stand-in for `operations.retrain` that gives a record or raises; what it was called with."""
    calls = []

    def to(result: Any) -> list:
        def run(config, project, by):
            calls.append((config, project, by))
            if isinstance(result, Exception):
                raise result
            return result

        fake = types.ModuleType("crywatch.operations.retrain")
        fake.run, fake.AlreadyRunning, fake.RetrainConfig = run, AlreadyRunning, RetrainConfig
        monkeypatch.setitem(sys.modules, "crywatch.operations.retrain", fake)
        return calls

    return to


def state_of(project: Path):
    """The flow's last state, as the server has it."""
    from prefect.client.orchestration import get_client

    from crywatch.operations.schedule.flow import retraining

    state = retraining(str(project), return_state=True)
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(state.state_details.flow_run_id)
    assert run.state.name == state.name
    return run


def artifact():
    from prefect.artifacts import Artifact

    from crywatch.operations.schedule.flow import NAME

    return Artifact.get(NAME)


def test_a_run_is_completed_with_its_record_as_an_artifact(server, project, retrains):
    calls = retrains(Record())
    run = state_of(project)
    assert run.state.is_completed() and run.state.name == "Promoted"
    assert calls == [(RetrainConfig("main"), project, "prefect crywatch-retrain")]
    made = artifact()
    assert made.flow_run_id == run.id
    assert "# promoted" in made.data and "| version | 7 |" in made.data
    assert "| dvc repro | 60.0 | made anew |" in made.data
    assert "new recordings \\| of esc50" in made.data
    assert "retraining/" not in made.data  # folders stay at home


@pytest.mark.parametrize("outcome", ["nothing", "refused"])
def test_nothing_to_do_and_a_refusal_are_no_failures(server, project, retrains, outcome):
    retrains(Record(outcome=outcome, version=None))
    run = state_of(project)
    assert run.state.is_completed() and run.state.name == outcome.capitalize()
    assert f"# {outcome}" in artifact().data and "| version | none |" in artifact().data


def test_a_failed_step_fails_the_run_and_is_not_tried_again(server, project, retrains):
    calls = retrains(Record(outcome="failed", reason=f"dvc repro: no login with {TOKEN}"))
    run = state_of(project)
    assert run.state.is_failed() and len(calls) == 1
    assert "dvc repro: no login with ***" in run.state.message
    assert "# failed" in artifact().data and TOKEN not in artifact().data


def test_an_error_that_nobody_foresaw_fails_the_run(server, project, retrains):
    calls = retrains(ValueError("unforeseen"))
    run = state_of(project)
    assert run.state.is_failed() and len(calls) == 1
    assert "unforeseen" in run.state.message


def test_a_lock_that_another_holds_is_no_failure(server, project, retrains):
    retrains(AlreadyRunning("another retraining runs since 03:00"))
    run = state_of(project)
    assert run.state.is_completed() and run.state.name == "Locked"
    assert "another retraining" in run.state.message


def test_the_flow_shows_what_the_retraining_itself_did(server, tmp_path):
    from crywatch.operations.retrain.lock import locked

    project = make_project(tmp_path)  # its stages make nothing
    write_params(project, retrain={"heartbeat_s": 1.0})
    run = state_of(project)
    assert run.state.is_failed() and "failed at stage download@sounds" in run.state.message
    [line] = runs(project).history()
    assert line.outcome == "failed" and "| dvc repro |" in artifact().data
    assert str(tmp_path) not in artifact().data
    with locked(runs(project).lock, "2030-01-02T03:04:05Z", 1.0):
        assert state_of(project).state.name == "Locked"


def test_the_server_knows_when_to_run_it_and_that_one_is_enough(server, project):
    from prefect.client.orchestration import get_client

    from crywatch.operations.schedule import flow

    made = flow.deployment(project, "30 4 * * 1").apply()
    with get_client(sync_client=True) as client:
        known = client.read_deployment(made)
    assert [entry.schedule.cron for entry in known.schedules] == ["30 4 * * 1"]
    assert known.parameters == {"project": str(project)}
    assert known.global_concurrency_limit.limit == 1
    assert known.concurrency_options.collision_strategy.value == "CANCEL_NEW"


def test_what_the_flow_reads_is_what_a_retraining_leaves():
    real = pytest.importorskip("crywatch.operations.retrain")
    assert {one.name for one in fields(Record)} <= {one.name for one in fields(real.Record)}
    inspect.signature(real.run).bind(real.RetrainConfig(), Path(), "someone")
    assert issubclass(real.AlreadyRunning, Exception) and callable(real.Record.public)


def test_without_prefect_it_is_said_how_to_install_it(monkeypatch):
    from crywatch.core.errors import CrywatchError

    monkeypatch.setitem(sys.modules, "prefect", None)
    monkeypatch.delitem(sys.modules, "crywatch.operations.schedule.flow", raising=False)
    with pytest.raises(CrywatchError, match=r"crywatch\[prefect\]"):
        import crywatch.operations.schedule.flow  # noqa: F401

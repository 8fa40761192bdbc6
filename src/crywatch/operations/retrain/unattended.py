"""One unattended run, from the lock to the record.

What is done is written down before the next step begins, in an order that lets a kill at any point
be gone on from: journal, then state, then message, then record, then the journal's end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from crywatch.core.errors import CrywatchError
from crywatch.core.redact import redacted
from crywatch.operations.retrain import notify, rebuild
from crywatch.operations.retrain.champion import Drift, look_for_drift
from crywatch.operations.retrain.config import RetrainConfig
from crywatch.operations.retrain.decide import Decision, Look, decide, look
from crywatch.operations.retrain.lock import locked
from crywatch.operations.retrain.rebuild import StepFailed
from crywatch.operations.retrain.record import (
    FAILED,
    NOTHING,
    PROMOTED,
    REFUSED,
    Journal,
    Record,
    RunFolder,
    State,
    Step,
)


class Steps(Protocol):
    """What `rebuild.Rebuild` does; tests put their own in its place."""

    def prepare(self, kept_lock: Path) -> list[str]: ...
    def check(self) -> list[str]: ...
    def read(self, corpus: str) -> None: ...
    def repro(self, targets: list[str]) -> None: ...
    def lock(self) -> str: ...
    def keep(self, record_id: str) -> str: ...
    def register(self, by: str, reason: str, answer: Path) -> Any: ...


@dataclass(frozen=True)
class World:
    """What a run meets outside itself; tests give another."""

    rebuild: Callable[..., Steps] = rebuild.Rebuild
    drift: Callable[..., Drift] = look_for_drift
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep


@dataclass
class _Run:
    """What is known so far of the run that is going on."""

    id: str
    started_at: str
    start_s: float
    by: str
    dry_run: bool
    commit: str = ""
    kept_commit: str = ""
    continued: str = ""
    tail: str = ""
    failed_step: str = ""
    reasons: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    decision: Decision = field(default_factory=lambda: Decision(()))
    drift: Drift = field(default_factory=lambda: Drift(""))
    registration: Any = None

    def timed(self, name: str, call: Callable[[], Any]) -> Any:
        """Do a step and note what it took; what fails is noted as the failed step."""
        start_s = time.monotonic()
        try:
            found = call()
        except StepFailed as error:
            self.failed_step, self.tail = error.step, str(error)
            raise
        except (CrywatchError, OSError) as error:
            self.failed_step, self.tail = name, redacted(str(error))
            raise StepFailed(name, self.tail) from error
        except BaseException as error:
            self.failed_step, self.tail = name, f"interrupted ({type(error).__name__})"
            raise
        finally:
            self.steps.append(Step(name, round(time.monotonic() - start_s, 3)))
        return found


def run(
    config: RetrainConfig,
    project: Path,
    by: str = "crywatch retrain",
    force: str = "",
    dry_run: bool = False,
    world: World | None = None,
) -> Record:
    """One run in ``project``, the folder of params.yaml; its record, which is kept.

    ``force`` is a reason to rebuild whatever has changed; ``dry_run`` decides, does and keeps
    nothing. A step that fails is a record with outcome failed, no exception.

    Raises
    ------
    crywatch.operations.retrain.lock.Held
        Another one is running.
    """
    world = world or World()
    project = project.resolve()
    runs = RunFolder(project / config.folder)
    started_at = _text(world.now())
    runs.make()
    with locked(runs.lock, started_at, config.heartbeat_s) as took:
        one = _Run(runs.new_id(started_at), started_at, time.monotonic(), by, dry_run)
        if took:
            one.notes.append(took)
        # Also of a run that gave its lock back: a stage may take longer to end than its run.
        if ended := rebuild.end_left(project):
            one.notes.append(f"{ended} process(es) that an earlier run had left were ended")
        try:
            return _locked_run(one, config, project, runs, force, world)
        except BaseException as error:
            if not isinstance(error, (CrywatchError, OSError)):
                # A bug or an interruption: told as well, and not kept from the caller.
                _end(one, FAILED, f"{type(error).__name__} in {_where(one)}", config, runs, world)
                raise
            one.tail = one.tail or redacted(str(error))
            return _end(one, FAILED, f"failed at {_where(one)}", config, runs, world)


def _where(one: _Run) -> str:
    return one.failed_step or "the look at commit, parameters and corpora"


def _locked_run(
    one: _Run, config: RetrainConfig, project: Path, runs: RunFolder, force: str, world: World
) -> Record:
    from crywatch.core import params

    state, journal = runs.state(), runs.journal()
    if journal is not None and runs.ended(journal.record):
        journal = None  # killed between the record and the journal's end
        if not one.dry_run:
            runs.set_journal(None)
    text = (project / params.PARAMS_FILE).read_text(encoding="utf-8")
    values = _values(config, project, text)
    now = look(project, config, values, runs, state, write=not one.dry_run)
    one.commit = now.recipe.commit
    one.decision = decide(state, now, config.reasons, force)
    one.notes += [*now.notes, *one.decision.notes]
    one.drift = world.drift(
        project, config.recordings, values, runs.compared(), runs.folder / "champion"
    )
    if one.drift.said:
        one.notes.append(one.drift.said)
    one.reasons = one.decision.reasons
    drifted = one.drift.report is not None and bool(one.drift.report.drifted)
    if drifted and "drift" in config.reasons:
        one.reasons += (one.drift.said,)
    journal = _gone_on_with(one, journal, now)
    if not one.reasons:
        if not one.dry_run:
            runs.set_journal(None)
        _adopt(state, now, runs, one.dry_run)
        said = "no new commit, parameters or data"
        return _end(
            one, NOTHING, f"{said}; {one.drift.said}" if drifted else said, config, runs, world
        )
    if one.dry_run:
        return _end(one, NOTHING, f"would rebuild: {'; '.join(one.reasons)}", config, runs, world)
    steps = world.rebuild(
        project,
        now.recipe.commit,
        text if config.params == "project" else None,
        runs.log(one.id),
        (config.notify.webhook_env,) if config.notify.webhook_env else (),
    )
    return _rebuild(one, steps, journal, now, config, runs, world)


def _values(config: RetrainConfig, project: Path, text: str) -> Mapping[str, Any]:
    """Of the params.yaml that counts, as plain containers."""
    import yaml

    from crywatch.core import git, params
    from crywatch.tracking.lineage import YamlLoader

    if config.params == "commit":
        text = git.must(project, "show", f"{config.ref}:{params.PARAMS_FILE}")
    try:
        values = yaml.load(text, YamlLoader)
        return {"corpora": values.get("corpora") or []} | values
    except (yaml.YAMLError, AttributeError) as error:
        raise CrywatchError(f"{params.PARAMS_FILE}: not sections ({error})") from error


def _gone_on_with(one: _Run, journal: Journal | None, now: Look) -> Journal:
    """The journal of this rebuild: the unfinished one if it is of the same things."""
    if journal is not None and journal.key == now.key:
        one.continued = journal.record
        one.reasons = journal.reasons
        stopped = f", which stopped at {journal.stopped}" if journal.stopped else ""
        one.notes.append(f"goes on with run {journal.record}{stopped}")
        return journal
    if journal is not None:
        one.notes.append(f"run {journal.record} is not gone on with: its inputs have changed")
    return Journal(one.id, now.key, one.reasons)


def _adopt(state: State | None, now: Look, runs: RunFolder, dry_run: bool) -> None:
    """Keep what publishers say when they are asked for the first time: there is no before."""
    if state is None or dry_run:
        return
    corpora = {
        name: seen if (old := state.corpora.get(name)) is not None and not old.files else old
        for name, seen in now.corpora.items()
        if name in state.corpora
    }
    if corpora != state.corpora:
        runs.set_state(replace(state, corpora=state.corpora | corpora))


def _rebuild(
    one: _Run,
    steps: Steps,
    journal: Journal,
    now: Look,
    config: RetrainConfig,
    runs: RunFolder,
    world: World,
) -> Record:
    def note(**done: Any) -> None:
        nonlocal journal
        journal = replace(journal, stopped="", **done)
        runs.set_journal(journal)

    if not one.continued:
        runs.set_journal(None)
    note()
    try:
        if journal.registration is None:
            kept = runs.unfinished_lock if runs.unfinished_lock.is_file() else runs.dvc_lock
            one.notes += one.timed("checkout", lambda: steps.prepare(kept))
            one.notes += one.timed("check", steps.check)
            for name in one.decision.read:
                if name not in journal.read:
                    one.timed(f"read {name}", lambda name=name: steps.read(name))
                    runs.put(runs.unfinished_lock, steps.lock())
                    note(read=(*journal.read, name))
            one.timed("dvc repro", lambda: steps.repro(now.targets))
            runs.put(runs.unfinished_lock, steps.lock())
            kept_commit = one.timed("keep", lambda: steps.keep(journal.record))
            began = journal.registering
            note(kept_commit=kept_commit, registering=True)
            answer = runs.folder / "registration.json"
            answer.unlink(missing_ok=True)
            told = one.timed(
                "register", lambda: steps.register(one.by, "; ".join(one.reasons), answer)
            )
            if began and _was_promoted(told, runs.state()):
                told = replace(told, promoted=True)
            note(registration=asdict(told))
    except BaseException:
        runs.set_journal(replace(journal, stopped=one.failed_step))
        raise
    one.registration = rebuild.registration_of(journal.registration)
    one.kept_commit = journal.kept_commit
    outcome, reason = _outcome(one.registration)
    if runs.unfinished_lock.is_file():
        runs.put(runs.dvc_lock, runs.unfinished_lock.read_text(encoding="utf-8"))
    runs.set_state(
        State(
            record=journal.record,
            commit=now.recipe.commit,
            files=now.recipe.files,
            params=now.recipe.params,
            corpora=now.corpora,
            targets=now.targets,
            outcome=outcome,
            version=one.registration.version,
        )
    )
    return _end(one, outcome, reason, config, runs, world, journal.record)


def _was_promoted(told: Any, state: State | None) -> bool:
    """Whether the model that is known already became champion by a command that was killed.

    Of the champion itself no gate is told; one that was rolled back from is told with its gates.
    """
    new = state is None or state.version != told.version
    return told.already and new and not told.gates


def _outcome(registration: Any) -> tuple[str, str]:
    version = f"version {registration.version}"
    if registration.promoted:
        return PROMOTED, f"{version} is the champion: {registration.why}"
    failed = [gate for gate in registration.gates if not gate.passed]
    if failed or not registration.already:
        return REFUSED, f"{version}: {registration.why}"
    return NOTHING, f"the rebuild made {version} again, which is registered: {registration.why}"


def _end(
    one: _Run,
    outcome: str,
    reason: str,
    config: RetrainConfig,
    runs: RunFolder,
    world: World,
    message: str = "",
) -> Record:
    """Write report, message and record, and send what waits; a dry run only gives its record."""
    registration = one.registration
    record = Record(
        id=one.id,
        outcome=outcome,
        reason=reason,
        started_at=one.started_at,
        ended_at=_text(world.now()),
        seconds=round(time.monotonic() - one.start_s, 3),
        commit=one.commit,
        by=one.by,
        kept_commit=one.kept_commit,
        version=None if registration is None else registration.version,
        reasons=one.reasons,
        notes=tuple(one.notes),
        steps=tuple(one.steps),
        failed_step=one.failed_step,
        tail=one.tail,
        continued=one.continued,
        dry_run=one.dry_run,
        changes=one.decision.changes,
        registration=registration,
        drift=one.drift.report,
    )
    if one.dry_run:
        return record
    if outcome != NOTHING or one.steps or record.drift is not None:
        from crywatch.operations.retrain import pages

        page = runs.report(one.id, "html")
        record = replace(record, report=f"{config.folder}/reports/{page.name}")
        for suffix in ("html", "md"):
            runs.put(runs.report(one.id, suffix), pages.render(record, suffix))
    if notify.wanted(record, config.notify):
        notify.post(record, config.notify, runs.outbox, message or one.id)
    runs.write(record)
    if one.drift.recordings:
        # A new champion has other training data: the next run compares with it.
        runs.set_compared("" if outcome == PROMOTED else one.drift.recordings)
    if message:
        runs.set_journal(None)
    said = notify.deliver(config.notify, runs.outbox, world.sleep)
    if said:
        record = replace(record, notes=(*record.notes, *said))
        runs.write(record)
    runs.prune(config.keep_records)
    return record


def _text(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

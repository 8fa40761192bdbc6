"""One unattended run, from the lock to the record.

What is done is written down before the next step begins, in an order that lets the next run go on
after a kill at any point: journal, then state, then message, then record, then the journal's end.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crywatch.core import params
from crywatch.core.errors import CrywatchError
from crywatch.core.redact import redacted
from crywatch.operations import worktree
from crywatch.operations.register import Registration
from crywatch.operations.retrain import notify, rebuild
from crywatch.operations.retrain.champion import Drift, look_for_drift
from crywatch.operations.retrain.config import RetrainConfig
from crywatch.operations.retrain.decide import Decision, decide
from crywatch.operations.retrain.lock import locked
from crywatch.operations.retrain.look import PUBLISHERS, Look, look
from crywatch.operations.retrain.rebuild import Rebuild, StepFailed
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


@dataclass(frozen=True)
class World:
    """What a run meets outside itself; tests give another."""

    rebuild: Callable[..., Rebuild] = Rebuild
    look: Callable[..., Look] = look
    drift: Callable[..., Drift] = look_for_drift
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep


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
    crywatch.operations.retrain.lock.AlreadyRunning
        Another retraining is at work.
    """
    world = world or World()
    project = project.resolve()
    runs = RunFolder(project / config.folder)
    started_at = _utc(world.now())
    runs.make()
    with locked(runs.lock, started_at, config.heartbeat_s) as takeover:
        session = _Session(config, project, runs, world, started_at, by, dry_run)
        if takeover:
            session.notes.append(takeover)
        # Also of a run that gave its lock back: a stage may take longer to end than its run.
        if count := rebuild.end_left(project):
            session.notes.append(f"{count} process(es) that an earlier run had left were ended")
        try:
            return session.decide_and_rebuild(force)
        except BaseException as error:
            where = session.failed_step or "the look at commit, parameters and corpora"
            if not isinstance(error, (CrywatchError, OSError)):
                # A bug or an interruption: recorded as well, and not kept from the caller.
                session.end(FAILED, f"{type(error).__name__} in {where}")
                raise
            session.tail = session.tail or redacted(str(error))
            return session.end(FAILED, f"failed at {where}")


class _Session:
    """A run that is going on, and what is known of it so far."""

    def __init__(
        self,
        config: RetrainConfig,
        project: Path,
        runs: RunFolder,
        world: World,
        started_at: str,
        by: str,
        dry_run: bool,
    ):
        self.config, self.project, self.runs, self.world = config, project, runs, world
        self.id = runs.new_id(started_at)
        self.started_at, self.start_s = started_at, time.monotonic()
        self.by, self.dry_run = by, dry_run
        self.commit = self.kept_commit = self.continued = self.tail = self.failed_step = ""
        self.reasons: tuple[str, ...] = ()
        self.notes: list[str] = []
        self.steps: list[Step] = []
        self.decision = Decision(())
        self.drift = Drift("")
        self.registration: Registration | None = None

    def decide_and_rebuild(self, force: str) -> Record:
        """Everything between the lock and the record."""
        config, runs = self.config, self.runs
        state, journal = runs.state(), runs.journal()
        if journal is not None and runs.ended(journal.record):
            journal = None  # killed between the record and the journal's end
            if not self.dry_run:
                runs.set_journal(None)
        steps = self._prepare()
        before = {} if state is None else state.corpora
        now = self.world.look(
            steps.folder, self.commit, list(config.targets), config.check_publishers, before
        )
        self.decision = decide(state, now, config.reasons, force)
        self.notes += [*now.notes, *self.decision.notes]
        self.drift = self.world.drift(
            self.project,
            config.recordings,
            params.plain(path=steps.folder / params.PARAMS_FILE),
            runs.compared(),
            runs.folder / "champion",
        )
        if self.drift.note:
            self.notes.append(self.drift.note)
        self.reasons = self.decision.reasons
        has_drift = self.drift.report is not None and bool(self.drift.report.drifted)
        if has_drift and "drift" in config.reasons:
            self.reasons += (self.drift.note,)
        journal = self._resume(journal, now)
        if not self.reasons:
            if not self.dry_run:
                runs.set_journal(None)
                self._adopt_first_answers(state, now)
            reason = "no new commit, parameters or data"
            return self.end(NOTHING, f"{reason}; {self.drift.note}" if has_drift else reason)
        if self.dry_run:
            return self.end(NOTHING, f"would rebuild: {'; '.join(self.reasons)}")
        return self._rebuild(steps, journal, now)

    def _prepare(self) -> Rebuild:
        """The copy of the project at the wanted commit, in which DVC looks and works."""
        try:
            self.commit = worktree.resolve(self.project, self.config.ref)
        except CrywatchError as error:
            message = f"retrain.ref: {self.config.ref!r} is no commit of this project ({error})"
            raise CrywatchError(message) from error
        own = self.config.params == "project"
        webhook_env = self.config.notify.webhook_env
        steps = self.world.rebuild(
            self.project,
            self.commit,
            (self.project / params.PARAMS_FILE).read_text(encoding="utf-8") if own else None,
            self.runs.log(self.id),
            (webhook_env,) if webhook_env else (),
        )
        unfinished, last = self.runs.unfinished_lock, self.runs.dvc_lock
        self.notes += steps.prepare(unfinished if unfinished.is_file() else last)
        return steps

    def _resume(self, journal: Journal | None, now: Look) -> Journal:
        """The journal of this rebuild: the unfinished one if it is of the same things."""
        if journal is not None and journal.key == now.key:
            self.continued = journal.record
            self.reasons = journal.reasons
            stop = f", which stopped at {journal.stopped}" if journal.stopped else ""
            self.notes.append(f"goes on with run {journal.record}{stop}")
            return journal
        if journal is not None:
            self.notes.append(f"run {journal.record} is dropped: its inputs have changed")
        return Journal(self.id, now.key, self.reasons)

    def _adopt_first_answers(self, state: State | None, now: Look) -> None:
        """Keep what publishers say when they are asked for the first time: there is no before."""
        if state is None:
            return
        first = {
            name: source
            for name, source in now.corpora.items()
            if source.kind == PUBLISHERS and source.files
            if name in state.corpora and not state.corpora[name].files
        }
        if first:
            self.runs.set_state(replace(state, corpora=state.corpora | first))

    def _step(self, name: str, call: Callable[..., Any], *args: Any) -> Any:
        """Do a step and note what it took; what fails is noted as the failed step."""
        start_s = time.monotonic()
        try:
            return call(*args)
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

    def _rebuild(self, steps: Rebuild, journal: Journal, now: Look) -> Record:
        runs = self.runs

        def note(**progress: Any) -> None:
            nonlocal journal
            journal = replace(journal, stopped="", **progress)
            runs.set_journal(journal)

        if not self.continued:
            runs.set_journal(None)
        note()
        try:
            if journal.registration is None:
                self.notes += self._step("check", steps.check)
                for name in self.decision.fetch:
                    if name not in journal.read:
                        self._step(f"fetch {name}", steps.fetch, name)
                        runs.put(runs.unfinished_lock, steps.lock())
                        note(read=(*journal.read, name))
                self._step("dvc repro", steps.repro, now.targets, now.away)
                runs.put(runs.unfinished_lock, steps.lock())
                kept_commit = self._step("keep", steps.keep, journal.record)
                was_registering = journal.registering
                note(kept_commit=kept_commit, registering=True)
                answer = runs.folder / "registration.json"
                answer.unlink(missing_ok=True)
                made = self._step(
                    "register", steps.register, self.by, "; ".join(self.reasons), answer
                )
                if was_registering and _was_promoted(made, runs.state()):
                    made = replace(made, promoted=True)
                note(registration=asdict(made))
        except BaseException:
            runs.set_journal(replace(journal, stopped=self.failed_step))
            raise
        assert journal.registration is not None
        self.registration = rebuild.registration_of(journal.registration)
        self.kept_commit = journal.kept_commit
        outcome, reason = _outcome(self.registration)
        if runs.unfinished_lock.is_file():
            runs.put(runs.dvc_lock, runs.unfinished_lock.read_text(encoding="utf-8"))
        runs.set_state(
            State(
                record=journal.record,
                commit=now.commit,
                files=now.inputs.files,
                params=now.inputs.params,
                corpora=now.corpora,
                targets=now.targets,
                outcome=outcome,
                version=self.registration.version,
            )
        )
        return self.end(outcome, reason, journal.record)

    def end(self, outcome: str, reason: str, message: str = "") -> Record:
        """Write report, message and record, and send what waits; a dry run only gives its record.

        ``message`` names the rebuild that came to its end, so that a second message replaces it.
        """
        config, runs = self.config, self.runs
        record = Record(
            id=self.id,
            outcome=outcome,
            reason=reason,
            started_at=self.started_at,
            ended_at=_utc(self.world.now()),
            seconds=round(time.monotonic() - self.start_s, 3),
            commit=self.commit,
            by=self.by,
            kept_commit=self.kept_commit,
            version=None if self.registration is None else self.registration.version,
            reasons=self.reasons,
            notes=tuple(self.notes),
            steps=tuple(self.steps),
            failed_step=self.failed_step,
            tail=self.tail,
            continued=self.continued,
            dry_run=self.dry_run,
            changes=self.decision.changes,
            registration=self.registration,
            drift=self.drift.report,
        )
        if self.dry_run:
            return record
        if outcome != NOTHING or self.steps or record.drift is not None:
            from crywatch.operations.retrain import pages

            record = replace(record, report=f"{config.folder}/reports/{self.id}.html")
            for suffix in ("html", "md"):
                runs.put(runs.report(self.id, suffix), pages.render(record, suffix))
        if notify.wanted(record, config.notify):
            notify.post(record, config.notify, runs.outbox, message or self.id)
        runs.write(record)
        if self.drift.recordings:
            # A new champion has other training data: the next run compares with it.
            runs.set_compared("" if outcome == PROMOTED else self.drift.recordings)
        if message:
            runs.set_journal(None)
        undelivered = notify.deliver(config.notify, runs.outbox, self.world.sleep)
        if undelivered:
            record = replace(record, notes=(*record.notes, *undelivered))
            runs.write(record)
        runs.prune(config.keep_records)
        return record


def _was_promoted(registration: Registration, state: State | None) -> bool:
    """Whether the model that is known already became champion by a command that was killed.

    The champion itself has no gates in the answer; one that was rolled back from has them.
    """
    new = state is None or state.version != registration.version
    return registration.already and new and not registration.gates


def _outcome(registration: Registration) -> tuple[str, str]:
    version = f"version {registration.version}"
    if registration.promoted:
        return PROMOTED, f"{version} is the champion: {registration.why}"
    failed = [gate for gate in registration.gates if not gate.passed]
    if failed or not registration.already:
        return REFUSED, f"{version}: {registration.why}"
    return NOTHING, f"the rebuild made {version} again, which is registered: {registration.why}"


def _utc(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

"""Journals that earlier stages left, delivered in the order in which they were begun."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from crywatch.core import params
from crywatch.core.atomic import TEMP_PREFIX
from crywatch.core.lock import FileLock
from crywatch.tracking import parent, spool, store
from crywatch.tracking.failure import reason
from crywatch.tracking.journal import LOCK, Journal
from crywatch.tracking.replay import Replay, StoreLost
from crywatch.tracking.store import Store, Target, TrackingConfig

PATIENT_S = 60  # for an answer, when nothing waits for the command
ABANDONED_S = 3600.0


@dataclass(frozen=True)
class Delivery:
    """What became of one journal."""

    name: str  # of the stage
    address: str  # of the store that it is for
    records: int  # delivered
    left: int  # records that are still in the spool
    why: str = ""  # the rest is left, or what the store refused
    running: bool = False  # the stage itself delivers it

    def line(self) -> str:
        """For a person."""
        if self.running:
            return f"{self.name}: still running, and sends its own records"
        said = f"{self.name}: {self.records} records to {self.address}"
        if self.left:
            said += f", {self.left} left"
        return f"{said}; {self.why}" if self.why else said


def leftovers(opened: Store, target: Target, stopped: Callable[[], bool]) -> None:
    """What earlier stages left for this store; those that are held elsewhere are passed over.

    Each goes to its own experiment.

    Raises
    ------
    StoreLost
        The store is gone.
    """
    _sweep()
    experiments = {target.experiment: opened}
    for folder in spool.journals():
        journal = Journal.claim(folder)
        if journal is None:
            continue
        try:
            if journal.head.get("store") != target.address:
                continue
            name = journal.head["experiment"]
            if name not in experiments:
                experiments[name] = store.open_at(replace(target, experiment=name))
            done = _deliver(experiments[name], journal, stopped)
            if done.left and not _answers(opened, target):
                raise StoreLost(done.why)
        finally:
            journal.close()


def deliver(here: bool = False) -> Iterator[Delivery]:
    """Every journal of the spool, each to its own store, or with ``here`` to the present one.

    Raises
    ------
    ConfigError
        params.yaml does not name a store.
    """
    store.be_quiet_and_quick(PATIENT_S)
    present = store.target(params.section("tracking", TrackingConfig))
    opened: dict[Target, Store | str] = {}
    _sweep()
    for folder in spool.journals():
        journal = Journal.claim(folder)
        if journal is None:
            if folder.is_dir():
                yield Delivery(_name(folder), "", 0, 0, running=True)
            continue
        try:
            yield _one(journal, present, here, opened)
        finally:
            journal.close()
    for found in opened.values():
        if isinstance(found, Store):
            with contextlib.suppress(Exception):  # the next stage does it too
                parent.mark_killed(found)


def _one(
    journal: Journal, present: Target, here: bool, opened: dict[Target, Store | str]
) -> Delivery:
    head = journal.head
    if not head:
        return Delivery(_name(journal.folder), "", 0, journal.left(), "its head.json is damaged")
    target = present
    if not here and head["store"] != present.address:
        target = Target(head["store"], head["experiment"], None)
    elif not here:
        target = replace(present, experiment=head["experiment"])
    if target not in opened:
        try:
            opened[target] = store.open_at(target)
        except Exception as error:  # whatever a store or its driver raises
            opened[target] = reason(error)
    found = opened[target]
    if isinstance(found, str):
        return Delivery(head["name"], target.address, 0, journal.left(), found)
    done = _deliver(found, journal, lambda: False)
    if done.left and not _answers(found, target):
        opened[target] = done.why
    return done


def _deliver(opened: Store, journal: Journal, stopped: Callable[[], bool]) -> Delivery:
    refused: list[str] = []
    replay = Replay(opened, journal, lambda error: refused.append(reason(error)), stopped)
    name, address = journal.head["name"], journal.head["store"]
    before = journal.done_count
    try:
        replay.deliver()
        replay.bury()
    except StoreLost as lost:
        why = reason(lost.__cause__ or lost)
        count = journal.done_count - before
        return Delivery(name, address, count, max(journal.left(), 1), why)
    count = journal.done_count - before
    journal.finish()
    return Delivery(name, address, count, 0, f"refused: {refused[0]}" if refused else "")


def _answers(opened: Store, target: Target) -> bool:
    """Whether it is there, and only one journal cannot be delivered to it."""
    try:
        opened.client.get_experiment_by_name(target.experiment)
    except Exception:  # whatever the store or its driver raises
        return False
    return True


def _name(folder: Path) -> str:
    heads = [head for head in spool.heads() if folder.name.endswith(str(head.get("key")))]
    return heads[0]["name"] if heads else folder.name


def _sweep() -> None:
    """Take away what is left where one was killed while it began or ended a journal."""
    for folder in spool.folder().glob(f"{TEMP_PREFIX}*"):
        lock = FileLock(folder / LOCK)
        try:
            if time.time() - folder.stat().st_mtime > ABANDONED_S and lock.take():
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue
        finally:
            lock.free()

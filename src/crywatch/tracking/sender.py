"""Journals on their way to the store: the one process that sends them, and `crywatch deliver`.

A stage begins the process where none works (`launch`), and goes on. It sends what stages record
while they work, in the order in which they were begun, and what earlier ones left.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crywatch.core import params
from crywatch.core.lock import FileLock
from crywatch.tracking import entries, launch, parent, store
from crywatch.tracking import journal as spool
from crywatch.tracking.journal import Journal
from crywatch.tracking.replay import Replay, StoreLost
from crywatch.tracking.store import Store, Target, TrackingConfig, reason

PASS_S = 0.5  # between two looks at what there is
RETRY_S, MOST_RETRY_S = 1.0, 60.0  # doubled each time
LATELY_S = 2.0  # a store that was lost so short a time ago is not asked once more
PATIENT_S = 60  # for an answer, and for another sender, when nothing waits for the command
NICENESS = 10  # stages first


@dataclass(frozen=True)
class Delivery:
    """What became of one journal."""

    name: str  # of the stage
    address: str  # of the store that it is for
    records: int  # delivered
    left: int  # records that are still in the spool
    why: str = ""  # the rest is left, or what the store refused
    running: bool = False  # its stage works, and will record more

    def line(self) -> str:
        """For a person."""
        text = f"{self.name}: {self.records} records to {self.address}"
        if self.running:
            text += ", still running"
        if self.left:
            text += f", {self.left} left"
        return f"{text}; {self.why}" if self.why else text


class Courier:
    """Carries journals to one store; ``here``: to the target's experiment, and not to their own."""

    def __init__(self, target: Target, here: bool = False) -> None:
        self.lost = ""  # why the store is gone, after the last round
        self._target, self._here = target, here
        self._stores: dict[str, Store] = {}  # by experiment
        self._journals: dict[Path, Journal] = {}
        self._replays: dict[Path, Replay] = {}
        self._refusals: list[str] = []

    def carry(self, folders: Iterable[Path]) -> Iterator[Delivery]:
        """Deliver what there is of each journal; those whose stages are gone are ended."""
        self.lost = ""
        for folder in folders:
            journal = self._journals.get(folder) or Journal.open(folder)
            if journal is not None:
                self._journals[folder] = journal
                yield self._deliver(journal)

    def any_open(self) -> bool:
        """Whether a stage works whose journal was carried."""
        return not all(journal.is_over() for journal in self._journals.values())

    def settle(self) -> None:
        """What no journal tells: runs that were killed, and what DVC wrote of those that ended."""
        with contextlib.suppress(Exception):  # whatever the store raises: the next one does it too
            if not self.lost and (self._stores or entries.are_waiting()):
                destination = self._store(self._target.experiment)
                parent.mark_killed(destination)
                entries.settle(destination)

    def close(self) -> None:
        """Leave the journals to the next one."""
        for journal in self._journals.values():
            journal.close()

    def _store(self, experiment: str) -> Store:
        if experiment not in self._stores:
            self._stores[experiment] = store.open_at(replace(self._target, experiment=experiment))
        return self._stores[experiment]

    def _deliver(self, journal: Journal) -> Delivery:
        name, done = journal.head["name"], journal.done_count
        over = journal.is_over()  # first: what comes after it is read below

        def delivery(left: int = 0, why: str = "", running: bool = False) -> Delivery:
            count = journal.done_count - done
            return Delivery(name, self._target.address, count, left, why, running)

        if self.lost:
            return delivery(max(journal.left(), 1), self.lost)
        journal.sync()
        self._refusals.clear()
        try:
            replay = self._replay(journal)
            replay.deliver()
            if over:
                replay.bury()
        except StoreLost as lost:
            why = reason(lost.__cause__ or lost)
            if not self._answers():
                self.lost = why
            return delivery(max(journal.left(), 1), why)
        if over or replay.ended:
            journal.finish()
            del self._journals[journal.folder], self._replays[journal.folder]
        refused = f"refused: {self._refusals[0]}" if self._refusals else ""
        return delivery(why=refused, running=not (over or replay.ended))

    def _replay(self, journal: Journal) -> Replay:
        if journal.folder not in self._replays:
            experiment = self._target.experiment if self._here else journal.head["experiment"]
            try:
                destination = self._store(experiment)
            except Exception as error:  # whatever the store or its driver raises
                raise StoreLost from error
            self._replays[journal.folder] = Replay(destination, journal, self._refuse)
        return self._replays[journal.folder]

    def _refuse(self, error: BaseException) -> None:
        self._refusals.append(f"{type(error).__name__}: {reason(error)}")

    def _answers(self) -> bool:
        """Whether it is there, and only one journal cannot be delivered to it."""
        try:
            destination = self._store(self._target.experiment)
            destination.client.get_experiment_by_name(self._target.experiment)
        except Exception as error:  # whatever the store or its driver raises
            return not store.store_is_lost(error)
        return True


class Sender:
    """Sends the journals of one store until there is nothing more to do for ``linger_s``."""

    def __init__(self, target: Target, linger_s: float, lock: FileLock) -> None:
        self._target, self._linger_s, self._lock = target, linger_s, lock
        self._courier = Courier(target)
        self._heads: dict[Path, dict[str, Any]] = {}
        self._closing = threading.Event()
        self._lost_s: float | None = None
        self._retry_s = RETRY_S
        self._said: set[str] = set()

    def close(self) -> None:
        """Have it send what there is, and end."""
        self._closing.set()

    def run(self) -> None:
        """Until it is closed, or has had nothing to do."""
        store.be_quiet_and_quick()
        spool.sweep_spool()
        busy_s = time.monotonic()
        while True:
            closing = self._closing.is_set()
            folders = self._mine()
            if folders and self._may_try(closing):
                self._send(folders)
            if self._courier.any_open() or (folders and self._lost_s is None):
                busy_s = time.monotonic()
            if closing or time.monotonic() - busy_s >= self._linger_s:
                self._courier.settle()
                # A stage that has begun since may have found the lock still taken.
                self._lock.free()
                if closing or set(self._mine()) <= set(folders) or not self._lock.take():
                    break
                self._say_number()
            self._closing.wait(PASS_S)
        self._courier.close()

    def begin(self) -> None:
        """As a process: SIGTERM closes it, and its number is in the lock's file."""
        signal.signal(signal.SIGTERM, lambda number, frame: self.close())
        self._say_number()
        try:
            self.run()
        except Exception as error:  # nobody waits for the process: the next stage tells it
            launch.note_trouble(f"{reason(error)}; what was not sent is sent later")
            raise

    def _say_number(self) -> None:
        os.ftruncate(self._lock.handle, 0)
        os.pwrite(self._lock.handle, str(os.getpid()).encode(), 0)

    def _mine(self) -> list[Path]:
        """Journals for this store."""
        folders = spool.journals()
        for folder in folders:
            if folder not in self._heads:
                with contextlib.suppress(OSError, ValueError):
                    self._heads[folder] = spool.read_head(folder)
        return [
            folder
            for folder in folders
            if self._heads.get(folder, {}).get("store") == self._target.address
        ]

    def _may_try(self, closing: bool) -> bool:
        if self._lost_s is None:
            return True
        return time.monotonic() - self._lost_s >= (LATELY_S if closing else self._retry_s)

    def _send(self, folders: list[Path]) -> None:
        left = False
        for delivery in self._courier.carry(folders):
            left = left or bool(delivery.left)
            if delivery.left:
                self._tell(f"{delivery.why}; stages go on, and their records are sent later")
            elif delivery.why:
                self._tell(f"{delivery.name}: {delivery.why}; this was not logged")
        if not left:
            self._lost_s, self._retry_s = None, RETRY_S
            return
        if self._lost_s is not None:
            self._retry_s = min(self._retry_s * 2, MOST_RETRY_S)
        self._lost_s = time.monotonic()

    def _tell(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            launch.note_trouble(text)


def deliver(here: bool = False) -> Iterator[Delivery]:
    """Deliver every journal of the spool to its own store, or with ``here`` to the present one.

    Raises
    ------
    ConfigError
        params.yaml does not name a store.
    """
    store.be_quiet_and_quick(PATIENT_S)
    present = store.target(params.section("tracking", TrackingConfig))
    spool.sweep_spool()
    by_target: dict[Target, list[Path]] = {present: []}
    addresses: dict[Target, set[str]] = {}
    for folder in spool.journals():
        try:
            address = spool.read_head(folder)["store"]
        except FileNotFoundError:  # delivered a moment ago
            continue
        except (OSError, ValueError, KeyError):
            left = Journal(folder, {}, FileLock(folder / spool.LOCK)).left()
            yield Delivery(folder.name, "", 0, left, "its head.json is damaged")
            continue
        elsewhere = not here and address != present.address
        target = Target(address, present.experiment, None) if elsewhere else present
        by_target.setdefault(target, []).append(folder)
        addresses.setdefault(target, set()).add(address)
    for target, folders in by_target.items():
        if not folders and not entries.are_waiting():
            continue
        with contextlib.ExitStack() as stack:
            locks = sorted(addresses.get(target, set()) | {target.address})
            alone = [stack.enter_context(launch.sole(one, PATIENT_S)) for one in locks]
            courier = Courier(target, here)
            stack.callback(courier.close)
            if all(alone):
                yield from courier.carry(folders)
                courier.settle()
                continue
            for folder in folders:
                why = "another process is sending it"
                yield Delivery(folder.name, target.address, 0, 1, why)


def settle(destination: Store) -> None:
    """Bring a store up to date: all that stages recorded, and what DVC has written of them."""
    for _ in deliver():
        pass
    entries.settle(destination)


def send_own(target: Target, journal: Journal, told: Callable[[str], None], wait_s: float) -> bool:
    """Whether the store has got a journal of this process, which the disk had no room for."""

    def refused(error: BaseException) -> None:
        told(f"{type(error).__name__}: {reason(error)}; this was not logged")

    with launch.sole(target.address, wait_s):
        try:
            store.be_quiet_and_quick()
            journal.reread()
            Replay(store.open_at(target), journal, refused).deliver()
        except Exception as error:  # whatever the store or its driver raises
            told(f"{reason(error.__cause__ or error)}; this stage goes on")
            return False
        journal.finish()
        return True


def main() -> None:
    """The process: its target comes on standard input, its lock by number of the open file."""
    about = json.load(sys.stdin)
    linger_s = about.pop("linger_s")
    target = Target(**about)
    lock = launch.lock_of(target.address)
    lock.handle = int(sys.argv[1])
    os.nice(NICENESS)
    os.umask(0o077)  # what MLflow makes is closed to others
    Sender(target, linger_s, lock).begin()
    log = launch.log_file(lock)
    with contextlib.suppress(OSError):
        if not log.stat().st_size:
            log.unlink()


if __name__ == "__main__":
    main()

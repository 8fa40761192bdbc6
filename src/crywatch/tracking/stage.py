"""One run a stage: what a stage calls to record itself.

The path of a record: `StageRun` writes it to a journal on disk (`journal`), and another process
(`launch`, `sender`) reads that and does it to the store (`replay`). A store that is slow or gone
neither stops a stage nor loses what it recorded, and a stage does without MLflow.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import psutil

from crywatch.core import params
from crywatch.core.digest import file_sha256
from crywatch.core.errors import CrywatchError, is_of_storage
from crywatch.core.project import close
from crywatch.core.redact import guard_tracebacks, redacted
from crywatch.core.threads import one_thread_each
from crywatch.tracking import entries, journal, launch, lineage, parent, store, sweeps
from crywatch.tracking.journal import Clock, Journal
from crywatch.tracking.store import Target, TrackingConfig, reason, warn

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

STOPPED_WAIT_S = 5.0  # whoever stops a stage does not wait long
# Mappings of a section with one entry a key.
FOREACH_SECTIONS = ("variants", "datasets", "losses", "models", "recipes")
SIGTERM_EXIT = 128 + signal.SIGTERM


class StageRun:
    """What a stage records of itself; what cannot be kept at all is warned of.

    Tags tie a run to DVC: ``dvc.lock.before`` is the digest of the stage's entry in dvc.lock when
    it started (empty for a new stage), and ``dvc.lock.entry`` that of the entry which DVC wrote
    once the stage had ended (`entries`), both as `lineage.entry_digest` makes them. They are equal
    if the stage was repeated and gave the same.
    """

    def __init__(self) -> None:
        self._journal: Journal | None = None
        self._target: Target
        self._config: TrackingConfig
        self._pid = os.getpid()
        self._warned_full = False
        self._values: dict[str, Any] = {}  # all parameters, those of the studies too

    def metrics(self, values: Mapping[str, float | None], step: int | None = None) -> None:
        """Numbers, with a step for those of an epoch; sent in batches."""
        numbers = {name: float(value) for name, value in values.items() if value is not None}
        if numbers:
            self._record("metrics", of=numbers, step=step)

    def headline(self, values: Mapping[str, float | None]) -> None:
        """Metrics that the parent run shows too."""
        self.metrics(values)
        numbers = {name: float(value) for name, value in values.items() if value is not None}
        if numbers:
            self._record("headline", of=numbers)

    def tags(self, values: Mapping[str, str]) -> None:
        """Text to find and group runs by."""
        if values:
            self._record("tags", of={name: str(value) for name, value in values.items()})

    def figure(self, figure: Figure, name: str) -> None:
        """A matplotlib figure, e.g. ``roc.png``."""
        self._make(f"figures/{name}", figure.savefig)

    def text(self, text: str, name: str) -> None:
        """A text file."""
        self._make(name, lambda path: path.write_text(redacted(text), encoding="utf-8"))

    def artifact(self, path: Path | str, folder: str = "") -> None:
        """A file or folder, as it is now."""

        def keep(journal: Journal) -> None:
            kept = journal.keep(Path(path))
            self._record("artifact", path=_inside(journal, kept), folder=folder)

        self._try(keep)

    def table(self, frame: DataFrame, name: str) -> None:
        """A data frame as CSV."""
        self.text(frame.to_csv(index=False), f"tables/{name}")

    def dataset(self, name: str, path: Path | str) -> None:
        """A table that the stage used, with its digest."""

        def record(journal: Journal) -> None:
            digest = file_sha256(path)[: entries.MAX_DIGEST]
            self._record("inputs", of=[(name, digest, "local", Path(path).as_posix())])

        self._try(record)

    def model(self, name: str, folder: Path | str) -> None:
        """A model folder as a pyfunc with signature and input example.

        The corpora that it was trained on, their licences and whether commercial use is allowed are
        tags of the model and of the run.
        """

        def save(journal: Journal) -> None:
            from crywatch.tracking import pyfunc

            tags: dict[str, str] = {}
            path = journal.make("model", lambda at: tags.update(pyfunc.collect(Path(folder), at)))
            self.tags(tags)
            self._record("model", name=name, path=_inside(journal, path), tags=tags)

        self._try(save)

    def _start(self, stage: str, key: str | None, age_s: float = 0.0) -> None:
        """Begin the run of a stage that began ``age_s`` ago."""
        name = f"{stage}@{key}" if key else stage
        try:
            self._values = params.everything()
            self._begin(stage, key, name, int(1000 * age_s))
        except Exception as error:  # parameters or folders that cannot be read
            warn(f"{reason(error)}; this stage goes on unrecorded")
            return
        self._try(lambda journal: self._tie(stage, key, name))
        self._launch()

    def _begin(self, stage: str, key: str | None, name: str, age_ms: int) -> None:
        self._config = params.section("tracking", TrackingConfig)
        self._target = store.target(self._config)
        profile, commit = str(self._values.get("profile", "")), lineage.commit()
        began_ms = Clock().now_ms() - age_ms
        tags = parent.common_tags(profile, commit) | {
            parent.PROCESS: parent.this_process().text,
            parent.STAGE: name,
            "stage": stage,
            "variant": key or "",
            "dvc.stage": name,
        }
        if key and key in self._values.get("corpora", []):
            tags["corpus"] = key
        rebuild = parent.this_rebuild(profile, commit, began_ms)
        run_key = uuid.uuid4().hex  # what the run is found by, in the store and in the spool
        head = {
            "key": run_key,
            "name": name,
            "at": began_ms,
            "tags": tags,
            "rebuild": asdict(rebuild) | {"queue": sweeps.facts(profile, commit, rebuild)},
            "store": self._target.address,
            "experiment": self._target.experiment,
        }
        try:
            self._journal = journal.create(head)
        except OSError as error:
            self._full(error)
            self._journal = Journal.temporary(run_key, head)
        self._journal.on_full = self._full

    def _launch(self) -> None:
        """See that somebody sends what is recorded, and tell what the sender has met."""
        try:
            launch.ensure(self._target, self._config.linger_s)
        except OSError as error:
            self._full(error)
        launch.tell_troubles()

    def _tie(self, stage: str, key: str | None, name: str) -> None:
        """Record what dvc.lock says of this stage and of those that ended before it."""
        try:
            lock = lineage.lock_stages()
        except Exception as error:  # a lock that git merged badly, say
            self._not_logged(error)
            lock = {}
        for entry in entries.late_entries(beginning=True):
            self._record("entry", key=entry.key, of=entry.facts)
            entry.note.unlink(missing_ok=True)
        before = lock.get(name)
        self._log_params(stage, key, before.params if before else {})
        self.tags({"dvc.lock.before": lineage.entry_digest(before) if before else ""})
        if before:
            facts = entries.facts(name, lock)
            for what in ("inputs", "skipped"):
                if facts[what]:
                    self._record(what, of=facts[what])

    def _log_params(self, stage: str, key: str | None, in_lock: dict[str, Any]) -> None:
        """The stage's section of params.yaml, and the others that dvc.lock has for it."""
        values = self._values
        section = dict(values.get(stage) or {})
        for name in FOREACH_SECTIONS:
            items = section.get(name)
            if key and isinstance(items, dict) and key in items:
                section |= section.pop(name)[key]
        for name in entries.of_other_sections(stage, in_lock):
            value: Any = values
            for part in name.split("."):
                value = value.get(part, {}) if isinstance(value, dict) else {}
            section[name] = value
        section |= {"seed": values.get("seed"), "schedule": values.get("schedule", {})}
        self._record("params", of=lineage.logged(section))

    def _make(self, name: str, write: Callable[[Path], Any]) -> None:
        def make(journal: Journal) -> None:
            path = journal.make(Path(name).name, write)
            folder = Path(name).parent.as_posix()
            folder = "" if folder == "." else folder
            self._record("artifact", path=_inside(journal, path), folder=folder)

        self._try(make)

    def _end(self, status: str, seconds: float) -> None:
        peak_kib = sum(
            resource.getrusage(who).ru_maxrss
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        self.metrics({"duration_s": seconds, "peak_memory_mib": peak_kib / 1024})
        self._record("end", status=status)
        if self._journal is None or os.getpid() != self._pid:
            return
        if status == "FINISHED" and parent.rebuild_process() != parent.this_process():
            self._try(lambda own: entries.note(own.head["key"], own.head["name"], self._values))
        if self._journal.only_here:
            self._send(self._journal, STOPPED_WAIT_S if status == "KILLED" else self._config.wait_s)
        self._journal.close()
        self._launch()

    def _send(self, journal: Journal, wait_s: float) -> None:
        """Send what the disk had no room for from this process: nobody else can."""
        from crywatch.tracking.sender import send_own

        sending = threading.Thread(
            target=send_own, args=(self._target, journal, warn, wait_s), daemon=True
        )
        sending.start()
        sending.join(wait_s)
        if left := journal.left():
            warn(f"{left} records are left in {journal.folder}; `crywatch deliver` sends them")

    def _record(self, do: str, **what: Any) -> None:
        # A forked worker says nothing.
        if self._journal is None or os.getpid() != self._pid:
            return
        self._journal.append(do, **what)

    def _try(self, action: Callable[[Journal], Any]) -> None:
        if self._journal is None or os.getpid() != self._pid:
            return
        try:
            action(self._journal)
        except Exception as error:  # whatever a file, a figure or a model raises
            self._not_logged(error)

    def _not_logged(self, error: BaseException) -> None:
        warn(f"{type(error).__name__}: {reason(error)}; this was not logged")

    def _full(self, error: OSError) -> None:
        if not self._warned_full:
            self._warned_full = True
            warn(f"{reason(error)}: no room to keep records for later; this stage goes on")


def _age_s() -> float:
    """Of this process."""
    began_s = psutil.Process().create_time()
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    if clock is None:
        return max(0.0, time.time() - began_s)
    # Linux counts from its boot, whose time is known to the second only.
    return time.clock_gettime(clock) - (began_s - psutil.boot_time())


def _inside(journal: Journal, path: Path) -> str:
    """A path as a record names it."""
    if path.is_relative_to(journal.folder):
        return path.relative_to(journal.folder).as_posix()
    return str(path)


class _Sigterm:
    """While it is entered, SIGTERM unwinds the stage, so that its run can be ended."""

    def __init__(self) -> None:
        self.came = False
        self._pid = os.getpid()

    def __enter__(self) -> _Sigterm:
        self._usable = threading.current_thread() is threading.main_thread()
        if self._usable:
            self._before = signal.signal(signal.SIGTERM, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        if self._usable:
            signal.signal(signal.SIGTERM, self._before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:  # a forked worker just ends
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        elif not self.came:
            self.came = True
            raise SystemExit(SIGTERM_EXIT)


@contextmanager
def stage_run(stage: str, key: str | None = None) -> Iterator[StageRun]:
    """A run for ``stage`` (and ``key``, its foreach item) under the parent of this rebuild.

    The stage's libraries compute on one thread each, so that its bytes are the same on any number
    of cores.

    In the stage's own script its time is that of the process, imports included. An error that a
    user can act on is one line on standard error and exit code 1.
    """
    run = StageRun()
    age_s = _age_s() if Path(sys.argv[0]).stem == stage else 0.0
    started = time.monotonic() - age_s
    guard_tracebacks()
    with one_thread_each(), _Sigterm() as sigterm:
        try:
            run._start(stage, key, age_s)
            for folder in {store.home(), Path.cwd()}:
                close(folder)
            yield run
        except BaseException as error:
            text = redacted(f"{type(error).__name__}: {error}")
            run.tags({"error": text[: lineage.MAX_PARAM]})
            stopped = sigterm.came or isinstance(error, KeyboardInterrupt)
            run._end("KILLED" if stopped else "FAILED", time.monotonic() - started)
            # Says what to do; a traceback would hide it.
            if isinstance(error, CrywatchError) or is_of_storage(error):
                name = f"{stage}@{key}" if key else stage
                print(redacted(f"crywatch: {name}: {error}"), file=sys.stderr)
                raise SystemExit(1) from None
            raise
        run._end("FINISHED", time.monotonic() - started)

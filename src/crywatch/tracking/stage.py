"""One run a stage."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from crywatch.core import params
from crywatch.core.digest import file_sha256
from crywatch.core.errors import CrywatchError, is_of_storage
from crywatch.core.project import close
from crywatch.core.redact import guard_tracebacks, redacted
from crywatch.tracking import lineage, parent, spool, store
from crywatch.tracking.failure import reason, warn
from crywatch.tracking.journal import Clock, Journal
from crywatch.tracking.lineage import Entry
from crywatch.tracking.plan import planned_stages
from crywatch.tracking.sender import Sender

STOPPED_WAIT_S = 5.0  # whoever stops a stage does not wait long
MAX_PARAM = 500  # characters
MAX_DIGEST = 36  # characters of a data set's digest, as MLflow limits it
# Mappings of a section with one entry a key.
FOREACH_SECTIONS = ("variants", "datasets", "losses", "models", "recipes")
SIGTERM_EXIT = 128 + signal.SIGTERM

T = TypeVar("T")


class StageRun:
    """What a stage says of itself.

    It is written to a journal in the project's spool and sent from there by another thread, so that
    a store that is slow or gone neither stops a stage nor loses what it said. What cannot be kept
    at all is warned of.

    Tags tie a run to DVC: ``dvc.lock.before`` is the digest of the stage's entry in dvc.lock when
    it started (empty for a new stage), and ``dvc.lock.entry`` that of the entry which DVC will
    write once the stage has ended, both as `lineage.entry_digest` makes them. They are equal if
    the stage was repeated and gave the same.
    """

    def __init__(self) -> None:
        self._journal: Journal | None = None
        self._sender: Sender | None = None
        self._wait_s = 0.0
        self._pid = os.getpid()
        self._said_full = False
        self._values: dict[str, Any] = {}  # all of params.yaml
        self._planned: Entry | None = None

    def metrics(self, values: dict[str, float], step: int | None = None) -> None:
        """Numbers, with a step for those of an epoch; sent in batches."""
        kept = {name: float(value) for name, value in values.items() if value is not None}
        if kept:
            self._say("metrics", count=len(kept), of=kept, step=step)

    def headline(self, values: dict[str, float]) -> None:
        """Metrics that the parent run shows too."""
        self.metrics(values)
        kept = {name: float(value) for name, value in values.items() if value is not None}
        if kept:
            self._say("headline", of=kept)

    def tags(self, values: dict[str, str]) -> None:
        """Text to find and group runs by."""
        if values:
            self._say("tags", of={name: str(value) for name, value in values.items()})

    def figure(self, figure: Any, name: str) -> None:
        """A matplotlib figure, e.g. ``roc.png``."""
        self._make(f"figures/{name}", figure.savefig)

    def text(self, text: str, name: str) -> None:
        """A text file."""
        self._make(name, lambda path: path.write_text(redacted(text), encoding="utf-8"))

    def artifact(self, path: Path | str, folder: str = "") -> None:
        """A file or folder, as it is now."""

        def keep(journal: Journal) -> None:
            kept = journal.keep(Path(path))
            self._say("artifact", path=_inside(journal, kept), folder=folder)

        self._try(keep)

    def table(self, frame: Any, name: str) -> None:
        """A data frame as CSV."""
        self.text(frame.to_csv(index=False), f"tables/{name}")

    def dataset(self, name: str, path: Path | str) -> None:
        """A table that the stage used, with its digest."""

        def say(journal: Journal) -> None:
            self._inputs([(name, file_sha256(path), "local", Path(path).as_posix())])

        self._try(say)

    def model(self, name: str, folder: Path | str) -> None:
        """A model folder as a pyfunc with signature and input example.

        The corpora that it heard, their licences and whether commercial use is allowed are tags
        of the model and of the run.
        """

        def save(journal: Journal) -> None:
            from crywatch.tracking import logged_models

            made = journal.make("model", lambda path: logged_models.save(Path(folder), path))
            self.tags(made.said)
            self._say("model", name=name, path=_inside(journal, made.path), tags=made.said)

        self._try(save)

    def outputs(self, *outs: Path | str) -> None:
        """Digests of what the stage made, as DVC will write them; call it last."""

        def say(journal: Journal) -> None:
            made = {Path(out).as_posix(): lineage.dvc_digest(Path(out)) for out in outs}
            tags = {parent.OUTS: lineage.outs_digest(made)}
            tags |= {f"out.{path}": digest for path, digest in made.items()}
            if self._planned:
                entry = Entry(self._planned.cmd, (), made, self._planned.params)
                tags["dvc.lock.entry"] = lineage.entry_digest(entry)
            self.tags(tags)

        self._try(say)

    def flush(self, wait_s: float) -> bool:
        """Whether the store has all that was said so far, after at most ``wait_s``."""
        return self._sender is not None and self._sender.flush(wait_s)

    def _start(self, stage: str, key: str | None) -> None:
        name = f"{stage}@{key}" if key else stage
        try:
            self._begin(stage, key, name)
        except Exception as error:  # parameters or folders that cannot be read
            warn(f"{reason(error)}; this stage goes on unrecorded")
            return
        self._try(lambda journal: self._tie(stage, key, name))

    def _begin(self, stage: str, key: str | None, name: str) -> None:
        self._values = params.plain()
        config = params.section("tracking", store.TrackingConfig)
        target = store.target(config)
        self._wait_s = config.wait_s
        profile, commit = str(self._values.get("profile", "")), lineage.commit()
        now_ms = Clock().now_ms()
        tags = parent.common_tags(profile, commit) | {
            parent.PROCESS: parent.this_process().text,
            parent.STAGE: name,
            "stage": stage,
            "variant": key or "",
            "dvc.stage": name,
        }
        if key in self._values.get("corpora", []):
            tags["corpus"] = key
        head = {
            "key": spool.new_key(),
            "name": name,
            "at": now_ms,
            "tags": tags,
            "rebuild": asdict(parent.this_rebuild(profile, commit, now_ms)),
            "store": target.address,
            "experiment": target.experiment,
        }
        try:
            self._journal = spool.create(head)
        except OSError as error:
            self._full(error)
            self._journal = Journal.temporary(head["key"], head)
        self._journal.on_full = self._full
        import mlflow  # noqa: F401 - not while the stage imports on its own thread

        self._sender = Sender(self._journal, target)
        self._sender.start()

    def _tie(self, stage: str, key: str | None, name: str) -> None:
        lock = self._read(lineage.lock_stages) or {}
        plan = self._read(lambda: planned_stages(self._values)) or {}
        self._planned = plan.get(name)
        self._log_params(stage, key)
        before = lock.get(name)
        self.tags({"dvc.lock.before": lineage.entry_digest(before) if before else ""})
        here = {name: self._planned or before or Entry()}
        read = lineage.inputs(name, {n: lock[n] for n in lock if n != name} | here)
        self._inputs([(path, digest, "dvc", path) for path, digest in read.items()])
        skipped = {
            one: lineage.outs_digest(lock[one].outs)
            for one in lineage.upstream(name, lock | plan)
            if one in lock
        }
        if skipped:
            self._say("skipped", of=skipped)

    def _read(self, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except Exception as error:  # a lock that git merged badly, say
            self._not_logged(error)
            return None

    def _log_params(self, stage: str, key: str | None) -> None:
        section = dict(self._values.get(stage) or {})
        for name in FOREACH_SECTIONS:
            listed = section.get(name)
            if key and isinstance(listed, dict) and key in listed:
                section |= section.pop(name)[key]
        shared = self._planned.params if self._planned else {}
        # Not the entries of other stages' sections; but what is said of the corpus is the stage's.
        section |= {
            k: v
            for k, v in shared.items()
            if k != stage and ("." not in k or k.startswith("corpus."))
        }
        section |= {
            "seed": self._values.get("seed"),
            "schedule": self._values.get("schedule", {}),
        }
        self._say("params", of={name: str(v)[:MAX_PARAM] for name, v in _flatten(section)})

    def _inputs(self, used: list[tuple[str, str, str, str]]) -> None:
        """Name, digest, kind and path of each."""
        if used:
            cut = [(name, digest[:MAX_DIGEST], kind, path) for name, digest, kind, path in used]
            self._say("inputs", of=cut)

    def _make(self, name: str, write: Callable[[Path], Any]) -> None:
        def make(journal: Journal) -> None:
            made = journal.make(Path(name).name, write)
            folder = Path(name).parent.as_posix()
            folder = "" if folder == "." else folder
            self._say("artifact", path=_inside(journal, made.path), folder=folder)

        self._try(make)

    def _end(self, status: str, seconds: float) -> None:
        peak_kib = sum(
            resource.getrusage(who).ru_maxrss
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        self.metrics({"duration_s": seconds, "peak_memory_mib": peak_kib / 1024})
        self._say("end", status=status)
        if self._sender is None or os.getpid() != self._pid:
            return
        wait_s = min(self._wait_s, STOPPED_WAIT_S) if status == "KILLED" else self._wait_s
        if not self._sender.close(wait_s):
            left = self._journal.left()
            warn(
                f"{left} records are left in {self._journal.folder}; `crywatch deliver` sends them"
            )

    def _say(self, do: str, count: int = 0, **what: Any) -> None:
        if self._sender is None or os.getpid() != self._pid:  # a forked worker has no sender
            return
        self._journal.say(do, **what)
        self._sender.more(count)

    def _try(self, action: Callable[[Journal], Any]) -> None:
        if self._sender is None or os.getpid() != self._pid:
            return
        try:
            action(self._journal)
        except Exception as error:  # whatever a file, a figure or a model raises
            self._not_logged(error)

    def _not_logged(self, error: BaseException) -> None:
        warn(f"{type(error).__name__}: {reason(error)}; this was not logged")

    def _full(self, error: OSError) -> None:
        if not self._said_full:
            self._said_full = True
            warn(f"{reason(error)}: no room to keep records for later; this stage goes on")


def _inside(journal: Journal, path: Path) -> str:
    """A path as a record names it."""
    if path.is_relative_to(journal.folder):
        return path.relative_to(journal.folder).as_posix()
    return str(path)


def _flatten(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


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

    def _handle(self, number: int, frame: object) -> None:
        if os.getpid() != self._pid:  # a forked worker just ends
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        elif not self.came:
            self.came = True
            raise SystemExit(SIGTERM_EXIT)


@contextmanager
def stage_run(stage: str, key: str | None = None) -> Iterator[StageRun]:
    """A run for ``stage`` (and ``key``, its foreach item) under the parent of this rebuild.

    An error that a user can act on is one line on standard error and exit code 1.
    """
    run = StageRun()
    started = time.monotonic()
    guard_tracebacks()
    with _Sigterm() as sigterm:
        try:
            run._start(stage, key)
            for folder in {store.home(), Path.cwd()}:
                close(folder)
            started = time.monotonic()  # the stage's own time, without MLflow's import
            yield run
        except BaseException as error:
            said = redacted(f"{type(error).__name__}: {error}")
            run.tags({"error": said[:MAX_PARAM]})
            stopped = sigterm.came or isinstance(error, KeyboardInterrupt)
            run._end("KILLED" if stopped else "FAILED", time.monotonic() - started)
            # Says what to do; a traceback would hide it.
            if isinstance(error, CrywatchError) or is_of_storage(error):
                name = f"{stage}@{key}" if key else stage
                print(redacted(f"crywatch: {name}: {error}"), file=sys.stderr)
                raise SystemExit(1) from None
            raise
        run._end("FINISHED", time.monotonic() - started)

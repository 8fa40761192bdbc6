"""What a retraining leaves: a record a run, the state of the last rebuild, and unfinished work.

Everything lies in one folder that only its owner can read, outside git and outside what a clean-up
of the project removes. Records are numbered, and the number, not a clock, is their order.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crywatch.core import gate
from crywatch.core.atomic import TEMP_PREFIX, write_json, write_text
from crywatch.operations.retrain.look import Source

if TYPE_CHECKING:
    from crywatch.operations.drift import DriftReport
    from crywatch.operations.register import Registration

NOTHING, PROMOTED, REFUSED, FAILED = "nothing", "promoted", "refused", "failed"
PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
DIGITS = 6
NUMBERED = re.compile(f"[0-9]{{{DIGITS}}}")


@dataclass(frozen=True)
class Changes:
    """Files of one corpus, by name."""

    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.names)

    @property
    def names(self) -> list[str]:
        """All of them."""
        return [*self.new, *self.changed, *self.removed]

    @property
    def summary(self) -> str:
        """Numbers, without names."""
        parts = [f"{len(names)} {kind}" for kind, names in vars(self).items() if names]
        return ", ".join(parts) + " file(s)" if parts else "no file changed"


@dataclass(frozen=True)
class Step:
    """One step of a rebuild."""

    name: str  # check, fetch esc50, dvc repro, keep, register
    seconds: float
    said: str = ""


@dataclass(frozen=True)
class Record:
    """What one run did, and why."""

    id: str  # number and start, 000007-20300102T030405Z
    outcome: str  # nothing, promoted, refused, failed
    reason: str  # one sentence, without names of files
    started_at: str  # UTC, ISO 8601
    ended_at: str
    seconds: float  # by a clock that does not jump
    commit: str  # that was wanted; "" if that is unknown
    by: str
    kept_commit: str = ""  # that holds the new dvc.lock
    version: int | None = None  # that was registered
    report: str = ""  # path of the page, below the project
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # a lock taken over, a publisher that gave no answer
    steps: tuple[Step, ...] = ()
    failed_step: str = ""
    tail: str = ""  # the last lines of what failed
    continued: str = ""  # id of the run whose work was gone on with
    dry_run: bool = False
    changes: Mapping[str, Changes] = field(default_factory=dict)  # by corpus, with names of files
    registration: Registration | None = None
    drift: DriftReport | None = None

    def public(self) -> dict[str, Any]:
        """What may be sent: no names of recordings, which may be those of infants, no folders."""
        message = asdict(self)
        message.pop("tail")
        message["report"] = Path(self.report).name
        message["changes"] = {name: files.summary for name, files in self.changes.items()}
        return message


@dataclass(frozen=True)
class Line:
    """Of the history."""

    id: str
    started_at: str
    outcome: str
    version: int | None
    reason: str
    continued: str = ""  # as of a record


@dataclass(frozen=True)
class State:
    """What the last rebuild that came to its end was made of."""

    record: str  # id
    commit: str
    files: dict[str, str]  # `look.Inputs.files`
    params: dict[str, str]  # `look.Inputs.params`
    corpora: dict[str, Source]
    targets: list[str]
    outcome: str
    version: int | None


@dataclass(frozen=True)
class Journal:
    """A rebuild that has not come to its end, and how far it is."""

    record: str  # id of the run that began it
    key: str  # of what it is made of
    reasons: tuple[str, ...]
    read: tuple[str, ...] = ()  # corpora that were fetched again
    kept_commit: str = ""
    registering: bool = False
    registration: dict[str, Any] | None = None
    stopped: str = ""  # the step that failed


class RunFolder:
    """The folder and its files."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.lock = folder / "lock"
        self.dvc_lock = folder / "dvc.lock"  # of the last rebuild
        self.unfinished_lock = folder / "unfinished.dvc.lock"
        self.outbox = folder / "outbox"
        self.records = folder / "records"
        self._state = folder / "state.json"
        self._journal = folder / "unfinished.json"
        self._drift = folder / "drift.json"

    def make(self) -> None:
        """Make the folder, for its owner alone."""
        self.folder.mkdir(parents=True, exist_ok=True)
        os.chmod(self.folder, PRIVATE_FOLDER)

    def log(self, record_id: str) -> Path:
        """What the commands of a run said."""
        return self.folder / "logs" / f"{record_id}.log"

    def report(self, record_id: str, suffix: str) -> Path:
        """A page on a run."""
        return self.folder / "reports" / f"{record_id}.{suffix}"

    def new_id(self, started_at: str) -> str:
        """The next number, with the start for people."""
        names = [
            path.name
            for kind in ("records", "logs")
            for path in (self.folder / kind).glob("[0-9]*")
        ]
        if (journal := self.journal()) is not None:
            names.append(journal.record)
        used = [int(name[:DIGITS]) for name in names if NUMBERED.match(name)]
        stamp = started_at.replace("-", "").replace(":", "")
        return f"{max(used, default=0) + 1:0{DIGITS}d}-{stamp}"

    def write(self, record: Record) -> None:
        """Keep a record."""
        self._write(self.records / f"{record.id}.json", asdict(record))

    def history(self) -> list[Line]:
        """All records, oldest first."""
        return [gate.read(Line, path) for path in sorted(self.records.glob("[0-9]*.json"))]

    def ended(self, record_id: str) -> bool:
        """Whether a run, or one that went on with its work, has recorded that rebuild's end."""
        return any(
            line.outcome != FAILED and record_id in (line.id, line.continued)
            for line in self.history()
        )

    def state(self) -> State | None:
        """Of the last rebuild; None before the first."""
        return gate.read(State, self._state) if self._state.is_file() else None

    def set_state(self, state: State) -> None:
        """After a rebuild that came to its end."""
        self._write(self._state, asdict(state))

    def journal(self) -> Journal | None:
        """Of an unfinished rebuild."""
        return gate.read(Journal, self._journal) if self._journal.is_file() else None

    def set_journal(self, journal: Journal | None) -> None:
        """None: nothing is unfinished."""
        if journal is None:
            self._journal.unlink(missing_ok=True)
            self.unfinished_lock.unlink(missing_ok=True)
        else:
            self._write(self._journal, asdict(journal))

    def compared(self) -> str:
        """Digest of the recordings that were compared last; "" before."""
        if not self._drift.is_file():
            return ""
        return gate.read(dict[str, str], self._drift).get("recordings", "")

    def set_compared(self, recordings: str) -> None:
        """After their comparison was recorded."""
        self._write(self._drift, {"recordings": recordings})

    def put(self, path: Path, text: str) -> None:
        """Write a text that only its owner can read."""
        write_text(path, text)
        os.chmod(path, PRIVATE_FILE)

    def prune(self, keep: int) -> None:
        """Remove all but the newest records, with their logs and reports, and what kills left."""
        ids = sorted(path.stem for path in self.records.glob("[0-9]*.json"))
        for record_id in ids[:-keep]:
            for kind in ("logs", "reports", "records"):  # the record last: it names the others
                for path in (self.folder / kind).glob(f"{record_id}.*"):
                    path.unlink(missing_ok=True)
        for folder in (self.folder, *self.folder.glob("*/"), *self.folder.glob("champion/*/")):
            for path in list(folder.glob(f"{TEMP_PREFIX}*")):
                if path.is_dir() and not path.is_symlink():  # of a champion that was being fetched
                    gate.remove(path, folder)
                else:
                    path.unlink(missing_ok=True)

    def _write(self, path: Path, value: Any) -> None:
        write_json(path, json.loads(json.dumps(value)))
        os.chmod(path, PRIVATE_FILE)

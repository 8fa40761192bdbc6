"""A project in git with one folder corpus, and steps of a rebuild that only write files."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from crywatch.core.digest import files_sha256, value_sha256
from crywatch.operations.register import PromotionGate, Registration
from crywatch.operations.retrain import Record, RetrainConfig, run
from crywatch.operations.retrain.champion import Drift
from crywatch.operations.retrain.rebuild import StepFailed
from crywatch.operations.retrain.record import RunFolder
from crywatch.operations.retrain.unattended import World

CONFIG = RetrainConfig(heartbeat_s=0.05)
PLAN = {
    "download": {
        "foreach": "${corpora}",
        "do": {
            "desc": "the corpus",
            "cmd": "python stage.py download ${item}",
            "deps": ["stage.py"],
            "params": ["corpus.${item}"],
            "outs": ["data/raw/${item}"],
        },
    },
    "train": {
        "cmd": "python stage.py train",
        "deps": ["src/train", "data/raw"],
        "params": ["train"],
        "outs": ["data/model"],
    },
}
IDENTITY = {
    f"GIT_{role}_{what}": "someone"
    for role in ("AUTHOR", "COMMITTER")
    for what in ("NAME", "EMAIL")
}


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", *words],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | IDENTITY,
    )
    return done.stdout.strip()


def commit(project: Path, message: str = "a change") -> str:
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", message)
    return git(project, "rev-parse", "HEAD")


def make_project(folder: Path) -> Path:
    """The project, and beside it the folder of its corpus."""
    project = folder / "project"
    (project / "src" / "train").mkdir(parents=True)
    (project / "src" / "train" / "__init__.py").write_text("RATE = 1\n")
    (project / "stage.py").write_text("print()\n")
    (project / "README.md").write_text("one\n")
    (project / ".gitignore").write_text("/retraining/\n/registry.json\n/calls\n")
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": PLAN}))
    write_params(project)
    for name in ("alice.wav", "bob.wav"):
        put(corpus(project) / name, name)
    git(project, "init", "--quiet")
    commit(project)
    return project


def corpus(project: Path) -> Path:
    return project.parent / "sounds"


def put(path: Path, text: str) -> None:
    """A file that has been there for a while."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    then_ns = path.stat().st_mtime_ns - 60_000_000_000
    os.utime(path, ns=(then_ns, then_ns))


def write_params(project: Path, **changed) -> None:
    values = {
        "corpora": ["sounds"],
        "corpus": {"sounds": {"folder": str(corpus(project))}},
        "data": {"source": "generated", "mirror": ""},
        "train": {"lr": 0.1},
        "detect": {"threshold": 0.5},
    }
    (project / "params.yaml").write_text(yaml.safe_dump(values | changed))


@dataclass(frozen=True)
class Fake:
    """Steps that leave a line of what they did; the registry is a file of the project."""

    project: Path
    commit: str
    params: str | None
    log: Path
    hidden: tuple[str, ...] = ()
    failing: str = ""  # the step that fails
    refused: bool = False

    def _did(self, what: str) -> None:
        with open(self.project / "calls", "a") as calls:
            calls.write(what + "\n")
        if what == self.failing:
            raise StepFailed("stage train", "Traceback\nValueError: no")

    @property
    def _lock(self) -> Path:
        return self.project / ".dvc" / "copy.lock"

    def prepare(self, kept_lock: Path) -> list[str]:
        self._did("prepare")
        self._lock.parent.mkdir(exist_ok=True)
        self._lock.write_text(kept_lock.read_text() if kept_lock.is_file() else "committed")
        return []

    def read(self, name: str) -> None:
        self._did(f"read {name}")
        self._lock.write_text(files_sha256([corpus(self.project)]))

    def repro(self, targets: list[str]) -> None:
        self._did("repro")

    def check(self) -> list[str]:
        self._did("check")
        return []

    def lock(self) -> str:
        return self._lock.read_text()

    def keep(self, record_id: str) -> str:
        self._did("keep")
        return f"kept of {self.commit}"

    def register(self, by: str, reason: str, answer: Path) -> Registration:
        self._did("register")
        path = self.project / "registry.json"
        versions = json.loads(path.read_text()) if path.is_file() else []
        model = value_sha256([self.lock(), self.params])
        already = model in versions
        if not already:
            path.with_suffix(".new").write_text(json.dumps([*versions, model]))
            path.with_suffix(".new").replace(path)
            versions.append(model)
        gate = PromotionGate("no_worse", "corpus sounds", not self.refused, "0.91 against 0.90")
        gates = () if already and not self.refused else (gate,)  # of the champion none is told
        promoted = not self.refused and not already
        return Registration(versions.index(model) + 1, promoted, already, gates, "by the gates")


def world(drift: Drift | None = None, **fake) -> World:
    """Steps that are fakes, and a clock that goes back an hour each time it is asked."""
    clock = [datetime(2030, 1, 2, tzinfo=UTC)]

    def now() -> datetime:
        clock[0] -= timedelta(hours=1)
        return clock[0]

    return World(
        rebuild=lambda *args: Fake(*args, **fake),
        drift=lambda *args: drift or Drift(""),
        now=now,
        sleep=lambda seconds: None,
    )


def retrain(project: Path, config: RetrainConfig = CONFIG, **changed) -> Record:
    """A run with fakes."""
    names = {k: changed.pop(k) for k in ("force", "dry_run", "by") if k in changed}
    return run(config, project, world=world(**changed), **names)


def calls(project: Path) -> list[str]:
    """What the steps did since this was last asked."""
    path = project / "calls"
    lines = path.read_text().splitlines() if path.is_file() else []
    path.unlink(missing_ok=True)
    return lines


def runs(project: Path) -> RunFolder:
    return RunFolder(project / "retraining")


def notifying(config: RetrainConfig = CONFIG, **notify) -> RetrainConfig:
    return replace(config, notify=replace(config.notify, **notify))


# With git and DVC (retrain_fixtures)

REAL = RetrainConfig(heartbeat_s=1.0)


def switch(project: Path) -> Path:
    return project.parent / "switch"


def really_retrain(project: Path, **changed) -> Record:
    return run(replace(REAL, **changed), project, by="a test")


def versions(project: Path) -> list[str]:
    return json.loads((project / "registry.json").read_text())

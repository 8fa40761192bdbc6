"""A project in git with one folder corpus, and steps of a rebuild that only write files."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from crywatch.core.digest import files_sha256, value_sha256
from crywatch.operations.register import PromotionGate, Registration
from crywatch.operations.retrain import Record, RetrainConfig, run
from crywatch.operations.retrain.champion import Drift
from crywatch.operations.retrain.look import PUBLISHERS, Inputs, Look, Source, look
from crywatch.operations.retrain.rebuild import Rebuild, StepFailed
from crywatch.operations.retrain.record import RunFolder
from crywatch.operations.retrain.unattended import World

CONFIG = RetrainConfig(heartbeat_s=0.05)
PLAN = {
    "download": {
        "foreach": "${corpora}",
        "do": {
            "desc": "the corpus",
            "cmd": "python stage.py download ${key}",
            "deps": ["stage.py", "${item.folder}"],
            "params": ["corpus.${key}"],
            "outs": ["data/raw/${key}"],
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
    (project / ".gitignore").write_text("/retraining/\n/registry.json\n/calls\n__pycache__/\n")
    (project / ".dvc").mkdir()  # as by `dvc init`, which takes seconds
    (project / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    (project / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
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


def write_params(project: Path, folder: str = "", **changed) -> None:
    """``folder`` is that of the corpus; without it the one beside the project."""
    sources = {"sounds": {"folder": folder or str(corpus(project))}}
    values = {
        "corpora": sources,
        "corpus": sources,
        "data": {"source": "generated", "mirror": ""},
        "train": {"lr": 0.1},
        "detect": {"threshold": 0.5},
    }
    (project / "params.yaml").write_text(yaml.safe_dump(values | changed))


@dataclass(frozen=True)
class Fake(Rebuild):
    """Steps that leave a line of what they did; the registry is a file of the project."""

    failing: str = ""  # the step that fails
    refused: bool = False
    without_copy: bool = False  # nor DVC, which take a second

    def _did(self, what: str) -> None:
        with open(self.project / "calls", "a") as calls:
            calls.write(what + "\n")
        if what == self.failing:
            raise StepFailed("stage train", "Traceback\nValueError: no")

    @property
    def _lock(self) -> Path:
        return self.project / ".dvc" / "tmp" / "copy.lock"

    def _write_lock(self, content: str) -> None:
        self._lock.write_text(f"stages: {{}} # {content}\n")

    @property
    def folder(self) -> Path:
        return self.project if self.without_copy else super().folder

    def prepare(self, kept_lock: Path) -> list[str]:
        made = [] if self.without_copy else super().prepare(self.project / "none")
        self._lock.parent.mkdir(exist_ok=True)
        if kept_lock.is_file():
            self._lock.write_text(kept_lock.read_text())
        return made

    def fetch(self, corpus: str) -> None:
        self._did(f"fetch {corpus}")
        self._write_lock(f"{corpus} as its publisher has it")

    def repro(self, targets: Sequence[str], away: bool) -> None:
        self._did("repro")
        self._write_lock(files_sha256([corpus(self.project)]))

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
        look=look_without_dvc if fake.get("without_copy") else look,
        drift=lambda *args: drift or Drift(""),
        now=now,
        sleep=lambda seconds: None,
    )


def look_without_dvc(project: Path, commit: str, targets: list[str], *rest) -> Look:
    """One with a corpus that its publisher offers."""
    sources = {"sounds": Source(PUBLISHERS, {"sounds.zip": files_sha256([corpus(project)])})}
    return Look(commit, Inputs({}, {}, {}), sources, targets)


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

"""A tiny project with git, DVC, Hydra and a tracked pipeline of three stages, to be rebuilt."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from crywatch.core import params

SOURCES = Path(__file__).resolve().parents[2] / "src"
PROGRAMS = Path(sys.executable).parent

CONF = {
    "config.yaml": "defaults: [{size: small}, _self_]\nprofile: tiny\nseed: 3\n"
    "register: {name: cry-detector}\n"
    "tracking: {uri: 'sqlite:///mlflow.db', artifacts: mlartifacts, experiment: tiny}\n"
    "raw: {length: 4}\nmine: {top_t: 3}\ntrain: {}\n",
    "size/small.yaml": "# @package train\nwidth: 2\n",
    "size/large.yaml": "# @package train\nwidth: 5\n",
}
STAGES = {
    "raw": {"cmd": "python stage.py raw", "params": ["raw"], "outs": ["data/raw"]},
    "mine": {
        "cmd": "python stage.py mine",
        "deps": ["stage.py", "data/raw"],
        "params": ["mine"],
        "outs": ["data/mine"],
    },
    "train": {
        "cmd": "python stage.py train",
        "deps": ["stage.py", "data/mine"],
        "params": ["train"],
        "outs": ["data/train"],
        "metrics": [{"metrics.json": {"cache": False}}],
    },
}
SCRIPT = """
import json, sys, yaml
from pathlib import Path
from crywatch import tracking

stage = sys.argv[1]
out = Path("data", stage)
values = yaml.safe_load(Path("params.yaml").read_text())
with tracking.stage_run(stage) as log:
    before = {"mine": "raw", "train": "mine"}.get(stage)
    text = Path("data", before, "out.txt").read_text() if before else ""
    out.mkdir(parents=True, exist_ok=True)
    (out / "out.txt").write_text(text + json.dumps(values[stage], sort_keys=True))
    if stage == "train":
        auc = values["train"]["width"] / 10 + values["mine"]["top_t"] / 100
        Path("metrics.json").write_text(json.dumps({"model": {"auc": auc}}))
        log.headline({"model/auc": auc})
"""


@dataclass(frozen=True)
class Done:
    """A command that was run."""

    code: int
    said: str  # on both standard outputs


def environment() -> dict[str, str]:
    """Of the commands: the sources under test, and nothing of an outer run."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MLFLOW_", "DVC_", "CRYWATCH_", "GIT_"))
    }
    return kept | {
        "PYTHONPATH": str(SOURCES),
        "PATH": f"{PROGRAMS}{os.pathsep}{os.environ.get('PATH', '')}",
        "DVC_NO_ANALYTICS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def run(folder: Path, *command: str, **variables: str) -> Done:
    """In a folder, to its end."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment() | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Done(done.returncode, done.stdout)


def must(folder: Path, *command: str, **variables: str) -> str:
    """What a command said that has to end well."""
    done = run(folder, *command, **variables)
    assert done.code == 0, f"{command}: {done.said[-4000:]}"
    return done.said.strip()


def dvc(folder: Path, *args: str, **variables: str) -> str:
    return must(folder, sys.executable, "-m", "dvc", *args, **variables)


def git(folder: Path, *args: str) -> str:
    return must(folder, "git", *args)


def crywatch(folder: Path, *args: str, **variables: str) -> Done:
    return run(folder, sys.executable, "-m", "crywatch.cli", *args, **variables)


def new_repository(folder: Path) -> Path:
    """A git repository that is a DVC project, with a commit and nothing to rebuild."""
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc" / "config").write_text("[core]\nanalytics = false\n[hydra]\nenabled = true\n")
    (folder / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (folder / "notes.txt").write_text("one\n")
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "config", "user.name", "Tester")
    git(folder, "config", "user.email", "tester@example.org")
    commit(folder, "start")
    return folder


def commit(folder: Path, said: str) -> str:
    """All files that git does not ignore; the SHA."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", said)
    return git(folder, "rev-parse", "HEAD")


def tiny_project(folder: Path, empty_store: Path) -> Path:
    """The tiny pipeline, committed, with an empty store; nothing of it was rebuilt."""
    new_repository(folder)
    for name, text in CONF.items():
        (folder / "conf" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "conf" / name).write_text(text)
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}, sort_keys=False))
    (folder / "stage.py").write_text(SCRIPT)
    (folder / ".gitignore").write_text("/mlflow.db*\n/mlartifacts/\n/data/\n__pycache__/\n")
    params.compose_to_file([], folder)
    shutil.copy(empty_store, folder / "mlflow.db")
    commit(folder, "pipeline")
    return folder

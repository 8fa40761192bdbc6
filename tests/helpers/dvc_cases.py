"""A tiny DVC project whose stages are the package's own kind: three of them, one after another."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from tests.helpers.tracking_cases import PARAMS, ROOT

SCRIPT = """
import sys, time
from pathlib import Path
from crywatch import tracking
from crywatch.core import params
from crywatch.core.atomic import atomic_dir
name, *before = sys.argv[1:]
out = Path("data") / name
with tracking.stage_run(name) as log:
    with atomic_dir(out) as temp:
        read = "".join(Path("data", one, "numbers.txt").read_text() for one in before)
        for part in range(4):
            (temp / f"{part}.txt").write_text(read)
            time.sleep(params.plain("seconds") / 4)
        (temp / "numbers.txt").write_text(f"{read}{name} {params.plain('seed')}\\n")
    log.metrics({"numbers": len(read.splitlines()) + 1})
"""
CHAIN = ("first", "second", "third")
STAGES = {
    name: {
        "cmd": f"python pipelines/{name}.py {name} {' '.join(before)}".rstrip(),
        "deps": [f"pipelines/{name}.py", *(f"data/{one}" for one in before)],
        "params": ["seed"],
        "outs": [f"data/{name}"],
    }
    for name, before in (("first", ()), ("second", ("first",)), ("third", ("second",)))
}


def environment(**more: str) -> dict[str, str]:
    """For commands in the project: this interpreter as `python`, these sources, no one's server."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "DVC_", "AWS_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {"PATH": path, "PYTHONPATH": str(ROOT / "src"), "DVC_NO_ANALYTICS": "1"}
    return keep | own | more


def make_project(folder: Path, seconds: float = 0.0, store: Path | None = None) -> Path:
    """In ``folder``; every stage takes ``seconds``. ``store`` is a SQLite store to start with."""
    (folder / "pipelines").mkdir(parents=True)
    for name in CHAIN:
        (folder / "pipelines" / f"{name}.py").write_text(SCRIPT)
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS | {"seconds": seconds}))
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}))
    (folder / ".dvcignore").write_text("__pycache__\n.tmp-*\n")
    if store is not None:
        shutil.copy(store, folder / "mlflow.db")
    dvc(folder, "init", "--quiet", "--no-scm")
    return folder


def dvc(
    folder: Path, *words: str, check: bool = True, **env: str
) -> subprocess.CompletedProcess[str]:
    """`dvc` there; what it said comes back, standard error with standard output."""
    return run(folder, "dvc", *words, check=check, **env)


def crywatch(
    folder: Path, *words: str, check: bool = True, **env: str
) -> subprocess.CompletedProcess[str]:
    """`crywatch` there."""
    return run(folder, "crywatch.cli", *words, check=check, **env)


def run(
    folder: Path, module: str, *words: str, check: bool = True, **env: str
) -> subprocess.CompletedProcess[str]:
    """A Python module there."""
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=folder,
        env=environment(**env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert not check or done.returncode == 0, done.stdout
    return done


def start(folder: Path, module: str, *words: str) -> subprocess.Popen[str]:
    """The same, not waited for: in a process group of its own, to be killed as one."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *words],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def lock(folder: Path) -> dict:
    """Stages of dvc.lock."""
    return yaml.safe_load((folder / "dvc.lock").read_text())["stages"]

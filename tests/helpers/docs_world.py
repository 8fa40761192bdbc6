"""The project as its documentation finds it: rebuilt once, on sounds of seconds, in git."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

from omegaconf import OmegaConf

from crywatch.core.params import compose_to_file
from tests.helpers.docs_cases import ROOT
from tests.helpers.rebuild_cases import commit, crywatch, new_repository
from tests.helpers.short_cases import SHORT

FOLDERS = ("src", "pipelines", "studies", "conf", "benchmarks")
FILES = ("dvc.yaml", ".dvcignore", ".gitignore", "Makefile")
SMALLER = [  # of profile demo
    "data.generator.esc50_clips_per_class=4",
    "data.generator.baby_cry_detection_clips_per_class=8",
    "data.generator.donateacry_infants=8",
    "data.generator.donateacry_sessions=1",
    "data.generator.other_infants=2",
    "data.generator.nursery={long_infants: 6, short_infants: 6, sessions: 8, changed_sessions: 1}",
    "data.generator.nursery.recordings=2",
    "data.generator.nursery.seconds=1.5",
    "tracking.linger_s=5",
    # Networks that are trained for seconds are to be promoted too.
    "register.first={main: 0.0, false_alarms_per_hour: 1000000.0, infants_over_twice: 1.0}",
    *SHORT,
    "score.compared.systems=[baselines/svc, blazenet/all_1s, robust/robust]",
]


def rebuilt_project(folder: Path) -> Path:
    """A clone with its first rebuild committed, and sounds under the names that pages use."""
    new_repository(folder)
    for name in FOLDERS:
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / ".dvc" / "plots", folder / ".dvc" / "plots")
    profile = folder / "conf" / "profile" / "demo.yaml"
    first_line, _, text = profile.read_text().partition("\n")
    smaller = OmegaConf.merge(OmegaConf.create(text), OmegaConf.from_dotlist(SMALLER))
    profile.write_text(f"{first_line}\n{OmegaConf.to_yaml(smaller)}")
    compose_to_file([], folder)
    commit(folder, "the project")
    done = crywatch(folder, "repro")
    assert done.code == 0, done.said[-6000:]
    commit(folder, "its first rebuild")
    _put_sounds(folder)
    return folder


def type_in(folder: Path, commands: list[str]) -> subprocess.CompletedProcess[str]:
    """A shell in ``folder`` that stops at the first command that fails; its output is one text."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "DVC_", "GIT_"))}
    path = f"{folder / '.programs'}{os.pathsep}{Path(sys.executable).parent}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(commands)],
        cwd=folder,
        env=kept
        | {
            "PATH": f"{path}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(folder / "src"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "DVC_NO_ANALYTICS": "1",
            "PAGER": "cat",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
    )


def _put_sounds(folder: Path) -> None:
    raw = folder / "data" / "raw"
    ignored = [
        "nursery.wav",
        "recordings",
        "mia",
        "tonight",
        ".programs",
        "*.html",
        "*.parquet",
        "crywatch-demo.*",
    ]
    with (folder / ".git" / "info" / "exclude").open("a") as exclude:
        exclude.writelines(f"/{name}\n" for name in ignored)
    waves = sorted((raw / "esc50").rglob("*.wav"))
    shutil.copy(waves[0], folder / "nursery.wav")
    (folder / "recordings").mkdir()
    for wave in waves[:3]:
        shutil.copy(wave, folder / "recordings")
    with (raw / "recordings" / "recordings.csv").open() as table:
        rows = [row for row in csv.DictReader(table) if row["infant"] == "infant 01"]
    for name, part in (("first", rows[:10]), ("later", rows[10:]), ("tonight", rows[-2:])):
        target = folder / "tonight" if name == "tonight" else folder / "mia" / name
        target.mkdir(parents=True)
        with (target / "recordings.csv").open("w") as table:
            writer = csv.DictWriter(table, list(rows[0]))
            writer.writeheader()
            for row in part:
                shutil.copy(raw / "recordings" / row["path"], target)
                writer.writerow(row | {"infant": "Mia", "path": Path(row["path"]).name})
    # What is run is these sources, by the interpreter of the tests.
    programs = folder / ".programs"
    programs.mkdir()
    program = programs / "crywatch"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m crywatch.cli "$@"\n')
    program.chmod(0o755)

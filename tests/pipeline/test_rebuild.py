"""The whole DAG on a tiny generated profile: made once, then nothing to do, then killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.helpers.dag import ROOT
from tests.helpers.short_cases import SHORT, write_short

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

# All stages, few variants, minutes of sound, seconds of training.
TINY = [
    "profile=demo",
    "corpora=[esc50, baby_cry_detection, donateacry, recordings]",
    "data.generator.esc50_clips_per_class=4",
    "data.generator.baby_cry_detection_clips_per_class=8",
    "data.generator.donateacry_infants=8",
    "data.generator.other_infants=2",
    "data.generator.donateacry_sessions=1",
    "data.generator.nursery={long_infants: 6, short_infants: 6, sessions: 8, changed_sessions: 1}",
    "data.generator.nursery={recordings: 2, seconds: 1.5}",
    *SHORT,
]
KILLED = "train_blazenet@all_1s"


def dvc(folder: Path, *args: str, **options) -> subprocess.CompletedProcess[str]:
    return program(folder, "dvc", *args, **options)


def crywatch(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return program(folder, "crywatch.cli", *args)


def program(folder: Path, *words: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=options.pop("check", True),
        **options,
    )


def environment(folder: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    keep = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    return keep | {
        "PATH": path,
        "PYTHONPATH": str(folder / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "DVC_NO_ANALYTICS": "1",
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """The project with spaces and non-ASCII letters in its path, rebuilt once."""
    folder = tmp_path_factory.mktemp("rebuild") / "a project é"
    folder.mkdir()
    for name in ("src", "pipelines", "studies", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, folder / name)
    write_short(folder, TINY)
    dvc(folder, "init", "--no-scm", "--quiet")
    result = program(folder, "crywatch.cli", "repro", check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-6000:]
    return folder


def lock(folder: Path) -> dict:
    return yaml.safe_load((folder / "dvc.lock").read_text())["stages"]


def test_a_second_rebuild_does_nothing(project):
    before = (project / "dvc.lock").read_bytes()
    output = dvc(project, "repro").stdout
    assert "Running stage" not in output
    assert "up to date" in output
    assert (project / "dvc.lock").read_bytes() == before


def test_the_rebuild_leaves_reports_metrics_and_no_half_files(project):
    html = (project / "data/reports/detection.html").read_text()
    assert "generated" in html.lower()
    infants = (project / "data/reports/infants.html").read_text()
    assert "Generated sounds." in infants and "Personal baselines" in infants
    shortcuts = (project / "data/reports/shortcuts.html").read_text()
    assert "One channel for all" in shortcuts and "Generated sounds." in shortcuts
    assert (project / "data/timeline/timelines.html").is_file()
    assert "data/evaluate/detection/metrics.json" in dvc(project, "metrics", "show").stdout
    left = [path for path in (project / "data").rglob(".tmp-*")]
    assert left == []
    # DVC writes the last stage's entry once that has ended: its note waits for who comes next.
    crywatch(project, "deliver")
    work = project / "data/work"
    left = [p.relative_to(work) for p in work.rglob("*") if p.is_file() and p.suffix != ".lock"]
    assert {path.parts[0] for path in left} == {"score"}  # of unchanged systems, for the next one


def test_every_stage_has_one_run_under_one_parent(project):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("crywatch")
    runs = client.search_runs([experiment.experiment_id], max_results=200)
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 1
    assert parents[0].info.status == "FINISHED"
    names = sorted(run.info.run_name for run in runs if run.data.tags.get("mlflow.parentRunId"))
    assert names == sorted(lock(project))


@pytest.mark.nightly
def test_the_studies_are_made_when_they_are_asked_for(project):
    assert not (project / "data/ablate_robust").exists()
    pages = {f"{name}.{suffix}" for name in ("recipes", "year") for suffix in ("html", "md")}
    before = (project / "dvc.lock").read_bytes()
    dvc(project, "repro", "studies/dvc.yaml")
    assert {path.name for path in (project / "data/studies_report").iterdir()} == pages
    stages = {"ablate_robust@base", "ablate_robust@plain", "simulate_year", "studies_report"}
    assert set(yaml.safe_load((project / "studies/dvc.lock").read_text())["stages"]) == stages
    assert (project / "dvc.lock").read_bytes() == before
    assert "Running stage" not in dvc(project, "repro", "studies/dvc.yaml").stdout


def test_detect_works_on_the_model_just_made(project):
    wave = next((project / "data/raw/esc50").rglob("*.wav"))
    result = crywatch(project, "detect", str(wave), "--format", "jsonl")
    record = yaml.safe_load(result.stdout)
    assert len(record["seconds"]) == 5 and 0.0 <= record["cry"] <= 1.0


def test_killed_in_training_and_repeated_gives_the_same_numbers(project):
    undisturbed = lock(project)[KILLED]["outs"]
    command = [sys.executable, "-m", "dvc", "repro", "--force", "--single-item", KILLED]
    process = subprocess.Popen(
        command,
        cwd=project,
        env=environment(project),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    work = project / "data/work/train_blazenet"
    deadline = time.monotonic() + 120
    while not list(work.rglob("*.ckpt")):
        assert process.poll() is None, process.stdout.read().decode()[-3000:]
        assert time.monotonic() < deadline, "no checkpoint in two minutes"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (project / "data/train_blazenet/all_1s/model.json").exists()
    repeated = dvc(project, "repro", "--force", "--single-item", KILLED)
    assert "Running stage" in repeated.stdout
    assert lock(project)[KILLED]["outs"] == undisturbed
    output = dvc(project, "repro").stdout
    assert "Running stage" not in output

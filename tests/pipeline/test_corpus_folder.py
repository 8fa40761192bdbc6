"""A corpus folder of the user is a dependency: what is new in it, DVC sees and brings."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from crywatch.audio.waves.cleaned import write_flac
from tests.helpers.dag import ROOT
from tests.helpers.dvc_cases import crywatch, dvc, lock

pytestmark = pytest.mark.nightly

STAGE = "download@recordings"


def record(folder: Path, *names: str) -> None:
    """A user's recordings of one infant, and the table that lists them."""
    folder.mkdir(exist_ok=True)
    wave = np.sin(np.arange(16_000) / 9).astype(np.float32) / 2
    for name in names:
        write_flac(folder / name, wave)
    rows = [f"{name},cry,anna" for name in names]
    (folder / "recordings.csv").write_text("\n".join(["path,label,infant", *rows]) + "\n")


@pytest.fixture
def project(tmp_path):
    """The project with two of its stages, and a folder of recordings beside it."""
    folder = tmp_path / "project"
    for name in ("conf", "pipelines", "src"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    chosen = {name: stages[name] for name in ("download", "clean")}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": chosen}, sort_keys=False))
    (folder / ".dvcignore").write_text((ROOT / ".dvcignore").read_text())
    dvc(folder, "init", "--quiet", "--no-scm")
    record(tmp_path / "nights", "one.flac")
    own = f"corpus.recordings.folder={tmp_path / 'nights'}"
    crywatch(folder, "params", "corpora=[recordings]", own)
    return folder


def test_a_new_recording_is_seen_and_brought(project):
    nights = project.parent / "nights"
    dvc(project, "repro", "--quiet")
    assert dvc(project, "status").stdout.strip() == "Data and pipelines are up to date."
    raw = project / "data" / "raw" / "recordings"
    assert {path.name for path in raw.iterdir()} == {"one.flac", "recordings.csv"}
    assert str(nights) in {dep["path"] for dep in lock(project)[STAGE]["deps"]}

    record(nights, "one.flac", "two.flac")
    told = dvc(project, "status").stdout
    assert STAGE in told and str(nights) in told
    dvc(project, "repro", "--quiet")
    assert (raw / "two.flac").is_file()
    assert len(list((project / "data" / "clean" / "recordings" / "audio").iterdir())) == 2
    assert dvc(project, "status").stdout.strip() == "Data and pipelines are up to date."


def test_without_a_folder_an_empty_one_stands_there(project):
    crywatch(project, "params", "corpora=[recordings]")
    dvc(project, "repro", "--quiet", STAGE)
    assert "conf/corpora/none" in {dep["path"] for dep in lock(project)[STAGE]["deps"]}
    assert len(list((project / "data" / "raw" / "recordings").rglob("*.wav"))) > 10
    assert dvc(project, "status", STAGE).stdout.strip() == "Data and pipelines are up to date."


def test_the_empty_folder_is_tracked_and_empty():
    assert [path.name for path in (ROOT / "conf" / "corpora" / "none").iterdir()] == [".gitkeep"]

"""Profile full on a local server that stands for all publishers: what comes, and what does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from crywatch.corpora.generate import GeneratorConfig
from tests.helpers.publishers_cases import (
    TOKEN,
    Publishers,
    project_of,
    publish_networks,
    publishing,
    variables,
)
from tests.helpers.short_cases import SHORT, write_short

SMALL = GeneratorConfig(3, 4, 8, 8, 4, other_infants=6)
FULL = ["profile=full", "lines=few", *SHORT]
FULL.append("score.compared.systems=[yamnet/zero_shot, baselines/svc, blazenet/all_1s]")


@pytest.fixture(scope="module")
def publishers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("publishers")
    with publishing(folder, SMALL) as publishers:
        publish_networks(publishers, folder)
        yield publishers


def program(folder: Path, publishers: Publishers, *words: str, **more) -> str:
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "HF_"))}
    keep |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env=keep | {"DVC_NO_ANALYTICS": "1"} | variables(folder, publishers, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


def rebuilt(folder: Path, publishers: Publishers, *overrides: str, **more) -> str:
    """What `crywatch repro` said in a new project."""
    project_of(folder, publishers, lambda at: write_short(at, [*FULL, *overrides]))
    program(folder, publishers, "dvc", "init", "--no-scm", "--quiet")
    return program(folder, publishers, "crywatch.cli", "repro", **more)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("given", [True, False], ids=["everything", "nothing optional"])
def test_the_whole_rebuild_ends(given, publishers, tmp_path, monkeypatch):
    folder, overrides = tmp_path / "project", []
    if given:
        overrides = [f"corpus.chillanto.folder={publishers.folder / 'chillanto'}"]
    else:
        publishers.blocks = True
        publishers.refused = {"api.osf.io"}
    said = rebuilt(folder, publishers, *overrides, token=TOKEN if given else "")
    lock = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    print(said[-3000:], len(lock))

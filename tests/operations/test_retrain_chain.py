"""The whole chain as it is used: git, DVC, stages with runs, the registry and its gates, drift."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile

from crywatch.core import params
from crywatch.operations.retrain import Record, RetrainConfig, run
from crywatch.tracking import registry, store
from tests.helpers.chain_cases import enter_chain, make_chain
from tests.helpers.retrain_cases import git, put, runs
from tests.helpers.split_cases import cry_like

pytestmark = pytest.mark.nightly

STAGE = """
import json, shutil, sys
from pathlib import Path
from tests.helpers.chain_cases import write_model, write_sounds
from crywatch import tracking
from crywatch.core import params

name = sys.argv[1]
if name == "download":
    shutil.copytree(params.plain("corpus.esc50.folder"), "data/raw/esc50")
elif name == "sounds":
    write_sounds()
else:
    with tracking.stage_run("calibrate", "robust") as log:
        told = json.loads(Path("data/raw/esc50/told.json").read_text())
        if Path(params.plain("corpus.esc50.folder") + ".broken").exists():
            raise ValueError("not now")
        write_model(Path("data/calibrate/robust"), told["sign"])
"""


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    tell(tmp_path / "project", 1)
    drift = {"reference_clips": 20, "min_recordings": 4}
    recent = str(tmp_path / "recent")
    made = make_chain(tmp_path / "project", STAGE, "esc50", drift, {"recordings": recent})
    (tmp_path / "recent").mkdir()
    for n in range(4):
        soundfile.write(tmp_path / "recent" / f"{n}.wav", cry_like(100 + n), 16000)
    enter_chain(made, monkeypatch)
    yield made
    store.open_store.cache_clear()


def tell(project: Path, sign: int) -> None:
    put(project.parent / "corpus" / "told.json", json.dumps({"sign": sign}))


def retrain(project: Path) -> Record:
    config = params.section("retrain", RetrainConfig, project / params.PARAMS_FILE)
    return run(config, project, by="a test")


def champion() -> int | None:
    found = registry.find(registry.open_registry(), "cry-detector", registry.CHAMPION)
    return None if found is None else found.version


def test_models_are_promoted_refused_and_kept_as_the_record_says(project):
    first = retrain(project)
    assert (first.outcome, first.version) == ("promoted", 1), first.tail
    assert champion() == 1 and "no champion yet" in " ".join(first.notes)
    version = registry.find(registry.open_registry(), "cry-detector", "1")
    assert version.tags["git.commit"] == first.kept_commit
    assert version.tags["git.dirty"] == "false" and version.tags[registry.STAGE_RUN]
    assert git(project, "status", "--porcelain") == ""

    second = retrain(project)
    assert (second.outcome, second.steps) == ("nothing", ()), second.reason
    assert second.drift is not None and second.drift.n_recent == 4, second.notes

    tell(project, -1)
    broken = project.parent / "corpus.broken"
    broken.touch()
    failed = retrain(project)
    assert (failed.outcome, failed.failed_step) == ("failed", "stage calibrate@robust")
    assert "not now" in failed.tail and champion() == 1

    broken.unlink()
    worse = retrain(project)
    assert (worse.outcome, worse.version) == ("refused", 2), (worse.reason, worse.tail)
    assert worse.continued == failed.id and champion() == 1
    assert worse.reason.startswith("version 2: refused over version 1: ")
    lost = [gate for gate in worse.registration.gates if not gate.passed]
    assert "better_on_main" in [gate.name for gate in lost]
    page = (project / worse.report).read_text()
    assert "The challenger was refused" in page and all(gate.slice in page for gate in lost)

    outcomes = [line.outcome for line in runs(project).history()]
    assert outcomes == ["promoted", "nothing", "failed", "refused"]
    assert retrain(project).outcome == "nothing"

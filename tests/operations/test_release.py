"""Releasing a model from a rebuild, and the lineage that is shown of it."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from crywatch.cli import main as cli
from crywatch.core import params
from crywatch.core.digest import file_sha256
from crywatch.core.errors import CrywatchError
from crywatch.core.models import DESCRIPTION, WEIGHTS, ModelFolder, load, save
from crywatch.corpora.generate import GeneratorConfig, generate
from crywatch.corpora.shared.esc50_folder import ROOT
from crywatch.detection import released
from crywatch.detection.detectors import SIDECAR, load_detector
from crywatch.detection.devices.detector import ONNX, ExportedDetector, read_sidecar
from crywatch.operations.release import FILES, as_text, release, trace
from crywatch.tracking import lineage
from tests.helpers.rebuild_cases import git
from tests.helpers.robust_model_cases import write_robust

FOLDER = "data/calibrate/robust"
GIVEN = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A rebuild of two stages whose last one calibrated a model, committed."""
    folder = tmp_path / "project"
    model = load(write_robust(folder / FOLDER))
    description = model.description | {"corpora": ["debian", "donateacry", "esc10"]}
    save(folder / FOLDER, ModelFolder(description, model.weights))
    monkeypatch.chdir(folder)
    lock = {
        "clean@esc50": {
            "cmd": "python pipelines/clean.py esc50",  # of an earlier rebuild
            "outs": [{"path": "data/clean/esc50", "md5": "2.dir"}],
        },
        "clean@esc10": {
            "cmd": "python pipelines/clean.py esc10",
            "outs": [{"path": "data/clean/esc10", "md5": "1.dir"}],
        },
        "calibrate@robust": {
            "cmd": "python pipelines/calibrate.py robust",
            "deps": [{"path": "data/clean", "md5": "1.dir"}],
            "params": {"params.yaml": {"yamnet": {"handle": "/somewhere/yamnet.tflite", "n": 1}}},
            "outs": [{"path": FOLDER, "md5": lineage.dvc_digest(Path(FOLDER))}],
        },
    }
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": lock}))
    corpus = folder / "data/raw/esc10"
    generate("esc10", corpus, GeneratorConfig(3, 1, 0, 0, 0))
    stem = sorted((corpus / ROOT / "audio").glob("*-0.wav"))[0].stem.removesuffix("-0")
    credits = "- [%s.ogg]: clip derived from a.wav (https://x) by %s [%s]\n"
    (corpus / ROOT / "LICENSE").write_text(
        credits % (stem, "Ann", "CC-BY") + credits % ("9-1-A", "Ben", "CC-BY")
    )
    Path("code.py").write_text("1\n")
    generate("debian", folder / "data/raw/debian", GeneratorConfig(3, 1, 0, 0, 0, other_infants=1))
    told = {
        "corpora": {"debian": {}, "donateacry": {}, "esc10": {}},
        "export": params.plain("export", GIVEN),
    }
    Path("params.yaml").write_text(yaml.safe_dump(told))
    git(folder, "init", "--quiet", "--initial-branch=main")
    for name, value in (("name", "Tester"), ("email", "tester@example.org")):
        git(folder, "config", f"user.{name}", value)
    git(folder, "add", "code.py")
    git(folder, "commit", "--quiet", "-m", "first")
    return folder


def test_a_release_names_what_it_came_from(project, tmp_path):
    record = release(project, tmp_path / "out")
    out = tmp_path / "out"
    assert (out / WEIGHTS).read_bytes() == (project / FOLDER / WEIGHTS).read_bytes()
    assert record["sha256"] == {name: file_sha256(out / name) for name in FILES}
    assert isinstance(load_detector(out), ExportedDetector)
    about = read_sidecar(out)
    assert about["files"].keys() == {ONNX}
    assert about["model"] == {name: record["sha256"][name] for name in (DESCRIPTION, WEIGHTS)}
    assert about["commercial_use"] is True
    assert record["commit"] == git(project, "rev-parse", "HEAD").strip()
    assert record["corpora"]["esc10"] == {"licence": "CC BY 3.0", "raw": "", "clean": "1.dir"}
    assert list(record["stages"]) == ["clean@esc10", "calibrate@robust"]
    assert record["params"] == {"yamnet.handle": "yamnet.tflite", "yamnet.n": 1}
    names = (tmp_path / "out" / "ATTRIBUTION.md").read_text()
    assert "by Ann [CC-BY]" in names and "Ben" not in names
    assert "- asterisk-core-sounds-it-wav: by Carlo Flora [CC BY 3.0]" in names
    assert names.count("\n\n") == 5 and "wesnoth" not in names
    traced = trace(tmp_path / "out")
    assert traced == record | {"sound": True, "differs": []}
    text = as_text(traced)
    for word in (record["commit"], "CC BY 3.0", "1.dir", 'yamnet.handle = "yamnet.tflite"'):
        assert word in text
    (tmp_path / "out" / WEIGHTS).write_bytes(b"another")
    (tmp_path / "out" / SIDECAR).unlink()
    traced = trace(tmp_path / "out")
    assert (traced["sound"], traced["differs"]) == (False, [WEIGHTS, SIDECAR])
    assert f"differs  {WEIGHTS}: " in as_text(traced)


def test_a_release_is_of_committed_code_and_the_lock(project, tmp_path):
    (project / "code.py").write_text("2\n")
    with pytest.raises(CrywatchError, match="not committed"):
        release(project, tmp_path / "out")
    (project / "code.py").write_text("1\n")
    (project / FOLDER / "metrics.json").write_text("{}")
    with pytest.raises(CrywatchError, match=r"not what dvc\.lock says"):
        release(project, tmp_path / "out")
    (project / "dvc.lock").write_text("schema: '2.0'\n")
    with pytest.raises(CrywatchError, match=r"dvc repro calibrate@robust"):
        release(project, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_shows_it_and_ends_with_1_where_it_differs(project, tmp_path, monkeypatch):
    release(project, tmp_path / "out")
    monkeypatch.setattr(released, "FOLDER", tmp_path / "out")
    monkeypatch.chdir(tmp_path)  # no project is needed
    shown = CliRunner().invoke(cli.app, ["trace", "released", "--format", "json"])
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)["sha256"][WEIGHTS] == file_sha256(tmp_path / "out" / WEIGHTS)
    (tmp_path / "out" / WEIGHTS).write_bytes(b"another")
    shown = CliRunner().invoke(cli.app, ["trace", "released"])
    assert shown.exit_code == 1 and "differs" in shown.stdout

"""The released model: what decides where no rebuild has been made, and what it came from."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from typer.testing import CliRunner

import crywatch
from benchmarks.released import Run, line_of
from crywatch.cli import main as cli
from crywatch.core.digest import file_sha256
from crywatch.core.models import describe
from crywatch.corpora.terms import terms_of_model
from crywatch.detection import released
from crywatch.detection.detectors import load_detector, load_on_torch
from crywatch.detection.devices import golden
from crywatch.detection.devices.detector import ExportedDetector
from crywatch.detection.plot import WIDTH
from crywatch.operations.release import FILES
from tests.helpers.robust_model_cases import write_robust

PARAMS = (
    "detect: {model: data/calibrate/robust, threshold: null, min_event_s: 1.0, max_gap_s: 1.0}\n"
)


@pytest.fixture
def sound(tmp_path, monkeypatch):
    """A folder outside of any project, with a sound of 3 s in it."""
    noise = np.random.default_rng(0).standard_normal(3 * 16_000).astype(np.float32)
    soundfile.write(tmp_path / "night.wav", 0.01 * noise, 16_000)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "night.wav"


def detect(*words):
    result = CliRunner().invoke(cli.app, ["detect", "night.wav", "--format", "jsonl", *words])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), result.stderr


def test_the_files_are_those_that_were_released():
    lineage = json.loads(released.LINEAGE.read_text())
    assert {name: file_sha256(released.FOLDER / name) for name in FILES} == lineage["sha256"]


def test_what_decides_is_the_export_of_its_weights():
    weights, exported = load_on_torch(released.FOLDER), load_detector(released.FOLDER)
    assert isinstance(exported, ExportedDetector)
    assert exported.decision == weights.decision
    assert (exported.context, exported.n_parameters) == (weights.context, weights.n_parameters)
    waves = np.stack(list(golden.waves(exported.rate_hz).values()))
    np.testing.assert_allclose(exported.hear(waves), weights.hear(waves), atol=1e-4)


def test_it_heard_only_what_may_be_handed_on_and_used_commercially():
    description = describe(released.FOLDER)
    terms = terms_of_model(description)
    assert terms.commercial_use
    assert set(terms.corpora) == {"donateacry", "esc10", "synthetic"}
    assert description["trained_on"]["leave_out"] == ""
    card = released.CARD.read_text()
    for licence in terms.licences:
        assert licence in card


def test_the_numbers_of_the_card_are_those_that_were_measured():
    card = released.CARD.read_text()
    runs = json.loads((released.FOLDER / "results.json").read_text())["runs"]
    assert {run["model"] for run in runs} >= {"released", "all corpora"}
    for run in runs:
        assert line_of(Run(**run)) in card


def test_outside_a_project_it_detects(sound):
    record, said = detect()
    assert len(record["seconds"]) == 3 and record["events"] == [] and said == ""
    assert detect("--model", "released")[0] == record
    assert crywatch.load_detector().detect("night.wav").cry == pytest.approx(
        record["cry"], abs=1e-4
    )


def test_its_runtime_leaves_no_id_of_the_device_and_keeps_nothing_to_send(tmp_path):
    """ONNX Runtime's telemetry writes both below the home folder before it sends anything."""
    keep = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    code = "import crywatch; print(crywatch.load_detector().name)"
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", code], env=keep | home, cwd=tmp_path, check=True)
    assert not list(tmp_path.rglob("*onnxruntime*"))


def test_a_project_without_a_rebuild_says_so_once(sound):
    Path("params.yaml").write_text(PARAMS)
    soundfile.write("second.wav", np.zeros(16_000), 16_000)
    result = CliRunner().invoke(cli.app, ["detect", "."])
    assert result.exit_code == 0
    assert result.stderr.count("\n") == 1
    assert "released model" in result.stderr and "dvc repro" in result.stderr


def test_params_of_the_project_hold_for_it_too(sound):
    Path("params.yaml").write_text(PARAMS.replace("threshold: null", "threshold: 0.0"))
    assert len(detect()[0]["events"]) == 1
    assert len(crywatch.load_detector().detect("night.wav").events) == 1


def test_a_rebuild_goes_before_it(sound):
    Path("params.yaml").write_text(PARAMS)
    write_robust(Path("data/calibrate/robust"))
    assert detect()[1] == ""
    assert crywatch.load_detector().name == describe("data/calibrate/robust")["name"]


def test_a_model_that_was_named_is_not_replaced(sound):
    Path("params.yaml").write_text(PARAMS)
    result = CliRunner().invoke(cli.app, ["detect", "night.wav", "--model", "data/other"])
    assert result.exit_code != 0 and "data/other: no model here" in str(result.exception)


def test_the_demo_finds_its_cries_and_draws_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli.app, ["demo"])
    assert result.exit_code == 0, result.output
    assert "an infant cries" in result.stdout and "crywatch-demo.png" in result.stdout
    found = CliRunner().invoke(cli.app, ["detect", "crywatch-demo.flac", "--format", "audacity"])
    spans = [tuple(map(float, line.split("\t")[:2])) for line in found.stdout.splitlines()]
    assert any(on < 20 and off > 14 for on, off in spans)
    assert any(on < 52 and off > 45 for on, off in spans)
    assert Image.open("crywatch-demo.png").width == WIDTH

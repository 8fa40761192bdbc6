"""Stage ``export``: the model's files for devices say what torch says."""

from __future__ import annotations

import ctypes
import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from typer.testing import CliRunner

from crywatch.audio.waves.cleaned import to_int16
from crywatch.audio.waves.resampling import resample
from crywatch.cli import main as cli
from crywatch.core import params
from crywatch.core.digest import files_sha256
from crywatch.core.errors import ConfigError, ModelError
from crywatch.core.models import ModelFolder, load, save
from crywatch.detection import released
from crywatch.detection.blazenet.frontend import pictures
from crywatch.detection.decisions import KEY, Calibration, Decision, RatedRule, Rule, merge_events
from crywatch.detection.detectors import load_detector
from crywatch.detection.devices import export as exporting
from crywatch.detection.devices.c import Quantised, write_device
from crywatch.detection.devices.detector import ONNX, ExportedDetector
from crywatch.detection.devices.export import INT8, PARITY, SIDECAR, ExportConfig, run
from crywatch.detection.devices.parity import ParityRow
from crywatch.detection.devices.spectrum import picture_of
from crywatch.detection.robust.context import ContextConfig, pool, probabilities, windows
from tests.helpers.c_cases import compiled, listener_of, needs_gcc, pointer
from tests.helpers.calibrate_cases import write_sources
from tests.helpers.robust_model_cases import CONTEXT, FRONT_END, write_robust

ROOT = Path(__file__).parents[2]
PLATT = Calibration("platt", slope=0.9, offset=-0.4)
RULE = Rule(0.6, 0.4, 2.0, 1.0)
LOOP_BYTES = 60_000  # at most, of struct loop
DECISION = Decision(PLATT, (RatedRule(5.0, RULE, 0, 1.0, True),), 5.0, {"part": "val"})
GIVEN = params.section("export", ExportConfig, ROOT / "params.yaml")
WHOLE = replace(GIVEN, formats=["onnx", "tflite", "int8"], int8_pictures=40)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "robust"
    return write_robust(folder, corpora=["esc50", "a"], **{KEY: DECISION.as_dict()})


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return write_sources(tmp_path_factory.mktemp("sounds"))


@pytest.fixture(scope="module")
def exported(model, sources, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "folder"
    run(model, GIVEN, sources, folder)
    return folder


@pytest.fixture(scope="module")
def golden(exported) -> dict[str, np.ndarray]:
    return dict(np.load(exported / "golden.npz"))


def sound(seconds: float = 9.3) -> np.ndarray:
    """Noise that swells, with a second of silence; [samples] at 16 kHz."""
    wave = np.random.default_rng(3).standard_normal(round(seconds * 16_000)).astype(np.float32)
    wave *= np.linspace(1e-3, 0.3, len(wave), dtype=np.float32)
    wave[32_000:49_000] = 0
    return wave


def test_a_folder_holds_the_model_and_what_is_said_of_it(exported):
    about = json.loads((exported / SIDECAR).read_text())
    assert (about["rate_hz"], about["window_s"], about["hop_s"]) == (8000, 1.0, CONTEXT.hop_s)
    assert about["context"] == CONTEXT.as_dict() and about[KEY]["default_per_hour"] == 5.0
    assert about["corpora"] == ["esc50", "a"] and list(about["licences"]) == ["a"]
    assert about["files"][ONNX] == files_sha256_of(exported / ONNX)
    # The stem on one channel is 24 x 25 x 32^2; the rest is counted by hand of Table 1 alike.
    assert about["products"]["network_products"] == 6_133_984
    listed = {p.relative_to(exported).as_posix() for p in exported.rglob("*") if p.is_file()}
    assert listed == {*about["files"], SIDECAR, PARITY}


def files_sha256_of(path: Path) -> str:
    from crywatch.core.digest import file_sha256

    return file_sha256(path)


def test_logits_are_torchs_on_generated_sound_and_on_the_test_part(exported):
    rows = {row["sound"]: row for row in json.loads((exported / PARITY).read_text())}
    for sound_of in ("golden", "test"):
        assert 0 < rows[sound_of]["logit_difference"] < 1e-4
    assert rows["test"]["auc"] == pytest.approx(rows["test"]["torch_auc"], abs=1e-6)
    assert rows["test"]["decisions_differ"] == 0 and rows["test"]["seconds"] > 20


def test_equal_models_make_equal_bytes(exported, model, sources, tmp_path):
    run(model, GIVEN, sources, tmp_path / "again")
    assert files_sha256([tmp_path / "again"]) == files_sha256([exported])


def test_the_exported_detector_scores_and_decides_as_torch_does(exported, model):
    ours, theirs = load_detector(model), load_detector(exported)
    assert isinstance(theirs, ExportedDetector) and theirs.n_parameters == ours.n_parameters
    np.testing.assert_allclose(theirs.score(sound()), ours.score(sound()), atol=1e-5)
    assert theirs.decision == ours.decision
    assert theirs.lookahead_s == ours.lookahead_s
    one, other = ours.detect(sound()), theirs.detect(sound())
    assert [e.onset_s for e in one.events] == [e.onset_s for e in other.events]


def test_on_several_cores_it_scores_the_same(exported, monkeypatch):
    ours, theirs = load_detector(exported), load_detector(exported)
    monkeypatch.setattr("crywatch.detection.devices.detector._cores", lambda: 3)
    theirs.speed_up()
    wave = sound(40.0)  # more windows than go into a batch
    assert (ours.score(wave) == theirs.score(wave)).all()


def test_a_file_that_is_not_the_written_one_is_refused(exported, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in (SIDECAR, ONNX):
        (copy / name).write_bytes((exported / name).read_bytes())
    load_detector(copy)
    (copy / ONNX).write_bytes((exported / ONNX).read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"window\.onnx: not what was written with sidecar\.json"):
        load_detector(copy)
    (copy / SIDECAR).write_text("{}")
    with pytest.raises(ModelError, match=r"sidecar\.json: KeyError.*crywatch export"):
        load_detector(copy)


def test_an_export_that_differs_is_not_written(model, tmp_path, monkeypatch):
    strict = replace(GIVEN, limits=replace(GIVEN.limits, logit=1e-9))
    with pytest.raises(ModelError, match="onnx: logits differ by up to .*nothing is written"):
        run(model, strict, (), tmp_path / "out")
    assert not list(tmp_path.iterdir())
    row = ParityRow("int8", "test", 100, 400, 0.5, 0.01, 0.95, 0.944, 0.0)
    with pytest.raises(ModelError, match=r"AUC is 0\.9440, torch's 0\.9500"):
        GIVEN.limits.check(row)
    with pytest.raises(ModelError, match=r"2\.00% of the seconds are decided otherwise"):
        GIVEN.limits.check(replace(row, auc=0.95, decisions_differ=0.02))
    GIVEN.limits.check(replace(row, auc=0.947, decisions_differ=0.01))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"formats": ["coreml"]}, "no 'coreml'; there are onnx, tflite, int8"),
        ({"formats": ["int8"]}, "name onnx, tflite or both"),
    ],
)
def test_formats_that_there_are_not(model, tmp_path, change, said):
    with pytest.raises(ConfigError, match=said):
        run(model, replace(GIVEN, **change), (), tmp_path / "out")


def test_what_is_not_installed_is_told_with_its_extra(model, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"tensorflow.*pip install \"crywatch\[export\]\""):
        run(model, replace(GIVEN, formats=["tflite"]), (), tmp_path / "out")


def test_whole_numbers_need_training_sound(model, tmp_path):
    with pytest.raises(ConfigError, match="int8 takes its ranges from training sound"):
        run(model, replace(GIVEN, formats=["onnx", "int8"]), (), tmp_path / "out")


def test_pictures_of_another_scale_are_told(model, tmp_path):
    description = load(model).description | {"frontend": {**FRONT_END.as_dict(), "scale": "peak"}}
    save(tmp_path / "peak", ModelFolder(description, load(model).weights))
    with pytest.raises(ModelError, match="scale 'peak'.*level_free"):
        run(tmp_path / "peak", GIVEN, (), tmp_path / "out")


# C


@needs_gcc
def test_the_c_front_end_makes_the_golden_pictures(exported, golden, tmp_path):
    for file in exported.glob("*.[ch]"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    library = compiled(tmp_path)
    picture, work = np.zeros((64, 64), np.float32), np.zeros(1538, np.float32)
    for wave, expected in zip(golden["waves"], golden["pictures"], strict=True):
        library.crywatch_picture(pointer(wave), pointer(picture), pointer(work))
        np.testing.assert_allclose(picture, expected, atol=2e-4)
        assert not library.crywatch_silent(pointer(wave))
    assert library.crywatch_silent(pointer(np.full(8000, 9e-5, np.float32)))


@needs_gcc
@pytest.mark.parametrize("pooling", ["mean", "max", "soft"])
@pytest.mark.parametrize("knots", [False, True])
def test_the_c_listener_hears_and_decides_as_detect_does(tmp_path, pooling, knots):
    context = ContextConfig(0.25, 0.5, 2.0, 1.0, 0.5, pooling)
    calibration = PLATT
    if knots:
        ends = {"scores": (0.1, 0.4, 0.8), "probabilities": (0.0, 0.5, 1.0)}
        calibration = Calibration("isotonic", **ends)
    write_device(tmp_path, picture_of(FRONT_END), context, calibration, RULE, None)
    library = compiled(tmp_path)
    rng = np.random.default_rng(int(knots))
    logits = (rng.standard_normal(400) + 2 * np.sin(np.arange(400) / 25)).astype(np.float32)
    expected = calibration(probabilities(pool(logits, context)))
    listener = listener_of(8 + 4 + 1)
    library.crywatch_start(ctypes.byref(listener))
    crying = np.zeros(len(expected), dtype=bool)
    decided = 0
    for logit in logits:
        if library.crywatch_hear(ctypes.byref(listener), ctypes.c_float(logit)):
            assert listener.second == decided
            assert listener.probability == pytest.approx(expected[decided], abs=2e-5)
            crying[decided] = listener.crying
            decided += 1
    assert decided == len(expected) - 1  # the last second waits for what comes after it
    events = merge_events(expected[:decided], decided, RULE)
    assert len(events) > 2
    for event in events:  # told once it is high and long, to the end of its gap
        first, last = int(event.onset_s), int(event.offset_s)
        assert crying[first + 1 : last].any() and not crying[first - 1 : first].any()
    inside = {s for e in events for s in range(int(e.onset_s), int(e.offset_s) + 1)}
    assert set(np.flatnonzero(crying).tolist()) <= inside


# A microcontroller's loop


@needs_gcc
def test_the_sketch_of_a_microcontroller_hears_what_detect_hears(tmp_path):
    scale = Quantised(0.02, -20, 0.05, 3, None)
    write_device(tmp_path, picture_of(FRONT_END), CONTEXT, PLATT, RULE, scale)
    sketch = ROOT / "deploy" / "esp32s3" / "main"
    (tmp_path / "loop.h").write_bytes((sketch / "loop.h").read_bytes())
    library = compiled(tmp_path, sketch / "loop.c")
    heard: list[np.ndarray] = []

    @ctypes.CFUNCTYPE(ctypes.c_byte, ctypes.c_void_p)
    def network(address):
        picture = np.ctypeslib.as_array((ctypes.c_byte * 4096).from_address(address))
        heard.append(picture.reshape(64, 64).copy())
        return 13

    loop = (ctypes.c_char * LOOP_BYTES)()
    library.loop_start(loop, network)
    wave = to_int16(resample(sound(4.0), 16_000, 8_000))
    wave[16_000:24_000] = 0
    decided = sum(
        library.loop_hear(loop, pointer(np.ascontiguousarray(wave[start : start + 4_000])))
        for start in range(0, len(wave), 4_000)
    )
    assert decided == 3  # the last second waits for what comes after it
    floats = wave.astype(np.float32) / np.float32(32768)
    audible = [w for w in windows(floats, 8_000, 2) if np.sqrt(np.square(w).mean()) >= 1e-4]
    images = pictures(torch.from_numpy(np.stack(audible)), FRONT_END).numpy()
    expected = np.clip(np.rint(images / np.float32(0.02)) - 20, -128, 127)
    assert len(heard) == len(expected) < 7
    assert np.abs(np.stack(heard) - expected).max() <= 1


# Whole numbers


@pytest.mark.nightly
@needs_gcc
def test_whole_numbers_on_a_microcontrollers_interpreter(model, sources, tmp_path):
    runtime = pytest.importorskip("tflite_micro", reason='pip install "crywatch[export]"').runtime
    loose = replace(WHOLE, limits=replace(WHOLE.limits, decisions=0.1, auc=0.1))
    folder = tmp_path / "out"
    summary = run(model, loose, sources, folder)
    rows = {(row.format, row.sound): row for row in summary.rows}
    assert rows["tflite", "test"].logit_difference < 1e-4
    assert rows["int8", "golden"].mean_difference < 0.5
    about = summary.about["int8"]
    assert 50_000 < about["arena_bytes"] < 200_000
    from ai_edge_litert.interpreter import Interpreter

    # The sketch's interpreter has no kernel but those that it names.
    details = Interpreter(model_path=str(folder / INT8))._get_ops_details()
    main = (ROOT / "deploy" / "esp32s3" / "main" / "main.cc").read_text()
    named = {name.lower() for name in re.findall(r"ops\.Add(\w+)\(\)", main)}
    assert {op["op_name"].replace("_", "").lower() for op in details} == named
    interpreter = runtime.Interpreter.from_file(str(folder / INT8), arena_size=200_000)
    library = compiled(folder)
    picture, work = np.zeros((64, 64), np.float32), np.zeros(1538, np.float32)
    whole = np.zeros((1, 64, 64, 1), np.int8)
    golden = np.load(folder / "golden.npz")
    ours = exporting.Int8Detector(folder / INT8, load_detector(model)).hear(golden["waves"])
    for wave, logit in zip(golden["waves"], ours, strict=True):
        library.crywatch_picture(pointer(wave), pointer(picture), pointer(work))
        library.crywatch_quantise(pointer(picture), pointer(whole))
        interpreter.set_input(whole, 0)
        interpreter.invoke()
        output = int(interpreter.get_output(0)[0, 0])
        found = about["output_scale"] * (output - about["output_zero"])
        assert found == pytest.approx(logit, abs=2.5 * about["output_scale"])
    (folder / ONNX).unlink()
    described = json.loads((folder / SIDECAR).read_text())
    del described["files"][ONNX]
    (folder / SIDECAR).write_text(json.dumps(described))
    scores = load_detector(folder).score(sound())  # on LiteRT, as ONNX is not there
    np.testing.assert_allclose(scores, load_detector(model).score(sound()), atol=1e-5)


@pytest.mark.parametrize("given", [["released"], []])
def test_the_released_model_is_exported_outside_of_a_project(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(cli.app, ["export", *given, "--out", "phone"])
    assert ended.exit_code == 0, ended.output
    assert "no project here: the export is compared with torch" in ended.output
    about = json.loads((tmp_path / "phone" / SIDECAR).read_text())
    assert about["model"] == json.loads((released.FOLDER / SIDECAR).read_text())["model"]


def test_outside_of_a_project_the_settings_are_those_of_one():
    given = yaml.safe_load((ROOT / "conf" / "stage" / "export.yaml").read_text())
    assert asdict(released.export_configuration(None)) == given | {"model": "released"}


def test_the_command_writes_a_folder_that_detect_takes(tmp_path, monkeypatch):
    model = write_robust(tmp_path / "model", corpora=["esc50"])
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    soundfile.write(tmp_path / "sound.wav", sound(), 16_000)
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(cli.app, ["export", str(model), "--out", "phone"])
    assert ended.exit_code == 0, ended.output
    assert "onnx, golden, 9 windows: logits within" in ended.output
    assert "no data/split here" in ended.output
    about = json.loads((tmp_path / "phone" / SIDECAR).read_text())
    assert about["commercial_use"] is False and len(about["terms"]) == 1
    found = CliRunner().invoke(cli.app, ["detect", "sound.wav", "--model", "phone"])
    assert found.exit_code == 0 and "sound.wav" in found.output

"""The public names: what README and the package's docstring show runs as it stands there."""

import doctest
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

import crywatch
from crywatch.core.errors import AudioError
from crywatch.core.models import ModelFolder, load, save
from crywatch.detection.detect import Detection, Second
from tests.helpers.robust_model_cases import write_robust

RATE_HZ = 16_000


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose model has weights of zero, so that every score is 0.5, and a sound of 3 s."""
    model = load(write_robust(tmp_path / "model"))
    zeros = {name: torch.zeros_like(value) for name, value in model.weights.items()}
    save(tmp_path / "model", ModelFolder(model.description, zeros))
    (tmp_path / "params.yaml").write_text(
        "detect: {model: model, threshold: 0.5, min_event_s: 1.0, max_gap_s: 1.0}\n"
    )
    noise = np.random.default_rng(0).standard_normal(3 * RATE_HZ).astype(np.float32)
    soundfile.write(tmp_path / "night.wav", 0.1 * noise, RATE_HZ, subtype="FLOAT")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_example_of_the_docstring_runs(project):
    assert doctest.testmod(crywatch).attempted >= 5
    assert doctest.testmod(crywatch).failed == 0


def test_samples_are_scored_as_their_file_is(project):
    detector = crywatch.load_detector(project / "model")
    of_file = detector.detect("night.wav")
    wave, rate_hz = soundfile.read("night.wav", dtype="float32")
    assert detector.detect(wave).seconds == of_file.seconds
    both = detector.detect(np.stack([wave, wave], axis=1), rate_hz=rate_hz)
    assert both.seconds == of_file.seconds and isinstance(both, Detection)
    assert both.seconds[0] == Second(0.0, 0.5)
    assert detector.detect(np.zeros(44_100, dtype=np.float32), 44_100).duration_s == 1.0


@pytest.mark.parametrize(
    "wave",
    [np.zeros(0, np.float32), np.zeros(9, np.int16), np.full(9, np.nan), np.zeros((1, 2, 3))],
)
def test_an_array_that_is_no_sound_is_refused(project, wave):
    with pytest.raises(AudioError):
        crywatch.load_detector().detect(wave)


def test_a_file_that_cannot_be_read_is_its_error(project):
    assert crywatch.load_detector().detect("nothing.wav").error


def test_without_a_project_the_released_model_is_the_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert crywatch.load_detector().detect(np.zeros(RATE_HZ, np.float32)).events == ()


def test_names_are_loaded_when_they_are_asked_for():
    code = (
        "import sys, crywatch; light = {'torch', 'numpy'}.isdisjoint(sys.modules);"
        "from crywatch import Infants, load_detector; print(light, Infants.__name__)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "True Infants\n"
    with pytest.raises(AttributeError, match="nothing"):
        crywatch.nothing  # noqa: B018

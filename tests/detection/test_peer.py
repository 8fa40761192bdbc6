"""The robust network and YAMNet as one detector: what it hears, and the model folder of both."""

from __future__ import annotations

import numpy as np
import pytest

from crywatch.audio.segments import RATE_HZ
from crywatch.core import paths
from crywatch.core.errors import ConfigError, ModelError
from crywatch.core.models import describe, load
from crywatch.detection.calibrate import CalibrateConfig, CalibratedModel, run
from crywatch.detection.detectors import load_detector
from crywatch.detection.peer.detector import FILE, fuse
from crywatch.detection.peer.zero_shot import YamnetConfig, YamnetDetector
from crywatch.detection.systems import System, load_system
from crywatch.evaluation.score.scorers import Scorer
from crywatch.listening.engine import Stretch
from tests.helpers.calibrate_cases import write_sources
from tests.helpers.embedder_cases import save_yamnet_file
from tests.helpers.robust_model_cases import write_robust

CONFIG = CalibrateConfig(
    models={"fused": CalibratedModel("robust", yamnet=True)},
    methods=["temperature"],
    false_alarms_per_hour=[60.0],
    default_per_hour=60.0,
    off_probabilities=[0.5],
    min_events_s=[1.0],
    max_gap_s=1.0,
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return save_yamnet_file(tmp_path_factory.mktemp("yamnet") / "yamnet.tflite")


@pytest.fixture(scope="module")
def robust(tmp_path_factory):
    return write_robust(tmp_path_factory.mktemp("model") / "robust")


@pytest.fixture(scope="module")
def wave():
    loudness = np.repeat(np.linspace(0.02, 0.5, 5), RATE_HZ)
    noise = np.random.default_rng(3).standard_normal(5 * RATE_HZ)
    return (loudness * noise).astype(np.float32).clip(-1, 1)[: round(4.6 * RATE_HZ)]


def fused(robust, file, weight: float):
    return fuse(load(robust), YamnetConfig(str(file), weight))


def test_a_window_has_the_weighted_mean_of_both_logits(robust, file, wave):
    windows = wave[: 4 * RATE_HZ].reshape(4, RATE_HZ)
    ours, theirs = (fused(robust, file, weight).hear(windows) for weight in (0.0, 1.0))
    np.testing.assert_allclose(fused(robust, file, 0.25).hear(windows), 0.75 * ours + 0.25 * theirs)
    scores = YamnetDetector("yamnet", str(file)).score_seconds(windows)
    assert scores.min() < 0.2 and scores.max() > 0.9
    np.testing.assert_allclose(1 / (1 + np.exp(-theirs)), scores.clip(1e-8, 0.999), rtol=1e-6)


def test_without_weight_it_is_the_robust_network(robust, file, wave):
    alone = load_detector(robust).score(wave)
    np.testing.assert_allclose(fused(robust, file, 0.0).score(wave), alone, atol=0.01)
    assert np.abs(fused(robust, file, 0.5).score(wave) - alone).max() > 0.05


def test_what_listens_hears_what_was_measured(robust, file, wave):
    detector = fused(robust, file, 0.3)
    stretch = Stretch(detector, detector.context)
    pieces = np.array_split(wave, [700, 16_100, 16_101, 50_000])
    live = [second.cry for piece in pieces for second in stretch.push(piece)]
    live += [second.cry for second in stretch.finish()]
    np.testing.assert_allclose(live, detector.score(wave), atol=1e-9)
    np.testing.assert_allclose(detector.score_stream(pieces), detector.score(wave), atol=1e-9)


def test_a_calibrated_model_holds_yamnet(robust, file, wave, tmp_path):
    sources, yamnet = write_sources(tmp_path / "sounds"), YamnetConfig(str(file), 0.2)
    assert run("fused", CONFIG, robust, sources, tmp_path / "out", yamnet) is not None
    model = tmp_path / "out"
    assert describe(model)["kind"] == "fused" and describe(robust)["kind"] == "robust"
    detector = load_detector(model)
    assert detector.decision is not None and detector.n_parameters > 3_700_000
    np.testing.assert_array_equal(detector.score(wave), fused(robust, file, 0.2).score(wave))
    (model / FILE).write_bytes(b"another")
    with pytest.raises(ModelError, match=f"{FILE}: not the YAMNet that this model was made with"):
        load_detector(model)


def test_where_yamnet_is_not_at_hand_the_folder_says_so(robust, tmp_path):
    sources = write_sources(tmp_path / "sounds")
    assert run("fused", CONFIG, robust, sources, tmp_path / "out", YamnetConfig("", 0.2)) is None
    assert "set yamnet.handle" in paths.missing_note(tmp_path / "out")


def test_what_cannot_be_one_model_is_refused(robust, file, tmp_path):
    with pytest.raises(ConfigError, match="yamnet.weight is 1.5: set it within 0 and 1"):
        fused(robust, file, 1.5)
    other = write_robust(tmp_path / "other", kind="blazenet")
    with pytest.raises(ConfigError, match="of kind blazenet, not robust"):
        fused(other, file, 0.2)


def test_as_a_system_it_is_scored_again_where_one_of_the_two_changes(robust, file, wave, tmp_path):
    def scorer(path, weight: float) -> Scorer:
        yamnet = YamnetConfig(str(path), weight)
        return Scorer(System("fused/robust", str(robust), "", "fused/robust", yamnet=yamnet))

    one = scorer(file, 0.2)
    np.testing.assert_array_equal(one.score(wave), fused(robust, file, 0.2).score(wave))
    other = tmp_path / "other.tflite"
    other.write_bytes(file.read_bytes() + b"\0")
    alone = Scorer(System("robust/robust", str(robust), "", "robust/robust"))
    keys = [tuple(each.key) for each in (one, scorer(file, 0.3), scorer(other, 0.2), alone)]
    assert len(set(keys)) == 4 and tuple(scorer(file, 0.2).key) == keys[0]
    assert load_system(alone.system).n_parameters < 100_000

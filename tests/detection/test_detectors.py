"""Model folders as detectors: every recording gets one score a plain second."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest
import torch

from crywatch.audio.segments import n_segments, segments_to_seconds
from crywatch.core.errors import ModelError
from crywatch.core.models import ModelFolder, describe, load, save
from crywatch.detection.anomaly.network import RtfmNetwork
from crywatch.detection.blazenet import runtime
from crywatch.detection.blazenet.frontend import from_wave
from crywatch.detection.blazenet.network import FEATURES, BlazeNet, cry_probability
from crywatch.detection.decisions import logit
from crywatch.detection.detectors import load_detector
from crywatch.detection.embedders import EmbedderConfig, build
from crywatch.detection.systems import System, load_system
from tests.helpers.blazenet_cases import FIVE_SECONDS, ONE_SECOND, sound
from tests.helpers.robust_cases import recipe

EMBEDDER = EmbedderConfig("logmel", 128, "")
# Too short to fill a second, a bit less and more than one and a half, whole seconds.
LENGTHS = [1, 800, 16_000, 23_999, 24_000, 24_001, 40_000, 5 * 16_000]


def blazenet_description(front_end) -> dict:
    return {
        "kind": "blazenet",
        "name": f"all_{front_end.segment_s:g}s",
        "segment_s": front_end.segment_s,
        "frontend": asdict(front_end),
    }


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One model folder of each kind, with random weights."""
    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(1)
    network = BlazeNet()
    backbone = {f"backbone.{name}": value for name, value in network.state_dict().items()}
    on_blazenet, on_embedder = (
        {f"head.{name}": value for name, value in RtfmNetwork(dim).state_dict().items()}
        for dim in (FEATURES, EMBEDDER.dim)
    )
    rtfm = {"kind": "rtfm", "segment_s": 1.0}
    robust = {
        "kind": "robust",
        "name": "robust",
        "frontend": recipe().front_end.as_dict(),
        "context": recipe("robust_context@train_robust.context=neighbours").context.as_dict(),
    }
    models = {
        "robust": ModelFolder(robust, backbone),
        "blazenet": ModelFolder(blazenet_description(ONE_SECOND), backbone),
        "blazenet_5s": ModelFolder(blazenet_description(FIVE_SECONDS), backbone),
        "rtfm": ModelFolder(
            rtfm | {"name": "head", "dim": FEATURES, "backbone": blazenet_description(ONE_SECOND)},
            backbone | on_blazenet,
        ),
        "miner": ModelFolder(
            rtfm | {"name": "miner", "dim": EMBEDDER.dim, "embedder": asdict(EMBEDDER)},
            on_embedder,
        ),
    }
    for name, model in models.items():
        (root / name).mkdir()
        save(root / name, model)
    return root


KINDS = ["blazenet", "blazenet_5s", "rtfm", "miner", "robust"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_plain_second_has_a_score(folders, kind):
    detector = load_detector(folders / kind)
    for n in LENGTHS:
        scores = detector.score(sound(n))
        assert scores.shape == (n_segments(n),), n
        assert ((scores >= 0) & (scores <= 1)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_silence_and_full_scale_have_finite_scores(folders, kind):
    detector = load_detector(folders / kind)
    for level in (0.0, 1.0, -1.0):
        wave = np.full(3 * 16_000, level, dtype=np.float32)
        assert np.isfinite(detector.score(wave)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_repeatable(folders, kind):
    wave = sound(4 * 16_000)
    first, again = (load_detector(folders / kind).score(wave) for _ in range(2))
    assert np.array_equal(first, again)


def test_the_score_is_the_networks_probability(folders):
    wave = sound(3 * 16_000)
    detector = load_detector(folders / "blazenet")
    with torch.inference_mode():
        logits = detector.network(from_wave(wave, ONE_SECOND))
    np.testing.assert_allclose(detector.score(wave), cry_probability(logits), rtol=1e-6)


def test_a_recording_longer_than_a_batch_is_scored_whole(folders):
    detector = load_detector(folders / "blazenet")
    wave = sound(300 * 16_000)
    scores = detector.score(wave)
    assert scores.shape == (300,)
    with torch.inference_mode():
        late = detector.network(from_wave(wave, ONE_SECOND)[270:275])
    np.testing.assert_allclose(scores[270:275], cry_probability(late), rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_samples", [12 * 16_000, 23 * 16_000 + 9_000, 41 * 16_000 + 100])
def test_blocks_change_nothing(folders, kind, n_samples, monkeypatch):
    detector, wave = load_detector(folders / kind), sound(n_samples, seed=3)
    whole = detector.score(wave)
    monkeypatch.setattr("crywatch.detection.detectors.BLOCK_S", 5.0)
    for chunk in (3_000, 170_000):
        chunks = (wave[start : start + chunk] for start in range(0, n_samples, chunk))
        np.testing.assert_allclose(detector.score_stream(chunks), whole, atol=1e-5)


def test_a_long_recording_is_never_whole_in_memory(folders, monkeypatch):
    detector = load_detector(folders / "blazenet")
    monkeypatch.setattr("crywatch.detection.detectors.BLOCK_S", 10.0)
    lengths = []
    monkeypatch.setattr(
        "crywatch.detection.blazenet.detector.from_wave",
        lambda wave, config: lengths.append(len(wave)) or from_wave(wave, config),
    )
    assert len(detector.score_stream(sound(16_000, seed=i) for i in range(100))) == 100
    assert max(lengths) <= 14 * 16_000


def test_seconds_share_the_score_of_their_5_s_segment(folders):
    detector = load_detector(folders / "blazenet_5s")
    scores = detector.score(sound(12 * 16_000))
    assert (scores[:5] == scores[0]).all()
    # The last two seconds are less than half a segment: the one before them stands for them.
    assert (scores[5:] == scores[5]).all()
    assert scores[0] != scores[5]


def test_segments_to_seconds():
    assert segments_to_seconds([0.1, 0.9], 5.0, 12).tolist() == [0.1] * 5 + [0.9] * 7
    assert segments_to_seconds([0.1, 0.9], 1.0, 2).tolist() == [0.1, 0.9]
    assert segments_to_seconds([0.3], 5.0, 1).tolist() == [0.3]


def test_the_anomaly_head_sees_the_whole_sequence(folders):
    wave = sound(6 * 16_000)
    blazenet, rtfm = (load_detector(folders / kind) for kind in ("blazenet", "rtfm"))
    features = torch.from_numpy(blazenet.features(wave))[None]
    with torch.inference_mode():
        expected = rtfm.head(features).scores[0]
    np.testing.assert_allclose(rtfm.score(wave), expected, rtol=1e-5)
    changed = wave.copy()
    changed[5 * 16_000 :] = 0
    # The last second reaches the fourth through dilated convolutions and the non-local block.
    assert rtfm.score(changed)[3] != rtfm.score(wave)[3]


def test_a_robust_second_hears_its_neighbourhood_and_no_level(folders):
    wave = sound(9 * 16_000)
    detector = load_detector(folders / "robust")
    scores = detector.score(wave)
    np.testing.assert_allclose(detector.score(0.01 * wave), scores, atol=1e-3)
    changed = wave.copy()
    changed[7 * 16_000 :] = sound(2 * 16_000, seed=9)
    moved = np.abs(detector.score(changed) - scores) > 1e-9
    # Windows up to three quarters of a second after the start, each a second long.
    assert not moved[:6].any() and moved[6:].all()


def test_robust_features_are_those_of_each_second_and_in_blocks_too(folders, monkeypatch):
    detector, wave = load_detector(folders / "robust"), sound(23 * 16_000 + 9_000, seed=3)
    whole = detector.features(wave)
    assert whole.shape == (24, FEATURES)
    with torch.inference_mode():
        logits = detector.network.classifier(torch.from_numpy(whole))
    detector.context = recipe("robust_context@train_robust.context=own").context
    np.testing.assert_allclose(detector.score(wave), cry_probability(logits), atol=1e-5)
    monkeypatch.setattr("crywatch.detection.detectors.BLOCK_S", 5.0)
    np.testing.assert_allclose(detector.features(wave), whole, atol=1e-4)


@pytest.mark.parametrize("kind", ["robust", "blazenet"])
@pytest.mark.parametrize("length_s", [2, 70])
def test_the_fast_runtime_hears_the_same(folders, kind, length_s, monkeypatch):
    monkeypatch.setattr(runtime, "WORTH_LOADING", 100)
    wave = sound(length_s * 16_000, seed=4)
    detector = load_detector(folders / kind)
    slow = logit(detector.score(wave))
    detector.speed_up()
    taken = []
    made = runtime.OpenVinoBlazeNet.__call__
    monkeypatch.setattr(
        runtime.OpenVinoBlazeNet, "__call__", lambda *args: taken.append(1) or made(*args)
    )
    np.testing.assert_allclose(logit(detector.score(wave)), slow, atol=1e-4, rtol=0)
    # It is loaded when there is enough to hear: windows of the robust one come four a second.
    assert bool(taken) == (length_s * (4 if kind == "robust" else 1) >= 100)


def test_without_the_fast_runtime_torch_goes_on(folders, monkeypatch):
    monkeypatch.setattr(runtime, "find_spec", lambda name: None)
    monkeypatch.setattr(runtime, "WORTH_LOADING", 0)
    wave, detector = sound(3 * 16_000), load_detector(folders / "robust")
    slow = detector.score(wave)
    detector.speed_up()
    np.testing.assert_array_equal(detector.score(wave), slow)


def test_the_miner_scores_its_embedders_vectors(folders):
    wave = sound(4 * 16_000)
    miner = load_detector(folders / "miner")
    vectors = torch.from_numpy(build(EMBEDDER).embed(wave))[None]
    with torch.inference_mode():
        expected = miner.head(vectors).scores[0]
    np.testing.assert_allclose(miner.score(wave), expected, rtol=1e-5)


def test_names_and_sizes(folders):
    head = sum(parameter.numel() for parameter in RtfmNetwork(FEATURES).parameters())
    detectors = {kind: load_detector(folders / kind) for kind in KINDS}
    assert [detectors[kind].name for kind in KINDS] == [
        "all_1s",
        "all_5s",
        "head",
        "miner",
        "robust",
    ]
    assert detectors["blazenet"].n_parameters == 89_680
    assert detectors["rtfm"].n_parameters == 89_680 + head


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_folder_is_all_that_is_needed(folders, kind, tmp_path, monkeypatch):
    wave = sound(2 * 16_000)
    expected = load_detector(folders / kind).score(wave)
    shutil.copytree(folders / kind, tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(load_detector("moved").score(wave), expected)


def changed(folders, kind, tmp_path, change):
    """A copy of a model folder whose description went through ``change``, without digests."""
    folder = tmp_path / kind
    shutil.copytree(folders / kind, folder)
    description = describe(folder)
    (folder / "model.json").write_text(json.dumps(change(description)))
    return folder


def without(*keys):
    return lambda description: {k: v for k, v in description.items() if k not in keys}


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("blazenet", without("frontend"), "no 'frontend'"),
        ("blazenet", lambda d: d | {"frontend": {"rate_hz": 8000}}, "missing"),
        ("rtfm", without("dim"), "no 'dim'"),
        ("rtfm", lambda d: d | {"dim": 128}, "does not fit RtfmNetwork"),
        ("rtfm", lambda d: d | {"backbone": {"name": "x"}}, "no 'frontend'"),
        ("rtfm", lambda d: d | {"backbone": {"kind": "ecapa"}}, "no head sits on .* 'ecapa'"),
        ("blazenet", lambda d: d | {"decision": {"rates": []}}, "decision: KeyError"),
        ("miner", without("embedder"), "no 'embedder'"),
        ("miner", lambda d: d | {"embedder": {"name": "logmel"}}, "'dim'"),
        ("miner", lambda d: d | {"embedder": d["embedder"] | {"digest": "x"}}, "other weights"),
        ("blazenet", lambda d: [d], "not a mapping"),
    ],
)
def test_a_folder_that_does_not_fit_is_named(folders, tmp_path, kind, change, message):
    folder = changed(folders, kind, tmp_path, change)
    with pytest.raises(ModelError, match=message) as refused:
        load_detector(folder)
    assert str(folder) in str(refused.value)


def test_weights_of_another_network_are_named(folders, tmp_path):
    model = load(folders / "blazenet")
    weights = {f"{name}x": value for name, value in model.weights.items()}
    save(tmp_path, ModelFolder(model.description, weights))
    with pytest.raises(ModelError, match="does not fit BlazeNet") as refused:
        load_detector(tmp_path)
    assert str(tmp_path) in str(refused.value) and "\n" not in str(refused.value)


def test_a_description_that_is_no_json_is_named(folders, tmp_path):
    shutil.copytree(folders / "blazenet", tmp_path / "torn")
    (tmp_path / "torn" / "model.json").write_text('{"kind": ')
    with pytest.raises(ModelError, match=r"torn.model\.json: not JSON"):
        load_detector(tmp_path / "torn")


def test_a_missing_or_broken_folder_is_named(folders, tmp_path):
    with pytest.raises(ModelError, match=r"model\.json is missing"):
        load_detector(tmp_path)
    shutil.copytree(folders / "blazenet", tmp_path / "torn")
    weights = tmp_path / "torn" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"model\.safetensors: not what was written"):
        load_detector(tmp_path / "torn")
    (tmp_path / "torn" / "model.json").write_text(json.dumps(describe(folders / "blazenet")))
    with pytest.raises(ModelError, match=r"model\.safetensors: cannot be read"):
        load_detector(tmp_path / "torn")
    save(tmp_path, ModelFolder({"kind": "gmm"}, {}))
    with pytest.raises(ModelError, match="'gmm' is unknown"):
        load_detector(tmp_path)


class TalkingYamnet:
    """Scores of 521 classes that say which second they are of."""

    def __init__(self, width: int = 521):
        self.width = width

    def class_scores(self, seconds):
        scores = np.zeros((len(seconds), self.width))
        scores[:, 19], scores[:, 20] = seconds[:, 0], 0.5 - seconds[:, 0]
        scores[:, 0] = 1.0  # speech
        return scores


@pytest.mark.parametrize("n_samples", [1, 20_000, 3 * 16_000 + 8_000, 5 * 16_000 + 100])
def test_yamnet_as_it_is_gives_the_higher_of_its_two_cry_classes(monkeypatch, n_samples):
    system = System("yamnet/zero_shot", "some.tflite", "", "yamnet/zero_shot")
    monkeypatch.setattr("crywatch.detection.embedders.yamnet.build", lambda config: TalkingYamnet())
    detector = load_system(system)
    wave = np.repeat(np.linspace(0, 0.5, 7, dtype=np.float32), 16_000)[:n_samples]
    firsts = wave[::16_000][: n_segments(n_samples)]
    np.testing.assert_allclose(detector.score(wave), np.maximum(firsts, 0.5 - firsts))
    for chunk in (5_000, 40_000):
        chunks = (wave[start : start + chunk] for start in range(0, n_samples, chunk))
        assert np.array_equal(detector.score_stream(chunks), detector.score(wave))
    assert detector.score(wave[:0]).shape == (0,)
    assert (detector.name, detector.n_parameters) == ("yamnet/zero_shot", 3_700_000)


def test_a_network_of_other_classes_is_not_yamnet(monkeypatch):
    system = System("yamnet/zero_shot", "some.tflite", "", "yamnet/zero_shot")
    monkeypatch.setattr(
        "crywatch.detection.embedders.yamnet.build", lambda config: TalkingYamnet(527)
    )
    with pytest.raises(ModelError, match="gives 527 numbers a second; YAMNet has 521"):
        load_system(system).score(sound(16_000))


def test_a_system_is_its_model_folder(folders):
    system = System("blazenet/all_1s", str(folders / "blazenet"), "", "blazenet/all_1s")
    wave = sound(2 * 16_000)
    expected = load_detector(folders / "blazenet").score(wave)
    assert np.array_equal(load_system(system).score(wave), expected)


def test_a_network_that_embeds_infants_is_no_detector(tmp_path):
    save(tmp_path, ModelFolder({"kind": "ecapa"}, {}))
    with pytest.raises(
        ModelError, match="'ecapa' embeds infants and is no detector; blazenet, rtfm"
    ):
        load_detector(tmp_path)


def test_a_description_that_the_weights_meet_at_the_first_sound_is_refused_before_it(
    folders, tmp_path
):
    shutil.copytree(folders / "robust", tmp_path / "robust")
    model = load(tmp_path / "robust")
    front_end = model.description["frontend"] | {"hop_s": 1e-6}
    description = model.description | {"frontend": front_end}
    save(tmp_path / "robust", ModelFolder(description, model.weights))
    with pytest.raises(ModelError, match=f"{tmp_path / 'robust'}: .*dvc repro"):
        load_detector(tmp_path / "robust")


def test_a_detector_loads_only_what_its_kind_needs(folders):
    code = (
        "import sys\n"
        "import numpy as np\n"
        "from crywatch.detection.detect import DetectConfig\n"
        "from crywatch.detection.detectors import load_detector\n"
        f"load_detector({str(folders / 'robust')!r}).score(np.zeros(32_000, dtype='float32'))\n"
        "print(*(name for name in sys.modules if '.' not in name or name.startswith('crywatch.')))"
    )
    loaded = set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )
    assert {"pandas", "sklearn", "lightning", "librosa", "mlflow", "tensorflow"}.isdisjoint(loaded)
    of_kinds = [name.split(".") for name in loaded if name.startswith("crywatch.detection.")]
    assert {words[2] for words in of_kinds if len(words) > 3} == {"blazenet", "robust"}

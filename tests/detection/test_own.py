"""Somebody else's detector: a network in a file, a callable, and what is wrong with either."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import yaml

from crywatch.audio.segments import RATE_HZ, cut
from crywatch.core.errors import ConfigError, ModelError
from crywatch.detection.own import LogMelConfig, OwnConfig, open_own
from tests.detection.test_embedders import YAMNET_FILE, needs_yamnet

LENGTH = 800  # samples of a window, at 8 kHz 0.1 s


def write_network(path, shape, outputs=("power",)):
    """An ONNX file: the mean square p of a window, ``both`` [1 - p, p], ``logits`` their logs."""
    from onnx import TensorProto, helper, numpy_helper

    one = numpy_helper.from_array(np.ones((1, 1), np.float32), "one")
    flat = numpy_helper.from_array(np.array([1, -1], np.int64), "flat")
    nodes = [
        helper.make_node("Reshape", ["wave", "flat"], ["row"]),
        helper.make_node("Mul", ["row", "row"], ["square"]),
        helper.make_node("ReduceMean", ["square"], ["power"], keepdims=1),
        helper.make_node("Sub", ["one", "power"], ["rest"]),
        helper.make_node("Concat", ["rest", "power"], ["both"], axis=1),
        helper.make_node("Log", ["both"], ["logits"]),
    ]
    given = helper.make_tensor_value_info("wave", TensorProto.FLOAT, shape)
    gives = [helper.make_tensor_value_info(each, TensorProto.FLOAT, None) for each in outputs]
    graph = helper.make_graph(nodes, "g", [given], gives, [one, flat])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def describe(folder, **keys):
    """A description beside the network."""
    about = {"model": "net.onnx", "rate_hz": 8000, "window_s": 0.1, "scores": "probability"} | keys
    about = {key: value for key, value in about.items() if value is not None}
    (folder / "net.yaml").write_text(yaml.safe_dump(about))
    return str(folder / "net.yaml")


@pytest.fixture
def loud():
    """Sound of 2.3 s: silence, a loud second, and a tail that is too short to count."""
    wave = np.zeros(round(2.3 * RATE_HZ), dtype=np.float32)
    wave[RATE_HZ : RATE_HZ + RATE_HZ // 2] = 0.5 * np.sign(np.sin(np.arange(RATE_HZ // 2) / 16))
    return wave


@pytest.mark.parametrize("shape", [[1, LENGTH], ["batch", LENGTH], ["n", "t"], [LENGTH], ["t"]])
def test_a_network_scores_seconds_by_windows_at_its_own_rate(tmp_path, loud, shape):
    write_network(tmp_path / "net.onnx", shape)
    scores = open_own("own/net", describe(tmp_path, hop_s=0.1)).score(loud)
    assert scores == pytest.approx([0.0, 0.25], abs=0.02)
    # One window a second alone: the first tenth of each.
    assert open_own("own/net", describe(tmp_path)).score(loud) == pytest.approx([0, 0.25], abs=0.02)


def test_outputs_by_name_or_number_classes_logits(tmp_path, loud):
    write_network(tmp_path / "net.onnx", [1, LENGTH], ("power", "both", "logits"))
    given = {"hop_s": 0.1, "classes": [1]}
    plain = open_own("own/net", describe(tmp_path, output="both", **given)).score(loud)
    assert plain == pytest.approx([0.0, 0.25], abs=0.02)
    assert (open_own("own/net", describe(tmp_path, output=1, **given)).score(loud) == plain).all()
    soft = open_own("own/net", describe(tmp_path, output="logits", scores="softmax", **given))
    assert soft.score(loud) == pytest.approx(plain, abs=1e-6)
    logit = open_own("own/net", describe(tmp_path, output="2", scores="logit", **given))
    assert logit.score(loud)[1] == pytest.approx(plain[1] / (1 + plain[1]), abs=1e-5)
    either = open_own("own/net", describe(tmp_path, output="both", hop_s=0.1, classes=[0, 1]))
    assert either.score(loud)[0] == 1.0


def test_a_window_over_a_second_is_around_the_second_that_it_scores(tmp_path):
    write_network(tmp_path / "net.onnx", [1, 24_000])
    wave = np.zeros(5 * RATE_HZ, dtype=np.float32)
    wave[2 * RATE_HZ : 3 * RATE_HZ] = 0.6
    scores = open_own("own/net", describe(tmp_path, window_s=3.0)).score(wave)
    assert scores == pytest.approx([0, 0.12, 0.12, 0.12, 0], abs=0.002)
    # A hop of two seconds: a second between has the score of the nearest window.
    sparse = open_own("own/net", describe(tmp_path, window_s=3.0, hop_s=2.0)).score(wave)
    assert sparse == pytest.approx([0, 0, 0.12, 0.12, 0], abs=0.002)


@pytest.mark.parametrize("htk", [False, True])
def test_log_mel_is_librosas(htk):
    librosa = pytest.importorskip("librosa")
    wave = np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    config = LogMelConfig(40, 0.032, 0.01, low_hz=50.0, htk=htk, decibels=True, bands_first=True)
    expected = librosa.feature.melspectrogram(
        y=wave, sr=8000, n_fft=256, hop_length=80, center=False, n_mels=40, fmin=50, htk=htk,
        norm=None if htk else "slaney",
    )  # fmt: skip
    found = config.features(wave, 8000)
    assert found == pytest.approx(10 * np.log10(expected + 1e-6), abs=1e-3)
    assert config.features(wave, 8000).shape == (40, 97)


def test_a_network_of_log_mel_is_given_that(tmp_path):
    write_network(tmp_path / "net.onnx", [1, 8, 4])
    mel = {"bands": 4, "frame_s": 0.025, "hop_s": 0.0125, "offset": 1.0, "low_hz": 300.0}
    detector = open_own("own/net", describe(tmp_path, window_s=0.1125, log_mel=mel))
    wave = 0.01 * np.random.default_rng(0).standard_normal(RATE_HZ).astype(np.float32)
    values = LogMelConfig(**mel).features(np.zeros(900, np.float32), 8000)
    assert values.shape == (8, 4) and not values.any()
    assert 0 < detector.score(wave)[0] < 0.1


@needs_yamnet
def test_yamnets_file_with_a_description_is_the_peer(tmp_path):
    from crywatch.detection.peer.zero_shot import YamnetDetector

    wave = np.random.default_rng(1).standard_normal(round(2.6 * RATE_HZ)).astype(np.float32) / 9
    wave[:RATE_HZ] *= np.sin(np.arange(RATE_HZ) / 5)
    about = {"model": str(YAMNET_FILE), "rate_hz": RATE_HZ, "window_s": 0.975, "output": 0}
    found = open_own("own/y", describe(tmp_path, classes=[19, 20], **about)).score(wave)
    assert len(found) == 3
    assert (found == YamnetDetector("yamnet/zero_shot", str(YAMNET_FILE)).score(wave)).all()
    with pytest.raises(ModelError, match=r"net.yaml: .*window of shape \(16000,\) .*set window_s"):
        open_own("own/y", describe(tmp_path, **about | {"window_s": 1.0})).score(wave)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"rate_hz": None, "scores": None}, "net.yaml: rate_hz, scores must be set"),
        ({"rate_hz": 16}, "net.yaml: rate_hz: 16 Hz is not in 1000..192000"),
        ({"rate_hz": "fast"}, "net.yaml.*rate_hz|net.yaml.*fast"),
        ({"window_s": 0.0}, "net.yaml: window_s: 0 s is no length"),
        ({"hop_s": -1.0}, "net.yaml: hop_s"),
        ({"scores": "odds"}, "net.yaml: scores: 'odds' is none of probability, logit, softmax"),
        ({"model": "gone.onnx"}, "net.yaml: model: .*gone.onnx is no .onnx or .tflite file"),
        ({"hops": 1}, "net.yaml.*hops"),
        ({"input": "sound"}, "net.onnx: input: no 'sound' in it; there are wave"),
        ({"output": "9"}, "net.onnx: output: no '9' in it; there are power, both"),
        ({"window_s": 0.2}, r"net.yaml: .*of shape \(1600,\) \(0.2 s at 8000 Hz\): set window_s"),
        ({"output": "both"}, r"net.yaml: .*output of shape \(1, 2\): set output .* and classes"),
        ({"output": "both", "classes": [2]}, "and classes to those that are cries"),
        ({"log_mel": {"bands": 4}}, "net.yaml.*(frame_s|hop_s)"),
        ({"log_mel": {"bands": 4, "frame_s": 1.0, "hop_s": 0.1}}, "log_mel: needs a frame_s"),
    ],
)
def test_what_is_wrong_with_a_description_is_one_line(tmp_path, loud, keys, told):
    write_network(tmp_path / "net.onnx", [1, LENGTH], ("power", "both"))
    with pytest.raises((ConfigError, ModelError), match=told) as error:
        open_own("own/net", describe(tmp_path, **keys)).score(loud)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_network_is_refused(tmp_path):
    for name in ("net.onnx", "net.tflite"):
        (tmp_path / name).write_bytes(b"<html>404</html>")
        with pytest.raises(ModelError, match=f"{name}: not a"):
            open_own("own/net", describe(tmp_path, model=name))


def test_scores_that_are_none_are_refused(tmp_path, loud):
    write_network(tmp_path / "net.onnx", [1, LENGTH], ("logits",))
    detector = open_own("own/net", describe(tmp_path, classes=[1]))
    with pytest.raises(ModelError, match=r"net.yaml: second 0: -inf is no probability.*logit"):
        detector.score(loud)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of callables, new for each test."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "theirs.py").write_text(
        "import numpy as np\n"
        "def peak(wave):\n    assert wave.dtype == np.float32\n"
        "    return [np.abs(s).max() for s in np.split(wave, len(wave) // 8000)]\n"
        "def short(wave):\n    return [0.5]\n"
        "def nan(wave):\n    return [0.5, float('nan')]\n"
        "def words(wave):\n    return ['a', 'b']\n"
        "def raises(wave):\n    raise RuntimeError('no\\nluck')\n"
        "def rateless(wave):\n    return [0.0, 0.0]\n"
        "def odd(wave):\n    return [0.0, 0.0]\n"
        "for f in (peak, short, nan, words, raises):\n    f.rate_hz = 8000\n"
        "odd.rate_hz = 8000.5\n"
    )
    (tmp_path / "faulty.py").write_text("import nothing_of_that_name\n")
    yield
    for name in ("theirs", "faulty"):
        sys.modules.pop(name, None)


def test_a_callable_hears_sound_at_its_rate(module):
    wave = np.concatenate([np.full(RATE_HZ, 0.1), np.full(RATE_HZ, 0.7)]).astype(np.float32)
    scores = open_own("own/peak", "theirs:peak").score(wave)
    assert scores == pytest.approx(np.abs(cut(wave)).max(axis=1), abs=0.1)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("theirs:short", r"theirs:short: gave scores of shape \(1,\); a sound of 2 s needs \(2,\)"),
        ("theirs:nan", "theirs:nan: second 1: nan is no probability"),
        ("theirs:words", "theirs:words: gave no numbers"),
        ("theirs:raises", "theirs:raises: raised RuntimeError: no luck"),
        ("theirs:rateless", "theirs:rateless: .*set rateless.rate_hz = 16000"),
        ("theirs:odd", "theirs:odd: rate_hz: 8000.5 is not in"),
        ("theirs:gone", "theirs:gone: cannot be imported .AttributeError"),
        ("nowhere:f", "nowhere:f: cannot be imported .ModuleNotFoundError"),
        ("faulty:f", "faulty:f: cannot be imported .ModuleNotFoundError.*nothing_of_that_name"),
        ("model.h5", "model.h5: name module:function, a .yaml or .jsonl file"),
    ],
)
def test_what_is_wrong_with_a_callable_is_one_line(module, source, told):
    with pytest.raises((ConfigError, ModelError), match=told) as error:
        open_own("own/c", source).score(np.zeros(2 * RATE_HZ, dtype=np.float32))
    assert "\n" not in str(error.value)


def test_the_pages_keys_are_those_of_a_description():
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs/own-detector.md").read_text(encoding="utf-8")
    block = page.partition("# detector.yaml\n")[2].partition("```")[0]
    named = set(yaml.safe_load(block))
    assert {"model", "rate_hz", "window_s", "scores"} <= named
    assert named <= set(OwnConfig.__dataclass_fields__)

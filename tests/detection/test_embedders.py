"""Embedders: a row for each plain second, the same whatever the batch; errors one can act on."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from crywatch.audio.segments import RATE_HZ, cut, n_segments
from crywatch.core.errors import ConfigError, ModelError
from crywatch.detection.embedders import NAMES, EmbedderConfig, build
from crywatch.detection.embedders.base import handle_digest
from crywatch.detection.robust import robust_sounds
from tests.helpers.embedder_cases import (
    save_vggish,
    save_yamnet,
    vggish_reference,
    yamnet_reference,
)

ROOT = Path(__file__).resolve().parents[2]
YAMNET_FILE = Path(
    os.environ.get("CRYWATCH_YAMNET", ROOT.parent / "shared" / "models" / "yamnet.tflite")
)
LENGTHS = [16_000, 1, 7_999, 24_000, 23_999, 56_001]  # samples; padded, cut and whole seconds

needs_yamnet = pytest.mark.skipif(
    not YAMNET_FILE.is_file(),
    reason=f"{YAMNET_FILE} is not there: set CRYWATCH_YAMNET to the quantised yamnet.tflite",
)


@pytest.fixture(scope="module")
def vggish(tmp_path_factory):
    return save_vggish(tmp_path_factory.mktemp("models") / "vggish")


@pytest.fixture(scope="module")
def yamnet(tmp_path_factory):
    return save_yamnet(tmp_path_factory.mktemp("models") / "yamnet")


@pytest.fixture(params=["logmel", "vggish", "yamnet", pytest.param("file", marks=needs_yamnet)])
def config(request):
    if request.param == "logmel":
        return EmbedderConfig("logmel", 128, "")
    if request.param == "file":
        return EmbedderConfig("yamnet", 521, str(YAMNET_FILE))
    dim = {"vggish": 128, "yamnet": 1024}[request.param]
    return EmbedderConfig(request.param, dim, str(request.getfixturevalue(request.param)))


def waves(seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [(0.1 * rng.standard_normal(n)).astype(np.float32) for n in LENGTHS]


def test_a_row_for_every_plain_second_whatever_the_batch(config):
    embedder = build(config)
    batch = embedder.embed_batch(waves())
    assert [rows.shape for rows in batch] == [(n_segments(n), config.dim) for n in LENGTHS]
    for wave, rows in zip(waves(), batch, strict=True):
        assert rows.dtype == np.float32
        np.testing.assert_array_equal(rows, embedder.embed(wave))
        np.testing.assert_array_equal(rows, embedder.embed(cut(wave).reshape(-1)))
    assert len(embedder.digest) == 64


def test_nothing_gives_nothing(config):
    embedder = build(config)
    assert embedder.embed_batch([]) == []
    assert embedder.embed(np.zeros(0, np.float32)).shape == (0, config.dim)


def test_a_wrong_dim_names_the_key(config):
    wrong = EmbedderConfig(config.name, config.dim + 1, config.handle)
    with pytest.raises(ConfigError, match=rf"embedder\.dim is {wrong.dim}.* gives {config.dim} "):
        build(wrong).embed(waves()[0])


def test_an_unknown_embedder_is_named():
    with pytest.raises(ConfigError, match=f"embedder.name: 'opensmile'.*{', '.join(NAMES)}"):
        build(EmbedderConfig("opensmile", 88, ""))


# logmel


def slow_logmel(second: np.ndarray) -> np.ndarray:
    """Frame by frame in double precision, with triangles between 66 points of the HTK mel scale."""
    mel = np.linspace(*(2595 * np.log10(1 + np.array([125.0, 7500.0]) / 700)), 66)
    edges = 700 * (10 ** (mel / 2595) - 1)
    bins_hz = np.arange(257) * RATE_HZ / 512
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    levels = []
    for start in range(0, RATE_HZ - 400 + 1, 160):
        spectrum = np.abs(np.fft.fft(second[start : start + 400].astype(float) * window, 512))[:257]
        bands = []
        for low, mid, high in zip(edges, edges[1:], edges[2:], strict=False):
            rise, fall = (bins_hz - low) / (mid - low), (high - bins_hz) / (high - mid)
            bands.append(spectrum @ np.clip(np.minimum(rise, fall), 0, None))
        levels.append(np.log(np.array(bands) + 0.01))
    return np.concatenate([np.mean(levels, axis=0), np.std(levels, axis=0)])


def test_logmel_agrees_with_a_slow_reference():
    rows = build(EmbedderConfig("logmel", 128, "")).embed_batch(waves())
    for wave, given in zip(waves(), rows, strict=True):
        expected = np.stack([slow_logmel(second) for second in cut(wave)])
        np.testing.assert_allclose(given, expected, atol=2e-4)


def test_logmel_of_silence_and_of_a_steady_tone():
    embedder = build(EmbedderConfig("logmel", 128, ""))
    silence = embedder.embed(np.zeros(RATE_HZ, np.float32))[0]
    np.testing.assert_allclose(silence[:64], np.log(0.01), rtol=1e-6)
    np.testing.assert_allclose(silence[64:], 0, atol=1e-5)  # of float32 at 4.6
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    row = embedder.embed(tone)[0]
    mel = np.linspace(*(2595 * np.log10(1 + np.array([125.0, 7500.0]) / 700)), 66)[1:-1]
    centres_hz = 700 * (10 ** (mel / 2595) - 1)
    assert abs(centres_hz[row[:64].argmax()] - 1000) < 60  # Hz: a band is about 80 Hz wide there
    assert row[64:].max() < 0.05  # a tone of whole periods a hop does not move


def test_logmel_digest_is_of_the_settings(monkeypatch):
    from crywatch.detection.embedders import logmel

    before = build(EmbedderConfig("logmel", 128, "")).digest
    assert build(EmbedderConfig("logmel", 128, "not used")).digest == before
    monkeypatch.setattr(logmel, "FMAX_HZ", 8000.0)
    assert build(EmbedderConfig("logmel", 128, "")).digest != before


# SavedModels


def test_vggish_sees_one_second_at_a_time(vggish):
    embedder = build(EmbedderConfig("vggish", 128, str(vggish)))
    for wave in waves(1):
        expected = np.concatenate([vggish_reference(second) for second in cut(wave)])
        np.testing.assert_allclose(embedder.embed(wave), expected, atol=1e-6)
    whole = waves(1)[-1]  # frames of the whole recording start at 0.96 s, not at whole seconds
    assert np.abs(embedder.embed(whole)[1] - vggish_reference(whole)[1]).max() > 1e-3


def test_yamnet_averages_the_frames_of_a_second(yamnet):
    embedder = build(EmbedderConfig("yamnet", 1024, str(yamnet)))
    for wave in waves(2):
        expected = [yamnet_reference(second).mean(axis=0) for second in cut(wave)]
        np.testing.assert_allclose(embedder.embed(wave), expected, atol=1e-6)
    assert len(yamnet_reference(np.zeros(RATE_HZ))) == 2  # frames at 0 and 0.48 s


def test_a_saved_model_of_yamnet_is_a_teacher_too(yamnet):
    scores = robust_sounds._open_yamnet(str(yamnet)).class_scores(np.zeros((3, RATE_HZ), "float32"))
    assert scores.shape == (3, robust_sounds.N_CLASSES)


def test_a_model_without_one_frame_a_second_is_refused(tmp_path):
    import tensorflow as tf

    class Silent(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def __call__(self, wave):
            return tf.zeros([tf.shape(wave)[0] // 32_000, 128])

    tf.saved_model.save(Silent(), str(tmp_path / "silent"))
    with pytest.raises(ModelError, match="silent: gave 0 frames for a second"):
        build(EmbedderConfig("vggish", 128, str(tmp_path / "silent"))).embed(waves()[0])


@pytest.mark.parametrize("name", ["vggish", "yamnet"])
@pytest.mark.parametrize("handle", ["", "no/such/folder", "http://127.0.0.1:9/google/model/1"])
def test_a_handle_that_cannot_be_loaded_says_what_to_set(name, handle):
    with pytest.raises(ModelError, match="set embedder.handle to a SavedModel folder or a TF-Hub"):
        build(EmbedderConfig(name, 128, handle))


def test_a_handle_below_the_home_folder(vggish, monkeypatch):
    monkeypatch.setenv("HOME", str(vggish.parent))
    there = build(EmbedderConfig("vggish", 128, "~/vggish"))
    direct = build(EmbedderConfig("vggish", 128, str(vggish)))
    assert there.digest == direct.digest
    np.testing.assert_array_equal(there.embed(waves()[0]), direct.embed(waves()[0]))


def test_digest_of_a_model_follows_its_files_not_its_place(vggish, tmp_path):
    config = EmbedderConfig("vggish", 128, str(vggish))
    copy = shutil.copytree(vggish, tmp_path / "elsewhere")
    assert build(config).digest == handle_digest(str(copy))
    (copy / "assets" / "note.txt").parent.mkdir(exist_ok=True)
    (copy / "assets" / "note.txt").write_text("another version")
    assert build(config).digest != handle_digest(str(copy))


def test_digest_of_a_url_is_of_the_url():
    one, two = (handle_digest(f"https://tfhub.dev/google/vggish/{n}") for n in (1, 2))
    assert one == handle_digest("https://tfhub.dev/google/vggish/1")
    assert one != two


@pytest.mark.skipif(
    not os.environ.get("CRYWATCH_VGGISH"),
    reason="the real VGGish: set CRYWATCH_VGGISH to its SavedModel folder or URL",
)
def test_vggish_passes_the_golden_test_of_its_authors():
    """vggish_smoke_test.py: 3 s of a 1 kHz sine. Frames hold whole periods, so all are equal."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(3 * RATE_HZ) / RATE_HZ).astype(np.float32)
    rows = build(EmbedderConfig("vggish", 128, os.environ["CRYWATCH_VGGISH"])).embed(tone)
    assert rows.shape == (3, 128)
    assert rows.mean() == pytest.approx(0.000657, rel=0.1)
    assert rows.std() == pytest.approx(0.343, rel=0.1)


# The quantised file


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(ModelError, match="embedder.handle: .*none.tflite: no such file"):
        build(EmbedderConfig("yamnet", 521, str(tmp_path / "none.tflite")))
    (tmp_path / "bad.tflite").write_bytes(b"<html>404</html>")
    with pytest.raises(ModelError, match="embedder.handle.*bad.tflite"):
        build(EmbedderConfig("yamnet", 521, str(tmp_path / "bad.tflite")))


@needs_yamnet
def test_the_quantised_file_knows_silence_and_scores_the_first_0975_s():
    embedder = build(EmbedderConfig("yamnet", 521, str(YAMNET_FILE)))
    silence = embedder.embed(np.zeros(RATE_HZ, np.float32))[0]
    with open(YAMNET_FILE.with_name("yamnet_class_map.csv"), newline="") as handle:
        names = [row["display_name"] for row in csv.DictReader(handle)]
    assert names[silence.argmax()] == "Silence"
    second = waves()[0]
    rows = embedder.embed(second)
    assert np.all((rows >= 0) & (rows <= 1))
    beyond = np.concatenate([second[:15_600], np.zeros(400, np.float32)])
    np.testing.assert_array_equal(rows, embedder.embed(beyond))


@needs_yamnet
def test_digest_of_the_quantised_file_is_of_its_bytes(tmp_path):
    copy = shutil.copy(YAMNET_FILE, tmp_path / "copy.tflite")
    digests = [build(EmbedderConfig("yamnet", 521, str(p))).digest for p in (copy, YAMNET_FILE)]
    assert digests[0] == digests[1]

"""Published VGGish features and the PCA that brings live ones into their space."""

from pathlib import Path

import numpy as np
import pytest

from crywatch.core.errors import ConfigError, ModelError, TableError
from crywatch.detection.embedders import EmbedderConfig, build
from crywatch.detection.embedders.pca import Pca, dequantise, quantise
from crywatch.detection.embedders.published import read_shard, shards
from tests.helpers.embedder_cases import save_vggish, vggish_reference
from tests.helpers.generated import generated
from tests.helpers.http_cases import server, status, whole
from tests.helpers.published_cases import example, write_pca, write_shard

RNG = np.random.default_rng(5)
ROWS = RNG.integers(0, 256, (10, 128)).astype(np.uint8)


@pytest.fixture(scope="module")
def vggish(tmp_path_factory):
    return save_vggish(tmp_path_factory.mktemp("models") / "vggish")


@pytest.fixture
def pca(tmp_path):
    return write_pca(tmp_path / "pca.npz")


# Levels


def test_levels_by_hand():
    numbers = np.array([-9.0, -2.0, -1.99, 0.0, 1.0, 1.999, 2.0, 9.0])
    # (x + 2) / 4 * 255, rounded down
    assert quantise(numbers).tolist() == [0, 0, 0, 127, 191, 254, 255, 255]
    np.testing.assert_allclose(
        dequantise(np.array([0, 51, 127, 255], np.uint8)), [-2, -1.2, -2 / 255, 2], atol=1e-6
    )
    levels = np.arange(256, dtype=np.uint8)
    assert np.abs(dequantise(levels) - dequantise(quantise(dequantise(levels)))).max() < 0.016


# Records


def test_a_record_is_read_as_it_was_published(tmp_path):
    path = write_shard(
        tmp_path / "0.tfrecord",
        example("-_aB0000001", 24.5, (3, 72), ROWS),
        example(rows=ROWS[:9], labels=()),
    )
    first, second = read_shard(path)
    assert (first.video_id, first.start_s, first.end_s) == ("-_aB0000001", 24.5, 34.5)
    assert first.labels == (3, 72) and second.labels == ()
    assert first.vectors.dtype == np.float32
    np.testing.assert_allclose(first.vectors, ROWS / 255 * 4 - 2, atol=1e-6)
    assert second.vectors.shape == (9, 128)


def test_a_generated_shard_is_read(tmp_path):
    generated("audioset", tmp_path, seed=3, infants=2)
    (shard,) = shards(tmp_path / "audioset_v1_embeddings")
    clips = list(read_shard(shard))
    assert len(clips) == 8 and all(clip.vectors.shape == (10, 128) for clip in clips)


def test_shards_are_sorted_and_none_is_told(tmp_path):
    for name in ("eval/b.tfrecord", "bal_train/z.tfrecord", "bal_train/a.txt"):
        write_shard(tmp_path / name)
    assert [path.name for path in shards(tmp_path)] == ["z.tfrecord", "b.tfrecord"]
    assert list(read_shard(tmp_path / "eval/b.tfrecord")) == []
    with pytest.raises(TableError, match=r"nothing: no \.tfrecord files"):
        shards(tmp_path / "nothing")


def test_only_one_record_is_held(tmp_path):
    path = write_shard(tmp_path / "0.tfrecord", example(rows=ROWS))
    with open(path, "ab") as handle:
        handle.write(b"garbage after the first")
    clips = read_shard(path)
    assert next(clips).vectors.shape == (10, 128)  # before the damage is met
    with pytest.raises(TableError, match=r"0\.tfrecord, record 2: damaged"):
        next(clips)


def test_a_shard_cut_at_any_byte_is_told_with_the_record(tmp_path):
    path = write_shard(tmp_path / "0.tfrecord", example(rows=ROWS[:1]), example(rows=ROWS[:1]))
    data = path.read_bytes()
    for size in range(len(data) // 2 + 1, len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(TableError, match=r"record 2: damaged or cut off"):
            list(read_shard(path))


def test_a_flipped_bit_anywhere_is_told(tmp_path):
    path = write_shard(tmp_path / "0.tfrecord", example(rows=ROWS[:1]))
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :])
        with pytest.raises(TableError, match="record 1"):
            list(read_shard(path))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (example(video_id=None), "video_id is missing"),
        (example(end_time_seconds=None), "end_time_seconds is missing"),
        (example(video_id=(3,)), "video_id is missing, or is no single value"),
        (example(start_time_seconds=(1.0, 2.0)), "start_time_seconds is missing, or is no single"),
        (example(rows=ROWS[:, :64]), "audio_embedding, row 0: not 128 bytes"),
        (b"\xff\xff\xff", "no SequenceExample"),
    ],
)
def test_a_record_of_another_form_is_told(record, message, tmp_path):
    path = write_shard(tmp_path / "0.tfrecord", record)
    with pytest.raises(TableError, match=r"0\.tfrecord, record 1: .*" + message):
        list(read_shard(path))


# The PCA


def test_live_numbers_after_pca_are_what_is_published(vggish, pca, tmp_path):
    wave = (0.5 * RNG.standard_normal(4 * 16_000)).astype(np.float32)
    embedder = build(EmbedderConfig("vggish", 128, str(vggish), str(pca)))
    live = embedder.embed(wave)
    raw = np.concatenate([vggish_reference(wave[s * 16_000 :][:16_000]) for s in range(4)])
    # The publisher's own formula.
    with np.load(pca) as file:
        applied = (file["pca_eigen_vectors"] @ (raw.T - file["pca_means"])).T
    levels = ((np.clip(applied, -2, 2) + 2) * (255.0 / 4)).astype(np.uint8)
    (published,) = read_shard(write_shard(tmp_path / "0.tfrecord", example(rows=levels)))
    assert len(np.unique(levels)) > 20
    np.testing.assert_array_equal(live, published.vectors)


def test_rows_after_pca_do_not_depend_on_the_batch(vggish, pca):
    embedder = build(EmbedderConfig("vggish", 128, str(vggish), str(pca)))
    wave = RNG.standard_normal(7 * 16_000).astype(np.float32)
    rows = [embedder.embed(wave[s * 16_000 :][:16_000])[0] for s in range(7)]
    np.testing.assert_array_equal(embedder.embed(wave), rows)


def test_the_digest_covers_the_pca(vggish, tmp_path):
    one, two = (write_pca(tmp_path / f"{n}.npz", n) for n in (1, 2))
    digests = {
        build(EmbedderConfig("vggish", 128, str(vggish), str(path or ""))).digest
        for path in (None, one, two)
    }
    assert len(digests) == 3


def test_a_wrong_dim_is_told_with_a_pca_too(pca, tmp_path):
    narrow = save_vggish(tmp_path / "narrow", dim=64)
    with pytest.raises(ConfigError, match=r"embedder\.dim is 128.* gives 64"):
        build(EmbedderConfig("vggish", 128, str(narrow), str(pca))).embed(
            np.zeros(16_000, np.float32)
        )


def test_only_vggish_has_a_pca(pca):
    with pytest.raises(ConfigError, match=r"embedder\.pca: only vggish"):
        build(EmbedderConfig("logmel", 128, "", str(pca)))


def test_a_pca_of_an_address_is_fetched_once(pca, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with server(whole(pca.read_bytes()), status(404)) as web:
        first, second = Pca.load(web.url), Pca.load(web.url)
        assert first.digest == second.digest == Pca.load(pca).digest and len(web.seen) == 1
        with pytest.raises(ModelError, match=r"embedder\.pca: .*other cannot be fetched \(404"):
            Pca.load(f"{web.url}/other")
        Path("data").rename("elsewhere")
    with server(whole(pca.read_bytes(), cut_at=1000)) as web:
        with pytest.raises(ModelError, match=r"cannot be fetched .*set embedder\.pca to a copy"):
            Pca.load(web.url)
        assert not Path("data").exists()


def test_a_file_that_is_no_pca_is_told(tmp_path):
    path = tmp_path / "pca.npz"
    with pytest.raises(ModelError, match=r"embedder\.pca: .*pca\.npz: no such file"):
        Pca.load(path)
    path.write_bytes(b"not a zip")
    with pytest.raises(ModelError, match="not vggish_pca_params.npz"):
        Pca.load(path)
    np.savez(path, pca_means=np.zeros((128, 1)))
    with pytest.raises(ModelError, match="pca_eigen_vectors"):
        Pca.load(path)
    np.savez(path, pca_eigen_vectors=np.eye(64), pca_means=np.zeros((128, 1)))
    with pytest.raises(ModelError, match=r"pca_eigen_vectors has shape \(64, 64\)"):
        Pca.load(path)
    np.savez(path, pca_eigen_vectors=np.array([{}]), pca_means=np.zeros((128, 1)))
    with pytest.raises(ModelError, match="not vggish_pca_params.npz"):  # no pickle
        Pca.load(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_pca_that_came_in_part_or_damaged_is_told(save, tmp_path):
    path = tmp_path / "pca.npz"
    noise = np.random.default_rng(1).standard_normal((128, 128))
    save(path, pca_eigen_vectors=noise, pca_means=np.zeros((128, 1)))
    whole = path.read_bytes()
    assert Pca.load(path).means.shape == (128, 1)
    damaged = whole[:3000] + bytes(byte ^ 0xFF for byte in whole[3000:3100]) + whole[3100:]
    for data in (whole[:5000], damaged):
        path.write_bytes(data)
        with pytest.raises(ModelError, match="not vggish_pca_params.npz"):
            Pca.load(path)

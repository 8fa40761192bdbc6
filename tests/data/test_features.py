"""The feature store: streamed, memory-mapped, and the same bytes after an interruption anywhere."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crywatch.core.digest import files_sha256
from crywatch.core.errors import ModelError, TableError
from crywatch.data.features import ClipFeatures, FeatureStore, FeatureWriter, StoreInfo

INFO = StoreInfo("logmel", 4, "d1")
CLIPS = {"esc50": {"esc50/b": 3, "esc50/a": 1, "esc50/c": 5}, "untrimmed": {"untrimmed/1": 6}}


def features(corpus: str) -> list[ClipFeatures]:
    rng = np.random.default_rng(len(corpus))
    return [
        ClipFeatures(clip_id, rng.standard_normal((n, INFO.dim)).astype(np.float32))
        for clip_id, n in CLIPS[corpus].items()
    ]


def complete(work: Path, out: Path, info: StoreInfo = INFO) -> FeatureStore:
    """Write what is not done yet and finish."""
    writer = FeatureWriter(info, work)
    for corpus in CLIPS:
        done = writer.done(corpus)
        writer.write(corpus, (clip for clip in features(corpus) if clip.clip_id not in done))
    writer.finish(CLIPS, out)
    return FeatureStore(out)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    complete(folder / "work", folder / "out")
    return folder / "out"


def test_reads_what_was_written(undisturbed):
    store = FeatureStore(undisturbed)
    assert store.info == INFO
    assert store.corpora == ("esc50", "untrimmed")
    assert list(store) == [clip_id for clips in CLIPS.values() for clip_id in clips]
    assert store.n_rows == 15
    for corpus in CLIPS:
        for clip in features(corpus):
            assert clip.clip_id in store
            np.testing.assert_array_equal(store.clip(clip.clip_id), clip.vectors)
            rows = store.rows(clip.clip_id)
            assert rows.corpus == corpus
            np.testing.assert_array_equal(store.array(corpus)[rows.first : rows.last], clip.vectors)


def test_files_are_plain_numpy_and_parquet(undisturbed):
    array = np.load(undisturbed / "esc50.npy")
    assert (array.shape, array.dtype) == ((9, 4), np.float32)
    index = pd.read_parquet(undisturbed / "esc50.parquet")
    assert index["clip_id"].tolist() == ["esc50/b"] * 3 + ["esc50/a"] + ["esc50/c"] * 5
    assert index["start_s"].tolist() == [0, 1, 2, 0, 0, 1, 2, 3, 4]
    info = json.loads((undisturbed / "store.json").read_text())
    assert (info["name"], info["dim"], info["digest"]) == ("logmel", 4, "d1")


def test_reads_are_memory_mapped(undisturbed):
    store = FeatureStore(undisturbed)
    assert isinstance(store.array("esc50"), np.memmap)
    assert np.shares_memory(store.clip("esc50/c"), store.array("esc50"))
    with pytest.raises(ValueError, match="read-only"):
        store.clip("esc50/c")[0] = 0


def test_other_segments_and_types(tmp_path):
    info = StoreInfo("pictures", 4, "d1", "<f2", 5.0)
    store = complete(tmp_path / "work", tmp_path / "out", info)
    assert store.info == info
    given, kept = features("esc50")[2].vectors, store.clip("esc50/c")
    assert kept.dtype == np.float16
    np.testing.assert_array_equal(kept, given.astype(np.float16))
    index = pd.read_parquet(tmp_path / "out" / "esc50.parquet")
    assert index["start_s"].tolist() == [0, 5, 10, 0, 0, 5, 10, 15, 20]


def test_a_corpus_without_clips(tmp_path):
    writer = FeatureWriter(INFO, tmp_path / "work")
    writer.write("esc50", features("esc50"))
    writer.finish(["esc50", "none"], tmp_path / "out")
    store = FeatureStore(tmp_path / "out")
    assert store.array("none").shape == (0, 4)
    assert list(store) == list(CLIPS["esc50"])


def test_equal_inputs_give_equal_bytes_and_nothing_is_left(undisturbed, tmp_path):
    complete(tmp_path / "work", tmp_path / "out")
    assert files_sha256([tmp_path / "out"]) == files_sha256([undisturbed])
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_finish_replaces_an_older_store(undisturbed, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "gone.npy").write_bytes(b"old")
    complete(tmp_path / "work", tmp_path / "out")
    assert files_sha256([tmp_path / "out"]) == files_sha256([undisturbed])


def interrupted(work: Path, after: int) -> FeatureWriter:
    """A writer whose input failed after ``after`` clips of the first corpus."""

    def clips():
        yield from features("esc50")[:after]
        raise KeyboardInterrupt

    writer = FeatureWriter(INFO, work)
    with pytest.raises(KeyboardInterrupt):
        writer.write("esc50", clips())
    return writer


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_written_clips_are_kept_after_an_exception(undisturbed, tmp_path, after):
    interrupted(tmp_path / "work", after)
    writer = FeatureWriter(INFO, tmp_path / "work")
    assert writer.done("esc50") == list(CLIPS["esc50"])[:after]
    assert writer.done("untrimmed") == []
    complete(tmp_path / "work", tmp_path / "out")
    assert files_sha256([tmp_path / "out"]) == files_sha256([undisturbed])


@pytest.mark.parametrize("lost_vectors", [0, 1, 79, 80, 81, 144])  # bytes; 144 is all
@pytest.mark.parametrize("lost_journal", [0, 1, 31, 32])  # bytes; a record has 31
def test_a_torn_tail_is_cut_off(undisturbed, tmp_path, lost_vectors, lost_journal):
    work = tmp_path / "work"
    interrupted(work, 3)
    for path, lost in ((work / "esc50.part", lost_vectors), (work / "esc50.journal", lost_journal)):
        with open(path, "rb+") as handle:
            handle.truncate(path.stat().st_size - lost)
    kept = FeatureWriter(INFO, work).done("esc50")
    whole = 3 if lost_vectors == 0 else 2 if lost_vectors <= 80 else 1 if lost_vectors < 96 else 0
    assert kept == list(CLIPS["esc50"])[: min(whole, {0: 3, 1: 2, 31: 2, 32: 1}[lost_journal])]
    complete(work, tmp_path / "out")
    assert files_sha256([tmp_path / "out"]) == files_sha256([undisturbed])


def test_vectors_without_a_record_are_cut_off(undisturbed, tmp_path):
    interrupted(tmp_path / "work", 2)
    with open(tmp_path / "work" / "esc50.part", "ab") as handle:
        handle.write(bytes(33))
    with open(tmp_path / "work" / "esc50.journal", "ab") as handle:
        handle.write(b'{"clip_id": "esc50/c", "n"\n')
    complete(tmp_path / "work", tmp_path / "out")
    assert files_sha256([tmp_path / "out"]) == files_sha256([undisturbed])


@pytest.mark.parametrize("lost", ["esc50.part", "esc50.journal"])
def test_a_kill_while_the_working_folder_is_removed(undisturbed, tmp_path, lost):
    """Half of a corpus's pair of files is no state to go on from."""
    interrupted(tmp_path / "work", 3)
    (tmp_path / "work" / lost).unlink()
    assert FeatureWriter(INFO, tmp_path / "work").done("esc50") == []
    complete(tmp_path / "work", tmp_path / "out")
    assert files_sha256([tmp_path / "out"]) == files_sha256([undisturbed])


def test_a_wrong_shape_names_the_clip_and_leaves_the_others(tmp_path):
    writer = FeatureWriter(INFO, tmp_path / "work")
    bad = ClipFeatures("esc50/bad", np.zeros((2, 5), np.float32))
    with pytest.raises(ModelError, match=r"esc50/bad have shape \(2, 5\).*\[segments, 4\]"):
        writer.write("esc50", [features("esc50")[0], bad])
    assert writer.done("esc50") == ["esc50/b"]


def test_memory_does_not_grow_with_the_clips(tmp_path):
    info = StoreInfo("logmel", 128, "d1")
    vectors = np.ones((20, 128), np.float32)  # 10 KiB
    writer = FeatureWriter(info, tmp_path / "work")
    tracemalloc.start()
    try:
        writer.write("big", (ClipFeatures(f"big/{n}", vectors) for n in range(1500)))  # 15 MB
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1e6  # bytes
    writer.finish(["big"], tmp_path / "out")
    store = FeatureStore(tmp_path / "out")
    tracemalloc.start()
    try:
        total = sum(float(store.clip(clip_id).sum()) for clip_id in store)
        assert tracemalloc.get_traced_memory()[1] < 5e6  # bytes
    finally:
        tracemalloc.stop()
    assert total == store.n_rows * 128 == 1500 * 20 * 128


def test_what_is_missing_is_named(undisturbed, tmp_path):
    with pytest.raises(TableError, match="nowhere: no feature store"):
        FeatureStore(tmp_path / "nowhere")
    store = FeatureStore(undisturbed)
    assert "esc50/z" not in store
    with pytest.raises(TableError, match="'esc50/z' has no features"):
        store.clip("esc50/z")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("store.json", b"{"),
        ("store.json", b"[]"),
        ("store.json", b'{"name": "x"}'),
        ("*.npy", b"no array"),
        ("*.npy", b""),
        ("*.parquet", b"no table"),
        ("*.parquet", None),
    ],
)
def test_a_damaged_store_is_named(undisturbed, tmp_path, name, content):
    folder = tmp_path / "store"
    shutil.copytree(undisturbed, folder)
    damaged = sorted(folder.glob(name))[0]
    damaged.unlink()
    if content is not None:
        damaged.write_bytes(content)
    with pytest.raises(TableError, match=r"store: damaged feature store .*run the stage"):
        store = FeatureStore(folder)
        assert store.n_rows and list(store)

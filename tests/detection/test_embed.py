"""Stage ``embed``: which clips, which rows, and going on after an interruption."""

from __future__ import annotations

import runpy
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crywatch import tracking
from crywatch.audio.segments import cut, n_segments
from crywatch.audio.waves.cleaned import read_clean
from crywatch.core import paths
from crywatch.core.digest import files_sha256
from crywatch.core.errors import AudioError, ConfigError
from crywatch.data.features import FeatureStore
from crywatch.data.tables import empty, read_table, write_table
from crywatch.data.tables.clips import SPLIT_CLIPS
from crywatch.detection.embedders import EmbedderConfig, build, embed
from crywatch.detection.embedders.embed import EmbedConfig, run
from tests.helpers.code_cases import edit
from tests.helpers.embedder_cases import save_vggish, vggish_reference
from tests.helpers.split_cases import clips_table, noise, row

LOGMEL = EmbedderConfig("logmel", 128, "")
DURATIONS_S = {"a/1": 1.0, "a/2": 2.6, "a/3": 0.3, "a/4": 3.2, "b/1": 1.4, "b/2": 2.5}


def table(path: Path, waves: dict[str, np.ndarray], **columns: object) -> Path:
    """A table of split clips with their FLACs beside it."""
    rows = []
    for clip_id, wave in waves.items():
        own = {"label": "cry", "cluster_id": None, "canonical": True, "group_id": clip_id}
        rows.append(row(path.parent / "audio", clip_id, wave, **own, split="train", **columns))
    write_table(clips_table(rows, SPLIT_CLIPS), path, SPLIT_CLIPS)
    return path


@pytest.fixture
def tables(tmp_path):
    """Two corpora with a duplicate and an unlabelled clip, and an untrimmed recording."""
    waves = {clip_id: noise(n, s) for n, (clip_id, s) in enumerate(DURATIONS_S.items())}
    split = table(tmp_path / "split" / "clips.parquet", waves | {"b/unknown": noise(8, 1.0)})
    clips = read_table(split, SPLIT_CLIPS).set_index("clip_id", drop=False)
    clips.loc["b/unknown", "label"] = "unknown"
    clips.loc["b/2", "canonical"] = False
    clips.loc["b/1", ["label", "split"]] = ["other", "test"]
    write_table(clips, split, SPLIT_CLIPS)
    untrimmed = table(tmp_path / "untrimmed" / "clips.parquet", {"untrimmed/1": noise(9, 7.0)})
    return [split, untrimmed]


def embed_tables(tables, folder, embedder=LOGMEL, batch_s=2):
    return run(tables, embedder, EmbedConfig(batch_s), folder / "out", folder / "work")


def paths_of(tables) -> dict[str, str]:
    clips = pd.concat([read_table(path, SPLIT_CLIPS) for path in tables])
    return dict(zip(clips["clip_id"], clips["path"], strict=True))


def test_every_labelled_clip_of_every_part_is_embedded(tables, tmp_path):
    summary = embed_tables(tables, tmp_path)
    store = FeatureStore(tmp_path / "out")
    assert set(store) == {*DURATIONS_S, "untrimmed/1"}  # duplicates and test clips too
    assert store.corpora == ("a", "b", "untrimmed")
    embedder = build(LOGMEL)
    for clip_id, path in paths_of(tables).items():
        if clip_id in store:
            np.testing.assert_array_equal(store.clip(clip_id), embedder.embed(read_clean(path)))
    assert (store.info.name, store.info.dim) == ("logmel", 128)
    assert store.info.digest == embedder.digest == summary.digest
    assert summary.n_clips == 7
    seconds = [n_segments(round(s * 16_000)) for s in [*DURATIONS_S.values(), 7.0]]
    assert summary.n_seconds == sum(seconds) == store.n_rows


def test_the_batch_changes_nothing(tables, tmp_path):
    for batch_s in (1, 3, 1000):
        embed_tables(tables, tmp_path / str(batch_s), batch_s=batch_s)
    digests = {files_sha256([tmp_path / name / "out"]) for name in ("1", "3", "1000")}
    assert len(digests) == 1


def test_batches_are_bounded(tables, tmp_path, monkeypatch):
    sizes = []
    embedder = build(LOGMEL)
    batch = embedder.embed_batch
    monkeypatch.setattr(
        embedder, "embed_batch", lambda waves: sizes.append([len(w) for w in waves]) or batch(waves)
    )
    monkeypatch.setattr(embed, "build", lambda config: embedder)
    embed_tables(tables, tmp_path, batch_s=3)
    assert sum(map(len, sizes)) == 7
    assert all(sum(lengths[:-1]) < 3 * 16_000 for lengths in sizes)  # the last one may reach over


def test_vggish_stand_in_through_the_stage(tables, tmp_path):
    handle = save_vggish(tmp_path / "vggish")
    embed_tables(tables, tmp_path, EmbedderConfig("vggish", 128, str(handle)), batch_s=4)
    store = FeatureStore(tmp_path / "out")
    for clip_id, path in paths_of(tables).items():
        if clip_id in store:
            expected = np.concatenate([vggish_reference(s) for s in cut(read_clean(path))])
            np.testing.assert_allclose(store.clip(clip_id), expected, atol=1e-6)


def stop_after(monkeypatch, count: int) -> list[str]:
    """Let reading fail after ``count`` clips; the list takes the paths read."""
    read: list[str] = []

    def reading(path):
        if len(read) == count:
            raise KeyboardInterrupt
        read.append(path)
        return read_clean(path)

    monkeypatch.setattr(embed, "read_clean", reading)
    return read


@pytest.mark.parametrize("count", [0, 2, 3, 5])
def test_an_interrupted_stage_goes_on_to_the_same_bytes(tables, tmp_path, monkeypatch, count):
    embed_tables(tables, tmp_path / "undisturbed")
    stop_after(monkeypatch, count)
    with pytest.raises(KeyboardInterrupt):
        embed_tables(tables, tmp_path / "killed")
    assert not (tmp_path / "killed" / "out").exists()

    again = stop_after(monkeypatch, 100)
    embed_tables(tables, tmp_path / "killed")
    assert len(again) < 7 or count == 0
    outs = [files_sha256([tmp_path / name / "out"]) for name in ("undisturbed", "killed")]
    assert outs[0] == outs[1]
    assert not (tmp_path / "killed" / "work").exists()


def test_clips_embedded_already_are_not_read_again(tables, tmp_path, monkeypatch):
    first = stop_after(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        embed_tables(tables, tmp_path, batch_s=1)
    again = stop_after(monkeypatch, 100)
    embed_tables(tables, tmp_path, batch_s=1)
    # "a/3" is short of a batch and waits for "a/4"; everything before the stop was written.
    assert not set(first) & set(again)
    assert len(first) + len(again) == 7


def test_numbers_of_other_code_are_made_again(tables, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        edit(patch, "data/features.py")
        stop_after(patch, 4)
        with pytest.raises(KeyboardInterrupt):
            embed_tables(tables, tmp_path, batch_s=1)
    again = stop_after(monkeypatch, 100)
    embed_tables(tables, tmp_path, batch_s=1)
    assert len(again) == 7


def test_other_inputs_never_reuse_what_was_done(tables, tmp_path, monkeypatch):
    stop_after(monkeypatch, 5)
    with pytest.raises(KeyboardInterrupt):
        embed_tables(tables, tmp_path / "changed")
    waves = {clip_id: noise(50 + n, s) for n, (clip_id, s) in enumerate(DURATIONS_S.items())}
    table(tables[0], waves)
    again = stop_after(monkeypatch, 100)
    embed_tables(tables, tmp_path / "changed")
    assert len(again) == 7
    assert not (tmp_path / "changed" / "work").exists()  # nor what the first inputs left there
    embed_tables(tables, tmp_path / "fresh")
    outs = [files_sha256([tmp_path / name / "out"]) for name in ("changed", "fresh")]
    assert outs[0] == outs[1]


def test_another_embedder_never_reuses_what_was_done(tables, tmp_path, monkeypatch):
    from crywatch.detection.embedders import logmel

    stop_after(monkeypatch, 5)
    with pytest.raises(KeyboardInterrupt):
        embed_tables(tables, tmp_path)
    monkeypatch.setattr(logmel, "LOG_OFFSET", 0.1)
    again = stop_after(monkeypatch, 100)
    embed_tables(tables, tmp_path)
    assert len(again) == 7
    store = FeatureStore(tmp_path / "out")
    clip = build(LOGMEL).embed(read_clean(paths_of(tables)["a/1"]))
    np.testing.assert_array_equal(store.clip("a/1"), clip)


def test_errors_name_what_is_wrong(tables, tmp_path):
    with pytest.raises(ConfigError, match="embedder.dim is 64"):
        embed_tables(tables, tmp_path, EmbedderConfig("logmel", 64, ""))
    Path(paths_of(tables)["b/1"]).unlink()
    with pytest.raises(AudioError, match=r"b/1\.flac"):
        embed_tables(tables, tmp_path)
    assert not (tmp_path / "out").exists()


def test_the_script_reads_its_sections_and_logs(tables, tmp_path, monkeypatch):
    script = Path(__file__).resolve().parents[2] / "pipelines" / "embed.py"
    main = runpy.run_path(str(script))["main"]
    (tmp_path / paths.MIXTURES).mkdir(parents=True)
    for source, folder in zip(tables, (paths.SPLIT, paths.UNTRIMMED), strict=True):
        clips = read_table(source, SPLIT_CLIPS)
        source.parent.rename(tmp_path / folder)
        path = tmp_path / folder / "clips.parquet"
        clips["path"] = [f"{folder}/{Path(p).relative_to(source.parent)}" for p in clips["path"]]
        write_table(clips, path, SPLIT_CLIPS)
    write_table(empty(SPLIT_CLIPS), tmp_path / paths.SOUNDSCAPES / "clips.parquet", SPLIT_CLIPS)
    (tmp_path / "params.yaml").write_text(
        "engine: {name: local}\n"
        "embedder: {name: logmel, dim: 128, handle: ''}\nembed: {batch_s: 4}\n"
    )
    logged = {}

    class Log:
        def metrics(self, values):
            logged.update(values)

        def tags(self, values):
            logged.update(values)

    @contextmanager
    def stage_run(stage, key=None):
        logged["stage"] = stage
        yield Log()

    monkeypatch.setattr(tracking, "stage_run", stage_run)
    monkeypatch.chdir(tmp_path)
    main()
    store = FeatureStore(paths.EMBED)
    assert (logged["stage"], logged["embedder"]) == ("embed", "logmel")
    assert logged["features"] == "log-mel stand-in"
    assert (logged["clips"], logged["seconds"]) == (7, store.n_rows)

"""The top seconds of published features: scores, labels, refusals and flat memory."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from crywatch.cli import main as cli
from crywatch.core.errors import ConfigError, CrywatchError, ModelError, TableError
from crywatch.core.models import ModelFolder, save
from crywatch.corpora.audioset import BABY_CRY, CRYING, DEFAULT_CLASSES
from crywatch.data.tables import read_table
from crywatch.data.tables.clips import MINED
from crywatch.detection.anomaly import mine_published
from crywatch.detection.anomaly.mine_published import SCHEMA, pick_own, run
from crywatch.detection.anomaly.network import RtfmNetwork, load_head, score_seconds
from crywatch.detection.embedders.published import read_shard
from tests.helpers.blazenet_cases import write_clips
from tests.helpers.generated import generated
from tests.helpers.published_cases import example, write_shard

EMBEDDER = {"name": "vggish", "dim": 128, "handle": "", "pca": "pca.npz", "digest": "d"}
RNG = np.random.default_rng(7)


def model_folder(folder, embedder=EMBEDDER, **description):
    torch.manual_seed(0)
    told = {"kind": "rtfm", "name": "miner", "dim": 128, "embedder": embedder} | description
    network = RtfmNetwork(told["dim"])
    weights = {f"head.{name}": value for name, value in network.state_dict().items()}
    save(folder, ModelFolder({k: v for k, v in told.items() if v is not None}, weights))
    return folder


@pytest.fixture
def model(tmp_path):
    return model_folder(tmp_path / "model")


def rows(n_seconds):
    return RNG.integers(0, 256, (n_seconds, 128)).astype(np.uint8)


@pytest.fixture
def features(tmp_path):
    """Two shards of clips of unequal lengths, and the table of classes beside them."""
    root = tmp_path / "audioset_v1_embeddings"
    write_shard(
        root / "bal_train" / "a.tfrecord",
        example("00000000001", 30.0, (1, 0), rows(10)),
        example("00000000002", 0.0, (2,), rows(7)),
        example("00000000003", 1.5, (3,), rows(10)),
    )
    write_shard(
        root / "eval" / "b.tfrecord",
        example("00000000004", 30.0, (), rows(1)),
        example("00000000005", 30.0, (0,), rows(0)),
    )
    mids = ["/m/09x0r", BABY_CRY, CRYING, "/m/01yrx"]
    lines = [f'{i},{mid},"Name, {i}"' for i, mid in enumerate(mids)]
    (tmp_path / "class_labels_indices.csv").write_text(
        "\n".join(["index,mid,display_name", *lines]) + "\n"
    )
    return root


def mine(features, model, out, top_t=2):
    summary = run(features, model, DEFAULT_CLASSES, out, top_t)
    return summary, pd.read_parquet(out)


def test_the_top_seconds_of_every_clip_with_its_classes(features, model, tmp_path):
    summary, mined = mine(features, model, tmp_path / "mined.parquet")
    assert (summary.n_clips, summary.n_seconds) == (5, 7) and len(mined) == 7
    assert list(mined.columns) == SCHEMA.names
    network = load_head(model)
    for shard in sorted(features.rglob("*.tfrecord")):
        for clip in read_shard(shard):
            group = mined[mined["video_id"] == clip.video_id]
            if not len(clip.vectors):
                assert group.empty  # nothing to mine
                continue
            scores = score_seconds(network, clip.vectors)
            assert group["rank"].tolist() == list(range(min(2, len(scores))))
            np.testing.assert_allclose(group["score"], np.sort(scores)[::-1][:2], atol=1e-6)
            np.testing.assert_allclose(
                group["score"], scores[group["start_s"].astype(int)], atol=1e-6
            )
    first = mined.drop_duplicates("segment_id").set_index("segment_id")
    assert list(first.index) == [
        "00000000001_30000",
        "00000000002_0",
        "00000000003_1500",
        "00000000004_30000",
    ]
    assert first["kind"].tolist() == ["cry", "ambiguous", "confuser", "other"]
    assert first["class"].tolist() == ["baby_cry", "crying_sobbing", "cat", "other"]
    assert first["mids"].tolist() == [f"{BABY_CRY},/m/09x0r", CRYING, "/m/01yrx", ""]
    assert first["shards"].tolist() == ["bal_train"] * 3 + ["eval"]


def test_own_seconds_are_those_of_clips_with_sound_that_long(features, model, tmp_path):
    mine(features, model, tmp_path / "all", top_t=10)
    sounds = {"00000000001_30000": 10.0, "00000000002_0": 2.4, "00000000009_0": 10.0}
    rows = [
        {"clip_id": f"{corpus}/{name}", "label": "cry", "split": "train", "duration_s": seconds}
        | {"source_path": f"audio/{name}.flac", "weak": True}
        for corpus in ("audioset", "icsd")
        for name, seconds in sounds.items()
    ]
    rows[1]["label"] = "other"
    clips = write_clips(tmp_path / "clips.parquet", rows)
    count = pick_own(tmp_path / "all", clips, tmp_path / "own")
    own = read_table(tmp_path / "own", MINED)
    starts = own.groupby("clip_id")["start_s"].apply(sorted).to_dict()
    assert starts == {
        "audioset/00000000001_30000": [float(second) for second in range(10)],
        "audioset/00000000002_0": [0.0, 1.0],
    }
    assert count == len(own) == 12
    write_clips(clips, rows[3:])
    with pytest.raises(TableError, match="no labelled clip of audioset"):
        pick_own(tmp_path / "all", clips, tmp_path / "own")


def test_batches_and_row_groups_change_nothing_but_themselves(
    features, model, tmp_path, monkeypatch
):
    _, whole = mine(features, model, tmp_path / "a")
    monkeypatch.setattr(mine_published, "BATCH", 2)
    monkeypatch.setattr(mine_published, "ROWS", 3)
    _, pieces = mine(features, model, tmp_path / "b")
    assert pq.ParquetFile(tmp_path / "a").num_row_groups == 1
    assert pq.ParquetFile(tmp_path / "b").num_row_groups > 1
    pd.testing.assert_frame_equal(whole, pieces, rtol=1e-5)
    assert pieces["start_s"].tolist() == whole["start_s"].tolist()


def test_equal_inputs_give_equal_bytes(features, model, tmp_path):
    for name in ("one", "two"):
        mine(features, model, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_rows_are_not_held(features, model, tmp_path, monkeypatch):
    held = []
    flush = mine_published._flush
    monkeypatch.setattr(mine_published, "BATCH", 4)
    monkeypatch.setattr(mine_published, "ROWS", 8)
    monkeypatch.setattr(
        mine_published, "_flush", lambda sink, rows: held.append(len(rows)) or flush(sink, rows)
    )
    write_shard(
        features / "unbal_train" / "c.tfrecord", *(example(rows=rows(3)) for _ in range(40))
    )
    summary, mined = mine(features, model, tmp_path / "mined.parquet")
    assert summary.n_seconds == len(mined) == 87
    assert max(held) < 8 + 2


@pytest.mark.parametrize(
    ("embedder", "description", "message"),
    [
        ({"name": "logmel", "dim": 128, "handle": ""}, {}, "trained on logmel without PCA"),
        (EMBEDDER | {"pca": ""}, {}, "trained on vggish without PCA"),
        ({"name": "vggish", "dim": 128, "handle": ""}, {}, "embedder.pca="),  # of older models
        (EMBEDDER, {"dim": 64}, "published features are vggish with PCA"),
        (None, {}, "no miner on an embedder's features"),  # RTFM on BlazeNet
        (None, {"kind": "blazenet"}, "no miner on an embedder's features"),
    ],
)
def test_a_model_of_another_space_is_refused(embedder, description, message, features, tmp_path):
    folder = model_folder(tmp_path / "other", embedder, **description)
    with pytest.raises(ModelError, match=message):
        run(features, folder, DEFAULT_CLASSES, tmp_path / "mined.parquet", 2)
    assert not (tmp_path / "mined.parquet").exists()


def test_a_damaged_shard_leaves_nothing_under_the_final_name(features, model, tmp_path):
    shard = features / "eval" / "b.tfrecord"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(TableError, match=r"b\.tfrecord, record 2"):
        run(features, model, DEFAULT_CLASSES, tmp_path / "out" / "mined.parquet", 2)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_label_in_no_table_and_a_missing_table_are_told(features, model, tmp_path):
    write_shard(features / "eval" / "c.tfrecord", example(labels=(526,), rows=rows(2)))
    with pytest.raises(TableError, match=r"c\.tfrecord: 00000000001_30000 has label 526"):
        run(features, model, DEFAULT_CLASSES, tmp_path / "mined.parquet", 2)
    (tmp_path / "class_labels_indices.csv").unlink()
    with pytest.raises(TableError, match=r"class_labels_indices\.csv is missing.*--classes"):
        run(features, model, DEFAULT_CLASSES, tmp_path / "mined.parquet", 2)
    with pytest.raises(ConfigError, match="top_t: 0"):
        run(features, model, DEFAULT_CLASSES, tmp_path / "mined.parquet", 0)


def test_the_command(model, tmp_path):
    generated("audioset", tmp_path / "audioset", seed=3, infants=2)
    out = tmp_path / "mined.parquet"
    features = tmp_path / "audioset" / "audioset_v1_embeddings"
    command = ["mine-published", str(features), "--model", str(model), "--out", str(out)]
    result = CliRunner().invoke(cli.app, [*command, "--top-t", "3"])
    assert result.exit_code == 0 and "24 seconds of 8 clips" in result.output
    assert set(pd.read_parquet(out)["kind"]) == {"cry", "ambiguous", "confuser", "other"}
    wrong = [*command[:-1], str(tmp_path / "x"), "--model", str(tmp_path / "none")]
    assert isinstance(CliRunner().invoke(cli.app, wrong).exception, CrywatchError)

"""Engines: the same results in the same order, also where a node or a process dies."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from crywatch.core.digest import files_sha256
from crywatch.core.errors import AudioError, ConfigError, EngineError
from crywatch.core.models import ModelFolder, save
from crywatch.corpora.audioset import DEFAULT_CLASSES
from crywatch.data.features import StoreInfo
from crywatch.data.selection import labelled
from crywatch.data.tables import write_table
from crywatch.data.tables.clips import SPLIT_CLIPS
from crywatch.detection.anomaly import mine, mine_published
from crywatch.detection.anomaly.mine import Mining
from crywatch.detection.anomaly.network import RtfmNetwork
from crywatch.detection.embedders import EmbedderConfig, embed
from crywatch.detection.embedders.embed import EmbedConfig
from crywatch.detection.engine import LOCAL, EngineConfig, open_engine
from crywatch.detection.engine.cluster import RayEngine, _Task
from tests.helpers.anomaly_cases import write_two_corpora
from tests.helpers.engine_cases import NOTES, Doubling, Note, SlowEmbedding, SlowMining, notes
from tests.helpers.generated import generated
from tests.helpers.split_cases import clips_table, noise, row

pytestmark = pytest.mark.nightly

LOGMEL = EmbedderConfig("logmel", 128, "")
STORE_BYTES = 100 << 20
BATCHES = [[1, 2], [3], [4, 5, 6], [7]]


def test_local_work_is_done_when_it_is_asked_for():
    asked = []

    def batches():
        for batch in BATCHES:
            asked.append(batch)
            yield batch

    made = LOCAL.map(Doubling(), batches())
    assert list(islice(made, 3)) == [2, 4, 6] and asked == BATCHES[:2]
    assert list(made) == [8, 10, 12, 14]


def test_what_is_costly_is_not_sent():
    work = Doubling(bad=5)
    assert work.table and "table" in vars(work)
    again = pickle.loads(pickle.dumps(work))
    assert again == work and "table" not in vars(again)
    assert again.table == work.table


def test_an_unknown_engine_and_bad_numbers_are_named():
    with pytest.raises(ConfigError, match="'spark' is unknown; there are local, ray"):
        open_engine(EngineConfig("spark")).__enter__()
    for changed in ({"batches": 0}, {"tasks": -1}, {"cpus": -1.0}, {"retries": -1}):
        with pytest.raises(ConfigError, match="batches must be at least 1"):
            open_engine(EngineConfig("ray", **changed)).__enter__()


def test_without_ray_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineError, match=r"pip install 'crywatch\[ray\]', or set engine=local"):
        open_engine(EngineConfig("ray")).__enter__()


def test_a_node_that_does_not_share_the_folder_says_so(tmp_path):
    task = _Task(pickle.dumps(Doubling()), str(tmp_path / "elsewhere"))
    said = pickle.loads(task({"batches": pickle.dumps(BATCHES)})["error"])
    assert isinstance(said, EngineError) and "does not see" in str(said)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A head without CPUs and two nodes of one, which note what they do."""
    from ray.cluster_utils import Cluster

    folder = tmp_path_factory.mktemp("notes")
    root = str(Path(__file__).parents[2])  # of tests.helpers, which its workers import
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))
        patch.setenv(NOTES, str(folder))
        shared = {"object_store_memory": STORE_BYTES, "include_dashboard": False}
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **shared})
        made.nodes = [made.add_node(num_cpus=1, **shared) for _ in range(2)]
        made.wait_for_nodes()
        patch.setenv("RAY_ADDRESS", made.address)
        yield made
        made.shutdown()


@pytest.fixture(scope="module")
def engine(cluster):
    """The cluster's engine."""
    with open_engine(EngineConfig("ray", cpus=1.0, batches=1)) as engine:
        yield engine


@pytest.fixture
def noted(cluster, monkeypatch) -> Path:
    """The folder of the nodes' notes, empty."""
    folder = Path(os.environ[NOTES])
    for path in folder.iterdir():
        path.unlink()
    return folder


@contextmanager
def killing(noted: Path, after: int, kill: Callable[[Note], object]) -> Iterator[None]:
    """``kill`` is called with the last note once there are ``after`` of them, while work goes on.

    Asserted afterwards: it was, and what that process had begun was begun once more.
    """
    seen: list[Note] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            begun = notes(noted)
            if len(begun) >= after:
                seen.append(begun[-1])
                os.kill(begun[-1].pid, signal.SIGKILL)  # in its sleep
                kill(begun[-1])
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    assert seen, "all was done before anything could be killed"
    assert [one.first for one in notes(noted)].count(seen[0].first) == 2


def test_the_cluster_gives_all_in_order(engine):
    assert list(engine.map(Doubling(), BATCHES)) == [2, 4, 6, 8, 10, 12, 14]
    many = [[number] for number in range(60)]
    grouped = RayEngine(replace(engine.config, batches=7), engine.cpus)
    assert list(grouped.map(Doubling(), many)) == [2 * number for number in range(60)]
    assert list(engine.map(Doubling(), [])) == []


def test_published_features_are_mined_to_the_same_bytes(engine, tmp_path):
    torch.manual_seed(0)
    weights = {f"head.{k}": v for k, v in RtfmNetwork(128).state_dict().items()}
    told = {"name": "vggish", "dim": 128, "handle": "", "pca": "pca.npz", "digest": "d"}
    save(tmp_path / "model", ModelFolder({"kind": "rtfm", "dim": 128, "embedder": told}, weights))
    generated("audioset", tmp_path / "audioset", seed=3, infants=2)
    features = tmp_path / "audioset" / "audioset_v1_embeddings"
    for name, where in (("local", LOCAL), ("ray", engine)):
        mined = mine_published.run(
            features, tmp_path / "model", DEFAULT_CLASSES, tmp_path / name, 2, engine=where
        )
        assert mined.n_clips == 8
    assert (tmp_path / "ray").read_bytes() == (tmp_path / "local").read_bytes()


def test_an_error_of_the_work_comes_after_what_is_before_it(engine):
    made = engine.map(Doubling(bad=5), BATCHES)
    assert list(islice(made, 3)) == [2, 4, 6]
    with pytest.raises(AudioError, match="5 cannot be doubled"):
        list(made)


def test_work_that_always_kills_its_process_is_given_up(engine):
    fragile = RayEngine(replace(engine.config, retries=1), engine.cpus)
    with pytest.raises(EngineError, match=r"repeated engine\.retries = 1 times.*repeat the stage"):
        list(fragile.map(Doubling(deadly=4), BATCHES))


def test_mining_gives_the_same_bytes_where_a_process_is_killed(
    engine, noted, tmp_path, monkeypatch
):
    info = StoreInfo("toy", 4, "digest")
    clips, store = write_two_corpora(tmp_path, info, ("train", "val", "test"))
    torch.manual_seed(0)
    weights = {f"head.{k}": v for k, v in RtfmNetwork(info.dim).state_dict().items()}
    save(tmp_path / "model", ModelFolder({"kind": "rtfm", "dim": info.dim}, weights))
    monkeypatch.setattr(mine, "BATCH", 1)

    def run(name: str, work: Mining, engine) -> None:
        mine.mine_clips(labelled(clips), work, tmp_path / name, engine=engine)

    run("local", Mining(tmp_path / "model", store, 2), LOCAL)
    with killing(noted, 3, lambda note: None):
        run("ray", SlowMining(tmp_path / "model", store, 2), engine)
    assert (tmp_path / "ray").read_bytes() == (tmp_path / "local").read_bytes()


# Last of those on the cluster: one of its nodes is left then.
def test_embedding_gives_the_same_bytes_where_a_node_is_killed(
    cluster, engine, noted, tmp_path, monkeypatch
):
    rows = [
        row(
            tmp_path / "audio",
            f"{corpus}/{number:02}",
            noise(number, 0.4 + number % 5),
            label="cry",
            cluster_id=None,
            canonical=True,
            group_id=f"{corpus}/{number}",
            split="train",
        )
        for corpus, count in (("a", 24), ("b", 3))
        for number in range(count)
    ]
    write_table(clips_table(rows, SPLIT_CLIPS), tmp_path / "clips.parquet", SPLIT_CLIPS)

    def run(name: str, engine) -> None:
        folder = tmp_path / name
        embed.run(
            [tmp_path / "clips.parquet"],
            LOGMEL,
            EmbedConfig(1),
            folder / "out",
            folder / "work",
            engine,
        )

    run("local", LOCAL)
    monkeypatch.setattr(embed, "Embedding", SlowEmbedding)
    nodes = {node.node_id: node for node in cluster.nodes}
    with killing(noted, 6, lambda note: cluster.remove_node(nodes[note.node], False)):
        run("ray", engine)
    assert len({one.node for one in notes(noted)}) == 2
    outs = [files_sha256([tmp_path / name / "out"]) for name in ("local", "ray")]
    assert outs[0] == outs[1]
    assert not (tmp_path / "ray" / "work").exists()

"""Weak clips from AudioSet's layout to what is mined of them: one second in ten of a cry cries."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crywatch import corpora
from crywatch.audio.waves.cleaned import read_clean
from crywatch.core import params
from crywatch.core.paths import MINED_SECONDS
from crywatch.corpora.audioset import BABY_CRY
from crywatch.corpora.samples import audioset as sample
from crywatch.data import clean, mixtures, split
from crywatch.data.features import FeatureStore
from crywatch.data.mixtures import untrimmed
from crywatch.data.selection import Source
from crywatch.data.tables import PARTS, read_table, write_table
from crywatch.data.tables.clips import MINED, SPLIT_CLIPS
from crywatch.detection.anomaly import mine
from crywatch.detection.blazenet import choosing, pictures, train_blazenet
from crywatch.detection.blazenet.choosing import BlazenetInputs, BlazenetVariant
from crywatch.detection.blazenet.train_blazenet import TrainBlazenetConfig
from crywatch.detection.detectors import load_detector
from crywatch.detection.embedders import EmbedderConfig, embed
from tests.helpers.generated import generated

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[2]
WEAK, STRONG = ((BABY_CRY,), False), ((BABY_CRY,), True)
OTHERS = [((mid,), False) for mid in ("/t/dd00001", "/m/01yrx", sample.MUSIC, sample.MUSIC)]
CLIPS = [*[WEAK] * 6, *[STRONG] * 3, *OTHERS * 3]  # of each part; the last one is gone


class World:
    """A rebuild of AudioSet alone up to the mined seconds, below the working directory."""

    def __init__(self, conf):
        one = params.typed(conf.clean, clean.CleanConfig, "clean")
        corpus, folder = corpora.get("audioset"), Path("clean/audioset")
        clean.run(corpus, replace(one, workers=1), Path("raw"), folder, Path("work"))
        conf.split.ratios, conf.split.infants.only = {"train": 0.6, "val": 0.2, "test": 0.2}, []
        splitting = params.typed(conf.split, split.SplitConfig, "split")
        split.run([folder], splitting, 1, Path("split"), Path("split_infants"))
        few = params.typed(conf.mixtures, mixtures.MixturesConfig, "mixtures").untrimmed
        few = replace(few, per_part=dict.fromkeys(PARTS, 2), max_duration_s=30.0, min_weak=2)
        self.split = Source(Path("split/clips.parquet"), Path("split/events.parquet"))
        self.joined = Source(Path("mix/clips.parquet"), Path("mix/events.parquet"))
        untrimmed.run(self.split.clips, few, 1, Path("mix"))
        tables = [self.split.clips, self.joined.clips]
        embedder = params.typed(conf.embedder, EmbedderConfig, "embedder")
        embed.run(
            tables, embedder, params.typed(conf.embed, embed.EmbedConfig, "embed"), Path("embed"),
            Path("work"),
        )  # fmt: skip
        self.embedder = embedder
        self.mining = params.typed(conf.mine, mine.MineConfig, "mine")
        self.bags = read_table("mix/bags.parquet", SPLIT_CLIPS)
        self.summary = self.mine(Path("mine"), steps=2, val_every=1, patience_steps=2)
        front_ends = params.typed(conf.pictures, pictures.PicturesConfig, "pictures")
        pictures.run(tables, front_ends, Path("pictures"), Path("work"))
        self.front_end = front_ends.front_end("ours", 1.0)
        self.inputs = BlazenetInputs(
            features=Path("pictures") / pictures.folder_name("ours", 1.0),
            split=self.split,
            soundscapes=self.joined,
            untrimmed_clips=Path("mix/bags.parquet"),
            mined_trimmed=Path("mine") / MINED_SECONDS,
            mined_untrimmed=Path("mine") / MINED_SECONDS,
            mined_published=Path("published.parquet"),
        )
        weak = self.bags[self.bags["weak"] & (self.bags["label"] == "cry")]
        self.crying_second = {
            clip_id: sample.crying_second(Path(source).stem)
            for clip_id, source in zip(weak["clip_id"], weak["source_path"], strict=True)
        }

    def mine(self, out: Path, **changes) -> mine.MineSummary:
        """One pass of the stage over the untrimmed data set."""
        config = replace(self.mining, batch_size=16, top_k=1, **changes)
        bags, known = {"untrimmed": Path("mix/bags.parquet")}, {"untrimmed": self.joined}
        inputs = mine.MineInputs(bags, known, Path("embed"))
        return mine.run("untrimmed", config, self.embedder, inputs, 1.0, 1, out, Path("work"))

    def segments(self, kind: str) -> list:
        """What BlazeNet trains on."""
        variant, store = BlazenetVariant(1.0, kind, ""), FeatureStore(self.inputs.features)
        return choosing.training_segments(variant, self.inputs, store)


@pytest.fixture(scope="module")
def world(tmp_path_factory, one_thread):
    conf = params.compose([])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("weak"))
        patch.setattr(sample, "CLIPS", tuple(CLIPS))
        generated("audioset", Path("raw"))
        yield World(conf)


def test_weak_clips_are_the_bags_of_every_part(world):
    assert set(world.bags["corpus"]) == {"audioset"}
    assert world.bags["weak"].all()
    assert world.bags.groupby("split")["label"].nunique().to_dict() == dict.fromkeys(PARTS, 2)
    training = world.summary.training
    own = world.bags[world.bags["split"] == "train"]["label"].value_counts()
    assert (training.n_abnormal, training.n_normal) == (own["cry"], own["other"])


def test_no_second_of_a_weak_cry_is_a_positive_unless_it_is_mined(world):
    weak = set(world.crying_second)
    for kind in ("all", "random", "soundscapes", "mined_both", "mined_neg"):
        assert not weak & {ref.clip_id for ref in world.segments(kind)}, kind
    assert {ref.is_cry for ref in world.segments("all")} == {False, True}
    mined = {ref.clip_id: 0 for ref in world.segments("mined_untrimmed") if ref.is_cry}
    assert set(mined) == weak & set(world.bags[world.bags["split"] == "train"]["clip_id"])


def test_the_miner_is_measured_where_onsets_are_known(world):
    mined = read_table(Path("mine") / MINED_SECONDS, MINED)
    joined = read_table(world.joined.clips, SPLIT_CLIPS)["clip_id"]
    assert set(mined["clip_id"]) == {*world.bags["clip_id"], *joined}
    assert world.summary.mined.precision is not None


@pytest.mark.nightly
def test_mining_finds_the_seconds_that_cry(world):
    world.mine(Path("longer"), steps=150, val_every=50, patience_steps=150)
    mined = read_table(Path("longer") / MINED_SECONDS, MINED)
    hits = [
        world.crying_second[clip_id] in rows["start_s"].astype(int).tolist()
        for clip_id, rows in mined.groupby("clip_id")
        if clip_id in world.crying_second
    ]
    assert len(hits) > 15 and np.mean(hits) > 0.6  # two seconds of ten at random: 0.2


@pytest.mark.nightly
def test_a_training_on_all_seconds_does_not_hear_the_rest_of_a_weak_cry_as_crying(world):
    config = replace(  # the demo's rate
        params.typed(params.compose([], ROOT / "conf").train_blazenet, TrainBlazenetConfig, "t"),
        variants={"all_1s": BlazenetVariant(1.0, "all", "")},
        **{"max_epochs": 12, "lr_step": 9, "batch_size": 16},
    )
    as_trimmed = read_table(world.split.clips, SPLIT_CLIPS).assign(weak=False)
    write_table(as_trimmed, "trimmed.parquet", SPLIT_CLIPS)
    rest = {}
    for clips in (world.split.clips, Path("trimmed.parquet")):
        inputs = replace(world.inputs, split=Source(clips, world.split.events))
        out = Path("all_1s")
        train_blazenet.run("all_1s", config, world.front_end, inputs, 1.0, out, Path("work"))
        detector = load_detector(out)
        paths = world.bags.set_index("clip_id")["path"]
        rest[clips] = [
            np.delete(detector.score(read_clean(paths[clip_id])), at) >= 0.5
            for clip_id, at in world.crying_second.items()
        ]
    weak, trimmed = (np.mean(called) for called in rest.values())
    assert weak < 0.1 and trimmed > 0.5

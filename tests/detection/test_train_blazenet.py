"""Stage ``train_blazenet``: the lines of Table 4, the recipe, and a killed training going on."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import SequentialSampler

from crywatch.audio.activity import ActivityConfig
from crywatch.audio.waves.cleaned import write_flac
from crywatch.core.atomic import read_json
from crywatch.core.digest import files_sha256
from crywatch.core.errors import ConfigError, TableError
from crywatch.core.models import EMBEDDINGS, load
from crywatch.core.paths import MINED_SECONDS, MISSING_NOTE, missing_note
from crywatch.data.features import FeatureStore
from crywatch.data.selection import Source, labelled
from crywatch.data.tables import read_table, write_table
from crywatch.data.tables.clips import EVENTS, SPLIT_CLIPS
from crywatch.detection.anomaly.mine_published import none_mined
from crywatch.detection.blazenet import train_blazenet
from crywatch.detection.blazenet.choosing import (
    BlazenetInputs,
    BlazenetVariant,
    loud_segments,
    plain_segments,
    training_segments,
)
from crywatch.detection.blazenet.data import (
    Process,
    SegmentDataset,
    SegmentRef,
    SharedBatches,
)
from crywatch.detection.blazenet.frontend import from_wave
from crywatch.detection.blazenet.module import (
    BETTER,
    BlazenetEpoch,
    BlazeNetModule,
    BlazenetRecipe,
)
from crywatch.detection.blazenet.network import BlazeNet, NetworkConfig
from crywatch.detection.blazenet.train_blazenet import (
    RecipeConfig,
    TrainBlazenetConfig,
    run,
)
from crywatch.detection.detectors import load_detector
from tests.helpers.blazenet_cases import (
    IMAGE,
    ONE_SECOND,
    picture_store,
    sound,
    write_clips,
    write_mined,
)
from tests.helpers.code_cases import edit
from tests.helpers.evaluation_cases import write_cries

TRAIN = {"a/cry1": 5, "a/cry2": 1, "a/other1": 3, "a/other2": 4, "b/cry3": 2, "b/other3": 5}
VAL = {"a/cry4": 4, "a/other4": 4, "b/cry5": 3, "b/other5": 3}
UNTRIMMED = {"untrimmed/cry": 12, "untrimmed/other": 10, "untrimmed/val": 9}
SOUNDSCAPES = {"soundscapes/cry": 4, "soundscapes/other": 3}
MINED = {"a/cry1": [3, 0], "a/cry2": [0], "a/other1": [1, 2], "a/other2": [0, 1], "b/cry3": [1, 0]}
MINED |= {"b/other3": [4, 2], "a/cry4": [1, 0]}
KINDS = ("all", "random", "mined_both", "mined_pos", "mined_neg", "mined_untrimmed")


OURS = RecipeConfig("ours", 0.02, 0.0, "loss", 0.0, "symmetric", "equal")
AUTHOR = RecipeConfig("author", 0.02, 0.5, "accuracy", 0.025, "same", "imagenet")


def config(**changes) -> TrainBlazenetConfig:
    variants = {kind: BlazenetVariant(1.0, kind, "") for kind in KINDS}
    given = {
        "max_epochs": 4,
        "batch_size": 8,
        "momentum": 0.9,
        "lr_step": 3,
        "lr_gamma": 0.1,
        "cache_mb": 64,
        "recipes": {"ours": OURS, "author": AUTHOR},
        "variants": variants
        | {
            "no_b": BlazenetVariant(1.0, "all", "b"),
            "author": BlazenetVariant(1.0, "all", "", recipe="author"),
            "backbone": BlazenetVariant(1.0, "all", "", embeddings=True),
            "five": BlazenetVariant(5.0, "all", "", embeddings=True),
        },
    }
    return TrainBlazenetConfig(**(given | changes))


def rows(clips: dict[str, int], part: str) -> list[dict]:
    labels = {clip_id: "cry" if "cry" in clip_id else "other" for clip_id in clips}
    return [{"clip_id": c, "label": labels[c], "split": part} for c in clips]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> BlazenetInputs:
    folder = tmp_path_factory.mktemp("inputs")
    split = rows(TRAIN, "train") + rows(VAL, "val")
    # A copy of a clip of corpus b in corpus a, one duplicate, one without a label, one for testing.
    split[0]["group_id"] = split[4]["group_id"] = "together"
    split += rows({"a/cry_copy": 2}, "train") + rows({"a/cry_test": 3}, "test")
    split[-2]["canonical"] = False
    split.append({"clip_id": "a/unknown", "label": "unknown", "split": "train"})
    untrimmed = rows(UNTRIMMED, "train")
    untrimmed[2]["split"] = "val"
    untrimmed = [row | {"source_path": "b+c"} for row in untrimmed]
    made = rows(SOUNDSCAPES, "train")
    clips = TRAIN | VAL | UNTRIMMED | SOUNDSCAPES | {"a/cry_copy": 2, "a/cry_test": 3}
    cries = {clip_id for clip_id in clips if "cry" in clip_id}
    return BlazenetInputs(
        features=picture_store(folder / "1s", clips, cries),
        split=Source(
            write_clips(folder / "split.parquet", split),
            write_cries(folder / "split_events.parquet", {}),
        ),
        soundscapes=Source(
            write_clips(folder / "soundscapes.parquet", made),
            write_cries(folder / "soundscapes_events.parquet", {"soundscapes/cry": [(0.6, 2.2)]}),
        ),
        untrimmed_clips=write_clips(folder / "untrimmed.parquet", untrimmed),
        mined_trimmed=write_mined(folder / "trimmed_mined.parquet", MINED),
        mined_untrimmed=write_mined(
            folder / "untrimmed_mined.parquet",
            {"untrimmed/cry": [7, 3], "untrimmed/other": [2, 9], "untrimmed/val": [1, 5]},
        ),
        mined_published=write_mined(
            folder / "published_mined.parquet", {"a/cry1": [2], "b/other3": [1], "a/cry_test": [0]}
        ),
    )


def every(*clip_ids: str) -> set[tuple[str, int]]:
    return {(clip_id, index) for clip_id in clip_ids for index in range(TRAIN[clip_id])}


def top(*clip_ids: str) -> set[tuple[str, int]]:
    return {(clip_id, index) for clip_id in clip_ids for index in MINED[clip_id]}


CRIES, OTHERS = ("a/cry1", "a/cry2", "b/cry3"), ("a/other1", "a/other2", "b/other3")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("all", every(*TRAIN)),
        ("mined_both", top(*TRAIN)),
        ("mined_pos", top(*CRIES) | every(*OTHERS)),
        ("mined_neg", every(*CRIES) | top(*OTHERS)),
        (
            "mined_untrimmed",
            {(c, i) for c, i in [("untrimmed/cry", 7), ("untrimmed/cry", 3)]}
            | {("untrimmed/other", 2), ("untrimmed/other", 9)},
        ),
        ("mined_published", {("a/cry1", 2), ("b/other3", 1)}),
    ],
)
def test_the_lines_of_table_4_train_on_these_segments(inputs, kind, expected):
    store = FeatureStore(inputs.features)
    refs = training_segments(BlazenetVariant(1.0, kind, ""), inputs, store)
    assert {(ref.clip_id, ref.index) for ref in refs} == expected
    assert len(refs) == len(expected)
    assert all(ref.is_cry == ("cry" in ref.clip_id) for ref in refs)


def test_soundscapes_join_all_with_the_labels_of_their_seconds(inputs):
    store = FeatureStore(inputs.features)
    refs = training_segments(BlazenetVariant(1.0, "soundscapes", ""), inputs, store)
    of_clips = training_segments(BlazenetVariant(1.0, "all", ""), inputs, store)
    assert refs[: len(of_clips)] == of_clips
    made = {(ref.clip_id, ref.index): ref.is_cry for ref in refs[len(of_clips) :]}
    assert made == {
        ("soundscapes/cry", 0): False,  # 0.4 s of a cry
        ("soundscapes/cry", 1): True,
        ("soundscapes/cry", 2): False,
        ("soundscapes/cry", 3): False,
        **{("soundscapes/other", index): False for index in range(3)},
    }


def test_a_strongly_labelled_clip_is_not_a_cry_in_its_silence(inputs, tmp_path):
    placed = {"a/cry1": [(1.5, 3.0)]}  # of 5 s
    split = replace(inputs.split, events=write_cries(tmp_path / "events.parquet", placed))
    variant, store = BlazenetVariant(1.0, "all", ""), FeatureStore(inputs.features)
    refs = training_segments(variant, replace(inputs, split=split), store)
    found = [ref.is_cry for ref in refs if ref.clip_id == "a/cry1"]
    assert found == [False, True, True, False, False]
    assert all(ref.is_cry for ref in refs if ref.clip_id in ("a/cry2", "b/cry3"))


def test_random_draws_two_segments_a_clip_by_the_seed(inputs):
    store = FeatureStore(inputs.features)
    draws = [
        training_segments(BlazenetVariant(1.0, "random", "", seed=seed), inputs, store)
        for seed in (1, 1, 2, 3)
    ]
    for refs in draws:
        for clip_id, count in TRAIN.items():
            drawn = [ref.index for ref in refs if ref.clip_id == clip_id]
            assert len(set(drawn)) == len(drawn) == min(2, count)
            assert set(drawn) <= set(range(count))
    assert draws[0] == draws[1]
    assert draws[0] != draws[2] or draws[0] != draws[3]


def test_a_corpus_left_out_goes_with_its_copies_elsewhere(inputs):
    store = FeatureStore(inputs.features)
    refs = training_segments(BlazenetVariant(1.0, "all", "b"), inputs, store)
    assert {ref.clip_id for ref in refs} == {"a/cry2", "a/other1", "a/other2"}


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        (BlazenetVariant(1.0, "best", ""), "'best' is unknown"),
        (BlazenetVariant(5.0, "mined_both", ""), "seconds are mined"),
        (BlazenetVariant(1.0, "all", "c"), "no corpus 'c'"),
        (BlazenetVariant(1.0, "mined_untrimmed", "b"), "with leave_out 'b': .* know every corpus"),
        (BlazenetVariant(1.0, "mined_neg", "b"), "with leave_out 'b': .* know every corpus"),
        (BlazenetVariant(1.0, "soundscapes", "b"), "with leave_out 'b': .* know every corpus"),
    ],
)
def test_bad_variants_are_named(inputs, variant, message):
    with pytest.raises(ConfigError, match=message):
        training_segments(variant, inputs, FeatureStore(inputs.features))


def test_where_nothing_is_mined_of_published_features_there_is_a_note_and_no_model(
    inputs, tmp_path, monkeypatch
):
    (tmp_path / "published").mkdir()
    none_mined(tmp_path / "published")
    mined = tmp_path / "published" / MINED_SECONDS
    variants = {"published": BlazenetVariant(1.0, "mined_published", "")}
    nothing = replace(inputs, mined_published=mined)
    assert train(nothing, tmp_path, "published", config(variants=variants)) is None
    assert [path.name for path in (tmp_path / "out").iterdir()] == [MISSING_NOTE]
    assert "nothing is mined" in missing_note(tmp_path / "out")


def train(inputs, folder: Path, name: str = "all", cfg=None, seed: int = 5, on_epoch=None):
    cfg = cfg or config()
    seeded = {key: replace(variant, seed=seed) for key, variant in cfg.variants.items()}
    return run(
        name,
        replace(cfg, variants=seeded),
        ONE_SECOND,
        inputs,
        1.0,
        folder / "out",
        folder / "work",
        on_epoch,
    )


def test_one_class_or_an_unknown_name_is_refused(inputs, tmp_path):
    with pytest.raises(ConfigError, match="no 'best'"):
        train(inputs, tmp_path, "best")
    only = rows(TRAIN, "train") + rows({"a/other4": 4}, "val")
    clips = write_clips(tmp_path / "clips.parquet", only)
    with pytest.raises(TableError, match="the val part lacks"):
        train(replace(inputs, split=replace(inputs.split, clips=clips)), tmp_path)


def test_streamed_batches_are_the_cached_ones(inputs):
    store = FeatureStore(inputs.features)
    refs = [SegmentRef(c, i, "cry" in c) for c, count in TRAIN.items() for i in range(count)]
    cached, streamed = (SegmentDataset(store, refs, size) for size in (1 << 20, 0))
    assert cached.cached and not streamed.cached
    order = np.random.default_rng(0).permutation(len(refs)).tolist()
    for batch in (order[:7], order[7:], [3, 3, 0]):
        ours, theirs = cached.__getitems__(batch), streamed.__getitems__(batch)
        assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])
        assert ours[0].dtype == torch.float32 and ours[0].shape == (len(batch), 64, 64)
        for picture, label, row in zip(*ours, batch, strict=True):
            stored = store.clip(refs[row].clip_id)[refs[row].index].reshape(64, 64)
            assert np.array_equal(picture.numpy(), stored.astype(np.float32))
            assert bool(label) == refs[row].is_cry


@pytest.fixture(scope="module")
def heard(inputs, tmp_path_factory):
    """The same with sounds: quiet in every clip's first second, and at 0.2 after it."""
    folder = tmp_path_factory.mktemp("heard")
    tables = {}
    for name in ("split", "untrimmed", "soundscapes"):
        clips = read_table(inputs.features.with_name(f"{name}.parquet"), SPLIT_CLIPS)
        store = FeatureStore(inputs.features)
        for number, clip_id in enumerate(clips["clip_id"]):
            rows = store.rows(clip_id) if clip_id in store else None
            seconds = 1 if rows is None else rows.last - rows.first
            wave = 0.2 * np.sign(sound(seconds * 16_000, number))
            wave[:17_600] *= 0.05 if seconds > 1 else 1  # the resampler rings
            path = folder / f"{clip_id}.flac"
            write_flac(path, wave.astype(np.float32))
            clips.loc[clips["clip_id"] == clip_id, "path"] = str(path)
        tables[name] = folder / f"{name}.parquet"
        write_table(clips, tables[name], SPLIT_CLIPS)
    return replace(
        inputs,
        split=replace(inputs.split, clips=tables["split"]),
        untrimmed_clips=tables["untrimmed"],
        soundscapes=replace(inputs.soundscapes, clips=tables["soundscapes"]),
    )


@pytest.mark.parametrize("kind", ["all", "soundscapes", "mined_untrimmed"])
def test_silent_segments_are_not_trained_on(heard, kind):
    refs = training_segments(BlazenetVariant(1.0, kind, ""), heard, FeatureStore(heard.features))
    tables = (heard.split.clips, heard.untrimmed_clips, heard.soundscapes.clips)
    loud = loud_segments(refs, tables, ONE_SECOND, 0.025)
    # 0.01 is silence to it, 0.2 is none; the clip of one second is loud.
    assert loud == [ref for ref in refs if ref.index or ref.clip_id == "a/cry2"]
    assert (len(loud) < len(refs)) == (kind != "mined_untrimmed")
    assert loud_segments(refs, tables, ONE_SECOND, 0.005) == refs


@pytest.fixture(scope="module")
def author(heard, tmp_path_factory):
    folder = tmp_path_factory.mktemp("author")
    return folder / "out", train(heard, folder, "author")


def test_the_authors_recipe_keeps_the_last_epoch_of_the_highest_accuracy(author):
    summary = author[1]
    highest = max(epoch.val_accuracy for epoch in summary.history)
    assert summary.best.epoch == max(
        epoch.epoch for epoch in summary.history if epoch.val_accuracy == highest
    )
    n_loud = sum(max(count - 1, 1) for count in TRAIN.values())
    assert (summary.n_train, summary.n_val) == (n_loud, sum(VAL.values()))
    one, two = (BlazenetEpoch(n, 0.0, loss, 0.5, 0.5) for n, loss in enumerate((0.1, 0.3)))
    assert BETTER["accuracy"](two, one) and not BETTER["loss"](two, one)
    assert not BETTER["accuracy"](replace(two, val_accuracy=0.4), one)


def test_a_killed_training_drops_the_same_numbers_again(heard, author, tmp_path):
    seen: list[int] = []
    with pytest.raises(Killed):
        train(heard, tmp_path, "author", on_epoch=killer(1, seen))
    train(heard, tmp_path, "author", on_epoch=killer(-1, seen))
    assert seen == [0, 1, 1, 2, 3]
    assert files_sha256([tmp_path / "out"]) == files_sha256([author[0]])


def test_dropout_is_of_half_the_numbers_and_by_seed_epoch_and_batch():
    def kept(rate: float, seed: int, index: int, batches=None) -> torch.Tensor:
        recipe = BlazenetRecipe(0.1, 0.9, 1, 0.1, dropout=rate, seed=seed)
        return BlazeNetModule(recipe, batches)._kept(index, 40)

    whole = kept(0.5, 1, 2)
    assert whole.unique().tolist() == [0.0, 2.0] and 0.45 < (whole > 0).double().mean() < 0.55
    assert torch.equal(kept(0.5, 1, 2), whole)
    assert not torch.equal(kept(0.5, 2, 2), whole) and not torch.equal(kept(0.5, 1, 3), whole)
    assert kept(0.75, 1, 2).unique().tolist() == [0.0, 4.0]
    # Two processes have what one alone would.
    for number in (0, 1):
        place = Process(number, 2)
        batches = SharedBatches(SequentialSampler(range(120)), 40, lambda place=place: place)
        assert torch.equal(kept(0.5, 1, 2, batches), whole[number::2])


def test_a_saved_model_of_the_authors_recipe_hears_with_the_same_logits(heard, tmp_path):
    run("author", config(), IMAGE, heard, 1.0, tmp_path / "out", tmp_path / "work")
    model = load(tmp_path / "out")
    assert model.description["network"] == {"padding": "same", "channels": "imagenet"}
    assert model.description["frontend"] == IMAGE.as_dict()
    assert model.description["trained_on"]["recipe"] == "author"
    network = BlazeNet(NetworkConfig("same", "imagenet")).eval()
    network.load_state_dict(model.part("backbone"))
    wave, detector = sound(130 * 16_000, 3), load_detector(tmp_path / "out")
    assert detector.n_parameters == 89_680
    with torch.inference_mode():
        logits = network(from_wave(wave, IMAGE))
    np.testing.assert_array_equal(detector.pictures(wave), from_wave(wave, IMAGE))
    expected = (logits[:, 1] - logits[:, 0]).numpy()
    for fast in (False, True):
        if fast:  # from its 1,024th picture on
            detector.speed_up()
            for _ in range(8):
                detector.score(wave)
        scores = detector.score(wave)
        found = np.log(scores / (1 - scores))
        np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"best": "luck"}, r"recipes\.author\.best is 'luck'; there are loss, accuracy"),
        ({"dropout": 1.0}, r"recipes\.author: dropout is 1,"),
        ({"padding": "valid"}, r"recipes\.author\.padding is 'valid'; there are symmetric, same"),
    ],
)
def test_a_recipe_that_cannot_be_is_named(inputs, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        train(inputs, tmp_path, "author", config(recipes={"author": replace(AUTHOR, **changes)}))


@pytest.fixture(scope="module")
def undisturbed(inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    epochs = []
    return folder / "out", train(inputs, folder, on_epoch=epochs.append), epochs


def test_a_training_that_diverges_says_so(inputs, tmp_path):
    with pytest.raises(ConfigError, match="not finite after epoch 0: lower the recipe's lr"):
        train(inputs, tmp_path, cfg=config(recipes={"ours": replace(OURS, lr=1e9)}))
    assert not (tmp_path / "out").exists()


def test_every_epoch_is_validated_and_reported(undisturbed):
    out, summary, epochs = undisturbed
    assert [epoch.epoch for epoch in summary.history] == [0, 1, 2, 3]
    assert epochs == summary.history
    assert summary.epochs == 4
    with open(out / "history.csv", newline="") as handle:
        lines = list(csv.DictReader(handle))
    assert [float(line["val_loss"]) for line in lines] == pytest.approx(
        [epoch.val_loss for epoch in epochs]
    )
    assert all(np.isfinite(list(vars(epoch).values())).all() for epoch in epochs)


def test_it_learns(undisturbed):
    summary = undisturbed[1]
    assert summary.best.val_auc > 0.9
    assert summary.history[-1].train_loss < summary.history[0].train_loss


def test_the_weights_are_those_of_the_best_epoch(inputs, undisturbed):
    out, summary, _ = undisturbed
    assert summary.best.val_loss == min(epoch.val_loss for epoch in summary.history)
    network = BlazeNet().eval()
    network.load_state_dict(load(out).part("backbone"))
    store = FeatureStore(inputs.features)
    refs = [SegmentRef(c, i, "cry" in c) for c, count in VAL.items() for i in range(count)]
    pictures, labels = SegmentDataset(store, refs, 1 << 20).__getitems__(list(range(len(refs))))
    with torch.inference_mode():
        loss = torch.nn.functional.cross_entropy(network(pictures), labels).item()
    assert loss == pytest.approx(summary.best.val_loss, rel=1e-4)


def test_the_model_folder_describes_itself(undisturbed):
    out, summary, _ = undisturbed
    assert {path.name for path in out.iterdir()} == {
        "model.json",
        "model.safetensors",
        "metrics.json",
        "history.csv",
    }
    model = load(out)
    assert model.description["kind"] == "blazenet"
    assert model.description["frontend"] == ONE_SECOND.as_dict()
    assert model.description["parameters"] == 89_680
    assert model.description["corpora"] == ["a", "b"]
    assert read_json(out / "metrics.json")["val_loss"] == summary.best.val_loss
    assert (summary.n_train, summary.n_train_cry, summary.n_val) == (20, 8, 14)


@pytest.mark.parametrize(
    ("variant", "expected"), [("no_b", ["a"]), ("mined_untrimmed", ["a", "b", "c"])]
)
def test_the_folder_names_the_corpora_that_were_heard(inputs, tmp_path, variant, expected):
    train(inputs, tmp_path, variant, config(max_epochs=1))
    assert load(tmp_path / "out").description["corpora"] == expected


def test_equal_inputs_give_equal_bytes_and_nothing_else_is_written(
    inputs, undisturbed, tmp_path, monkeypatch
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    train(inputs, tmp_path)
    assert files_sha256([tmp_path / "out"]) == files_sha256([undisturbed[0]])
    assert not list((tmp_path / "here").iterdir())
    assert not (tmp_path / "work").exists()


def test_streaming_from_disk_trains_the_same_network(inputs, undisturbed, tmp_path):
    train(inputs, tmp_path, cfg=config(cache_mb=0))
    assert files_sha256([tmp_path / "out"]) == files_sha256([undisturbed[0]])


class Killed(BaseException):
    """Stands for the end of the process."""


def killer(epoch_number: int, seen: list):
    def on_epoch(epoch):
        seen.append(epoch.epoch)
        if epoch.epoch == epoch_number:
            raise Killed

    return on_epoch


def test_a_training_killed_twice_goes_on_to_the_same_bytes(inputs, undisturbed, tmp_path):
    seen: list[int] = []
    for at in (1, 3):
        with pytest.raises(Killed):
            train(inputs, tmp_path, on_epoch=killer(at, seen))
        assert not (tmp_path / "out").exists()
    train(inputs, tmp_path, on_epoch=killer(-1, seen))
    # The epoch that was not finished is done again, nothing before it.
    assert seen == [0, 1, 1, 2, 3, 3]
    assert files_sha256([tmp_path / "out"]) == files_sha256([undisturbed[0]])


def test_a_kill_after_the_last_epoch_loses_nothing(inputs, undisturbed, tmp_path, monkeypatch):
    def failing(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(train_blazenet, "_write", failing)
        with pytest.raises(Killed):
            train(inputs, tmp_path)
    seen: list[int] = []
    train(inputs, tmp_path, on_epoch=killer(-1, seen))
    assert seen == []
    assert files_sha256([tmp_path / "out"]) == files_sha256([undisturbed[0]])


def test_a_backbone_has_its_numbers_beside_it_and_a_kill_there_loses_no_epoch(
    inputs, undisturbed, tmp_path, monkeypatch
):
    def failing(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("crywatch.detection.blazenet.embeddings.forward", failing)
        with pytest.raises(Killed):
            train(inputs, tmp_path, "backbone")
    assert not (tmp_path / "out").exists()
    seen: list[int] = []
    train(inputs, tmp_path, "backbone", on_epoch=killer(-1, seen))
    assert seen == [] and not (tmp_path / "work").exists()
    store, weights = FeatureStore(tmp_path / "out" / EMBEDDINGS), load(undisturbed[0]).weights
    assert store.info.name == "blazenet backbone"
    assert list(store) == list(FeatureStore(inputs.features)) and store.info.dim == 224
    mine = load(tmp_path / "out")
    assert all(torch.equal(mine.weights[name], weights[name]) for name in weights)
    assert mine.description | {"name": "all"} == load(undisturbed[0]).description
    with pytest.raises(ConfigError, match=r"variants\.five\.embeddings: .* 1\.0, not 5"):
        train(inputs, tmp_path / "five", "five")


def test_the_state_of_another_seed_is_not_gone_on_from(inputs, undisturbed, tmp_path):
    with pytest.raises(Killed):
        train(inputs, tmp_path, seed=6, on_epoch=killer(1, []))
    train(inputs, tmp_path)
    assert files_sha256([tmp_path / "out"]) == files_sha256([undisturbed[0]])


def test_the_state_of_other_code_is_not_gone_on_from(inputs, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        edit(patch, "data/truth.py")
        with pytest.raises(Killed):
            train(inputs, tmp_path, on_epoch=killer(1, []))
    seen: list[int] = []
    train(inputs, tmp_path, on_epoch=killer(-1, seen))
    assert seen == [0, 1, 2, 3]


def test_a_balanced_line_trains_on_as_many_others_as_cries(inputs, tmp_path):
    even = BlazenetVariant(1.0, "all", "", balanced=True)
    found = train(inputs, tmp_path, "even", config(variants={"even": even}, max_epochs=1))
    n_cries = sum(TRAIN[clip_id] for clip_id in CRIES)
    assert (found.n_train_cry, found.n_train) == (n_cries, 2 * n_cries)
    assert found.n_val == sum(VAL.values())


def test_activity_is_of_single_seconds_and_needs_its_thresholds(inputs, tmp_path):
    for length, activity in ((1.0, None), (5.0, ActivityConfig(25.0, 0.25, 35.0))):
        variants = {"one": BlazenetVariant(length, "all", "", active=True)}
        cfg = config(variants=variants, activity=activity)
        with pytest.raises(ConfigError, match=r"variants\.one\.active: needs segment_s 1\.0 and"):
            train(inputs, tmp_path, "one", cfg)


def test_validation_is_on_plain_segments_for_every_line(inputs):
    clips = labelled(inputs.split.clips)
    events = read_table(inputs.split.events, EVENTS)
    refs = plain_segments(clips[clips["split"] == "val"], FeatureStore(inputs.features), events)
    assert len(refs) == sum(VAL.values())

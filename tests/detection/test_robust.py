"""The parts of the robust training: pictures, activity, draws, channels, batches, losses, folds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from crywatch.audio.activity import ActivityConfig, cry_starts, other_starts, pause_starts
from crywatch.core.errors import ConfigError
from crywatch.data.selection import labelled, strong_labels
from crywatch.data.tables import read_table
from crywatch.data.tables.clips import SPLIT_CLIPS
from crywatch.detection.blazenet import frontend as paper
from crywatch.detection.blazenet.frontend import pictures
from crywatch.detection.blazenet.network import BlazeNet
from crywatch.detection.robust.augmentation import augment, mask_strips
from crywatch.detection.robust.batches import NO_CORPUS, Batches, make_ahead
from crywatch.detection.robust.context import (
    SILENT_LOGIT,
    ContextConfig,
    pool,
    window_logits,
    windows,
)
from crywatch.detection.robust.detector import hearing
from crywatch.detection.robust.draws import Pools, pools
from crywatch.detection.robust.losses import (
    Alignment,
    AlignmentConfig,
    Reversed,
    moment_gap,
    target_loss,
)
from crywatch.detection.robust.negatives import make_tones, scramble
from crywatch.detection.robust.recipe import change_recipe
from crywatch.detection.robust.sounds import Sounds
from crywatch.detection.robust.teaching import ClassHead, add_unlabelled, doubt_weights
from crywatch.detection.robust.train_robust import of_unknown_seconds
from crywatch.studies.ablate_robust.folds import folds
from tests.helpers.blazenet_cases import ONE_SECOND
from tests.helpers.robust_cases import CATEGORIES, World, recipe, section

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return World(tmp_path_factory.mktemp("world"))


def drawn_from(world: World, given, part: str = "train") -> Pools:
    clips = labelled(world.split.clips)
    events = strong_labels([world.split.events])
    return pools(clips[clips["split"] == part], events, Sounds(world.sounds), given.draws)


def seconds(n: int = 6, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    t = np.arange(8_000) / 8_000
    waves = np.stack([np.sin(2 * np.pi * (300 + 200 * i) * t * (1 + 0.1 * t)) for i in range(n)])
    return torch.from_numpy((0.1 * waves + 0.005 * rng.standard_normal(waves.shape)).astype("f4"))


FRONT_ENDS = ("level_free", "pcen", "paper")


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_a_second_is_a_picture_of_64_by_64(name):
    given = recipe(f"robust_front_end@train_robust.front_end={name}")
    seen = pictures(seconds(), given.front_end)
    assert seen.shape == (6, 64, 64) and seen.isfinite().all()
    assert pictures(torch.zeros(1, 8_000), given.front_end).isfinite().all()


@pytest.mark.parametrize("scale", ["mean", "peak", "spread", "pcen"])
@pytest.mark.parametrize("gain_db", [-60, -20, 20])
def test_a_level_free_picture_is_the_same_at_any_gain(scale, gain_db):
    given = recipe("robust_front_end@train_robust.front_end=pcen").front_end
    given.scale = scale
    wave = seconds()
    louder = pictures(wave * 10 ** (gain_db / 20), given)
    torch.testing.assert_close(louder, pictures(wave, given), atol=2e-3, rtol=1e-3)


def test_the_papers_picture_is_that_of_blazenet_and_knows_the_level():
    given = recipe("robust_front_end@train_robust.front_end=paper").front_end
    wave = seconds()
    assert torch.equal(pictures(wave, given), paper.pictures(wave, ONE_SECOND))
    assert (pictures(0.1 * wave, given) - pictures(wave, given)).abs().mean() > 0.2


def test_pcen_is_the_filter_frame_by_frame():
    given = recipe("robust_front_end@train_robust.front_end=pcen").front_end
    wave = seconds(1)
    level = paper.decibels(wave / wave.square().mean().sqrt(), given)[0].double()
    power = 10 ** (level / 10)
    frames = given.pcen.time_s / given.hop_s
    s = ((1 + 4 * frames**2) ** 0.5 - 1) / (2 * frames**2)
    smooth = power[:, 0]
    for t in range(64):
        smooth = (1 - s) * smooth + s * power[:, t] if t else smooth
        expected = (power[:, t] / (1e-6 + smooth) ** 0.98 + 2) ** 0.5 - 2**0.5
        found = pictures(wave, given)[0, :, t].double()
        torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3)


def test_a_floor_is_raised_second_by_second():
    given = recipe().front_end
    given.scale = "peak"
    floors = torch.tensor([10.0, 30.0, 60.0, 60.0, 60.0, 60.0])
    seen = pictures(seconds(), given, floors)
    lowest = seen.amin(dim=(1, 2))
    assert lowest[0].item() == pytest.approx(1 - 2 * 10 / 60, abs=1e-4)
    assert lowest[1].item() == pytest.approx(0.0, abs=1e-4)
    assert torch.equal(seen[2:], pictures(seconds(), given)[2:])


def test_bands_above_nyquist_are_refused():
    with pytest.raises(ConfigError, match=r"front_end\.fmax_hz is 8000"):
        recipe("train_robust.front_end.fmax_hz=8000.0")


ACTIVITY = ActivityConfig(active_db=25.0, least_share=0.25, quiet_db=35.0)


def test_a_silent_second_of_a_crying_clip_is_no_cry_but_a_pause():
    levels = np.concatenate([np.full(60, -70.0), np.full(40, -20.0), np.full(150, -70.0)])
    crying = np.ones(250, dtype=bool)
    starts = cry_starts(levels, crying, ACTIVITY)
    # 13 of 50 frames, a quarter, lie in frames 60 to 99.
    assert (starts.min(), starts.max()) == (60 - 50 + 13, 100 - 13)
    pauses = pause_starts(levels, crying, ACTIVITY)
    assert set(pauses) == {*range(11), *range(100, 201)}
    assert not set(starts) & set(pauses)


def test_a_clip_of_short_cries_gives_its_best_second():
    levels = np.full(150, -70.0)
    levels[[40, 41, 120]] = -10.0
    starts = cry_starts(levels, np.ones(150, dtype=bool), ACTIVITY)
    assert set(starts) == set(range(0, 41)) and len(starts)


def test_strong_labels_say_where_the_cry_is():
    levels, crying = np.full(200, -20.0), np.zeros(200, dtype=bool)
    crying[100:150] = True
    assert cry_starts(levels, crying, ACTIVITY).min() == 63
    assert set(pause_starts(levels, crying, ACTIVITY)) == {*range(51), 150}


def test_a_louder_sound_beside_a_cry_does_not_hide_it():
    levels, crying = np.full(200, -10.0), np.zeros(200, dtype=bool)
    levels[120:170], crying[120:170] = -50.0, True
    starts = cry_starts(levels, crying, ACTIVITY)
    assert (starts.min(), starts.max()) == (120 - 50 + 13, 170 - 13)
    anywhere = cry_starts(levels, crying, replace(ACTIVITY, least_share=0.0))
    assert (anywhere.min(), anywhere.max()) == (120 - 50 + 1, 170 - 1)
    quiet = np.full(200, -90.0)
    weak = cry_starts(quiet, np.ones(200, dtype=bool), replace(ACTIVITY, least_share=0.0))
    assert len(weak) == 176


def test_digital_silence_is_neither_a_pause_nor_another_sound():
    levels = np.concatenate([np.full(50, -20.0), np.full(150, -100.0)])
    assert not len(pause_starts(levels, np.ones(200, dtype=bool), ACTIVITY))
    assert other_starts(levels).max() == 49
    assert len(other_starts(np.full(30, -100.0)))
    assert other_starts(np.full(10, -20.0)).tolist() == [0]


def test_crops_of_cries_hold_the_cry(world):
    """The generated cries end at 1.6 s of 2.5 s, the strong one is cut to its second."""
    given = recipe("robust_augmentation@train_robust.augmentation=none")
    given.draws.codec = 0.0
    waves = drawn_from(world, given).cries.draw(np.random.default_rng(1), 300).waves
    loudest = np.abs(waves).reshape(300, -1, 160).max(axis=2)
    share = (loudest > 0.02 * loudest.max(axis=1, keepdims=True)).mean(axis=1)
    assert share.min() > 0.15
    given.draws.activity.least_share = 0.0
    anywhere = drawn_from(world, given).cries.draw(np.random.default_rng(1), 300).waves
    quiet = np.abs(anywhere).max(axis=1) < 2e-3
    assert quiet.sum() > 10


def test_corpora_and_groups_are_drawn_by_their_powers(world):
    given = recipe()
    clips = labelled(world.split.clips)
    clips = clips[clips["split"] == "train"].copy()
    # Three of a's four other clips are of one group; b has one clip.
    mine = clips["clip_id"].str.startswith("a/other")
    clips.loc[mine & ~clips["clip_id"].str.endswith("3"), "group_id"] = "one"
    clips = clips[~clips["clip_id"].isin([f"b/other-train-{n}" for n in range(1, 4)])]

    def shares(corpus_power, group_power):
        given.draws.corpus_power, given.draws.group_power = corpus_power, group_power
        found = pools(clips, strong_labels([world.split.events]), Sounds(world.sounds), given.draws)
        weights = np.diff(found.others._weights, prepend=0.0)
        return dict(zip(found.others.clip_ids, weights, strict=True))

    evenly = shares(0.0, 0.0)
    assert evenly["b/other-train-0"] == pytest.approx(0.5)
    assert evenly["a/other-train-3"] == pytest.approx(0.25)
    assert evenly["a/other-train-0"] == pytest.approx(0.25 / 3)
    by_clip = shares(1.0, 1.0)
    assert all(value == pytest.approx(0.2) for value in by_clip.values())
    given.draws.corpora = {"b": 0.5}
    assert shares(0.0, 0.0)["b/other-train-0"] == pytest.approx(1 / 3)
    given.draws.corpora = {"b": 0.0}
    with pytest.raises(ConfigError, match=r"draws\.corpora\.b is 0: set it above 0"):
        given.draws.check("draws")


def test_a_corpus_of_which_nothing_is_drawn_is_named(world):
    given = recipe()
    given.draws.categories = {name: 0.0 for name in CATEGORIES}
    with pytest.raises(ConfigError, match=r"draws\.categories leaves nothing .* other sounds of a"):
        drawn_from(world, given)


def test_augmentation_does_not_look_at_the_class(world):
    """Rows keep their change whatever they hold: the draws are the same for cries and others."""
    config = recipe().augmentation
    config.background = None
    rng = np.random.default_rng
    wave = seconds(40).numpy()[:1].repeat(40, axis=0)
    louder = augment(3.0 * wave, None, config, rng(5))
    np.testing.assert_allclose(louder, augment(wave, None, config, rng(5)), atol=2e-4)
    shuffled = wave.copy()
    shuffled[::2] = seconds(1, seed=3).numpy()
    changed_rows = augment(shuffled, None, config, rng(5))
    np.testing.assert_allclose(
        changed_rows[1::2], augment(wave, None, config, rng(5))[1::2], atol=2e-4
    )


def test_backgrounds_go_into_cries_and_other_sounds_alike(world, monkeypatch):
    given = recipe()
    batches = Batches(drawn_from(world, given), given, 3, 224)
    seen = {}

    def spy(waves, backgrounds, config, rng):
        seen["waves"], seen["backgrounds"] = waves, backgrounds
        out = augment(waves, backgrounds, config, rng)
        seen["out"] = out
        return out

    monkeypatch.setattr("crywatch.detection.robust.batches.augment", spy)
    given.augmentation.background.share = 1.0
    for part in ("room", "equaliser", "highpass", "lowpass", "far", "clipping", "noise"):
        setattr(given.augmentation, part, None)
    given.augmentation.level_db = 0.0
    labels = batches.batch(0).labels.numpy()
    mixed = seen["out"] / np.sqrt((seen["out"] ** 2).mean(axis=1, keepdims=True))
    alone = seen["waves"] / np.sqrt((seen["waves"] ** 2).mean(axis=1, keepdims=True))
    differ = np.abs(mixed - alone).max(axis=1) > 1e-3
    assert labels.any() and not labels.all()
    assert differ[labels].all() and differ[~labels].all()


@pytest.mark.parametrize(
    "part",
    ["room", "equaliser", "highpass", "lowpass", "far", "clipping", "noise", "level_db"],
)
def test_each_part_changes_the_sound_and_can_be_switched_off(part):
    none = recipe("robust_augmentation@train_robust.augmentation=none").augmentation
    wave = seconds(8).numpy()
    same = augment(wave, None, none, np.random.default_rng(1))
    level = 0.1 / np.sqrt((wave**2).mean(axis=1, keepdims=True))
    np.testing.assert_allclose(same, wave * level, rtol=1e-4, atol=1e-6)
    setattr(none, part, getattr(recipe().augmentation, part))
    if part != "level_db" and hasattr(getattr(none, part), "share"):
        getattr(none, part).share = 1.0
    out = augment(wave, None, none, np.random.default_rng(1))
    assert out.shape == wave.shape and np.isfinite(out).all()
    assert (np.abs(out - same).max(axis=1) > 1e-4).all()


def test_silence_stays_finite():
    out = augment(
        np.zeros((4, 8_000), np.float32),
        np.zeros((4, 8_000), np.float32),
        recipe().augmentation,
        np.random.default_rng(0),
    )
    assert np.isfinite(out).all()


def test_a_band_limit_takes_what_is_above_it():
    config = recipe("robust_augmentation@train_robust.augmentation=none").augmentation
    config.lowpass = recipe().augmentation.lowpass
    config.lowpass.share = 1.0
    config.lowpass.edge_hz.min = config.lowpass.edge_hz.max = 2_000.0
    config.lowpass.slope_db.min = config.lowpass.slope_db.max = 48.0
    white = np.random.default_rng(1).standard_normal((1, 8_000)).astype(np.float32)
    power = np.abs(np.fft.rfft(augment(white, None, config, np.random.default_rng(1))[0])) ** 2
    low, high = power[200:1_900].mean(), power[3_900:].mean()
    assert -10 * np.log10(high / low) == pytest.approx(48 * np.log2(3_950 / 2_000), abs=3)


def test_masking_takes_a_strip_of_bands_and_one_of_frames():
    config = recipe("train_robust.augmentation.masking={share: 1.0, bands: 8, frames: 12}")
    given = np.random.default_rng(1).standard_normal((20, 64, 64)).astype(np.float32)
    out = mask_strips(given, config.augmentation.masking, np.random.default_rng(2))
    lost = out != given
    rows, columns = lost.all(axis=2).sum(axis=1), lost.all(axis=1).sum(axis=1)
    assert rows.min() >= 1 and rows.max() <= 8 and columns.min() >= 1 and columns.max() <= 12


def test_scrambled_keeps_the_spectrum_and_loses_the_sound():
    waves = seconds(3).numpy()
    made = scramble(waves, np.random.default_rng(0))
    sizes = [np.abs(np.fft.rfft(x, axis=1))[:, 1:-1] for x in (waves, made)]
    np.testing.assert_allclose(sizes[0], sizes[1], rtol=1e-2, atol=1e-2)
    assert max(abs(np.corrcoef(a, b)[0, 1]) for a, b in zip(waves, made, strict=True)) < 0.5


def test_tones_are_heard_and_stay_within_reason():
    made = make_tones(20, 8_000, np.random.default_rng(0))
    assert made.shape == (20, 8_000) and (np.abs(made).max(axis=1) < 10).all()
    assert len({round(float(x), 6) for x in made.std(axis=1)}) == 20


EVERYTHING = (
    "train_robust.training={mixup: 0.3, dropout: 0.2, hard_power: 0.5}",
    "train_robust.negatives={scrambled: 0.2, tones: 0.2}",
    "train_robust.draws.pauses=0.3",
    "train_robust.augmentation.masking={share: 0.5, bands: 8, frames: 12}",
    "train_robust.augmentation.floor_db={min: 30.0, max: 60.0}",
)


@pytest.mark.parametrize("overrides", [(), EVERYTHING], ids=["recipe", "everything"])
def test_a_batch_is_a_function_of_seed_and_step(world, overrides):
    given = recipe(*overrides)
    first, again = (Batches(drawn_from(world, given), given, 7, 224) for _ in range(2))
    first.batch(0)  # what came before does not matter
    a, b = first.batch(5), again.batch(5)
    assert torch.equal(a.pictures, b.pictures) and torch.equal(a.targets, b.targets)
    assert a.pictures.shape == (12, 64, 64) and a.pictures.isfinite().all()
    assert not torch.equal(a.pictures, first.batch(6).pictures)
    other = Batches(drawn_from(world, given), given, 8, 224)
    assert not torch.equal(a.pictures, other.batch(5).pictures)


def test_batches_made_ahead_are_the_same_in_order(world):
    given = recipe()
    batches = Batches(drawn_from(world, given), given, 7, 224)
    for step, batch in zip(range(2, 8), make_ahead(batches.batch, 2, 8), strict=True):
        assert torch.equal(batch.pictures, batches.batch(step).pictures)


def test_an_error_while_batches_are_made_is_raised():
    def failing(step):
        if step == 2:
            raise ConfigError("step two")
        return step

    with pytest.raises(ConfigError, match="step two"):
        list(make_ahead(failing, 0, 5))


def test_targets_are_smoothed(world):
    given = recipe()
    given.training.label_smoothing = 0.1
    batch = Batches(drawn_from(world, given), given, 1, 224).batch(0)
    torch.testing.assert_close(batch.targets, torch.where(batch.labels, 0.9, 0.1))
    assert batch.classes is None and not batch.taught.any()


TEACHER = "robust_teacher@train_robust.teacher=yamnet"


@pytest.fixture(scope="module")
def taught(tmp_path_factory) -> World:
    return World(tmp_path_factory.mktemp("taught"), taught=True)


def test_a_teacher_softens_targets_and_is_heard_at_the_second_drawn(taught):
    given = recipe(TEACHER, "train_robust.negatives={scrambled: 0.3, tones: 0.3}")
    given.training.label_smoothing = 0.1
    batch = Batches(drawn_from(taught, given), given, 1, 224).batch(0)
    assert batch.classes.shape == (12, 521)
    assert batch.taught[batch.labels].all() and not batch.taught.all()
    assert (batch.corpora[~batch.taught] == NO_CORPUS).all()
    smooth = torch.where(batch.labels, 0.9, 0.1)
    heard = batch.classes[:, 19:21].amax(dim=1).clamp(0.02, 0.98) ** 0.5
    share = given.teacher.weight
    assert share > 0
    expected = torch.where(batch.taught, (1 - share) * smooth + share * heard, smooth)
    torch.testing.assert_close(batch.targets, expected)


def test_a_cry_that_the_teacher_does_not_hear_weighs_less():
    given = recipe(TEACHER).teacher
    given.doubt, given.doubt_weight = 0.1, 0.15
    classes = np.zeros((5, 521), np.float32)
    classes[:, 20] = [0.5, 0.05, 0.0, 0.0, 0.0]
    labels, known = np.array([1, 1, 1, 0, 1], bool), np.array([1, 1, 1, 1, 0], bool)
    assert doubt_weights(labels, classes, known, given) == pytest.approx([1, 0.5, 0.15, 1, 1])


def test_a_weak_cry_joins_where_the_teacher_hears_it_throughout_and_is_no_other_sound(taught):
    clips = read_table(taught.split.clips, SPLIT_CLIPS)
    weak = clips[clips["label"] == "unknown"].assign(label="cry", weak=True)
    assert of_unknown_seconds(weak).all() and not of_unknown_seconds(weak.assign(weak=False)).any()
    teacher = Sounds(taught.sounds).teacher
    found = add_unlabelled(clips[:0], weak, teacher, recipe(TEACHER).teacher)
    # Of the two that it is sure of it hears no cry in one: that one's label says otherwise.
    assert found["clip_id"].tolist() == ["a/unknown-train-0"]
    assert found["label"].tolist() == ["cry"] and not found["weak"].any()


def test_unlabelled_clips_are_heard_where_the_teacher_is_sure(taught):
    given = recipe(TEACHER)
    clips = read_table(taught.split.clips, SPLIT_CLIPS)
    unlabelled = clips[clips["label"] == "unknown"]
    labelled_clips = clips[clips["label"] != "unknown"]
    teacher = Sounds(taught.sounds).teacher
    found = add_unlabelled(labelled_clips, unlabelled, teacher, given.teacher)
    added = found.iloc[len(labelled_clips) :]
    labels = dict(zip(added["clip_id"], added["label"], strict=True))
    assert labels == {"a/unknown-train-0": "cry", "b/unknown-train-1": "other"}
    given.teacher.sure_cry, given.teacher.sure_other = 0.9, 0.001
    assert len(add_unlabelled(labelled_clips, unlabelled, teacher, given.teacher)) == len(
        labelled_clips
    )


def test_the_head_on_classes_learns_from_known_rows_and_reaches_the_features():
    torch.manual_seed(0)
    head, features = ClassHead(5), torch.randn(3, 224, requires_grad=True)
    classes, known = torch.rand(3, 5), torch.tensor([True, False, True])
    head(features, classes, known).backward()
    assert features.grad[0].abs().sum() > 0 and features.grad[1].abs().sum() == 0
    assert head(features, classes, torch.zeros(3, dtype=torch.bool)) == 0


def test_hard_rows_weigh_more_and_all_together_as_much():
    logits, targets = torch.tensor([2.0, -3.0, 2.0]), torch.tensor([1.0, 0.0, 0.0])
    plain = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    ones = torch.ones(3)
    assert target_loss(logits, targets, ones, 0.0) == pytest.approx(plain.mean().item())
    weights = plain + 0.1
    expected = (weights / weights.mean() * plain).mean()
    assert target_loss(logits, targets, ones, 1.0).item() == pytest.approx(expected.item())


def test_the_moment_gap_is_none_for_like_corpora_and_falls():
    rng = torch.Generator().manual_seed(1)
    features = torch.randn(80, 224, generator=rng)
    labels = torch.arange(80) % 2 == 0
    corpora = torch.arange(80) // 40
    near = moment_gap(features, labels, corpora)
    shifted = features + 3.0 * corpora[:, None]
    assert moment_gap(shifted, labels, corpora) > 10 * near
    of_class = features + 3.0 * labels[:, None]  # what tells the class may stay
    torch.testing.assert_close(moment_gap(of_class, labels, corpora), near, rtol=1e-3, atol=1e-4)
    made = torch.full((80,), -1)
    assert moment_gap(features, labels, made) == 0


def test_a_reversed_gradient():
    x = torch.ones(3, requires_grad=True)
    Reversed.apply(x, 0.5).sum().backward()
    assert x.grad.tolist() == [-0.5] * 3


@pytest.mark.parametrize("kind", ["moments", "adversarial"])
def test_alignment_reaches_every_layer_that_makes_features(kind):
    torch.manual_seed(0)
    network, term = BlazeNet(), Alignment(AlignmentConfig(kind, 0.5), 2)
    features = network.features(torch.randn(24, 64, 64))
    labels, corpora = torch.arange(24) % 2 == 0, torch.arange(24) // 2 % 2
    term(features, labels, corpora, 1.0).backward()
    moved = {name for name, p in network.named_parameters() if p.grad is not None}
    assert {"stem.weight", "tap1.weight", "tap2.weight"} <= moved
    assert network.stem.weight.grad.abs().sum() > 0


def test_gradients_flow_from_a_batch_to_every_weight(world):
    given = recipe()
    batch = Batches(drawn_from(world, given), given, 1, 224).batch(0)
    network = BlazeNet()
    logits = network(batch.pictures)
    target_loss(logits[:, 1] - logits[:, 0], batch.targets, batch.weights, 0.5).backward()
    assert all(p.grad.abs().sum() > 0 for p in network.parameters())


def test_a_second_has_hops_windows_and_the_last_one():
    wave = np.arange(20_000, dtype=np.float32)
    found = windows(wave, 8_000, 2)
    assert found.shape == (5, 8_000)  # 2.5 s are three seconds
    assert found[1, 0] == 4_000 and found[4, 0] == 16_000 and found[4, -1] == 0
    assert windows(wave[:100], 8_000, 2).shape == (1, 8_000)
    assert windows(wave[:0], 8_000, 2).shape == (0, 8_000)


def test_seconds_hear_their_neighbourhood():
    logits = np.array([0.0, 1.0, 4.0, 2.0, 8.0], dtype=np.float32)  # hop 0.5 s
    own = ContextConfig(0.5, 0.0, 0.0, 0.0, 1.0, "mean")
    assert pool(logits, own).tolist() == [0, 4, 8]
    mean = ContextConfig(0.5, 0.0, 0.5, 0.5, 0.5, "mean")
    expected = [0.25, (4 + 7 / 3) / 2, (8 + 5) / 2]
    assert pool(logits, mean) == pytest.approx(expected)
    near = ContextConfig(0.5, 0.5, 0.0, 0.0, 1.0, "mean")
    assert pool(logits, near) == pytest.approx([0.5, 7 / 3, 5])
    assert pool(logits, ContextConfig(0.5, 0.0, 1.0, 1.0, 0.0, "max")).tolist() == [4, 8, 8]
    assert pool(logits, ContextConfig(0.5, 0.0, 1.0, 0.5, 0.0, "max")).tolist() == [1, 4, 8]
    soft = pool(logits, ContextConfig(0.5, 0.0, 1.0, 1.0, 0.0, "soft"))
    assert soft[0] == pytest.approx(np.log(np.mean(np.exp([0, 1, 4]))))
    assert len(pool(np.zeros(0, np.float32), mean)) == 0


def test_a_context_waits_for_what_comes_after_and_keeps_what_was_before():
    live = section("robust_context@train_robust.context=live").recipe().context
    assert (live.hops, live.lookahead_s, live.farthest_s) == (1, 1.0, 2.0)
    alone = ContextConfig(1.0, 0.0, 2.0, 1.0, 1.0, "soft")
    assert (alone.lookahead_s, alone.farthest_s) == (0.0, 0.0)


def test_a_silent_window_is_no_cry_and_the_network_does_not_hear_it():
    heard = []

    def network(pictures: torch.Tensor) -> torch.Tensor:
        heard.append(len(pictures))
        return torch.tensor([[0.0, 3.0]]).repeat(len(pictures), 1)

    wave = 0.1 * np.random.default_rng(1).standard_normal(3 * 8_000).astype(np.float32)
    wave[8_000:16_000] *= 10 ** (-61 / 20)  # -81 dBFS
    hear = hearing(network, recipe().front_end)
    found = window_logits(hear, wave, 8_000, 1)
    assert found.tolist() == [3.0, SILENT_LOGIT, 3.0] and heard == [2]
    assert window_logits(hear, np.zeros(8_000), 8_000, 1) == [SILENT_LOGIT]
    assert heard == [2]
    wave[8_000:16_000] *= 10 ** (2 / 20)
    assert window_logits(hear, wave, 8_000, 1).tolist() == [3.0] * 3


def test_folds_never_split_a_group_and_hold_whole_categories_out(world):
    clips = read_table(world.split.clips, SPLIT_CLIPS)
    found = folds(clips, 2, ["a"])
    assert set(found) == set(clips["group_id"])
    assert sorted(set(found.values())) == [0, 1]
    clips = clips.assign(fold=clips["group_id"].map(found))
    assert (clips.groupby("group_id")["fold"].nunique() == 1).all()
    others = clips[(clips["corpus"] == "a") & (clips["label"] == "other")]
    assert (others.groupby("category")["fold"].nunique() == 1).all()
    others = clips[(clips["corpus"] == "b") & (clips["label"] == "other")]
    assert (others.groupby("category")["fold"].nunique() > 1).any()
    for _, rows in clips[clips["label"] == "cry"].groupby("corpus"):
        counts = rows["fold"].value_counts()
        assert len(counts) == 2 and counts.max() - counts.min() <= 2
    assert folds(clips.sample(frac=1, random_state=1), 2, ["a"]) == found


def test_a_group_of_two_categories_keeps_both_together(world):
    clips = read_table(world.split.clips, SPLIT_CLIPS)
    at = clips["clip_id"].isin(["a/other-train-0", "a/other-train-1"])
    clips.loc[at, "group_id"] = "mixed"
    found = clips.assign(fold=clips["group_id"].map(folds(clips, 2, ["a"])))
    held = found[(found["corpus"] == "a") & found["category"].isin(["hiss", "hum"])]
    assert held["fold"].nunique() == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": {"stepz": 3}}, "stepz"),
        ({"trainings": {}}, "trainings"),
        ({"augmentation": {"masking": {"share": 0.5}}}, r"recipes\.x"),
        ({"augmentation": {"noise": {"share": 2.0}}}, r"augmentation\.noise\.share is 2"),
        ({"training": {"keep": "first"}}, r"training\.keep is 'first'"),
        ({"training": {"dropout": 1.0}}, r"training\.dropout is 1"),
        ({"context": {"hop_s": 0.3}}, r"context\.hop_s is 0\.3"),
        ({"front_end": {"rate_hz": 16_000}}, r"front_end\.rate_hz is 16000"),
        ({"front_end": {"n_mels": 40}}, "pictures of 40 bands and 64 frames"),
        ({"front_end": {"hop_s": 0.02}}, "64 bands and 47 frames"),
        (
            {"front_end": {"scale": "paper"}, "augmentation": {"floor_db": {"min": 30, "max": 60}}},
            r"augmentation\.floor_db: pictures of scale paper",
        ),
        ({"front_end": {"scale": "loud"}}, r"front_end\.scale is 'loud'"),
        ({"alignment": {"kind": "best"}}, r"alignment: kind is 'best'"),
    ],
)
def test_bad_changes_of_a_recipe_are_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        change_recipe(recipe(), changes, "ablate_robust.recipes.x")


def test_a_change_leaves_the_rest_and_the_base_alone():
    base = recipe()
    found = change_recipe(base, {"augmentation": {"room": None}, "draws": {"codec": 0.0}}, "x")
    assert found.augmentation.room is None and base.augmentation.room is not None
    assert found.draws.codec == 0.0 and found.draws.pauses == base.draws.pauses
    assert found.training == base.training


@pytest.mark.parametrize("kind", ["none", "moments", "adversarial"])
@pytest.mark.parametrize("context", ["own", "neighbours", "live"])
def test_every_group_composes(kind, context):
    given = section(
        f"robust_alignment@train_robust.alignment={kind}",
        f"robust_context@train_robust.context={context}",
    )
    assert given.recipe().alignment.kind == kind

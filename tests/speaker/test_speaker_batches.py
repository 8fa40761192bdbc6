"""Batches of N infants x M cries, crops, and shuffled-crop averaging."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from crywatch.audio.segments import RATE_HZ
from crywatch.core.errors import ConfigError
from crywatch.speaker.batches import (
    LEFT_OUT,
    AveragingConfig,
    BatchConfig,
    CropConfig,
    Crops,
    CryRef,
    InfantBatches,
    crop,
    embed_cries,
    recordings_as_infants,
    shuffled_crops,
    unit,
)


def cries(sessions_of: dict[str, list[int]]) -> list[CryRef]:
    """For each infant, how many cries each of its sessions has."""
    return [
        CryRef(f"{infant}/{session}/{take}", infant, f"s{session}")
        for infant, counts in sessions_of.items()
        for session, count in enumerate(counts)
        for take in range(count)
    ]


MANY = cries({f"i{n}": [1 + n % 3, 2, 4][: 1 + n % 3] + [1] for n in range(11)})


def sampler(refs=MANY, infants=4, each=3, spread=True, seed=0) -> InfantBatches:
    return InfantBatches(refs, BatchConfig(infants, each, spread), seed)


# Batches


def test_a_batch_has_n_infants_of_m_cries():
    batches = sampler()
    assert len(batches) == 3
    for epoch in range(5):
        batches.set_epoch(epoch)
        for rows in batches:
            assert len(rows) == 12
            groups = [rows[at : at + 3] for at in range(0, 12, 3)]
            infants = [{MANY[row].infant_id for row in group} for group in groups]
            assert all(len(names) == 1 for names in infants)
            assert len(set.union(*infants)) == 4
            for group in groups:
                has = Counter(c.infant_id for c in MANY)[MANY[group[0]].infant_id]
                assert len(set(group)) == min(3, has)  # no cry twice before all are used


def test_an_epoch_visits_every_infant():
    batches = sampler()
    for epoch in range(4):
        batches.set_epoch(epoch)
        seen = Counter(MANY[row].infant_id for rows in batches for row in rows[::3])
        assert set(seen) == {cry.infant_id for cry in MANY}
        assert sorted(seen.values()) == [1] * 10 + [2]  # 3 x 4 places for 11 infants


def test_pairs_are_across_sessions_where_there_are_several():
    refs = cries({f"i{n}": [20, 1, 1] for n in range(4)})
    for rows in sampler(refs):
        for at in range(0, 12, 3):
            assert {refs[row].session_id for row in rows[at : at + 3]} == {"s0", "s1", "s2"}
    two = sampler(refs, each=2)
    kept = {refs[row].session_id for epoch in range(9) for row in two.batch(epoch, 0)}
    assert kept == {"s0", "s1", "s2"}  # which sessions is drawn
    # More cries than sessions: the sessions in turn, then the one that has more.
    counts = Counter(refs[row].session_id for row in sampler(refs, each=5).batch(0, 0)[:5])
    assert counts == {"s0": 3, "s1": 1, "s2": 1}


def test_without_spread_a_cry_is_as_likely_as_another():
    refs = cries({f"i{n}": [18, 1, 1] for n in range(4)})
    plain = sampler(refs, each=2, spread=False)
    rows = [row for epoch in range(300) for row in plain.batch(epoch, 0)]
    share = np.mean([refs[row].session_id == "s0" for row in rows])
    assert share == pytest.approx(0.9, abs=0.03)


def test_sessions_that_are_not_known_are_one():
    refs = [CryRef(f"{i}/{n}", i, None if n < 5 else "s1") for i in "ab" for n in range(6)]
    for epoch in range(5):
        rows = sampler(refs, infants=2, each=2).batch(epoch, 0)
        assert {refs[row].session_id for row in rows[:2]} == {None, "s1"}


def test_batches_are_functions_of_seed_epoch_and_number():
    first, second = sampler(), sampler()
    first.set_epoch(2)
    whole = list(first)
    second.set_epoch(2, first=1)  # goes on in the middle, having seen nothing before
    assert list(second) == whole[1:]
    assert [second.batch(2, number) for number in (2, 0, 1)] == [whole[2], whole[0], whole[1]]
    first.set_epoch(3)
    assert list(first) != whole
    other = sampler(seed=1)
    other.set_epoch(2)
    assert list(other) != whole


def test_labels_number_the_infants_that_are_drawn():
    refs = cries({"b": [2], "alone": [1], "a": [1, 1]})
    batches = sampler(refs, infants=2, each=2)
    assert batches.infants == ("a", "b")
    assert batches.labels.tolist() == [1, 1, LEFT_OUT, 0, 0]
    drawn = {row for epoch in range(9) for row in batches.batch(epoch, 0)}
    assert drawn == {0, 1, 3, 4}


def test_too_few_infants_are_told():
    with pytest.raises(ConfigError, match="batches.infants is 12, but only 11 infants have two"):
        sampler(infants=12)
    with pytest.raises(ConfigError, match="batches: 4 infants x 1 cries"):
        sampler(each=1)


def test_two_views_of_each_recording_and_none_of_it_among_the_others():
    clip_ids = [f"clip {row // 2}" for row in range(len(MANY) - 1)] + ["one cry alone"]
    refs, config = recordings_as_infants(MANY, clip_ids, BatchConfig(4, 3))
    batches = InfantBatches(refs, config, seed=0, least=1)
    assert set(batches.infants) == set(clip_ids)
    for number in range(len(batches)):
        rows = batches.batch(0, number)
        clips = [clip_ids[row] for row in rows]
        assert len(rows) == 12 and clips[::2] == clips[1::2] and len(set(clips)) == 6
        assert batches.labels[rows].tolist() == [batches.infants.index(clip) for clip in clips]
    # The two views of a single cry are two crops.
    crops = crops_of([ramp(0, 6.0)] * len(MANY), refs, CropConfig(2.0, 2.0))
    first, second = crops.batch([len(MANY) - 1] * 2, 0, 0)
    assert first[0] != second[0]
    with pytest.raises(ConfigError, match="two views of 40 recordings, but there are"):
        recordings_as_infants(MANY, clip_ids, BatchConfig(40, 2))


# Crops


def ramp(start: int, seconds: float) -> np.ndarray:
    """Samples that tell where they come from: their own numbers, from ``start``."""
    return np.arange(start, start + round(seconds * RATE_HZ)).astype(np.float32)


def crops_of(waves: list[np.ndarray], refs: list[CryRef], config: CropConfig, seed=0) -> Crops:
    return Crops(refs, lambda row: waves[row], config, seed)


REFS = cries({"a": [3, 1], "b": [1]})
SHORT = [ramp(i * 100_000, seconds) for i, seconds in enumerate((0.5, 0.7, 0.9, 6.0, 0.1))]


def test_crops_of_a_batch_have_one_length_within_the_bounds():
    waves = [ramp(1_000_000 * i, 9.0) for i in range(5)]
    crops = crops_of(waves, REFS, CropConfig(3.0, 5.0))
    lengths, starts = [], []
    for number in range(40):
        found = crops.batch([0, 3, 4], 0, number)
        assert found.dtype == np.float32 and found.shape[0] == 3
        for row, got in zip([0, 3, 4], found, strict=True):
            start = round(float(got[0] - waves[row][0]))
            np.testing.assert_array_equal(got, waves[row][start : start + len(got)])
            starts.append(start)
        lengths.append(found.shape[1] / RATE_HZ)
    assert min(lengths) >= 3.0 and max(lengths) <= 5.0 and np.ptp(lengths) > 1.5
    assert min(starts) < 0.5 * RATE_HZ and max(starts) > 4 * RATE_HZ


def test_a_short_cry_is_repeated():
    got = crops_of(SHORT, REFS, CropConfig(2.0, 2.0)).batch([0], 0, 0)[0]
    assert got.shape == (32_000,)
    assert set(got.tolist()) == set(SHORT[0].tolist())
    steps = {(b - a) for a, b in pairwise(got.tolist())}
    assert steps == {1, 1 - len(SHORT[0])}  # in its own order, again and again


def test_a_short_cry_is_joined_with_others_of_its_session():
    crops = crops_of(SHORT, REFS, CropConfig(2.1, 2.1, "join"))
    held = crops.batch([0], 0, 0)[0]
    np.testing.assert_array_equal(held[:8000], SHORT[0])
    assert sorted(held.tolist()) == np.concatenate(SHORT[:3]).tolist()  # 0.5 + 0.7 + 0.9 s
    orders = {float(crops.batch([0], 0, number)[0][8000]) for number in range(20)}
    assert orders == {100_000, 200_000}  # which comes next is drawn
    # The only one of its session is repeated; a long one is cropped as ever.
    assert set(crops.batch([4], 0, 0)[0].tolist()) == set(SHORT[4].tolist())
    assert (np.diff(crops.batch([3], 0, 0)[0]) == 1).all()


def test_crops_are_functions_of_seed_epoch_and_number():
    waves = [ramp(0, 9.0)] * 5
    first, second = (crops_of(waves, REFS, CropConfig(1.0, 2.0)) for _ in range(2))
    expected = first.batch([0, 1], 3, 4)
    second.batch([2], 0, 0)
    np.testing.assert_array_equal(second.batch([0, 1], 3, 4), expected)
    other = crops_of(waves, REFS, CropConfig(1.0, 2.0), seed=1)
    for batch in (first.batch([0, 1], 3, 5), first.batch([0, 1], 4, 4), other.batch([0, 1], 3, 4)):
        assert batch.shape != expected.shape or (batch != expected).any()


def test_a_crop_of_the_whole_is_the_whole():
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(crop(ramp(5, 1.0), RATE_HZ, rng), ramp(5, 1.0))


def test_bounds_and_ways_that_are_none():
    with pytest.raises(ConfigError, match="min_s is 5 and max_s 3"):
        crops_of(SHORT, REFS, CropConfig(5.0, 3.0))
    with pytest.raises(ConfigError, match="crops.short: 'pad' is unknown; there are repeat, join"):
        crops_of(SHORT, REFS, CropConfig(1.0, 2.0, "pad"))


# Averaging


def test_shuffled_crops_hold_the_cries_in_other_orders():
    rng = np.random.default_rng(0)
    parts = [np.full(RATE_HZ, value, dtype=np.float32) for value in (1, 2, 3, 4)]
    found = shuffled_crops(parts, AveragingConfig(20, 2.0), rng)
    assert found.shape == (20, 32_000)
    orders = {tuple(dict.fromkeys(row.tolist())) for row in found}
    assert len(orders) > 8
    assert any(list(order) != sorted(order) for order in orders)


def test_an_embedding_of_all_cries_without_averaging_is_that_of_the_joined():
    parts = [ramp(0, 0.5), ramp(50, 0.25)]

    def embed(waves):
        assert [len(wave) for wave in waves] == [12_000]
        np.testing.assert_array_equal(waves[0], np.concatenate(parts))
        return np.array([[3.0, 4.0]])

    found = embed_cries(parts, embed, AveragingConfig(0), np.random.default_rng(0))
    np.testing.assert_allclose(found, [0.6, 0.8])


def test_averaging_is_of_directions():
    def embed(waves):
        return np.array([[100.0, 0.0], [0.0, 1.0]])

    found = embed_cries([ramp(0, 1.0)], embed, AveragingConfig(2, 0.5), np.random.default_rng(0))
    np.testing.assert_allclose(found, [0.5**0.5, 0.5**0.5])


def test_averaging_lowers_the_spread_of_noisy_embeddings():
    """What it is for: an embedding that depends on where a crop lies."""
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal(8000).astype(np.float32) for _ in range(6)]

    def embed(waves):
        noise = [[wave[:400].sum() / 20, wave[400:800].sum() / 20] for wave in waves]
        return np.hstack([np.full((len(waves), 1), 2.0), noise])

    def spread(crops):
        config = AveragingConfig(crops, 0.25)
        found = [embed_cries(parts, embed, config, np.random.default_rng(i)) for i in range(40)]
        return np.std(found, axis=0)[1:].mean()

    assert spread(16) < 0.5 * spread(1)


def test_averaging_over_no_crop_length():
    with pytest.raises(ConfigError, match="averaging: 3 crops of 0 s"):
        shuffled_crops([ramp(0, 1.0)], AveragingConfig(3, 0.0), np.random.default_rng(0))


def test_units():
    np.testing.assert_allclose(unit(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0, 0]])

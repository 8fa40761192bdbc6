"""The parts of a soundscape: where clips sound, loops and noise, rooms, and what overlaps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crywatch.audio.extents import ExtentConfig, Stretch, dynamics_db, heard, merged, sounding
from crywatch.audio.mixer import (
    Background,
    Foreground,
    Soundscape,
    coloured_noise,
    looped,
    render,
)
from crywatch.audio.rooms import response, reverberant
from crywatch.audio.segments import RATE_HZ
from crywatch.data.mixtures.draw import cut
from crywatch.data.mixtures.soundscapes import labelled_events
from tests.helpers.split_cases import noise

CONFIG = ExtentConfig(20.0, 30.0, min_gap_s=0.3, min_length_s=0.1)


def levels(*pieces: tuple[float, float]) -> np.ndarray:
    """Noise with pieces of (seconds, dB below the loudest); [samples], 16 kHz."""
    gains = [np.full(round(seconds * RATE_HZ), 10 ** (-down / 20)) for seconds, down in pieces]
    gain = np.concatenate(gains)
    return (noise(0, len(gain) / RATE_HZ) * gain).astype(np.float32)


def spans(stretches) -> list[tuple[float, float]]:
    return [(stretch.onset_s, stretch.offset_s) for stretch in stretches]


def test_hysteresis_keeps_the_tail_of_a_sound_and_not_a_murmur():
    wave = levels((0.5, 80), (0.4, 0), (0.2, 25), (0.6, 80), (0.5, 25), (0.5, 80))
    assert spans(sounding(wave, CONFIG)) == [(0.5, 1.1)]


@pytest.mark.parametrize(("pause_s", "count"), [(0.28, 1), (0.3, 2), (0.6, 2)])
def test_a_pause_from_the_set_gap_on_ends_a_stretch(pause_s, count):
    wave = levels((0.5, 0), (pause_s, 80), (0.5, 0))
    found = sounding(wave, CONFIG)
    assert len(found) == count
    assert (found[0].onset_s, found[-1].offset_s) == (0.0, round(1.0 + pause_s, 3))


def test_clicks_are_dropped_unless_they_are_near_each_other():
    alone = levels((1.0, 80), (0.04, 0), (1.0, 80))
    assert sounding(alone, CONFIG) == []
    train = levels((1.0, 80), (0.04, 0), (0.2, 80), (0.04, 0), (1.0, 80))
    assert spans(sounding(train, CONFIG)) == [(1.0, 1.28)]


@pytest.mark.parametrize("wave", [np.zeros(RATE_HZ), np.zeros(0), 1e-4 * noise(1, 1.0)])
def test_a_silent_clip_does_not_sound(wave):
    assert sounding(wave.astype(np.float32), CONFIG) == []


def test_strong_events_are_held_to_the_clip_and_silent_ones_go():
    wave = levels((1.0, 0), (1.0, 120), (1.0, 0))
    events = [Stretch(2.5, 4.0), Stretch(0.2, 0.6), Stretch(0.5, 0.9), Stretch(1.2, 1.8)]
    events += [Stretch(2.1, 2.15), Stretch(3.5, 4.0)]
    assert spans(heard(wave, events, CONFIG)) == [(0.2, 0.9), (2.5, 3.0)]


def test_digital_silence_ends_a_strong_event_as_a_pause_ends_a_stretch():
    wave = levels((3.0, 0))
    for start_s, end_s in ((0.5, 0.7), (1.0, 1.3), (1.9, 2.5)):
        wave[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)] = 0.0
    assert spans(heard(wave, [Stretch(0.0, 2.9)], CONFIG)) == [(0.0, 1.0), (1.3, 1.9), (2.5, 2.9)]
    assert spans(heard(wave, [Stretch(1.0, 1.9)], CONFIG)) == [(1.3, 1.9)]


def test_dynamics_tell_steady_sounds_from_bursts():
    assert dynamics_db(noise(0, 3.0)) < 3
    assert dynamics_db(levels((0.5, 0), (0.5, 20), (0.5, 0))) == pytest.approx(20, abs=2)


def test_merging_joins_what_overlaps_touches_or_is_near():
    stretches = [Stretch(3.0, 4.0), Stretch(0.0, 1.0), Stretch(0.5, 0.7), Stretch(1.0, 1.2)]
    assert spans(merged(stretches, 0.0)) == [(0.0, 1.2), (3.0, 4.0)]
    assert spans(merged(stretches, 1.8)) == [(0.0, 1.2), (3.0, 4.0)]
    assert spans(merged(stretches, 1.81)) == [(0.0, 4.0)]


def test_a_cut_keeps_to_its_length_and_to_the_stretches():
    stretches = [Stretch(0.0, 0.5), Stretch(1.0, 4.0), Stretch(5.0, 5.5)]
    for seed in range(100):
        rng = np.random.default_rng(seed)
        longest_s = float(np.random.default_rng([1, seed]).uniform(1, 7))
        found = cut(stretches, longest_s, 0.1, rng)
        assert found[-1].offset_s - found[0].onset_s <= longest_s + 0.001
        assert all(stretch.length_s >= 0.1 for stretch in found)
        for stretch in found:
            assert any(stretch.within(s.onset_s, s.offset_s) == stretch for s in stretches)
    assert cut(stretches, 9.0, 0.1, rng) == tuple(stretches)


def test_a_loop_has_no_dip_at_its_joints():
    sound = noise(3, 2.0)
    wave = looped(sound, RATE_HZ, 9 * RATE_HZ)
    assert len(wave) == 9 * RATE_HZ
    assert np.array_equal(wave[: RATE_HZ // 2], sound[RATE_HZ : RATE_HZ + RATE_HZ // 2])
    rms = np.sqrt(np.mean(wave.reshape(-1, RATE_HZ // 20) ** 2, axis=1))
    assert 20 * np.log10(rms.max() / rms.min()) < 3


@pytest.mark.parametrize(("colour", "slope_db"), [("pink", -3.01), ("brown", -6.02)])
def test_generated_noise_falls_by_its_colour(colour, slope_db):
    wave = coloured_noise(colour, 20 * RATE_HZ, 7)
    assert np.mean(wave**2) == pytest.approx(1.0)
    power = np.abs(np.fft.rfft(wave)) ** 2
    octaves = [power[20 * hz : 40 * hz].mean() for hz in (100, 200, 400, 800, 1600, 3200)]
    steps_db = np.diff(10 * np.log10(octaves))
    assert steps_db == pytest.approx(np.full(5, slope_db), abs=0.5)


@pytest.mark.parametrize(("rt60_s", "direct_db"), [(0.2, 0.0), (0.6, 10.0)])
def test_a_room_decays_and_is_as_far_away_as_drawn(rt60_s, direct_db):
    room = response(rt60_s, direct_db, 3)
    assert room[0] == 1.0 and not room[1:32].any()
    assert 10 * np.log10(1 / np.sum(room[1:] ** 2)) == pytest.approx(direct_db)
    # Schroeder's backward integral falls by 20 dB from -5 dB on in a third of RT60.
    decay_db = 10 * np.log10(np.cumsum(room[:0:-1] ** 2)[::-1] / np.sum(room[1:] ** 2))
    first, last = (np.flatnonzero(decay_db <= level)[0] for level in (-5, -25))
    assert 3 * (last - first) / RATE_HZ == pytest.approx(rt60_s, rel=0.1)
    assert np.array_equal(room, response(rt60_s, direct_db, 3))
    assert not np.array_equal(room, response(rt60_s, direct_db, 4))


def test_the_direct_sound_comes_without_delay():
    dry = np.zeros(1000)
    dry[400] = 1.0
    wet = reverberant(dry, response(0.3, 5.0, 1))
    assert np.abs(wet[:400]).max() < 1e-9 and wet[400] == pytest.approx(1.0)


def plan(*foregrounds: Foreground, rt60_s: float | None = None) -> Soundscape:
    background = Background(None, "pink", None, 0.0, 5, -30.0)
    return Soundscape("s/t-0", "train", "10s", 10.0, background, rt60_s, foregrounds)


def test_cries_that_overlap_are_one_event_and_other_labels_are_not_mixed_in():
    one = Foreground("a/0", "cry", 1.0, (Stretch(0.0, 2.0),), 10.0, None, 0)
    other = Foreground("a/1", "cry", 2.5, (Stretch(1.0, 1.5), Stretch(3.0, 4.0)), 10.0, None, 0)
    dog = Foreground("a/2", "dog", 2.8, (Stretch(0.0, 1.0),), 10.0, None, 0)
    assert labelled_events(plan(one, other, dog), 0.3) == [
        ("s/t-0", 1.0, 3.0, "cry"),
        ("s/t-0", 2.8, 3.8, "dog"),
        ("s/t-0", 4.5, 5.5, "cry"),
    ]


@pytest.mark.parametrize("onset_s", [0.0, 4.321, 9.0])
@pytest.mark.parametrize("rt60_s", [None, 0.4])
def test_a_foreground_is_heard_at_its_onset_also_at_the_ends(onset_s, rt60_s):
    clip = noise(1, 3.0)
    found = Foreground("a/0", "cry", onset_s, (Stretch(1.0, 2.0),), 30.0, 6.0, 1)
    mixture = render(plan(found, rt60_s=rt60_s), lambda _: clip)
    alone = render(plan(), lambda _: clip).wave
    own = (mixture.wave / 10 ** (mixture.gain_db / 20) - alone) / 10 ** (
        mixture.foreground_gains_db[0] / 20
    )
    start = round(onset_s * RATE_HZ)
    if rt60_s is None:
        expected = clip[RATE_HZ : 2 * RATE_HZ]
        assert own[start : start + RATE_HZ] == pytest.approx(expected, abs=1e-3)
        assert np.abs(own[start + RATE_HZ + 320 :]).max(initial=0) < 1e-3
    assert np.abs(own[: max(start - 320, 0)]).max(initial=0) < 1e-3
    assert np.sqrt(np.mean(own[start : start + RATE_HZ // 10] ** 2)) > 0.05


@pytest.mark.parametrize("onset_s", [1.0, 6.0])
def test_the_ratio_is_to_the_background_under_the_event(onset_s):
    """And to its sounding stretches: the pause between them is not counted."""
    clips = {"a/bed": levels((5.0, 0), (5.0, 20)), "a/cry": levels((0.5, 0), (1.0, 50), (0.5, 0))}
    stretches = (Stretch(0.0, 0.5), Stretch(1.5, 2.0))
    found = Foreground("a/cry", "cry", onset_s, stretches, 6.0, None, 0)
    scape = plan(found)
    bed = Background("a/bed", None, Stretch(0.0, 10.0), 0.0, 0, -40.0)
    mixture = render(replace(scape, background=bed), clips.__getitem__)
    background = render(replace(scape, background=bed, foregrounds=()), clips.__getitem__)
    assert mixture.gain_db == background.gain_db == 0.0
    active = np.concatenate([np.arange(160_000)[event.samples()] for event in found.events()])
    power = np.mean((mixture.wave - background.wave)[active] ** 2)
    under = np.mean(background.wave[active] ** 2)
    assert 10 * np.log10(power / under) == pytest.approx(6.0, abs=0.01)

"""Each step does what it says, measured on its output."""

import numpy as np
import pytest

from crywatch.audio.channels import apply, channel
from crywatch.audio.channels.dynamics import controlled, suppressed
from crywatch.audio.channels.levels import sounding_rms
from crywatch.audio.segments import RATE_HZ
from tests.helpers.channel_cases import band_db, cry, db, lag_samples, rms, tone, white


def through(steps, wave, clip_id="clip"):
    return apply(channel("a", {"a": steps}), wave, clip_id)


def test_a_band_is_what_is_left():
    heard = through([{"band": {"low_hz": 200, "high_hz": 3300}}], white(4.0))
    inside = band_db(heard, 400, 3_100)
    assert inside == pytest.approx(band_db(white(4.0), 400, 3_100), abs=0.1)
    assert band_db(heard, 3_500, 8_000) < inside - 60
    assert band_db(heard, 0, 50) < inside - 40
    assert lag_samples(heard, white(4.0)) == 0


@pytest.mark.parametrize(
    ("band", "passed_hz", "stopped_hz"),
    [({"high_hz": 2000}, 500, 2500), ({"low_hz": 300}, 700, 90)],
)
def test_a_band_may_have_one_end(band, passed_hz, stopped_hz):
    middle = slice(2_000, -2_000)
    kept = through([{"band": band}], tone(passed_hz))[middle]
    assert db(rms(kept) / rms(tone(passed_hz)[middle])) == pytest.approx(0, abs=0.05)
    assert rms(through([{"band": band}], tone(stopped_hz))[middle]) < 1e-3 * rms(kept)


def test_a_band_of_everything_changes_nothing():
    np.testing.assert_array_equal(through([{"band": {}}], cry()), cry())


@pytest.mark.parametrize(("hz", "expected_db"), [(100, -12), (1000, 0), (2000, 3), (6000, -20)])
def test_a_microphone_follows_its_knots(hz, expected_db):
    response = {150: -12, 1000: 0, 4000: 6, 5500: -20}
    heard = through([{"microphone": {"response": response}}], tone(hz))[2_000:-2_000]
    assert db(rms(heard) / rms(tone(hz)[2_000:-2_000])) == pytest.approx(expected_db, abs=0.5)


@pytest.mark.parametrize("wave", [cry(), 0.01 * cry(), white(), tone(440)], ids=lambda w: len(w))
def test_every_clip_comes_to_one_level(wave):
    heard = through([{"level": {"dbfs": -26}}], wave)
    assert db(sounding_rms(heard)) == pytest.approx(-26, abs=0.01)


def test_pauses_do_not_count_for_the_level():
    padded = np.concatenate([tone(440), np.zeros(9 * RATE_HZ, np.float32)])
    assert sounding_rms(padded) == pytest.approx(sounding_rms(tone(440)), rel=1e-6)
    assert rms(padded) < 0.4 * rms(tone(440))


def test_silence_has_no_level_and_gets_no_noise():
    silence = np.zeros(RATE_HZ, np.float32)
    steps = [{"level": {"dbfs": -26}}, {"noise": {"snr_db": 0}}, {"agc": {"target_dbfs": -20}}]
    steps += [{"suppression": {"max_db": 12}}, {"clip": {"share": 0.5}}]
    assert not through(steps, silence).any()


def test_gain_is_in_decibels():
    assert db(rms(through([{"gain": {"db": -20}}], cry())) / rms(cry())) == pytest.approx(-20)


def test_what_goes_beyond_full_scale_is_clipped():
    heard = through([{"gain": {"db": 30}}], cry())
    assert heard.max() == 1.0 and heard.min() == -1.0


@pytest.mark.parametrize("snr_db", [-5, 10, 30])
@pytest.mark.parametrize("colour", ["white", "pink", "brown"])
def test_the_noise_is_as_far_below_the_sound_as_asked(snr_db, colour):
    sent = 0.1 * cry()
    noise = through([{"noise": {"snr_db": snr_db, "colour": colour}}], sent) - sent
    assert db(sounding_rms(sent) / rms(noise)) == pytest.approx(snr_db, abs=0.1)


def test_colours_of_noise():
    def slope_db(colour):
        noise = through([{"noise": {"snr_db": 0, "colour": colour}}], tone(1000, 4.0, 0.1))
        return band_db(noise, 200, 400) - band_db(noise, 3_200, 6_400)

    assert slope_db("white") == pytest.approx(0, abs=1)
    assert slope_db("pink") == pytest.approx(12, abs=1)
    assert slope_db("brown") == pytest.approx(24, abs=1.5)


def test_a_room_adds_a_tail_that_decays():
    click = np.zeros(RATE_HZ, np.float32)
    click[1_600] = 0.5
    heard = through([{"room": {"rt60_s": 0.5, "direct_db": 3}}], click)
    assert heard[1_600] == pytest.approx(0.5) and not heard[:1_600].round(6).any()
    tail = heard[1_601:]
    assert 10 * np.log10(0.25 / np.sum(tail.astype(float) ** 2)) == pytest.approx(3, abs=0.1)
    # 60 dB in 0.5 s are 24 dB in 0.2 s.
    early, late = tail[800:1_600], tail[800 + 3_200 : 1_600 + 3_200]
    assert db(rms(early) / rms(late)) == pytest.approx(24, abs=3)


def test_clipping_is_at_a_share_of_the_peak_or_at_a_level():
    peak = np.abs(cry()).max()
    assert np.abs(through([{"clip": {"share": 0.25}}], cry())).max() == pytest.approx(peak / 4)
    assert np.abs(through([{"clip": {"dbfs": -20}}], cry())).max() == pytest.approx(0.1)
    np.testing.assert_array_equal(through([{"clip": {}}], cry()), cry())


def test_quantising_leaves_as_many_values():
    heard = through([{"quantise": {"bits": 4}}], tone(440, peak=1.0))
    assert len(np.unique(heard)) == 16
    assert np.abs(heard - tone(440, peak=1.0)).max() <= 1 / 8 + 1e-6


def test_resampling_takes_what_the_rate_cannot_hold():
    heard = through([{"resample": {"rate_hz": 8000}}], white(4.0))
    assert band_db(heard, 4_300, 7_800) < band_db(heard, 500, 3_500) - 60
    assert lag_samples(heard, white(4.0)) == 0


def test_a_cheap_resampler_folds_what_a_good_one_takes():
    high = tone(5_000)  # at 8 kHz it folds to 3 kHz
    good, cheap = (
        through([{"resample": {"rate_hz": 8000, "filter": one}}], high)
        for one in ("high", "linear")
    )
    assert band_db(good, 2_900, 3_100) < band_db(high, 4_900, 5_100) - 50
    assert band_db(cheap, 2_900, 3_100) > band_db(high, 4_900, 5_100) - 10


def test_the_gain_control_brings_quiet_and_loud_to_the_target():
    for peak in (0.02, 0.8):
        heard = through([{"agc": {"target_dbfs": -20, "release_s": 0.3}}], tone(440, 3.0, peak))
        assert db(rms(heard[-RATE_HZ:])) == pytest.approx(-20, abs=0.3)


def test_the_gain_control_is_fast_when_loud_and_slow_when_quiet():
    wave = np.concatenate([tone(440, 2.0, 0.05), tone(440, 2.0, 0.5), tone(440, 2.0, 0.05)])
    heard = controlled(wave, target_dbfs=-20, attack_s=0.02, release_s=0.8, max_gain_db=40)
    seconds = [db(rms(one)) for one in heard.reshape(60, -1)]  # of 0.1 s
    assert seconds[20] > -20 + 4  # the attack lets a burst through
    assert seconds[22] == pytest.approx(-20, abs=0.5)
    assert seconds[41] < -20 - 12  # and the release a hole
    assert -20 - 8 < seconds[52] < -20 - 2


def test_the_gain_control_amplifies_no_more_than_it_may():
    heard = through([{"agc": {"target_dbfs": -20, "max_gain_db": 12}}], tone(440, 2.0, 0.005))
    assert db(rms(heard) / rms(tone(440, 2.0, 0.005))) == pytest.approx(12, abs=0.1)


def test_suppression_takes_the_steady_and_leaves_the_cry():
    noise = 0.1 * white(6.0)
    wave = noise.copy()
    wave[3 * RATE_HZ : 4 * RATE_HZ] += tone(1000)
    heard = suppressed(wave, max_db=12, window_s=1.5)
    quiet = slice(RATE_HZ // 4, 3 * RATE_HZ - 1_000)
    assert -12.1 <= db(rms(heard[quiet]) / rms(wave[quiet])) < -8
    loud = slice(round(3.1 * RATE_HZ), round(3.9 * RATE_HZ))
    assert db(rms(heard[loud]) / rms(wave[loud])) == pytest.approx(0, abs=0.3)
    assert lag_samples(heard[loud], wave[loud]) == 0


def test_suppression_of_nothing_changes_nothing():
    np.testing.assert_allclose(suppressed(cry(), max_db=0, window_s=1.5), cry(), atol=1e-5)


def test_suppression_after_its_first_window_does_not_look_ahead():
    first = white(6.0)
    second = np.concatenate([first[: 4 * RATE_HZ], np.zeros(2 * RATE_HZ, np.float32)])
    before = slice(0, 4 * RATE_HZ - 512)
    np.testing.assert_allclose(
        suppressed(first, max_db=12, window_s=1.5)[before],
        suppressed(second, max_db=12, window_s=1.5)[before],
        atol=1e-7,
    )

"""Channels of conf/channels.yaml: what goes in comes out in the same seconds, as configured."""

import copy
from pathlib import Path

import numpy as np
import pytest

from crywatch.audio.channels import Channel, apply, channel, codecs
from crywatch.audio.channels.levels import sounding_rms
from crywatch.audio.segments import RATE_HZ
from crywatch.core import params
from crywatch.core.errors import ConfigError
from tests.helpers.channel_cases import band_db, cry, db, lag_samples, white

SECTION = params.plain("channels", Path(__file__).parents[2] / "params.yaml")
MATCHED = {"telephone": -26, "amr": -26, "opus": -26, "mp3": -26, "far_field": -46}
MUST = {*MATCHED, "phone", "as_is", "level_-20db", "band_4khz", "band_2khz", "noise_30db"}


def usable(name):
    asked = [step["codec"]["name"] for step in SECTION[name] if "codec" in step]
    names = {one for name in asked for one in ([name] if isinstance(name, str) else name)}
    if not names <= set(codecs.available()):
        pytest.skip(f"this machine does not encode all of {', '.join(sorted(names))}")
    return channel(name, SECTION)


def test_the_channels_that_others_ask_for_are_there():
    assert set(SECTION) >= MUST


@pytest.mark.parametrize("name", SECTION)
def test_a_channel_keeps_length_and_seconds(name):
    one = usable(name)
    sent = cry(2.53, seed=4)
    heard = apply(one, sent, "corpus/1")
    assert heard.shape == sent.shape and heard.dtype == np.float32
    assert np.isfinite(heard).all() and np.abs(heard).max() <= 1
    assert abs(lag_samples(heard, sent)) <= 0.010 * RATE_HZ
    assert (name == "as_is") == bool(np.array_equal(heard, sent))


@pytest.mark.parametrize("name", SECTION)
def test_equal_clips_come_out_as_equal_bytes(name):
    one = usable(name)
    first = apply(one, cry(), "corpus/1")
    apply(one, white(), "corpus/2")
    assert apply(channel(name, copy.deepcopy(SECTION)), cry(), "corpus/1").tobytes() == (
        first.tobytes()
    )


@pytest.mark.parametrize("name", SECTION)
@pytest.mark.parametrize("n_samples", [0, 1, 300])
def test_the_shortest_clips_go_through(name, n_samples):
    heard = apply(usable(name), cry()[:n_samples], "corpus/1")
    assert heard.shape == (n_samples,) and np.isfinite(heard).all()


@pytest.mark.parametrize(("name", "dbfs"), MATCHED.items())
def test_matched_channels_end_at_one_level(name, dbfs):
    one = usable(name)
    for wave in (cry(), 0.003 * cry(seed=2), 5 * white(), cry(1.0, seed=6)):
        assert db(sounding_rms(apply(one, wave, "corpus/1"))) == pytest.approx(dbfs, abs=0.05)


@pytest.mark.parametrize(
    ("name", "low_hz", "high_hz"),
    [
        ("telephone", 200, 3300),
        ("amr", 200, 3400),
        ("opus", 100, 7000),
        ("mp3", 100, 5000),
        ("band_4khz", 0, 4000),
        ("band_2khz", 0, 2000),
        ("band_from_300hz", 300, 8000),
        ("resample_8khz", 0, 4000),
    ],
)
def test_the_band_of_a_channel(name, low_hz, high_hz):
    heard = apply(usable(name), white(4.0), "corpus/1")
    inside = band_db(heard, low_hz + 200, high_hz - 300)
    if high_hz < 7_500:
        assert band_db(heard, high_hz + 400, 8_000) < inside - 25
    if low_hz:
        # GSM and AMR put quantisation noise back below the band.
        assert band_db(heard, 0, low_hz / 3) < inside - 8


def test_what_is_drawn_depends_on_the_clip_and_on_the_channel():
    steps = [{"gain": {"db": {"min": -30, "max": 0}}}, {"noise": {"snr_db": 20}}]
    section = {"a": steps, "b": steps}

    def gain_db(name, clip_id):
        heard = apply(channel(name, section), cry(), clip_id)
        return db(heard @ cry() / (cry() @ cry()))

    gains = [gain_db("a", f"corpus/{number}") for number in range(40)]
    assert -30.2 < min(gains) < -20 and -10 < max(gains) < 0.2
    assert len({round(gain, 3) for gain in gains}) == 40
    assert gain_db("b", "corpus/0") != pytest.approx(gains[0], abs=0.01)


def test_a_fixed_number_leaves_the_other_draws_alone():
    def noise(gain):
        steps = [{"noise": {"snr_db": gain}}, {"gain": {"db": 0}}]
        return apply(channel("a", {"a": steps}), cry(), "corpus/1") - cry()

    drawn, fixed = noise({"min": 10, "max": 20}), noise(12)
    likeness = drawn @ fixed / np.sqrt((drawn @ drawn) * (fixed @ fixed))
    assert likeness == pytest.approx(1, abs=1e-4)


def test_clips_of_the_phone_channel_differ_in_codec_and_response():
    one = usable("phone")
    heard = [apply(one, white(), f"corpus/{number}") for number in range(12)]
    above = [band_db(wave, 4_500, 6_000) - band_db(wave, 1_000, 2_000) for wave in heard]
    assert min(above) < -40  # AMR
    assert max(above) > -25


def test_the_input_is_left_as_it_is_and_double_precision_is_taken():
    sent = cry().astype(np.float64)
    kept = sent.copy()
    heard = apply(usable("telephone"), sent, "corpus/1")
    np.testing.assert_array_equal(sent, kept)
    np.testing.assert_array_equal(heard, apply(usable("telephone"), cry(), "corpus/1"))


def test_a_channel_is_a_value():
    assert channel("telephone", SECTION) == channel("telephone", SECTION)
    assert isinstance(channel("as_is", SECTION), Channel)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ({"gain": {"db": 1}}, r"channels\.a: .* stands where a list of steps is expected"),
        (["gain"], r"channels\.a\[0\]: 'gain' is not one step"),
        ([{"gain": {"db": 1}, "band": {}}], r"channels\.a\[0\]: .* is not one step"),
        ([{"as": {}}], r"channels\.a\[0\] has no 'as'; there are band, microphone"),
        ([{"gain": {}}], r"channels\.a\[0\]\.gain\.db is missing"),
        ([{"gain": None}], r"channels\.a\[0\]\.gain\.db is missing"),
        ([{"gain": 3}], r"channels\.a\[0\]\.gain: 3 stands where keys and values are expected"),
        ([{"band": {}}, {"gain": {"dB": 3}}], r"channels\.a\[1\]\.gain has no 'dB'; it has db"),
        ([{"gain": {"db": "loud"}}], r"gain\.db: 'loud' is no number"),
        ([{"gain": {"db": True}}], r"gain\.db: True is no number"),
        ([{"gain": {"db": float("nan")}}], r"gain\.db: nan is no number"),
        ([{"gain": {"db": {"min": 3}}}], r"gain\.db: .* is neither a number nor"),
        ([{"gain": {"db": {"min": 3, "max": 1}}}], r"gain\.db: min 3 is above max 1"),
        ([{"level": {"dbfs": 3}}], r"level\.dbfs: 3 must be at most 0"),
        ([{"clip": {"share": 0}}], r"clip\.share: 0 must be more than 0 and at most 1"),
        ([{"quantise": {"bits": {"min": 1, "max": 8}}}], r"bits: 1 to 8 must be at least 2 and"),
        (
            [{"band": {"low_hz": 3000, "high_hz": 300}}],
            r"band: low_hz \(up to 3000\) must be below",
        ),
        ([{"noise": {"snr_db": 3, "colour": "blue"}}], r"noise\.colour is 'blue': it is one of"),
        ([{"resample": {"rate_hz": 8000, "filter": "x"}}], r"resample\.filter is 'x'"),
        ([{"microphone": {"response": {}}}], r"response: {} stands where frequencies"),
        ([{"microphone": {"response": {300: 0, 100: 0}}}], r"must be above 0 and rise"),
        ([{"microphone": {"response": {300: "x"}}}], r"response\.300: 'x' is no number"),
        ([{"codec": {"name": "flac"}}], r"codec\.name is 'flac': it is one of gsm, amr"),
        ([{"codec": {"name": []}}], r"codec\.name is empty"),
        ([{"codec": {"name": "gsm", "rate_hz": 44100}}], r"codec\.rate_hz: gsm is not encoded at"),
        ([{"codec": {"name": "mulaw", "bit_rate": 1}}], r"codec\.bit_rate: mulaw has only one"),
        (
            [{"codec": {"name": ["gsm", "mulaw"], "rate_hz": 8000}}],
            r"codec\.rate_hz: cannot be told for several codecs",
        ),
        (
            [{"codec": {"name": "opus", "bit_rate": {"min": 0, "max": 9000}}}],
            r"codec\.bit_rate: 0 stands for the usual one",
        ),
        (
            [{"codec": {"name": "mulaw", "rate_hz": {"min": 8000, "max": 16000}}}],
            r"codec\.rate_hz: is one of a few",
        ),
    ],
)
def test_errors_name_the_key(steps, message):
    with pytest.raises(ConfigError, match=message):
        channel("a", {"a": steps})


def test_an_unknown_channel_names_those_there_are():
    with pytest.raises(ConfigError, match=r"channels has no 'nope'; there are telephone, amr"):
        channel("nope", SECTION)


def test_the_phone_without_a_codec_is_the_phone_up_to_its_16_bits():
    """What the study's app hands to its network; the chain is otherwise the same."""
    *chain, last = SECTION["phone_pcm"]
    *same, codec = SECTION["phone"]
    assert chain == same and list(codec) == ["codec"]
    assert last == {"quantise": {"bits": 16}}
    heard = apply(channel("phone_pcm", SECTION), cry(), "corpus/1")
    np.testing.assert_allclose(heard * 2**15, np.round(heard * 2**15), atol=1e-3)

"""Codecs keep length and time, lose something, and say what they cannot do."""

import numpy as np
import pytest

from crywatch.audio.channels import codecs
from crywatch.audio.segments import RATE_HZ
from crywatch.core.errors import ConfigError
from tests.helpers.channel_cases import band_db, cry, db, lag_samples, rms, white

MOST_LAG = round(0.010 * RATE_HZ)


@pytest.fixture
def fresh():
    """What is available is asked for anew, before and after."""
    codecs.available.cache_clear()
    yield
    codecs.available.cache_clear()


def needed(name):
    if name not in codecs.available():
        pytest.skip(f"this machine has no encoder of {name}")


def every_codec():
    for name, kind in codecs.KINDS.items():
        for rate_hz in kind.rates_hz:
            yield name, rate_hz, 0
        for bit_rate in kind.bit_rates[1:]:
            yield name, 0, bit_rate


@pytest.mark.parametrize("name, rate_hz, bit_rate", every_codec())
def test_a_codec_keeps_length_and_seconds_but_not_the_samples(name, rate_hz, bit_rate):
    needed(name)
    codec = codecs.make(name, rate_hz, bit_rate)
    sent = cry(2.03, seed=3)
    heard = codecs.through(sent, RATE_HZ, codec)
    assert heard.shape == sent.shape and heard.dtype == np.float32
    assert not np.allclose(heard, sent, atol=1e-5)
    assert abs(lag_samples(heard, sent)) <= MOST_LAG
    likeness = heard @ sent / np.sqrt((heard @ heard) * (sent @ sent))
    assert likeness > 0.5
    assert abs(db(rms(heard) / rms(sent))) < 3


@pytest.mark.parametrize("name", codecs.KINDS)
def test_seconds_stay_where_they_are_to_the_end(name):
    """Bursts at known times, the last one at the very end, begin and end within 10 ms of them."""
    needed(name)
    wave = np.zeros(round(3.5 * RATE_HZ), dtype=np.float32)
    onsets_s = (0.5, 1.75, 3.25)
    for onset_s in onsets_s:
        start = round(onset_s * RATE_HZ)
        wave[start : start + RATE_HZ // 4] = cry(3.0, seed=5)[RATE_HZ : RATE_HZ + RATE_HZ // 4]
    heard = codecs.through(wave, RATE_HZ, codecs.make(name))
    for onset_s in onsets_s:
        part = slice(round((onset_s - 0.2) * RATE_HZ), round((onset_s + 0.25) * RATE_HZ))
        assert abs(lag_samples(heard[part], wave[part])) <= MOST_LAG
    # What a codec smears before a burst or leaves after it lies far below the burst.
    before = heard[round(1.5 * RATE_HZ) : round(1.65 * RATE_HZ)]
    assert rms(before) < 0.03 * rms(wave[round(1.75 * RATE_HZ) :][: RATE_HZ // 4])
    assert rms(heard[-800:]) > 0.3 * rms(wave[-800:])


@pytest.mark.parametrize("name", codecs.KINDS)
@pytest.mark.parametrize("n_samples", [0, 1, 7, 159, 4_321])
def test_any_length_comes_back(name, n_samples):
    needed(name)
    heard = codecs.through(cry()[:n_samples], RATE_HZ, codecs.make(name))
    assert heard.shape == (n_samples,)
    assert np.isfinite(heard).all()


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 48_000])
def test_waves_of_other_rates_go_through_too(rate_hz):
    from crywatch.audio.waves.resampling import resample

    sent = resample(cry(), RATE_HZ, rate_hz)
    heard = codecs.through(sent, rate_hz, codecs.make("gsm"))
    assert len(heard) == len(sent)
    assert abs(lag_samples(heard, sent)) <= 0.010 * rate_hz


@pytest.mark.parametrize("name", codecs.KINDS)
def test_equal_sounds_come_out_as_equal_bytes(name):
    needed(name)
    codec = codecs.make(name)
    first = codecs.through(cry(), RATE_HZ, codec)
    codecs.delay_s.cache_clear()
    codecs.through(white(), RATE_HZ, codec)
    assert codecs.through(cry(), RATE_HZ, codec).tobytes() == first.tobytes()


@pytest.mark.parametrize("name", ["gsm", "amr", "adpcm", "mulaw"])
def test_a_codec_at_8_khz_leaves_nothing_above_4_khz(name):
    needed(name)
    heard = codecs.through(white(), RATE_HZ, codecs.make(name))
    assert band_db(heard, 4_400, 7_800) < band_db(heard, 500, 3_000) - 40


@pytest.mark.parametrize(
    "name", [name for name, kind in codecs.KINDS.items() if len(kind.bit_rates) > 1]
)
def test_the_bit_rate_is_the_one_asked_for(name):
    needed(name)
    seconds = 3.0
    sizes = {}
    for bit_rate in sorted(codecs.KINDS[name].bit_rates):
        codec = codecs.make(name, bit_rate=bit_rate)
        samples = np.random.default_rng(0).integers(-3000, 3000, round(seconds * codec.rate_hz))
        sizes[bit_rate] = len(codecs.encode(samples.astype(np.int16), codec)) * 8 / seconds
    assert list(sizes.values()) == sorted(set(sizes.values()))
    for bit_rate, measured in sizes.items():
        # Frames of whole bytes and the container's own come on top.
        assert 0.7 * bit_rate < measured < 1.3 * bit_rate + 2_000


def test_full_scale_and_beyond_do_not_wrap():
    loud = (4 * cry()).astype(np.float32)
    heard = codecs.through(loud, RATE_HZ, codecs.make("mulaw", 16_000))
    assert lag_samples(heard, loud) == 0
    assert np.abs(heard - np.clip(loud, -1, 1)).max() < 0.05


def test_silence_stays_silent():
    for name in codecs.available():
        heard = codecs.through(np.zeros(RATE_HZ, np.float32), RATE_HZ, codecs.make(name))
        assert rms(heard) < 2e-3, name


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"name": "flac"}, r"k\.name has no 'flac'; there are gsm, amr"),
        ({"name": "gsm", "rate_hz": 16_000}, r"k\.rate_hz: gsm is not encoded at 16000 Hz but at"),
        ({"name": "mulaw", "bit_rate": 64_000}, r"k\.bit_rate: mulaw has only one"),
        ({"name": "amr", "bit_rate": 64_000}, r"k\.bit_rate: 64000 for amr .* 4750 to 12200"),
    ],
)
def test_errors_name_the_key(told, message):
    with pytest.raises(ConfigError, match=message):
        codecs.make(**told, key="k")


@pytest.mark.parametrize(("name", "library"), [("amr", "PyAV"), ("gsm", "soundfile")])
def test_a_missing_encoder_is_said_when_the_codec_is_asked_for(name, library, monkeypatch, fresh):
    import soundfile

    missing = codecs.KINDS[name].encoder
    has = codecs.encodes
    monkeypatch.setattr(codecs, "encodes", lambda encoder: encoder != missing and has(encoder))
    monkeypatch.setattr(soundfile, "check_format", lambda _, subtype: subtype != missing)
    assert name not in codecs.available()
    with pytest.raises(ConfigError, match=rf"k\.name: .*{library} cannot encode {name}"):
        codecs.make(name, key="k")
    drawn = {codecs.random_codec(np.random.default_rng(seed)).name for seed in range(50)}
    assert drawn == set(codecs.available())


def test_a_random_codec_is_drawn_with_its_bit_rate():
    drawn = [codecs.random_codec(np.random.default_rng(seed)) for seed in range(300)]
    assert {codec.name for codec in drawn} == set(codecs.available())
    for name in codecs.available():
        kind = codecs.KINDS[name]
        told = {codec.bit_rate for codec in drawn if codec.name == name}
        assert told == set(kind.bit_rates or (0,))
        assert {codec.rate_hz for codec in drawn if codec.name == name} == {kind.rates_hz[0]}
    again = [codecs.random_codec(np.random.default_rng(seed)) for seed in range(300)]
    assert again == drawn
    only = [
        codecs.random_codec(np.random.default_rng(seed), ("gsm", "mulaw")) for seed in range(30)
    ]
    assert {codec.name for codec in only} == {"gsm", "mulaw"}

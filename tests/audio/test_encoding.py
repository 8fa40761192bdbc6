"""Files made in memory hold the sound, the rate and no trace of when they were made."""

import numpy as np
import pytest

from crywatch.audio.decode import decode_bytes
from crywatch.audio.encoding import encoded, encodes

RATE_HZ = 16_000


def sound() -> np.ndarray:
    times = np.arange(RATE_HZ) / RATE_HZ
    return (8_000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)


@pytest.mark.parametrize(
    ("container", "encoder", "codec"),
    [
        ("flac", "flac", "flac"),
        ("mp3", "libmp3lame", "mp3float"),
        ("wav", "pcm_mulaw", "pcm_mulaw"),
    ],
)
def test_a_file_in_memory_comes_back(container, encoder, codec):
    decoded = decode_bytes(encoded(sound(), RATE_HZ, container, encoder), "made")
    assert (decoded.rate_hz, decoded.channels, decoded.codec) == (RATE_HZ, 1, codec)
    assert not decoded.truncated
    assert abs(len(decoded.wave) - RATE_HZ) < 2_000
    assert np.sqrt(np.mean(decoded.wave**2)) == pytest.approx(8_000 / 32_768 / 2**0.5, rel=0.05)


def test_equal_sounds_are_equal_bytes():
    assert encoded(sound(), RATE_HZ, "mp3", "libmp3lame") == encoded(
        sound(), RATE_HZ, "mp3", "libmp3lame"
    )


def test_bit_rate_and_options_are_the_encoders():
    few, many = (
        encoded(sound(), RATE_HZ, "adts", "aac", bit_rate=rate) for rate in (16_000, 64_000)
    )
    assert len(many) > 2 * len(few)
    slow = encoded(sound(), RATE_HZ, "ogg", "libopus", options={"frame_duration": "60"})
    assert len(slow) != len(encoded(sound(), RATE_HZ, "ogg", "libopus"))


def test_what_can_be_encoded_is_known_beforehand():
    assert encodes("flac")
    assert not encodes("no_such_encoder")

"""Malformed recordings: nothing but crywatch's own errors.

A short, seeded part of ``python -m benchmarks.fuzz``, whose inputs are read here in this process:
none of them may end it.
"""

import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import fuzz, malformed
from crywatch.audio.decode import BlockReader, decode_bytes
from crywatch.audio.guard import GuardedReader
from crywatch.core.errors import AudioError

BOUNDED = settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
numbers = st.integers(0, 2**32 - 1)
wholes = st.sampled_from(malformed.wholes())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@given(number=numbers)
@BOUNDED
def test_a_malformed_recording_is_read_or_refused(folder, number):
    sound = malformed.malformed(np.random.default_rng(number))
    fuzz.hear(folder / f"a-{sound.whole.name}", sound.content)  # raises all but AudioError


@given(whole=wholes, at=st.floats(0, 1), content=st.binary(max_size=64))
@BOUNDED
def test_bytes_put_into_a_recording(folder, whole, at, content):
    first = round(at * len(whole.content))
    changed = whole.content[:first] + content + whole.content[first + len(content) :]
    fuzz.hear(folder / f"b-{whole.name}", changed)


@given(
    whole=st.sampled_from([whole for whole in malformed.wholes() if whole.shows_cuts]),
    first=st.floats(0, 1),
    last=st.floats(0, 1),
)
@BOUNDED
def test_a_cut_recording_is_not_told_as_the_whole(whole, first, last):
    """Of those that say how long they are and hold no more than that."""
    start, end = sorted(round(share * len(whole.content)) for share in (first, last))
    cut = whole.content[:start] + whole.content[end:]
    try:
        reader = BlockReader("cut", cut)
        wave = np.concatenate(list(reader))
    except AudioError:
        return
    told = reader.condition.notes(0.0, "heard")
    assert told or np.array_equal(wave, decode_bytes(whole.content, "whole").wave)


def test_the_guard_says_what_the_reader_says(folder):
    """A worker serves all of them, and is none of the inputs' victims."""
    for number in range(15):
        sound = malformed.malformed(np.random.default_rng(number))
        path = folder / sound.whole.name
        path.write_bytes(sound.content)
        said = []
        for reader in (BlockReader, GuardedReader):
            try:
                opened = reader(path)
                n_samples = sum(map(len, opened))
                said.append((n_samples, opened.condition))
            except AudioError as error:
                said.append((0, str(error)))
        assert said[0] == said[1]


@given(channels=st.integers(1, 255), rate_hz=st.integers(1, 2**31 - 1), codec=st.integers(0, 65535))
@BOUNDED
def test_any_numbers_in_the_header_of_a_wav(folder, channels, rate_hz, codec):
    wav = next(one for one in malformed.wholes() if one.name.startswith("WAV"))
    whole = bytearray(wav.content)
    whole[20:28] = struct.pack("<HHI", codec, channels, rate_hz)
    fuzz.hear(folder / "header.wav", bytes(whole))

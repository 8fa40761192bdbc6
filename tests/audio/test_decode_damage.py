"""Files that are damaged, have gaps, several tracks or several parts: on the file's own clock."""

import subprocess
import sys

import av
import numpy as np
import pytest
import soundfile
from av.stream import Disposition

from crywatch.audio.decode import BlockReader
from crywatch.audio.waves.cleaned import to_int16
from crywatch.core.errors import AudioError
from tests.helpers.container_cases import overwrite, packets_of, tone, write

RATE_HZ = 16_000


def read(path):
    reader = BlockReader(path)
    return np.concatenate(list(reader)), reader


def sounding_s(wave, rate_hz=RATE_HZ, level=0.05):
    """Onset and offset of each loud stretch, to 50 ms."""
    size = rate_hz // 20
    loud = np.abs(wave[: len(wave) // size * size].reshape(-1, size)).max(axis=1) > level
    edges = np.flatnonzero(np.diff(loud.astype(int), prepend=0, append=0)) / 20
    return [tuple(pair) for pair in edges.reshape(-1, 2).tolist()]


def rising(seconds, rate_hz=RATE_HZ):
    """A tone of which every second has its own frequency: 300, 400, ... Hz."""
    return np.concatenate([tone(1.0, rate_hz, 300 + 100 * k) for k in range(seconds)])


def hz_at(wave, second, rate_hz=RATE_HZ):
    part = wave[round((second + 0.25) * rate_hz) : round((second + 0.75) * rate_hz)]
    return np.abs(np.fft.rfft(part)).argmax() * 2.0


# --- damaged packets ------------------------------------------------------------------------------

DAMAGED = {
    "a.aac": ("aac", "adts", 0.15),
    "a.mp3": ("libmp3lame", "mp3", 0.15),
    "a.m4a": ("aac", "ipod", 0.02),
    "a.mka": ("aac", "matroska", 1.2),  # its packets are found again by the next cluster
    "a.ts": ("aac", "mpegts", 0.15),
    "alac.m4a": ("alac", "ipod", 0.02),
    "a.amr": ("libopencore_amrnb", "amr", 0.15),
}


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("value", [b"\xff", b"\0"])
def test_what_comes_after_damage_is_heard_at_its_time(tmp_path, name, value):
    codec, container, within_s = DAMAGED[name]
    rate_hz = 8_000 if name == "a.amr" else RATE_HZ
    if (name, value) == ("a.amr", b"\0"):
        pytest.skip("zeros are frames of AMR")
    path = write(tmp_path / name, container, [(codec, [(0, rising(10, rate_hz))], {})], rate_hz)
    whole, _ = read(path)
    packets = packets_of(path)
    first, last = (packets[round(share * len(packets))][0] for share in (0.22, 0.42))
    wave, reader = read(overwrite(path, first, last, value))
    # Of packets that are lost without a trace the stamps alone tell.
    assert reader.damaged_s + reader.gap_s == pytest.approx(2.0, abs=within_s + 0.35)
    assert len(wave) / rate_hz == pytest.approx(len(whole) / rate_hz, abs=within_s)
    assert not reader.truncated
    for second in (0, 1, 6, 7, 8):
        assert hz_at(wave, second, rate_hz) == pytest.approx(300 + 100 * second, abs=20)
    middle = wave[round(2.8 * rate_hz) : round(3.8 * rate_hz)]
    assert np.abs(middle).max() < 0.05


@pytest.mark.parametrize("name", ["a.aac", "a.mp3", "a.m4a"])
def test_one_damaged_packet_costs_its_own_time(tmp_path, name):
    codec, container, _ = DAMAGED[name]
    path = write(tmp_path / name, container, [(codec, [(0, rising(6))], {})])
    whole, _ = read(path)
    at, size = packets_of(path)[40]
    wave, reader = read(overwrite(path, at, at + size, b"\xff"))
    assert 0 < reader.damaged_s < 0.4 and not reader.truncated
    assert abs(len(wave) - len(whole)) < 0.1 * RATE_HZ
    heard = [hz_at(wave, second) for second in (0, 1, 4)]
    assert heard == pytest.approx([300, 400, 700], abs=3)


@pytest.mark.parametrize("name", ["a.m4a", "a.aac"])
def test_damage_that_nothing_follows_is_where_a_file_breaks_off(tmp_path, name):
    codec, container, _ = DAMAGED[name]
    path = write(tmp_path / name, container, [(codec, [(0, rising(6))], {})])
    packets = packets_of(path)
    first, (last, size) = packets[len(packets) // 2][0], packets[-1]
    wave, reader = read(overwrite(path, first, last + size, b"\xff"))
    assert reader.truncated and len(wave) / RATE_HZ == pytest.approx(3.0, abs=0.2)


def test_a_lossless_file_without_its_last_packet_breaks_off(tmp_path):
    path = write(tmp_path / "a.flac", "flac", [("flac", [(0, rising(6))], {})])
    assert not read(path)[1].truncated
    content = path.read_bytes()
    path.write_bytes(content[: packets_of(path)[-1][0]])
    assert read(path)[1].truncated


def test_lossless_frames_that_were_damaged_are_silence(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, rising(10), RATE_HZ)
    size = path.stat().st_size
    wave, reader = read(overwrite(path, size // 3, size // 2, b"\x5a"))
    assert len(wave) == 10 * RATE_HZ and reader.gap_s + reader.damaged_s > 1
    assert hz_at(wave, 1) == 400 and hz_at(wave, 8) == 1100


def test_samples_that_a_decoder_made_up_are_silence(tmp_path):
    """A container of FLAC or AAC cannot hold them: a reader's frames stand for those of a codec."""
    from crywatch.audio.decode import _Run
    from crywatch.audio.decode.frames import Frame, Kind

    kind = Kind(True, 1, RATE_HZ, np.dtype(np.float32))
    soundfile.write(tmp_path / "a.flac", tone(1.0), RATE_HZ)
    reader = BlockReader(tmp_path / "a.flac")
    wave = tone(1.0)
    wave[100], wave[200] = np.nan, 1e30
    run = _Run(reader, kind)
    run.add(Frame(wave[None], kind, len(wave), None, None))
    (heard,) = run.end()
    assert heard[100] == heard[200] == 0 and reader.damaged_s == pytest.approx(2 / RATE_HZ)


# --- gaps and late starts -------------------------------------------------------------------------

STAMPED = {
    "a.mp4": ("aac", "mp4"),
    "a.mka": ("flac", "matroska"),
    "a.webm": ("libopus", "webm"),
    "a.opus": ("libopus", "ogg"),
    "a.ts": ("aac", "mpegts"),
    "a.flv": ("aac", "flv"),
    "a.3gp": ("libopencore_amrnb", "3gp"),
}
RATES_HZ = {"libopus": 48_000, "libopencore_amrnb": 8_000}


@pytest.mark.parametrize("name", STAMPED)
def test_a_gap_in_the_time_stamps_is_silence(tmp_path, name):
    codec, container = STAMPED[name]
    rate_hz = RATES_HZ.get(codec, RATE_HZ)
    parts = [(0, tone(3.0, rate_hz)), (8, tone(2.0, rate_hz))]
    wave, reader = read(write(tmp_path / name, container, [(codec, parts, {})], rate_hz))
    (_, first_end), (second, _) = sounding_s(wave, rate_hz)
    assert first_end == pytest.approx(3.0, abs=0.2) and second == pytest.approx(8.0, abs=0.1)
    assert reader.gap_s == pytest.approx(5.0, abs=0.1) and reader.damaged_s == 0
    assert not reader.truncated


@pytest.mark.parametrize("name", ["a.mp4", "a.mka", "a.webm"])
def test_a_late_start_is_silence(tmp_path, name):
    codec, container = STAMPED[name]
    rate_hz = RATES_HZ.get(codec, RATE_HZ)
    parts = [(4, tone(3.0, rate_hz))]
    wave, reader = read(write(tmp_path / name, container, [(codec, parts, {})], rate_hz))
    assert sounding_s(wave, rate_hz)[0][0] == pytest.approx(4.0, abs=0.1)
    assert reader.gap_s == pytest.approx(4.0, abs=0.1) and not reader.truncated


def test_sound_that_starts_after_the_picture(tmp_path):
    path = write(tmp_path / "a.ts", "mpegts", [("aac", [(4, tone(3.0))], {})], video_s=8)
    assert sounding_s(read(path)[0])[0][0] == pytest.approx(4.0, abs=0.1)


def test_a_broadcast_has_no_gap_before_it(tmp_path):
    path = write(tmp_path / "a.ts", "mpegts", [("aac", [(7_200, tone(3.0))], {})])
    wave, reader = read(path)
    assert len(wave) < 3.2 * RATE_HZ and reader.gap_s == 0


def test_stamps_that_jitter_are_no_gaps(tmp_path):
    starts = np.arange(40) * 0.064 + np.random.default_rng(0).uniform(0, 0.03, 40)
    parts = [(start, tone(0.064)) for start in np.maximum.accumulate(starts)]
    _, reader = read(write(tmp_path / "a.mka", "matroska", [("pcm_s16le", parts, {})]))
    assert reader.gap_s == 0 and reader.n_samples == 40 * 1024


def test_a_stamp_that_the_next_does_not_agree_with_is_damaged(tmp_path):
    parts = [(k * 0.064 + (3600 if k == 20 else 0), tone(0.064)) for k in range(40)]
    path = tmp_path / "a.mka"
    write(path, "matroska", [("pcm_s16le", parts[:20], {})])
    whole, _ = read(path)
    from crywatch.audio.decode import placement
    from crywatch.audio.decode.frames import Frame, Kind

    kind = Kind(True, 1, RATE_HZ, np.dtype(np.float32))
    stamps = [0, 64, 128, 3_600_000, 256, 320]
    frames = [Frame(np.zeros((1, 1024)), kind, 1024, stamp, None) for stamp in stamps]
    track = BlockReader(path)._track
    placed = placement.Placement(track, RATE_HZ)
    placed_frames = type("Frames", (list,), {"lost_s": None})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(placement, "Frames", lambda _: placed_frames(frames))
        assert [silence for silence, _ in placed] == [0] * 6
    assert len(whole) == 20 * 1024


# --- several tracks and parts ---------------------------------------------------------------------


def test_the_default_sound_track_is_heard_and_named(tmp_path):
    tracks = [
        ("aac", [(0, tone(3.0, hz=300))], {"metadata": {"language": "fra"}, "disposition": 0}),
        ("aac", [(0, tone(3.0, hz=900))],
         {"metadata": {"language": "deu"}, "disposition": Disposition.default}),
    ]  # fmt: skip
    wave, reader = read(write(tmp_path / "a.mka", "matroska", tracks))
    assert hz_at(wave, 1) == 900
    assert reader.remarks == ["sound track 2 of 2 (deu) is heard"]
    assert reader.condition.notes(3.0, "scored") == reader.remarks


@pytest.mark.parametrize(
    ("codec", "container", "tag"),
    [
        ("libmp3lame", "mp3", b""),
        ("libmp3lame", "mp3", b"TAG" + bytes(125)),
        ("libmp3lame", "mp3", b"ID3\4\0\0\0\0\x4e\x20" + b"Info" * 2504),
        ("aac", "adts", b""),
        ("aac", "adts", b"ID3\4\0\0\0\0\x4e\x20" + b"Info" * 2504),
        ("flac", "flac", b""),
        ("flac", "ogg", b""),
        ("libopus", "ogg", b""),
        ("aac", "mpegts", b""),
        ("pcm_s16le", "wav", b""),
    ],
)
def test_joined_recordings_are_heard_as_a_whole(tmp_path, codec, container, tag):
    rates_hz = (48_000, 16_000) if container != "mpegts" else (16_000, 16_000)
    parts = []
    for hz, rate_hz in zip((300, 900), rates_hz, strict=True):
        path = tmp_path / f"{hz}.{container}"
        parts.append(write(path, container, [(codec, [(0, tone(4.0, rate_hz, hz))], {})], rate_hz))
    path = tmp_path / f"both.{container}"
    path.write_bytes(parts[0].read_bytes() + tag + parts[1].read_bytes())
    wave, reader = read(path)
    assert len(wave) / reader.info.rate_hz == pytest.approx(8.0, abs=0.35)
    assert hz_at(wave, 1, reader.info.rate_hz) == 300
    assert hz_at(wave, 6, reader.info.rate_hz) == 900
    assert not reader.truncated and reader.damaged_s == reader.gap_s == 0


# --- what headers say -----------------------------------------------------------------------------


def wav(path, wave, declared=None, behind=b"", modulus=1 << 32):
    soundfile.write(path, wave, RATE_HZ, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    if declared is not None:
        content[at : at + 4] = (declared % modulus).to_bytes(4, "little")
    path.write_bytes(content + behind)
    return path


@pytest.mark.parametrize(
    "size", [0, 0xFFFFFFFF, 0xFFFFFFDB, 0x7FFFFFFF, 0x7FFFF000, 0x7FFFFFDB, 0x80000000 - 36]
)
def test_a_size_that_a_streaming_writer_left_is_no_promise(tmp_path, size):
    wave, reader = read(wav(tmp_path / "a.wav", tone(3.0), size))
    assert len(wave) == 3 * RATE_HZ and not reader.truncated


@pytest.mark.parametrize("share", [0.0, 0.4, 0.9])
def test_a_size_that_has_wrapped_or_is_stale(tmp_path, share):
    """What a header counts modulo 4 GiB is a part of what is there, or nothing of it."""
    n_bytes = 2 * 3 * RATE_HZ
    wave, reader = read(wav(tmp_path / "a.wav", tone(3.0), round(share * n_bytes) // 2 * 2))
    assert len(wave) == 3 * RATE_HZ and not reader.truncated
    assert [remark.count("are read too") for remark in reader.remarks] == [1] * (share > 0)


def test_chunks_behind_the_sound_are_no_sound(tmp_path):
    chunk = b"LIST" + (2_000).to_bytes(4, "little") + b"INFO" + bytes(1_996)
    for behind in (chunk, chunk * 3, b"TAG" + bytes(125), chunk[:500]):
        wave, reader = read(wav(tmp_path / "a.wav", tone(1.0), behind=behind))
        assert len(wave) == RATE_HZ and not reader.truncated and not reader.remarks


def test_the_count_of_frames_is_read_where_it_stands(tmp_path):
    """Text of a tag is none, and a picture of any size may come before it."""
    plain = write(tmp_path / "a.mp3", "mp3", [("libmp3lame", [(0, tone(4.0))], {})])
    frames = plain.read_bytes()
    tag = b"ID3\4\0\0\0\x06\0\0" + b"Info Xing " * 9_830 + bytes(4)
    for content, cut in ((tag + frames, False), (tag + frames[: len(frames) // 2], True)):
        (tmp_path / "tagged.mp3").write_bytes(content)
        assert read(tmp_path / "tagged.mp3")[1].truncated == cut


@pytest.mark.parametrize("name", ["a.mp4", "a.mka", "a.ts"])
def test_a_picture_that_is_longer_than_the_sound(tmp_path, name):
    codec, container = STAMPED[name]
    path = write(tmp_path / name, container, [(codec, [(0, tone(3.0))], {})], video_s=10)
    wave, reader = read(path)
    assert len(wave) / RATE_HZ == pytest.approx(3.0, abs=0.2) and not reader.truncated


def test_a_bit_rate_is_no_promise(tmp_path):
    """That of the first frames is not that of all."""
    wave = np.concatenate([np.random.default_rng(0).normal(0, 0.3, 8_000), np.zeros(160_000)])
    parts = [(0, wave.astype(np.float32))]
    assert not read(write(tmp_path / "a.aac", "adts", [("aac", parts, {})]))[1].truncated


# --- what ends a process or a batch ---------------------------------------------------------------


@pytest.mark.parametrize("channels", [7, 8, 9, 16, 64])
def test_planar_sound_of_many_channels_decodes(tmp_path, channels):
    """PyAV's arrays of eight planes and more end the process: not this one, if they do."""
    path = tmp_path / "many.ogg"
    gains = np.linspace(0.5, 1.0, channels)
    soundfile.write(path, np.outer(tone(1.0), gains), RATE_HZ, format="OGG", subtype="VORBIS")
    script = (
        "import sys, numpy as np\n"
        "from crywatch.audio.decode import BlockReader\n"
        "reader = BlockReader(sys.argv[1])\n"
        "wave = np.concatenate(list(reader))\n"
        "print(len(wave), reader.info.channels, np.abs(wave).max())\n"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]
    length, counted, peak = done.stdout.split()
    assert (int(length), int(counted)) == (RATE_HZ, channels)
    assert float(peak) == pytest.approx(0.4 * 0.75, abs=0.05)


def test_more_planes_than_ffmpeg_mixes_are_refused(tmp_path):
    path = tmp_path / "most.ogg"
    soundfile.write(path, np.zeros((4_000, 255)), RATE_HZ, format="OGG", subtype="VORBIS")
    with pytest.raises(AudioError, match=r"most\.ogg: nothing in it decodes"):
        read(path)


def test_a_codec_that_ffmpeg_does_not_know(tmp_path):
    path = wav(tmp_path / "odd.wav", tone(1.0))
    content = bytearray(path.read_bytes())
    content[20:22] = (0xABCD).to_bytes(2, "little")
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"odd\.wav: its sound is in a codec that is not known"):
        read(path)


@pytest.mark.parametrize("value", [1e3, 1e30, -3e38])
def test_samples_that_are_too_large_are_refused(tmp_path, value):
    wave = tone(1.0)
    wave[5_000:5_100] = value
    soundfile.write(tmp_path / "loud.wav", wave, RATE_HZ, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"loud\.wav: holds samples of up to .*full scale is 1"):
        read(tmp_path / "loud.wav")


def test_samples_over_full_scale_are_sound(tmp_path):
    soundfile.write(tmp_path / "hot.wav", tone(1.0, gain=20.0), RATE_HZ, subtype="FLOAT")
    assert np.abs(read(tmp_path / "hot.wav")[0]).max() == pytest.approx(20.0, rel=0.01)


def test_a_track_that_begins_later_on_ends_nothing(tmp_path):
    """In the middle of a transport stream, where neither its head nor its end show it."""
    rate_hz = 48_000
    parts = [("mp2", [(0, np.stack([tone(10.0, rate_hz)] * 2))], {"layout": "stereo"})]
    whole = write(tmp_path / "1.ts", "mpegts", parts, rate_hz).read_bytes()
    two = write(tmp_path / "2.ts", "mpegts", parts * 2, rate_hz).read_bytes()
    path = tmp_path / "late.ts"
    times = 6_000_000 // len(whole)  # beyond what is probed
    path.write_bytes(whole * times + two + whole * times)
    with av.open(str(path)) as file, pytest.raises(IndexError):
        list(file.demux(file.streams.audio[0]))
    wave, reader = read(path)
    assert len(wave) / rate_hz == pytest.approx(10 * (2 * times + 1), abs=1.5)
    assert reader.remarks == ["a track that begins later on is not heard"]


# --- in memory ------------------------------------------------------------------------------------


def test_appended_files_are_read_from_memory_too(tmp_path):
    from crywatch.audio.decode import decode_bytes

    content = wav(tmp_path / "a.wav", tone(2.0)).read_bytes()
    both = decode_bytes(content + content, "both")
    np.testing.assert_array_equal(to_int16(both.wave[: 2 * RATE_HZ]),
                                  to_int16(both.wave[2 * RATE_HZ :]))  # fmt: skip

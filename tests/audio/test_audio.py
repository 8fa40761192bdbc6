"""Decoding, measuring and writing sound: every format, and every way a file can be broken."""

import errno
import subprocess
import sys
import tracemalloc

import av
import numpy as np
import pytest
import soundfile

from crywatch.audio import decode as audio
from crywatch.audio.waves import cleaned, levels, resampling
from crywatch.core.errors import AudioError

RATE_HZ = 16_000


def tone(seconds=2.0, rate_hz=RATE_HZ, hz=440.0, gain=0.5):
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return (gain * np.sin(2 * np.pi * hz * time_s)).astype(np.float32)


def noise(seconds=2.0, rate_hz=RATE_HZ, gain=0.1, seed=0):
    values = np.random.default_rng(seed).standard_normal(round(seconds * rate_hz))
    return (gain * values).astype(np.float32).clip(-1, 1)


def encode(path, wave, rate_hz, codec, container):
    """Write mono ``wave`` with PyAV; skips the test where this build has no such encoder."""
    try:
        sample_format = av.Codec(codec, "w").audio_formats[0].name
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"PyAV has no {codec} encoder")
    with av.open(str(path), "w", format=container) as sink:
        stream = sink.add_stream(codec, rate=rate_hz, layout="mono")
        stream.codec_context.format = sample_format
        stream.codec_context.open()
        frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate_hz, 0
        size = stream.codec_context.frame_size or 1024
        shaper = av.AudioResampler(sample_format, "mono", rate_hz, frame_size=size)
        for piece in shaper.resample(frame) + shaper.resample(None):
            sink.mux(stream.encode(piece))
        sink.mux(stream.encode(None))


def loudest_hz(wave, rate_hz):
    return np.abs(np.fft.rfft(wave)).argmax() * rate_hz / len(wave)


FORMATS = {
    "pcm16.wav": ("pcm_s16le", "wav", 16_000),
    "pcm24.wav": ("pcm_s24le", "wav", 44_100),
    "float.wav": ("pcm_f32le", "wav", 16_000),
    "pcm8.wav": ("pcm_u8", "wav", 8_000),
    "a.flac": ("flac", "flac", 22_050),
    "vorbis.ogg": ("libvorbis", "ogg", 16_000),
    "opus.ogg": ("libopus", "ogg", 48_000),
    "a.mp3": ("libmp3lame", "mp3", 16_000),
    "a.m4a": ("aac", "ipod", 44_100),
    "aac.3gp": ("aac", "3gp", 16_000),
    "amr.3gp": ("libopencore_amrnb", "3gp", 8_000),
    "pcm.caf": ("pcm_s16be", "caf", 16_000),
    "alac.caf": ("alac", "caf", 16_000),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_sound(tmp_path, name):
    codec, container, rate_hz = FORMATS[name]
    encode(tmp_path / name, tone(rate_hz=rate_hz), rate_hz, codec, container)
    decoded = audio.decode(tmp_path / name)
    assert (decoded.rate_hz, decoded.channels) == (rate_hz, 1)
    assert decoded.wave.dtype == np.float32 and decoded.wave.ndim == 1
    assert len(decoded.wave) / rate_hz == pytest.approx(2.0, abs=0.1)  # lossy codecs pad
    middle = decoded.wave[rate_hz // 2 : 3 * rate_hz // 2]
    assert loudest_hz(middle, rate_hz) == pytest.approx(440, abs=2)
    # AMR is a model of a voice, so it keeps a tone's level only roughly.
    tolerance = 0.25 if "amr" in codec else 0.05
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=tolerance)


@pytest.mark.parametrize(("subtype", "step"), [("PCM_U8", 1 / 128), ("PCM_16", 2**-15),
                                               ("PCM_24", 2**-23), ("PCM_32", 2**-23),
                                               ("FLOAT", 0), ("DOUBLE", 1e-7)])  # fmt: skip
def test_pcm_comes_back_within_one_step(tmp_path, subtype, step):
    wave = noise(0.2)
    soundfile.write(tmp_path / "a.wav", wave, RATE_HZ, subtype=subtype)
    assert np.abs(audio.decode(tmp_path / "a.wav").wave - wave).max() <= step


def test_channels_are_averaged(tmp_path):
    channels = np.stack([tone(0.1, gain=0.1 * (index + 1)) for index in range(8)], axis=1)
    for name in ("a.wav", "a.flac"):
        soundfile.write(tmp_path / name, channels, RATE_HZ, subtype="PCM_16")
        decoded = audio.decode(tmp_path / name)
        assert decoded.channels == 8
        np.testing.assert_allclose(decoded.wave, channels.mean(axis=1), atol=1e-4)


@pytest.mark.parametrize("wrong", ["a.mp3", "a.txt", "a", "un bébé qui pleure 赤ちゃん.3gp"])
def test_the_content_says_the_format_not_the_name(tmp_path, wrong):
    soundfile.write(tmp_path / "a.wav", tone(), RATE_HZ)
    (tmp_path / "a.wav").rename(tmp_path / wrong)
    assert audio.decode(tmp_path / wrong).codec == "pcm_s16le"


# --- bad input ------------------------------------------------------------------------------------


def test_a_colon_in_a_name_is_no_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    soundfile.write("night:1.wav", tone(1.0), RATE_HZ)
    assert len(audio.decode("night:1.wav").wave) == 16_000


def test_a_list_of_other_files_is_refused(tmp_path):
    soundfile.write(tmp_path / "other.wav", tone(1.0), RATE_HZ)
    path = tmp_path / "list.wav"
    path.write_text("ffconcat version 1.0\nfile other.wav\n")
    with pytest.raises(AudioError, match=r"list\.wav: a list of other files"):
        audio.decode(path)


@pytest.mark.parametrize("rate_hz", [1, 999, 1_000_000_000])
def test_a_sample_rate_that_no_recording_has(tmp_path, rate_hz):
    path = tmp_path / "odd.wav"
    soundfile.write(path, tone(1.0), RATE_HZ)
    data = bytearray(path.read_bytes())
    data[24:28] = rate_hz.to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(AudioError, match=rf"odd\.wav: names a sample rate of {rate_hz} Hz"):
        audio.decode(path)


def test_a_refusal_names_the_file_once(tmp_path):
    path = tmp_path / "text.wav"
    path.write_text("no sound at all")
    with pytest.raises(AudioError) as refused:
        audio.decode(path)
    assert str(refused.value).count("text.wav") == 1


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100])
def test_a_stream_at_another_rate_is_what_the_whole_gives(tmp_path, monkeypatch, rate_hz):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.sin(np.arange(3 * rate_hz) / 9) / 2, rate_hz)
    monkeypatch.setattr("crywatch.audio.waves.resampling.GATHER_SAMPLES", 5_000)
    reader = audio.BlockReader(path)
    streamed = np.concatenate(list(resampling.at_rate(reader, 16_000)))
    whole = resampling.resample(audio.decode(path).wave, rate_hz, 16_000)
    assert reader.n_samples == 3 * rate_hz
    np.testing.assert_allclose(streamed, whole, atol=1e-4)


def test_a_recording_that_ends_before_one_sample_at_the_new_rate(tmp_path):
    path = tmp_path / "blip.wav"
    soundfile.write(path, [0.5], 96_000)
    with pytest.raises(AudioError, match=r"blip\.wav: too short \(1 sample\(s\) at 96000 Hz\)"):
        list(resampling.at_rate(audio.BlockReader(path), 16_000))


def test_a_missing_file(tmp_path):
    with pytest.raises(AudioError, match=r"gone\.wav: no such file"):
        audio.decode(tmp_path / "gone.wav")


def test_a_file_of_no_bytes(tmp_path):
    (tmp_path / "zero.wav").touch()
    with pytest.raises(AudioError, match=r"zero\.wav: the file is empty \(0 bytes\)"):
        audio.decode(tmp_path / "zero.wav")


def test_a_header_without_samples(tmp_path):
    soundfile.write(tmp_path / "bare.wav", np.zeros(0), RATE_HZ)
    with pytest.raises(AudioError, match=r"bare\.wav: "):
        audio.decode(tmp_path / "bare.wav")


def test_samples_of_64_bits_are_refused_and_stop_nothing(tmp_path):
    """FFmpeg decodes them, but to a format that no array can be made of."""
    soundfile.write(tmp_path / "wide.wav", tone(), RATE_HZ, subtype="DOUBLE")
    data = bytearray((tmp_path / "wide.wav").read_bytes())
    at = data.index(b"fmt ") + 8
    assert data[at : at + 2] == b"\x03\x00"  # floats of 64 bits; 1: integers
    data[at] = 1
    (tmp_path / "wide.wav").write_bytes(data)
    with pytest.raises(AudioError, match=r"wide\.wav: nothing in it decodes"):
        audio.decode(tmp_path / "wide.wav")


def test_text_that_calls_itself_sound(tmp_path):
    (tmp_path / "note.wav").write_text("this is not a recording\n" * 50)
    with pytest.raises(AudioError, match=r"note\.wav: not a recording that can be read"):
        audio.decode(tmp_path / "note.wav")


def test_a_picture_holds_no_sound(tmp_path):
    from matplotlib import image

    image.imsave(tmp_path / "picture.wav", np.zeros((8, 8, 3)), format="png")
    with pytest.raises(AudioError, match=r"picture\.wav: "):
        audio.decode(tmp_path / "picture.wav")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(tmp_path, bad):
    wave = tone()
    wave[-5] = bad
    soundfile.write(tmp_path / "nan.wav", wave, RATE_HZ, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"nan\.wav: holds samples that are NaN or infinite"):
        audio.decode(tmp_path / "nan.wav")


def cut_off(tmp_path, name, share=0.6):
    codec, container, rate_hz = FORMATS[name]
    encode(tmp_path / name, tone(rate_hz=rate_hz), rate_hz, codec, container)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(share * len(data))])
    return tmp_path / name


@pytest.mark.parametrize(
    "name",
    ["float.wav", "a.flac", "pcm16.wav", "pcm8.wav", "pcm.caf", "a.mp3"],
)
def test_what_comes_before_a_cut_is_kept_and_flagged(tmp_path, name):
    decoded = audio.decode(cut_off(tmp_path, name))
    # FLAC's 8 KiB of padding come first, so that a share of the bytes is less of the sound.
    assert 0.5 < len(decoded.wave) / decoded.rate_hz < 1.3
    assert decoded.truncated


@pytest.mark.parametrize("name", ["pcm16.wav", "opus.ogg", "pcm.caf", "a.mp3"])
def test_what_comes_before_a_cut_is_kept(tmp_path, name):
    decoded = audio.decode(cut_off(tmp_path, name))
    assert 0.9 < len(decoded.wave) / decoded.rate_hz < 1.3


@pytest.mark.parametrize("name", ["a.m4a", "aac.3gp", "alac.caf", "a.flac"])
def test_a_file_cut_so_that_nothing_decodes_is_refused(tmp_path, name):
    path = cut_off(tmp_path, name, share=0.02)  # for m4a, 3gp and caf: without its index
    with pytest.raises(AudioError, match=name.replace(".", r"\.")):
        audio.decode(path)


@pytest.mark.parametrize("name", FORMATS)
def test_a_whole_file_is_not_called_truncated(tmp_path, name):
    assert not audio.decode(cut_off(tmp_path, name, share=1.0)).truncated


def test_five_milliseconds_decode(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(0.005), RATE_HZ)
    assert len(audio.decode(tmp_path / "a.wav").wave) == 80


def test_a_long_recording_is_read_in_blocks(tmp_path):
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 8000, 1, subtype="PCM_U8") as sink:
        sink.write(np.zeros(1))
    samples = 1800 * 8000
    header = bytearray(path.read_bytes()[:44])
    header[4:8], header[40:44] = ((36 + samples).to_bytes(4, "little"),
                                  samples.to_bytes(4, "little"))  # fmt: skip
    with open(path, "wb") as handle:
        handle.write(header)
        handle.truncate(44 + samples)  # sparse
    tracemalloc.start()
    total = sum(len(block) for block in audio.BlockReader(path))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == samples
    assert peak_bytes < 4e6  # the whole would take 58 MB


# --- measuring ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("from_hz", "to_hz"), [(44_100, 16_000), (8_000, 16_000), (22_050, 16_000)]
)
def test_resampling_keeps_length_pitch_and_level(from_hz, to_hz):
    wave = resampling.resample(tone(1.0, from_hz), from_hz, to_hz)
    assert wave.dtype == np.float32 and len(wave) == to_hz
    assert loudest_hz(wave, to_hz) == 440
    assert np.abs(wave[1000:-1000]).max() == pytest.approx(0.5, rel=0.01)


def test_resampling_to_the_same_rate_changes_nothing():
    wave = noise()
    np.testing.assert_array_equal(resampling.resample(wave, RATE_HZ, RATE_HZ), wave)


@pytest.mark.parametrize(
    ("from_hz", "container_hz", "expected_hz"),
    [
        (8_000, 22_050, 4_000),
        (16_000, 44_100, 8_000),
        (22_050, 22_050, 11_025),
        (8_000, 8_000, 4_000),
    ],
)
def test_bandwidth_is_measured_not_read_from_the_container(from_hz, container_hz, expected_hz):
    wave = resampling.resample(noise(3.0, from_hz), from_hz, container_hz)
    assert levels.bandwidth_hz(wave, container_hz) == pytest.approx(expected_hz, rel=0.05)


def test_bandwidth_does_not_depend_on_the_gain_or_on_pauses():
    wave = resampling.resample(noise(3.0, 8_000), 8_000, 22_050)
    reference = levels.bandwidth_hz(wave, 22_050)
    assert levels.bandwidth_hz(wave * 0.01, 22_050) == pytest.approx(reference, rel=0.02)
    paused = np.concatenate([wave, np.zeros_like(wave[: len(wave) // 2])])
    assert levels.bandwidth_hz(paused, 22_050) == pytest.approx(reference, rel=0.02)


@pytest.mark.parametrize("samples", [0, 80, RATE_HZ])
def test_bandwidth_of_silence_is_zero(samples):
    assert levels.bandwidth_hz(np.zeros(samples, dtype=np.float32), RATE_HZ) == 0.0


def test_bandwidth_of_five_milliseconds():
    assert 400 <= levels.bandwidth_hz(tone(0.005), RATE_HZ) <= 8_000


def test_bandwidth_of_a_recording_that_starts_with_a_long_silence():
    meter = levels.BandwidthMeter(RATE_HZ)
    for _ in range(6):
        meter.add(np.zeros(1 << 18, dtype=np.float32))
    meter.add(noise(10.0))
    assert meter.result_hz() == pytest.approx(8_000, rel=0.05)


def test_levels():
    assert levels.level_dbfs(1.0) == 0.0
    assert levels.level_dbfs(0.1) == pytest.approx(-20)
    assert levels.level_dbfs(0.0) == levels.SILENCE_DBFS


# --- writing --------------------------------------------------------------------------------------


def test_a_flac_comes_back(tmp_path):
    wave = noise()
    cleaned.write_flac(tmp_path / "a b é.flac", wave)
    info = soundfile.info(tmp_path / "a b é.flac")
    assert (info.format, info.subtype, info.channels) == ("FLAC", "PCM_16", 1)
    read = cleaned.read_clean(tmp_path / "a b é.flac")
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, wave, atol=2**-14)


def test_integers_are_written_as_they_are_and_equal_sound_gives_equal_bytes(tmp_path):
    samples = np.array([-32768, -1, 0, 1, 32767] * 100, dtype=np.int16)
    for name in ("a.flac", "b.flac"):
        cleaned.write_flac(tmp_path / name, samples)
    np.testing.assert_array_equal(soundfile.read(tmp_path / "a.flac", dtype="int16")[0], samples)
    assert (tmp_path / "a.flac").read_bytes() == (tmp_path / "b.flac").read_bytes()


def test_too_loud_is_clipped_not_wrapped():
    np.testing.assert_array_equal(cleaned.to_int16(np.array([2.0, -2.0, 0.0])), [32767, -32768, 0])


def test_sixteen_bits_survive_the_way_through_floats():
    samples = np.arange(-32768, 32768, dtype=np.int16)
    np.testing.assert_array_equal(cleaned.to_int16(samples / np.float32(32768)), samples)


def test_a_full_disk_names_the_file_and_leaves_nothing(tmp_path, monkeypatch):
    def full(path, *args, **kwargs):
        with open(path, "wb") as handle:
            handle.write(b"fLaC half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(soundfile, "write", full)
    with pytest.raises(OSError, match=r"cannot write .*a\.flac: No space left on device") as caught:
        cleaned.write_flac(tmp_path / "a.flac", tone())
    assert caught.value.errno == errno.ENOSPC and list(tmp_path.iterdir()) == []


def test_the_encoder_does_not_hide_that_the_system_takes_no_more_bytes(tmp_path):
    """A file size limit stands for the full disk: the same short write inside libsndfile."""
    script = (
        "import resource, signal, sys, numpy as np\n"
        "from crywatch.audio.waves.cleaned import write_flac\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))\n"
        "wave = np.random.default_rng(0).uniform(-1, 1, 160_000)\n"
        "try:\n"
        "    write_flac(sys.argv[1], wave)\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "a.flac")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "cannot write" in done.stdout and "a.flac" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("rate_hz", "channels"), [(8_000, 1), (16_000, 2)])
def test_only_cleaned_clips_are_read_as_such(tmp_path, rate_hz, channels):
    soundfile.write(tmp_path / "a.flac", np.zeros((100, channels)), rate_hz)
    with pytest.raises(AudioError, match=r"a\.flac: .*dvc repro clean"):
        cleaned.read_clean(tmp_path / "a.flac")


def test_a_cleaned_clip_that_is_missing_or_broken(tmp_path):
    (tmp_path / "b.flac").write_bytes(b"fLaC")
    for name in ("gone", "b"):
        with pytest.raises(AudioError, match=rf"{name}\.flac: not a cleaned clip"):
            cleaned.read_clean(tmp_path / f"{name}.flac")


@pytest.mark.parametrize(
    ("start_s", "end_s", "seconds"), [(0, 5, 5), (1.5, 2.25, 0.75), (4, 9, 1), (7, 9, 0)]
)
def test_an_excerpt_is_what_lies_between_and_no_more(start_s, end_s, seconds, tmp_path):
    wave = noise(5.0)
    cleaned.write_flac(tmp_path / "t.flac", wave)
    cut = audio.excerpt(audio.BlockReader(tmp_path / "t.flac"), start_s, end_s)
    assert len(cut.wave) == seconds * RATE_HZ and not cut.truncated
    first, last = (round(second * RATE_HZ) for second in (start_s, end_s))
    np.testing.assert_allclose(cut.wave, wave[first:last], atol=1e-4)


def test_bytes_in_memory_decode_as_the_file_they_are_of(tmp_path):
    cleaned.write_flac(tmp_path / "a.flac", noise())
    content = (tmp_path / "a.flac").read_bytes()
    from_file, from_memory = (
        audio.decode(tmp_path / "a.flac"),
        audio.decode_bytes(content, "a sound"),
    )
    np.testing.assert_array_equal(from_memory.wave, from_file.wave)
    assert from_memory.rate_hz == from_file.rate_hz and not from_memory.truncated
    assert audio.decode_bytes(content[: len(content) // 2], "half").truncated


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "a sound: the file is empty"), (b"no sound", "a sound: not a rec")],
)
def test_bytes_that_are_no_sound_are_called_by_their_name(content, message):
    with pytest.raises(AudioError, match=message):
        audio.decode_bytes(content, "a sound")

"""Cameras that stall, drop, restart and change their rate; streams that mean harm; microphones."""

import io
import os
import signal
import sys
import threading
import time
import wave
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from crywatch.audio.segments import RATE_HZ
from crywatch.core.errors import AudioError
from crywatch.listening import feed as feeding
from crywatch.listening import reading
from crywatch.listening.config import ListenConfig
from crywatch.listening.events import State
from crywatch.listening.listener import Listener
from crywatch.listening.sources import parse_sources
from tests.helpers.broker_cases import Line, free_port, wait_for
from tests.helpers.camera_cases import camera
from tests.helpers.http_cases import serving
from tests.helpers.listening_cases import RULE, LoudnessDetector, Recorder, bursts

QUICK = ListenConfig(stall_s=1.0, connect_s=3.0, backoff_s=0.2, most_backoff_s=0.4)


class Listening:
    """A listener in a thread, from here to the end of the block."""

    def __init__(self, *specs, config=QUICK, speed=1.0):
        self.recorder, self.said = Recorder(), []
        model = LoudnessDetector()
        self.listener = Listener(
            parse_sources(specs), model, RULE, config, [self.recorder], self.said.append, speed
        )
        self._thread = threading.Thread(target=self.listener.run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.listener.stop()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def states(self):
        return [state.state for state in self.recorder.states]

    def wait_for_sound(self, seconds):
        """Until so many seconds more were heard."""
        heard = len(self.recorder.sounds)
        wait_for(lambda: sum(len(s.samples) for s in self.recorder.sounds[heard:]) > seconds * 16e3)


def test_a_camera_stalls_drops_restarts_and_changes_its_rate(tmp_path):
    loud = np.full(60 * RATE_HZ, 0.5, dtype=np.float32) * (-1.0) ** (np.arange(60 * RATE_HZ) // 8)
    soundfile.write(tmp_path / "cot.wav", loud, RATE_HZ)
    port = free_port()
    line = Line(port)
    with Listening(f"cot=rtsp://127.0.0.1:{line.port}/cot.wav") as listening:
        recorder = listening.recorder
        wait_for(lambda: listening.said)  # the camera is not on yet
        with camera(tmp_path, port):
            listening.wait_for_sound(2.5)
            line.stall()
            began = time.monotonic()
            wait_for(lambda: State.STALLED in listening.states())
            assert time.monotonic() - began < QUICK.stall_s + 5
            assert len(recorder.events) == 2 and recorder.events[1].end is not None
            line.flow()
            listening.wait_for_sound(0.5)
            line.cut()
            wait_for(lambda: listening.states()[-1] is State.CONNECTING)
            line.mend()
            listening.wait_for_sound(0.5)
        wait_for(lambda: listening.states()[-1] is State.CONNECTING)
        soundfile.write(tmp_path / "cot.wav", loud[::2], RATE_HZ // 2)
        with camera(tmp_path, port):
            listening.wait_for_sound(1.0)
    gaps = [sound.gap_s for sound in recorder.sounds if sound.gap_s > 0.2]
    assert len(gaps) == 3
    ends = [sound.start_s + len(sound.samples) / RATE_HZ for sound in recorder.sounds]
    for sound, before_s in zip(recorder.sounds[1:], ends[:-1], strict=True):
        assert sound.start_s == pytest.approx(before_s + sound.gap_s)
    lasted_s = (recorder.sounds[-1].at - recorder.sounds[0].at).total_seconds()
    assert recorder.sounds[-1].start_s == pytest.approx(lasted_s, abs=0.5)  # gaps are time
    assert listening.states()[-1] is State.ENDED
    assert [event.end is None for event in recorder.events[:2]] == [True, False]
    assert len(listening.said) == len(set(listening.said)) or len(listening.said) <= 6
    line.close()


@pytest.mark.parametrize(
    ("late_s", "skip_s", "is_heard", "gap_s"),
    [
        (3.0, 0.0, True, 0.0),  # late, and all of it came
        (3.0, 2.5, True, 2.5),  # packets were lost
        (0.0, 3600.0, True, 0.0),  # the camera's clock jumps ahead
        (-0.2, 5.0, True, 0.0),
        (7.0, 0.0, False, 7.0),  # it was gone
        (-0.5, 0.0, False, 0.0),  # it sends what it had kept
    ],
)
def test_a_gap_is_what_both_clocks_say(late_s, skip_s, is_heard, gap_s):
    [source] = parse_sources(["rtsp://cam/1"])
    assert feeding._gap_s(source, late_s, skip_s, is_heard) == gap_s


def read(address):
    request = {"place": address, "connect_s": 5.0}
    return list(reading.read_stream(request))


def status(code):
    def reply(request):
        request.send_response(code)
        request.end_headers()

    return reply


def body(content, kind="audio/wav"):
    def reply(request):
        request.send_response(200)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    return reply


def wav(rate_hz=16_000, n_samples=16_000):
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, min(rate_hz, 192_000), 0, "NONE", ""))
        out.writeframes(np.zeros(n_samples, dtype="<i2").tobytes())
    content = bytearray(file.getvalue())
    content[24:28] = rate_hz.to_bytes(4, "little")
    return bytes(content)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (status(401), r"wrong user or password \(401\)"),
        (status(403), "refuses this user"),
        (status(404), "nothing is at this address"),
        (body(b"<html>log in</html>" * 50, "text/html"), "no sound that can be read"),
        (body(bytes(3 << 20)), "no sound that can be"),
        (body(wav(rate_hz=4_000_000_000)), "sample rate|no sound that can be read"),
        (body(b"ffconcat version 1.0\nfile /etc/passwd\n"), "list of other places"),
        (body(b""), "sends no sound that can be read"),
    ],
)
def test_what_is_no_sound_is_told_in_one_line_without_its_address(reply, said):
    with serving(reply) as address, pytest.raises(AudioError, match=said) as caught:
        read(address.replace("//", "//user:hunter22@") + "/secret/1.wav")
    assert "\n" not in str(caught.value)
    assert not any(word in str(caught.value) for word in ("hunter22", "secret", "127.0.0.1"))


def test_sound_comes_by_http_too():
    with serving(body(wav(8000, 24_000))) as address:
        pieces = read(address)
    assert pieces[0] == {"open": True}
    assert sum(len(piece) for piece in pieces[1:]) == pytest.approx(48_000, abs=2)


def test_a_header_without_end_is_given_up_and_others_are_heard(tmp_path):
    def drip(request):
        request.send_response(200)
        request.end_headers()
        with suppress(OSError):
            while True:
                request.wfile.write(b"RIFF")
                time.sleep(0.1)

    soundfile.write(tmp_path / "good.wav", bursts(1, 3 * RATE_HZ), RATE_HZ)
    config = ListenConfig(connect_s=6.0, backoff_s=30.0)
    with serving(drip) as address:
        specs = (f"bad={address}", str(tmp_path / "good.wav"))
        with Listening(*specs, config=config, speed=0.0) as listening:
            wait_for(lambda: listening.said and len(listening.recorder.seconds) == 3)
    assert listening.said == ["bad: does not answer within 6 s"]


def test_a_decoder_that_dies_ends_its_source_alone(tmp_path, monkeypatch):
    for name in "ab":
        soundfile.write(tmp_path / f"{name}.wav", bursts(1, 4 * RATE_HZ), RATE_HZ)
    workers = []
    monkeypatch.setattr(
        feeding, "_Worker", lambda *given: workers.append(_Worker(*given)) or workers[-1]
    )
    specs = [str(tmp_path / "a.wav"), str(tmp_path / "b.wav")]
    with Listening(*specs) as listening:
        wait_for(lambda: len(listening.recorder.sounds) > 4)
        os.kill(workers[0]._process.pid, signal.SIGSEGV)
        wait_for(lambda: listening.states().count(State.ENDED) == 2)
    assert len(listening.said) == 1 and "its decoder crashed (signal 11)" in listening.said[0]
    assert len(listening.listener.failed) == 1


_Worker = feeding._Worker


@pytest.fixture
def sound_card(monkeypatch):
    """PortAudio's face, with one device that hears a tone."""

    class InputStream:
        active = True

        def __init__(self, rate_hz, size, device, *, callback, **_):
            self.given = (rate_hz, device)
            for _ in range(5):
                callback(np.full((size, 1), 0.25, dtype=np.float32), size, None, None)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    class PortAudioError(Exception):
        pass

    def query_devices(device, kind):
        if device == "none":
            raise ValueError("No input device matching 'none'")
        return {"default_samplerate": 48_000.0}

    card = SimpleNamespace(
        InputStream=InputStream, query_devices=query_devices, PortAudioError=PortAudioError
    )
    monkeypatch.setitem(sys.modules, "sounddevice", card)


def test_a_microphone_is_heard_at_its_own_rate(sound_card):
    pieces = reading.read_microphone({"place": ""})
    assert next(pieces) == {"open": True}
    heard = np.concatenate([next(pieces) for _ in range(5)])
    assert 0.1 < len(heard) / RATE_HZ <= 0.25
    assert np.median(heard) == pytest.approx(0.25, abs=0.01)


def test_a_microphone_that_is_not_there_is_told(sound_card):
    with pytest.raises(AudioError, match="microphone: No input device matching 'none'"):
        next(reading.read_microphone({"place": "none"}))


def test_a_source_whose_layer_is_not_installed_ends_and_says_what_to_install(monkeypatch):
    *python, serve = feeding.COMMAND
    hidden = f"import sys; sys.modules['sounddevice'] = None; {serve}"
    monkeypatch.setattr(feeding, "COMMAND", (*python, hidden))
    with Listening("mic") as listening:
        wait_for(lambda: listening.states() == [State.CONNECTING, State.ENDED])
    (said,) = listening.said
    assert said.startswith("microphone: sounddevice is not installed")
    assert listening.listener.failed == {"microphone"}

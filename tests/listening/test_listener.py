"""Sources in processes of their own: files, pipes, and what fails; who is told of it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from crywatch.audio.segments import RATE_HZ
from crywatch.detection.detectors import load_detector
from crywatch.listening.config import ListenConfig
from crywatch.listening.engine import live_context
from crywatch.listening.events import State
from crywatch.listening.lines import Lines
from crywatch.listening.listener import Listener, Sinks
from crywatch.listening.sources import parse_sources
from tests.helpers.listening_cases import BEGAN, RULE, LoudnessDetector, Recorder, bursts
from tests.helpers.robust_model_cases import write_robust

ROOT = Path(__file__).parents[2]


def listen(*specs, speed=0.0, config=None):
    recorder, said = Recorder(), []
    listener = Listener(
        parse_sources(specs),
        LoudnessDetector(),
        RULE,
        config or ListenConfig(),
        [recorder],
        said.append,
        speed,
    )
    listener.run()
    return recorder, said, listener


def test_files_are_heard_at_once_and_each_as_detect_hears_it(tmp_path):
    for name, rate_hz in (("a", 16_000), ("b", 44_100)):
        wave = bursts(ord(name), 20 * rate_hz)
        soundfile.write(tmp_path / f"{name}.wav", wave, rate_hz, subtype="FLOAT")
    recorder, said, listener = listen(f"{tmp_path}/a.wav", f"{tmp_path}/b.wav")
    assert (said, listener.failed, recorder.closed) == ([], set(), 1)
    for name in ("a", "b"):
        detection = LoudnessDetector().detect(tmp_path / f"{name}.wav")
        live = [second.cry for second in recorder.seconds if second.source == name]
        np.testing.assert_allclose(live, [second.cry for second in detection.seconds], atol=1e-6)
        states = [state.state for state in recorder.states if state.source == name]
        assert states == [State.CONNECTING, State.LISTENING, State.ENDED]


class BusyDetector(LoudnessDetector):
    """Counts how many threads hear by it at a time: runtimes of networks allow one."""

    busy = most = 0

    def hear(self, windows):
        self.busy += 1
        self.most = max(self.most, self.busy)
        time.sleep(0.005)
        self.busy -= 1
        return super().hear(windows)


def test_a_model_that_was_taken_over_hears_one_source_at_a_time(tmp_path):
    for name in ("a", "b", "c"):
        soundfile.write(tmp_path / f"{name}.wav", bursts(1, 30 * RATE_HZ), RATE_HZ)
    specs = parse_sources([f"{tmp_path}/{name}.wav" for name in ("a", "b", "c")])
    model, said = BusyDetector(), []
    listener = Listener(specs, LoudnessDetector(), RULE, ListenConfig(), [], said.append, 0.0)
    listener.use(model, RULE)
    listener.run()
    assert (said, model.most) == ([], 1)


def test_a_file_that_is_no_sound_is_told_in_one_line_and_ends_no_other(tmp_path):
    (tmp_path / "bad.wav").write_text("no sound at all")
    soundfile.write(tmp_path / "good.wav", bursts(1, 3 * RATE_HZ), RATE_HZ)
    recorder, said, listener = listen(f"{tmp_path}/bad.wav", f"{tmp_path}/good.wav", "x=nothing")
    assert len(recorder.seconds) == 3
    assert listener.failed == {"bad", "x"}
    assert sorted(said) == [
        f"bad: {tmp_path}/bad.wav: not a recording that can be read (Invalid data found when "
        "processing input)",
        "x: nothing: no such file",
    ]


def test_a_sink_that_fails_is_told_of_once_and_the_others_hear_on():
    class Full(Recorder):
        def second(self, second):
            raise OSError(28, "No space left on device")

    recorder, said = Recorder(), []
    sinks = Sinks([Full(), recorder], said.append)
    for _ in range(3):
        sinks.second(None)
    assert len(recorder.seconds) == 3
    assert said == ["full: No space left on device; listening goes on"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    write_robust(folder / "model")
    soundfile.write(folder / "night.wav", bursts(7, 12 * RATE_HZ + 9000), RATE_HZ)
    return folder


def command(*words):
    return [sys.executable, "-m", "crywatch.cli", "listen", "--model", "model", *words]


def run(folder, *words, **given):
    return subprocess.run(command(*words), cwd=folder, capture_output=True, timeout=60, **given)


def test_the_command_prints_lines_of_a_pipe_in_a_container_and_of_bare_samples(project):
    wave, _ = soundfile.read(project / "night.wav", dtype="int16")
    words = ("--threshold", "0.5", "--seconds", "cot=-")
    contained = run(project, *words, input=(project / "night.wav").read_bytes())
    bare = run(project, *words, "--pcm", "16000", input=wave.tobytes())
    assert (contained.returncode, contained.stderr) == (0, b"")
    detector = load_detector(project / "model")
    detector.context = live_context(detector.context, 0.5)
    scores = detector.score(soundfile.read(project / "night.wav", dtype="float32")[0])
    for done in (contained, bare):
        records = [json.loads(line) for line in done.stdout.splitlines()]
        live = [record["cry"] for record in records if record["type"] == "second"]
        np.testing.assert_allclose(live, scores, atol=1e-3)
        assert {record["source"] for record in records} == {"cot"}
    assert [record["state"] for record in records if record["type"] == "state"] == [
        "connecting",
        "listening",
        "ended",
    ]


def test_sigterm_ends_open_events(project):
    with subprocess.Popen(
        command("--threshold", "0.0001", "night.wav"), cwd=project, stdout=subprocess.PIPE
    ) as listener:
        for line in listener.stdout:
            if json.loads(line)["type"] == "onset":
                break
        before = time.monotonic()
        listener.send_signal(signal.SIGTERM)
        rest = [json.loads(line) for line in listener.stdout]
        assert listener.wait(10) == 0
    assert time.monotonic() - before < 20
    assert [record["type"] for record in rest if record["type"] != "second"] == ["end", "state"]
    assert rest[-1]["state"] == "ended"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_ends_nothing(project):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command("--speed", "0", "night.wav"), cwd=project, stdout=full, stderr=-1, timeout=60
        )
    assert done.returncode == 0
    assert done.stderr == b"crywatch: lines: No space left on device; listening goes on\n"


def test_lines_say_when_by_both_clocks(capsys):
    from crywatch.listening.events import CryEvent

    lines = Lines(sys.stdout)
    lines.event(CryEvent("e1", "cot", 3.0, BEGAN, 0.98765, 0.9))
    assert json.loads(capsys.readouterr().out) == {
        "type": "onset",
        "id": "e1",
        "source": "cot",
        "onset_s": 3.0,
        "onset": "2026-03-01T03:00:00.000Z",
        "peak": 0.988,
        "mean": 0.9,
    }

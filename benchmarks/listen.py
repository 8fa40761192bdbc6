"""What `crywatch listen` takes: ``python -m benchmarks.listen --model data/calibrate/robust``.

- ``latency``: sources by HTTP, each a generated cry every few seconds, into the command, and from
  it to a real broker. A delay is from the end of the second that decides (the onset's, where an
  event may last a second) to the message's arrival; sound is sent in pieces of 20 ms. The
  processor's time is of the listener and its processes, by source and second of sound.
- ``hour``: an hour of noise and cries in a file, at 100 times the speed of sound, through the
  command: its memory after the first tenth and at the end.
- ``week``: seven days through the engine alone: quiet, cries at night, a source that is gone now
  and then. Events are held against those of each stretch's scores as a whole.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from benchmarks.machine import positive, write_runs
from crywatch.audio.segments import RATE_HZ
from crywatch.corpora.generate import synthesis

PIECE_S = 0.02
CRY_S, QUIET_S = 3.0, 6.0  # of an event's sound, and after it
RULE = ("--threshold", "0.3")  # of an event of a second, so that its onset decides


@dataclass(frozen=True)
class Latency:
    """From stream in to MQTT out, on all sources at once."""

    sources: int
    events: int
    median_s: float
    worst_s: float
    core_share: float  # of a core, a source in real time
    rss_mib: float  # of the listener, without its sources' processes


@dataclass(frozen=True)
class Memory:
    """Of the listener's process while a file is heard fast."""

    hours: float
    speed: float  # times that of sound, reached
    early_mib: float
    late_mib: float


@dataclass(frozen=True)
class Week:
    """Days through the engine, faster than they pass."""

    days: float
    stretches: int
    events: int
    expected: int  # by the stretches as a whole
    worst_edge_s: float  # of an event's onset or end, against those
    grown_mib: float  # of the process, from the first tenth to the end
    core_share: float  # of a core in real time, all of the engine


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for, print it, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a model folder")
    parser.add_argument("--only", choices=MEASURES, action="append", help="by default all")
    parser.add_argument("--sources", type=positive, default=10)
    parser.add_argument("--events", type=positive, default=200, help="of all sources together")
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--days", type=float, default=7.0)
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    options = parser.parse_args(arguments)
    options.model = options.model.absolute()
    runs = [MEASURES[name](options) for name in options.only or MEASURES]
    for run in runs:
        print(run)
    if options.json:
        write_runs(options.json, runs)
    return 0


def latency(options: argparse.Namespace) -> Latency:
    """See `Latency`."""
    from tests.helpers.broker_cases import broker

    rounds = -(-options.events // options.sources)
    with tempfile.TemporaryDirectory() as name, broker(Path(name)) as port, _served(rounds) as web:
        heard = _Arrivals(port)
        address = f"http://127.0.0.1:{web.server_port}"
        sources = [f"cot{number}={address}/{number}" for number in range(options.sources)]
        words = [*RULE, "--mqtt", f"mqtt://127.0.0.1:{port}", "--name", "bench", *sources]
        with _listening(options.model, words) as process:
            lasts_s = rounds * (CRY_S + QUIET_S)
            time.sleep(lasts_s + 15)
            rss_mib = _rss_mib(process.pid)
            process.terminate()
            process.wait(30)
        delays = [
            arrival - (web.began[source] + record["onset_s"] + 1.0)
            for arrival, source, record in heard.onsets
        ]
        heard.close()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    share = (used.ru_utime + used.ru_stime) / (lasts_s * options.sources)
    return Latency(
        options.sources,
        len(delays),
        round(float(np.median(delays)), 3),
        round(max(delays), 3),
        round(share, 4),
        round(rss_mib, 1),
    )


class _Arrivals:
    """Onsets at the broker, and when each came."""

    def __init__(self, port: int):
        from paho.mqtt import client as mqtt

        self.onsets: list[tuple[float, str, dict]] = []
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("crywatch/+/+/event", 2)
        self._client.on_message = lambda _, __, message: self._keep(message)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _keep(self, message) -> None:
        now, record = time.monotonic(), json.loads(message.payload)
        if record["type"] == "onset":
            self.onsets.append((now, record["source"], record))

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class _served:
    """A web server of endless WAV: a cry, and quiet after it, at the speed of sound."""

    def __init__(self, rounds: int):
        rng = np.random.default_rng(1)
        cries = [synthesis.cry(CRY_S, synthesis.infant_voice(rng), rng) for _ in range(rounds)]
        quiet = synthesis.quiet(QUIET_S, rng)
        self.wave = np.concatenate([part for cry in cries for part in (quiet, cry)])
        self.began: dict[str, float] = {}

    def __enter__(self):
        content = (np.clip(self.wave, -1, 1) * 32767).astype("<i2").tobytes()
        began, size = self.began, 2 * round(PIECE_S * RATE_HZ)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "audio/wav")
                self.end_headers()
                self.wfile.write(_wav_header())
                start = began.setdefault(f"cot{self.path.strip('/')}", time.monotonic())
                try:
                    for number, first in enumerate(range(0, len(content), size), 1):
                        time.sleep(max(0.0, start + number * PIECE_S - time.monotonic()))
                        self.wfile.write(content[first : first + size])
                    time.sleep(60)  # a camera does not end
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads, self._server.block_on_close = True, False
        self.server_port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


def _wav_header() -> bytes:
    most = 0x7FFFFFFF
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
    return b"RIFF" + struct.pack("<I", most) + b"WAVE" + form + b"data" + struct.pack("<I", most)


def _listening(model: Path, words: Sequence[str]) -> subprocess.Popen:
    command = [sys.executable, "-m", "crywatch.cli", "listen", "--model", str(model), *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def hour(options: argparse.Namespace) -> Memory:
    """See `Memory`."""
    import soundfile

    rng = np.random.default_rng(2)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "hour.flac"
        minutes = round(60 * options.hours)
        with soundfile.SoundFile(path, "w", RATE_HZ, 1) as out:
            for _ in range(minutes):
                cry = synthesis.cry(10.0, synthesis.infant_voice(rng), rng)
                out.write(np.concatenate([0.01 * rng.standard_normal(50 * RATE_HZ), cry]))
        began, seen = time.monotonic(), []
        with _listening(options.model, ["--speed", "100", str(path)]) as process:
            while process.poll() is None:
                seen.append((time.monotonic() - began, _rss_mib(process.pid)))
                time.sleep(0.2)
        took_s = seen[-1][0]
    seen = [rss for _, rss in seen if rss]
    early, late = seen[len(seen) // 5], max(seen[len(seen) // 5 :])
    return Memory(options.hours, round(60 * minutes / took_s, 1), round(early, 1), round(late, 1))


def _rss_mib(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * resource.getpagesize() / (1 << 20)


def week(options: argparse.Namespace) -> Week:
    """See `Week`."""
    from crywatch.detection.decisions import Rule, merge_events
    from crywatch.detection.detectors import load_detector
    from crywatch.listening.engine import Engine
    from crywatch.listening.events import Sound
    from tests.helpers.listening_cases import Recorder

    rule, recorder = Rule(0.5, 0.5, 1.0, 1.0), Recorder()
    engine = Engine("cot", load_detector(options.model), rule, 0.75, recorder)
    began, early, engine_s, start_s = datetime(2026, 3, 1, tzinfo=UTC), 0.0, 0.0, 0.0
    expected: list[tuple[float, float]] = []
    for number, (gap_s, wave) in enumerate(_days(options.days)):
        start_s += gap_s
        before = time.process_time()
        for first in range(0, len(wave), RATE_HZ):
            at_s = start_s + first / RATE_HZ
            at = began + timedelta(seconds=at_s)
            part = wave[first : first + RATE_HZ]
            engine.push(Sound("cot", at_s, at, part, 0.0 if first else gap_s))
        engine.finish()  # as where a source is lost
        engine_s += time.process_time() - before
        lasts_s = len(wave) / RATE_HZ
        scores = [second.cry for second in recorder.seconds]
        recorder.seconds.clear()
        expected += [
            (start_s + event.onset_s, start_s + event.offset_s)
            for event in merge_events(scores, lasts_s, rule)
        ]
        start_s += lasts_s
        if not number:
            early = _rss_mib(os.getpid())
    found = [(event.onset_s, event.end_s or 0.0) for event in recorder.ended]
    edges = np.abs(np.subtract(found, expected)) if len(found) == len(expected) else [np.inf]
    return Week(
        options.days,
        number + 1,
        len(found),
        len(expected),
        round(float(np.max(edges)), 3),
        round(_rss_mib(os.getpid()) - early, 1),
        round(engine_s / start_s, 5),
    )


def _days(days: float) -> Iterator[tuple[float, np.ndarray]]:
    """Gaps before, and stretches of three hours: silence, a quiet minute, and cries at night."""
    rng = np.random.default_rng(3)
    for number in range(round(days * 8)):
        wave = np.zeros(3 * 3600 * RATE_HZ, dtype=np.float32)
        for _ in range(4 if number % 8 < 3 else 1):
            at = int(rng.integers(60, 10_000)) * RATE_HZ
            sound = synthesis.cry(20.0, synthesis.infant_voice(rng), rng)
            wave[at : at + len(sound)] = sound
        wave[: 60 * RATE_HZ] = 0.001 * rng.standard_normal(60 * RATE_HZ)
        yield (float(rng.uniform(30, 600)) if number else 0.0), wave


MEASURES = {"latency": latency, "hour": hour, "week": week}

if __name__ == "__main__":
    sys.exit(main())

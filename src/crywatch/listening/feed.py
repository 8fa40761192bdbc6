"""One source as sounds and states: its process, its watchdog, and its return after a failure."""

from __future__ import annotations

import json
import os
import random
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

import numpy as np

from crywatch.audio.segments import RATE_HZ
from crywatch.core.errors import AudioError, EngineError
from crywatch.core.redact import redacted
from crywatch.listening.clock import SourceClock
from crywatch.listening.config import ListenConfig
from crywatch.listening.events import Sound, SourceState, State
from crywatch.listening.sources import Kind, Source
from crywatch.listening.worker import COMMAND

TICK_S = 0.25  # in which a stop is noticed
MICROPHONE_GAP_S = 1.0  # by so much its samples are late where some did not come
STEADY_S = 30.0  # of sound: what failed before is forgotten


def feed(
    source: Source, config: ListenConfig, stop: Event, speed: float = 1.0, pcm_hz: int = 0
) -> Iterator[Sound | SourceState]:
    """Until the source has ended, or ``stop`` is set: sounds, and a state wherever it changes.

    A file's sound has its own time: seconds from now, at whatever ``speed`` it is read.
    """
    clock, began = SourceClock(), datetime.now(UTC)
    why, failures, is_lacking = "", 0, False
    yield _state(source, State.CONNECTING)
    while not stop.is_set():
        heard_s = clock.end_s
        worker = _Worker(source, config, speed, pcm_hz)
        try:
            for news in _listen(worker, source, config, clock, stop):
                if isinstance(news, Sound) and source.kind is Kind.FILE:
                    news = replace(news, at=began + timedelta(seconds=news.start_s))
                yield news
            why = "it ended" if source.is_live else ""
        except (AudioError, EngineError) as error:
            why, is_lacking = redacted(str(error)), isinstance(error, EngineError)
        finally:
            worker.end()
        if not source.is_live or stop.is_set() or is_lacking:
            break
        yield _state(source, State.CONNECTING, why)
        failures = 1 if clock.end_s - heard_s >= STEADY_S else failures + 1
        longest_s = min(config.most_backoff_s, config.backoff_s * 2.0 ** min(failures - 1, 30))
        stop.wait(longest_s * random.uniform(0.5, 1.0))  # not all sources in the same moment
    yield _state(source, State.ENDED, "" if stop.is_set() else why)


def _state(source: Source, state: State, reason: str = "") -> SourceState:
    return SourceState(source.name, state, datetime.now(UTC), reason)


def _listen(
    worker: _Worker, source: Source, config: ListenConfig, clock: SourceClock, stop: Event
) -> Iterator[Sound | SourceState]:
    """What one process hears, until it ends.

    Raises
    ------
    AudioError
        It ended without being at an end.
    EngineError
        Something that reads this kind of source is not installed.
    """
    is_open = is_heard = False
    skip_s, last = 0.0, time.monotonic()
    while not stop.is_set():
        frame = worker.frame(TICK_S)
        if frame is None:
            silent_s = time.monotonic() - last
            if not is_open and silent_s > config.connect_s:
                raise AudioError(f"does not answer within {config.connect_s:g} s")
            if is_open and silent_s > config.stall_s and (is_heard or source.is_live):
                is_heard, reason = False, f"no sound for {config.stall_s:g} s"
                yield _state(source, State.STALLED, reason)
                if source.is_live:
                    raise AudioError(reason)
            continue
        if isinstance(frame, dict):
            if "lacks" in frame:
                raise EngineError(frame["lacks"])
            if "error" in frame:
                raise AudioError(frame["error"])
            if "end" in frame:
                return
            if "open" in frame:
                is_open, last = True, time.monotonic()
            skip_s += frame.get("skip", 0.0)
            continue
        last = time.monotonic()
        if not len(frame):
            continue
        lasts_s = len(frame) / RATE_HZ
        gap_s = 0.0
        if source.is_live:
            gap_s = _gap_s(source, clock.late_s(lasts_s), skip_s, is_heard)
        if not is_heard:
            is_heard = True
            yield _state(source, State.LISTENING)
        skip_s = 0.0
        start_s, at = clock.add(lasts_s, gap_s)
        yield Sound(source.name, start_s, at, frame, gap_s)


def _gap_s(source: Source, late_s: float, skip_s: float, is_heard: bool) -> float:
    """Of time without sound before a piece that comes ``late_s`` later than the ones before it.

    A stream's time stamps say how much they leave out, and a clock that jumps says so too: what
    they say is believed as far as our own clock agrees. What is only late is not lost.
    """
    if not is_heard:  # it was opened again
        return max(0.0, late_s)
    if source.kind is Kind.MICROPHONE:
        return late_s if late_s > MICROPHONE_GAP_S else 0.0
    return max(0.0, min(skip_s, late_s))


class _Worker:
    """The process of a source (`crywatch.listening.worker`), as seen from here."""

    def __init__(self, source: Source, config: ListenConfig, speed: float, pcm_hz: int):
        number = os.dup(0) if source.kind is Kind.INPUT else None
        request = {
            "kind": source.kind,
            "place": source.place,
            "fd": number,
            "speed": speed,
            "pcm_hz": pcm_hz,
            "connect_s": config.connect_s,
            "memory_mib": config.memory_mib,
        }
        self._process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=() if number is None else (number,),
            process_group=0,  # Ctrl-C is for the listener, which ends it
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        if number is not None:
            os.close(number)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._to, self._of = self._process.stdin, self._process.stdout.fileno()
        self._waiting = bytearray()
        with suppress(BrokenPipeError):  # it is told when there is no answer
            self._to.write(json.dumps(request).encode() + b"\n")
            self._to.flush()

    def frame(self, wait_s: float) -> np.ndarray | dict[str, Any] | None:
        """The next frame; None if none has come after ``wait_s``. AudioError if it has died."""
        until = time.monotonic() + wait_s
        while True:
            line, found, rest = self._waiting.partition(b"\n")
            if found:
                head = json.loads(line)
                size = 4 * head.get("samples", 0)
                if "samples" not in head:
                    self._waiting = rest
                    return head
                if len(rest) >= size:
                    self._waiting = rest[size:]
                    return np.frombuffer(bytes(rest[:size]), dtype=np.float32)
            left_s = until - time.monotonic()
            ready, _, _ = select.select([self._of], [], [], max(0.0, left_s))
            if not ready:
                return None
            data = os.read(self._of, 1 << 20)
            if not data:
                raise AudioError(self._cause())
            self._waiting += data

    def _cause(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        status = self._process.returncode
        return "its decoder crashed" + (f" (signal {-status})" if status and status < 0 else "")

    def end(self) -> None:
        """End the process and wait for it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

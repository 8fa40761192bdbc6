"""An hour at a hundred times the speed of sound: memory stays flat, and every second is decided."""

import dataclasses
import os
import resource
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from crywatch.audio.segments import RATE_HZ
from crywatch.listening.engine import Engine
from crywatch.listening.events import Sound
from tests.helpers.listening_cases import BEGAN, CONTEXT, RULE, LoudnessDetector, Recorder, bursts


def rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.nightly
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="this system has no /proc")
def test_an_hour_leaves_memory_as_it_was():
    minute, recorder = bursts(1, 60 * RATE_HZ), Recorder()
    model = LoudnessDetector(dataclasses.replace(CONTEXT, after_s=0.75))
    engine = Engine("cot", model, RULE, 0.75, recorder)
    early, decided, events = 0, 0, 0
    for number in range(60):
        for first in range(0, len(minute), 1600):
            at_s = 60 * number + first / RATE_HZ
            part = minute[first : first + 1600]
            engine.push(Sound("cot", at_s, BEGAN + timedelta(seconds=at_s), part))
        decided += len(recorder.seconds)
        events += len(recorder.ended)
        recorder.seconds.clear()
        recorder.events.clear()
        if number == 9:
            early = rss_bytes()
    engine.finish()
    assert decided + len(recorder.seconds) == 3600 and events > 60
    assert rss_bytes() - early < 4 << 20


def test_a_day_of_outages_has_each_event_once_and_at_its_time():
    """Stretches of a minute, and outages between them, with a clock of ours that is stepped."""
    rng, recorder = np.random.default_rng(2), Recorder()
    loud = np.full(5 * RATE_HZ, 0.5, dtype=np.float32)
    quiet = np.zeros(15 * RATE_HZ, dtype=np.float32)
    wave = np.concatenate([quiet, loud, quiet])
    model = LoudnessDetector(dataclasses.replace(CONTEXT, own_reach_s=0.0, own_weight=1.0))
    engine = Engine("cot", model, RULE, 0.75, recorder)
    start_s, onsets = 0.0, []
    for number in range(24):
        gap_s = float(rng.uniform(30, 3600)) if number else 0.0
        step = timedelta(hours=1 if number > 12 else 0)  # summer time, of a clock that is set
        start_s += gap_s
        onsets.append(start_s + 15)
        for first in range(0, len(wave), 8000):
            at_s = start_s + first / RATE_HZ
            sound = Sound("cot", at_s, BEGAN + step + timedelta(seconds=at_s), wave[first:][:8000])
            engine.push(dataclasses.replace(sound, gap_s=0.0 if first else gap_s))
        start_s += len(wave) / RATE_HZ
    engine.finish()
    assert [event.onset_s for event in recorder.ended] == pytest.approx(onsets)
    assert [event.end_s for event in recorder.ended] == pytest.approx([o + 5 for o in onsets])
    assert len({event.id for event in recorder.events}) == 24

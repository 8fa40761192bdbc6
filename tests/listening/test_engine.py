"""What a listener decides is what `detect` decides of the same sound, however it comes."""

import dataclasses
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crywatch.audio.segments import RATE_HZ
from crywatch.core.errors import ModelError
from crywatch.detection.decisions import Calibration, Decision, merge_events
from crywatch.detection.detectors import load_detector
from crywatch.listening.engine import FILLED_S, Engine, live_context, windowed
from tests.helpers.listening_cases import (
    BEGAN,
    CONTEXT,
    RULE,
    LoudnessDetector,
    Recorder,
    bursts,
    sounds,
)
from tests.helpers.robust_model_cases import write_robust

CONTEXTS = [
    CONTEXT,
    dataclasses.replace(CONTEXT, hop_s=0.5, own_reach_s=0.0, pooling="mean"),
    dataclasses.replace(CONTEXT, hop_s=1.0, own_reach_s=0.0, after_s=1.0, pooling="max"),
    dataclasses.replace(CONTEXT, own_reach_s=0.0, own_weight=1.0),
]


def listen(model, parts, rule=RULE, lookahead_s=1.0) -> Recorder:
    recorder = Recorder()
    engine = Engine("nursery", model, rule, lookahead_s, recorder)
    for part in parts:
        engine.push(part)
    engine.finish()
    return recorder


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.one_of(st.integers(1, 10 * RATE_HZ), st.integers(1, 10).map(lambda s: s * RATE_HZ)),
    st.lists(st.integers(1, 10 * RATE_HZ), max_size=30),
    st.sampled_from(CONTEXTS),
)
def test_seconds_and_events_are_those_of_the_whole_recording(seed, count, cuts, context):
    wave, model = bursts(seed, count), LoudnessDetector(context)
    heard = listen(model, sounds(wave, cuts))
    scores = model.score(wave)
    assert len(heard.seconds) == len(scores)
    live = np.array([second.cry for second in heard.seconds])
    np.testing.assert_allclose(live, scores, atol=1e-6)
    events = merge_events(live, len(wave) / RATE_HZ, RULE)
    assert [(e.onset_s, e.end_s, e.peak) for e in heard.ended] == [
        (e.onset_s, e.offset_s, e.peak) for e in events
    ]


@pytest.mark.parametrize("piece", [160, 1600, 5000, 48_000])
def test_a_network_of_torch_hears_the_same_in_pieces(piece, tmp_path):
    detector = load_detector(write_robust(tmp_path / "robust"))
    detector.context = live_context(detector.context, 1.0)
    wave = bursts(3, 12 * RATE_HZ + 700)
    heard = listen(detector, sounds(wave, list(range(0, len(wave), piece))))
    live = [second.cry for second in heard.seconds]
    np.testing.assert_allclose(live, detector.score(wave), atol=1e-5)


def test_a_decision_comes_within_a_second_after_its_second():
    model = LoudnessDetector()
    recorder = Recorder()
    engine = Engine("nursery", model, RULE, 0.75, recorder)
    wave, late = bursts(1, 8 * RATE_HZ), []
    for number, sound in enumerate(sounds(wave, list(range(0, len(wave), 1600))), 1):
        before = len(recorder.seconds)
        engine.push(sound)
        late += [number * 0.1 - (s.start_s + 1) for s in recorder.seconds[before:]]
    assert len(late) == 7  # of the last one the sound that it waits for has not come
    assert max(late) < 1.0  # 0.75 s of lookahead, a piece, and the resampler


def test_a_context_is_cut_to_what_may_be_waited_for():
    far = dataclasses.replace(CONTEXT, after_s=2.0, own_reach_s=1.0)
    near = live_context(far, 0.6)
    assert (near.after_s, near.own_reach_s, near.before_s) == (0.5, 0.5, far.before_s)
    assert live_context(CONTEXT, 1.0) == CONTEXT


def test_calibrated_scores_are_probabilities():
    model, wave = LoudnessDetector(), bursts(5, 5 * RATE_HZ)
    model.decision = Decision(Calibration("platt", slope=0.5, offset=-1.0), (), 1.0, {})
    live = [second.cry for second in listen(model, sounds(wave, [8000])).seconds]
    np.testing.assert_allclose(live, model.decision.calibration(model.score(wave)), atol=1e-6)


def test_events_have_both_clocks_and_one_id():
    wave = np.concatenate([np.zeros(3 * RATE_HZ), np.ones(4 * RATE_HZ), np.zeros(5 * RATE_HZ)])
    model = LoudnessDetector(dataclasses.replace(CONTEXT, own_reach_s=0.0, own_weight=1.0))
    heard = listen(model, sounds(wave.astype(np.float32), [100, 70_000], start_s=100.0))
    onset, end = heard.events
    assert onset.end is None and onset.id == end.id
    assert (end.onset_s, end.end_s) == (103.0, 107.0)
    assert end.onset == BEGAN + timedelta(seconds=103)
    assert end.end == BEGAN + timedelta(seconds=107)
    assert end.mean <= end.peak


def test_a_long_gap_ends_what_is_open_and_nothing_is_counted_in_it():
    model, loud = LoudnessDetector(), np.full(5 * RATE_HZ, 0.5, dtype=np.float32)
    [before] = sounds(loud, [])
    [after] = sounds(loud, [], start_s=65.5)
    heard = listen(model, [before, dataclasses.replace(after, gap_s=60.5)])
    assert [(event.onset_s, event.end_s) for event in heard.ended] == [(0.0, 5.0), (65.5, 70.5)]
    assert [s.start_s for s in heard.seconds] == [0, 1, 2, 3, 4, 65.5, 66.5, 67.5, 68.5, 69.5]


def test_a_short_gap_is_silence():
    model, loud = LoudnessDetector(), bursts(2, 5 * RATE_HZ)
    [before] = sounds(loud, [])
    gap_s = FILLED_S / 2
    [after] = sounds(loud, [], start_s=5 + gap_s)
    heard = listen(model, [before, dataclasses.replace(after, gap_s=gap_s)])
    silence = np.zeros(round(gap_s * RATE_HZ), dtype=np.float32)
    scores = model.score(np.concatenate([loud, silence, loud]))
    np.testing.assert_allclose([s.cry for s in heard.seconds], scores, atol=1e-6)


def test_another_model_is_taken_when_no_event_is_open():
    loud = np.full(3 * RATE_HZ, 0.5, dtype=np.float32)
    recorder = Recorder()
    engine = Engine("nursery", LoudnessDetector(CONTEXTS[3]), RULE, 0.5, recorder)
    parts = sounds(np.concatenate([loud, 0 * loud, loud]), list(range(0, 9 * RATE_HZ, 1600)))
    for number, sound in enumerate(parts):
        engine.push(sound)
        if number == 28:
            engine.use(LoudnessDetector(), dataclasses.replace(RULE, on=2.0))
    engine.finish()
    assert [(event.onset_s, event.end_s) for event in recorder.ended] == [(0.0, 3.0)]


def test_state_stays_small():
    engine = Engine("nursery", LoudnessDetector(), RULE, 0.5, Recorder())
    for sound in sounds(bursts(4, 300 * RATE_HZ), list(range(0, 300 * RATE_HZ, 4000))):
        engine.push(sound)
    kept = engine._stretch
    assert kept._low.nbytes <= 4 * 2 * 8000 and kept._logits.nbytes <= 4 * 20


def test_a_model_of_whole_recordings_cannot_listen():
    with pytest.raises(ModelError, match="data/x: .* of kind robust"):
        windowed(object(), "data/x")

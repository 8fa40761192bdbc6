"""Events of scores that come one after the other are those of all the scores."""

from hypothesis import given
from hypothesis import strategies as st

from crywatch.detection.decisions import DetectedEvent, Rule, merge_events
from crywatch.listening.merging import EventStream

LEVELS = st.sampled_from([0.0, 0.3, 0.5, 0.6, 0.7, 0.9])
RULES = st.builds(
    Rule,
    on=st.sampled_from([0.5, 0.7, 0.9]),
    off=st.sampled_from([0.3, 0.5]),
    min_event_s=st.sampled_from([0.5, 1.0, 2.0, 2.5, 3.0]),
    max_gap_s=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
)


@given(st.lists(LEVELS, min_size=1, max_size=40), RULES, st.floats(-0.5, 0.5))
def test_runs_that_end_are_the_events_of_the_whole_recording(scores, rule, tail_s):
    duration_s = len(scores) + tail_s
    stream = EventStream(rule)
    runs = [run for score in scores for run in stream.add(score)]
    runs += stream.finish(duration_s)
    ended = [run for run in runs if run.offset_s is not None]
    events = tuple(DetectedEvent(float(run.first), run.offset_s, run.peak) for run in ended)
    assert events == merge_events(scores, duration_s, rule)
    begun = [run.first for run in runs if run.offset_s is None]
    assert begun == [run.first for run in ended]  # each is told before, and once
    for run in ended:
        between = scores[run.first : run.last]
        assert abs(run.mean - sum(between) / len(between)) < 1e-9


def test_a_run_is_told_as_soon_as_it_is_an_event():
    stream = EventStream(Rule(on=0.7, off=0.5, min_event_s=2.0, max_gap_s=1.0))
    told = [[run.offset_s for run in stream.add(score)] for score in (0.9, 0.6, 0.1, 0.6, 0.1, 0.1)]
    assert told == [[], [None], [], [], [], [4.0]]


def test_an_event_is_open_until_it_ends():
    stream = EventStream(Rule(on=0.5, off=0.5, min_event_s=1.0, max_gap_s=0.0))
    states = []
    for score in (0.1, 0.9, 0.9, 0.1):
        list(stream.add(score))
        states.append(stream.is_open)
    assert states == [False, True, True, False]

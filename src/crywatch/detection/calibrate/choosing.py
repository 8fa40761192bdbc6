"""The rule for each stated rate of false alarms, chosen on the validation part.

A false alarm is an event that touches no cry: it counts one, however long it is. Hours are those of
sound that is known to be no cry (other clips, and what lies between the cries of strongly labelled
recordings), put end to end: no clip is long enough for a rate of its own. An event that a clip's
end cuts below the shortest is none, so that longer shortest events look a little better in short
clips than they are.

Of all rules that keep a rate the one is taken that finds most: the share of cries found, less the
share of the non-cry sound that lies in its events. A rate is promised if the exact Poisson upper
bound (one-sided 95 %) of the alarms counted keeps it. Where the part has too few hours for that no
alarm at all is allowed, and the threshold lies no lower than the exponential tail of the highest
alarms, extended to the rate (Weissman, 1978), puts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crywatch.detection.calibrate.listening import Recording
from crywatch.detection.decisions import Calibration, RatedRule, Rule, expit, logit, merge_events
from crywatch.metrics.intervals import poisson_upper

TAIL = 10  # highest alarms whose excesses show how fast they grow rarer
MARGIN = 0.05  # nats above the highest alarm, where nothing else was called


@dataclass(frozen=True)
class Choices:
    """What rules are tried."""

    offs: Sequence[float]  # probabilities
    min_events_s: Sequence[float]
    max_gap_s: float


@dataclass(frozen=True)
class _Outcomes:
    """What all thresholds make of the recordings, for one ``off`` and one shortest event.

    Peaks are logits of the highest score, before calibration: an event, and what it finds, is there
    for each ``on`` up to its peak.
    """

    alarms: np.ndarray  # peaks of the events that touch no cry, falling
    found: np.ndarray  # for each cry the highest peak of the events that touch it; -inf: none does
    peaks: np.ndarray  # of all events in strongly labelled recordings
    quiet_s: np.ndarray  # non-cry sound in each of them
    hours: float  # of non-cry sound

    def on_for(self, allowed: int) -> float:
        """The lowest threshold with at most ``allowed`` alarms: amid it and what is still called.

        -inf where there are no more alarms at all.
        """
        if len(self.alarms) <= allowed:
            return -np.inf
        below = float(self.alarms[allowed])
        above = self.peaks[self.peaks > below]
        return below + (float(above.min()) - below) / 2 if len(above) else below + MARGIN

    def on_by_tail(self, per_hour: float) -> float:
        """Where the tail of the alarms reaches ``per_hour``; nan where it is not known."""
        count = min(TAIL, len(self.alarms) - 1)
        if count < 2:
            return np.nan
        start = float(self.alarms[count])
        scale = float(np.mean(self.alarms[:count] - start))
        return start + scale * np.log(count / (per_hour * self.hours))

    def n_alarms(self, on: float) -> int:
        """At that threshold."""
        return int((self.alarms >= on).sum())

    def worth(self, on: float) -> float:
        """Share of cries found, less the share of the non-cry sound in events."""
        called_s = float(self.quiet_s[self.peaks >= on].sum())
        share = called_s / (3600 * self.hours) if self.hours else 0.0
        reached = np.isfinite(self.found) & (self.found >= on)
        return float(reached.mean() if len(reached) else 0.0) - share


def choose_rules(
    recordings: Sequence[Recording],
    calibration: Calibration,
    rates: Sequence[float],
    choices: Choices,
) -> list[RatedRule]:
    """A rule for each of ``rates`` (false alarms an hour), in rising order."""
    probabilities = [calibration(recording.scores) for recording in recordings]
    candidates = [
        (
            off,
            min_event_s,
            _try_rule(recordings, probabilities, off, min_event_s, choices.max_gap_s),
        )
        for off in choices.offs
        for min_event_s in choices.min_events_s
    ]
    hours = candidates[0][2].hours
    rules = []
    for per_hour in sorted(rates):
        best = _choose_rule(per_hour, candidates)
        rule = Rule(
            max(_probability_of(best.on, calibration), best.off),
            best.off,
            best.min_event_s,
            choices.max_gap_s,
        )
        upper = poisson_upper(best.alarms) / hours if hours else np.finfo(float).max
        rules.append(RatedRule(per_hour, rule, best.alarms, upper, upper <= per_hour))
    return rules


def _probability_of(on: float, calibration: Calibration) -> float:
    """The probability of a score whose logit is ``on``; above all of them where no score is."""
    if on == -np.inf:
        return 0.0
    if on > float(logit(1.0)):
        return float(np.nextafter(calibration(np.ones(1))[0], np.inf))
    return float(calibration(expit(np.array([on])))[0])


@dataclass(frozen=True)
class _RuleChoice:
    on: float  # logit of a score
    off: float  # probability
    min_event_s: float
    alarms: int


def _choose_rule(
    per_hour: float, candidates: Sequence[tuple[float, float, _Outcomes]]
) -> _RuleChoice:
    hours = candidates[0][2].hours
    allowed = count_allowed_alarms(per_hour, hours)
    best: tuple[bool, float, float, float] | None = None
    for off, min_event_s, outcomes in candidates:
        on = outcomes.on_for(max(allowed, 0))
        tail = outcomes.on_by_tail(per_hour) if allowed < 0 else -np.inf
        known = not np.isnan(tail)
        on = max(on, tail) if known else on
        # No alarm among few says little: a rule whose tail is known goes first. Where equal: the
        # shorter wait, then the higher threshold.
        key = (known, round(outcomes.worth(on), 9), -min_event_s, on)
        if best is None or key > best:
            best = key
            candidate = _RuleChoice(on, off, min_event_s, outcomes.n_alarms(on))
    return candidate


def count_allowed_alarms(per_hour: float, hours: float) -> int:
    """The most alarms in ``hours`` whose upper bound keeps ``per_hour``; -1: not even none does."""
    allowed = -1
    while hours > 0 and poisson_upper(allowed + 1) / hours <= per_hour:
        allowed += 1
    return allowed


def _try_rule(
    recordings: Sequence[Recording],
    probabilities_of: Sequence[np.ndarray],
    off: float,
    min_event_s: float,
    max_gap_s: float,
) -> _Outcomes:
    rule = Rule(off, off, min_event_s, max_gap_s)
    alarms, peaks_of_cries, peaks, quiet = [], [], [], []
    for recording, probabilities in zip(recordings, probabilities_of, strict=True):
        cry_peaks = np.full(recording.n_cries, -np.inf)
        for event in merge_events(probabilities, recording.duration_s, rule):
            inside = slice(int(event.onset_s), int(np.ceil(event.offset_s)))
            peak = float(logit(recording.scores[inside].max()))
            touched = recording.touched(event.onset_s, event.offset_s)
            cry_peaks[touched] = np.maximum(cry_peaks[touched], peak)
            if not touched:
                alarms.append(peak)
            if recording.strong:
                peaks.append(peak)
                quiet.append(recording.quiet_between(event.onset_s, event.offset_s))
        peaks_of_cries.append(cry_peaks)
    return _Outcomes(
        np.sort(np.array(alarms, dtype=float))[::-1],
        np.concatenate(peaks_of_cries),
        np.array(peaks, dtype=float),
        np.array(quiet, dtype=float),
        sum(recording.quiet_s for recording in recordings) / 3600,
    )

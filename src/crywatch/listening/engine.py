"""Sound that goes on to scores of its seconds and events, whatever the pieces it comes in.

The scores are those of `Detector.score` with the same context, and the events those of
`detection.decisions.merge_events`: both are made here from what a second needs, as soon as it is
there. What is kept is a second or two at the network's rate and a few dozen logits.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np

from crywatch.audio.segments import RATE_HZ, n_segments
from crywatch.audio.waves.resampling import Resampler
from crywatch.core.errors import ModelError
from crywatch.detection.decisions import Decision, Rule
from crywatch.detection.robust.context import ContextConfig, hear_audible, pool, probabilities
from crywatch.listening.events import CryEvent, SecondScore, Sink, Sound
from crywatch.listening.merging import EventStream, Run

FILLED_S = 2.0  # a gap up to so long is heard as silence; after a longer one all begins anew
SILENT_DBFS = -120.0  # level of no sound
SAME_S = 0.001  # of a gap that is none


class Windowed(Protocol):
    """What listens: `detection.robust.windowed.WindowedDetector`, on torch or another runtime."""

    rate_hz: int  # of its windows
    context: ContextConfig
    decision: Decision | None

    def hear(self, windows: np.ndarray) -> np.ndarray:
        """[n, samples of a second] float32 to logits of a cry [n]."""


def live_context(context: ContextConfig, lookahead_s: float) -> ContextConfig:
    """``context`` with nothing that begins later than ``lookahead_s`` after a second does."""
    reach_s = math.floor(lookahead_s * context.hops + 1e-9) / context.hops
    return replace(
        context,
        own_reach_s=min(context.own_reach_s, reach_s),
        after_s=min(context.after_s, reach_s),
    )


@dataclass(frozen=True)
class Scored:
    """A plain second of a stretch of sound."""

    number: int
    cry: float  # 0..1, calibrated where the model is
    level_dbfs: float


class Stretch:
    """Sound without a gap, from its first sample on."""

    def __init__(self, model: Windowed, context: ContextConfig):
        self._model, self._context = model, context
        self._resampler = Resampler(RATE_HZ, model.rate_hz)
        self._low = np.zeros(0, dtype=np.float32)  # from the beginning of window `_window` on
        self._window = 0
        self._logits = np.zeros(0, dtype=np.float32)  # of windows from second `_oldest` on
        self._oldest = 0
        self._second = 0  # to be decided
        self._levels = _Levels()

    @property
    def n_samples(self) -> int:
        """That came so far, at 16 kHz."""
        return self._levels.n_samples

    def push(self, samples: np.ndarray) -> Iterator[Scored]:
        """The seconds that can be decided with ``samples`` [n] at 16 kHz, which come next."""
        self._levels.add(samples)
        self._low = np.concatenate([self._low, self._resampler(samples)])
        context, rate_hz = self._context, self._model.rate_hz
        ahead = round(context.lookahead_s * context.hops)
        while True:
            last = self._second * context.hops + ahead  # window that the second waits for
            count = last + 1 - self._window
            if len(self._low) < (count - 1) * self._hop + rate_hz:
                return
            self._hear(count)
            yield self._decide()

    def finish(self) -> Iterator[Scored]:
        """The sound ends: the seconds that are left, with what there is of them."""
        low = self._resampler(np.zeros(0, dtype=np.float32), last=True)
        count = n_segments(self.n_samples)
        size = count * self._model.rate_hz - self._window * self._hop  # of what is left
        if size > 0:
            low = np.concatenate([self._low, low])[:size]
            self._low = np.pad(low, (0, size - len(low)))
            self._hear((size - self._model.rate_hz) // self._hop + 1)
        while self._second < count:
            yield self._decide()

    @property
    def _hop(self) -> int:
        return self._model.rate_hz // self._context.hops

    def _hear(self, count: int) -> None:
        """The next ``count`` windows."""
        if count <= 0:
            return
        cut = np.lib.stride_tricks.sliding_window_view(self._low, self._model.rate_hz)
        logits = hear_audible(self._model.hear, cut[:: self._hop][:count])
        self._logits = np.concatenate([self._logits, logits])
        self._low = self._low[count * self._hop :].copy()
        self._window += count

    def _decide(self) -> Scored:
        number, hops = self._second, self._context.hops
        last = number * hops + round(self._context.lookahead_s * hops) + 1
        near = self._logits[: last - self._oldest * hops]
        score = probabilities(pool(near, self._context)[number - self._oldest, None])
        if self._model.decision is not None:
            score = self._model.decision.calibration(score)
        self._second += 1
        oldest = max(0, self._second - math.ceil(self._context.farthest_s))
        oldest = min(oldest, self._window // hops)  # windows before the next second may be to come
        self._logits = self._logits[(oldest - self._oldest) * hops :].copy()
        self._oldest = oldest
        return Scored(number, float(score[0]), self._levels.pop())


class _Levels:
    """RMS of plain seconds of samples that come in pieces."""

    def __init__(self) -> None:
        self.n_samples = 0
        self._powers = [0.0]  # sums of squares; the last second is not over

    def add(self, samples: np.ndarray) -> None:
        """``samples`` [n] at 16 kHz come next."""
        start = 0
        while start < len(samples):
            left = RATE_HZ - self.n_samples % RATE_HZ
            part = samples[start : start + left]
            self._powers[-1] += float(np.dot(part, part))
            self.n_samples += len(part)
            start += len(part)
            if len(part) == left:
                self._powers.append(0.0)

    def pop(self) -> float:
        """dBFS of the oldest second that was not asked for."""
        power = self._powers.pop(0) / RATE_HZ
        return round(max(SILENT_DBFS, 10 * math.log10(power)), 2) if power > 0 else SILENT_DBFS


class Engine:
    """One source's sound to seconds and events, which ``sink`` is told."""

    def __init__(self, source: str, model: Windowed, rule: Rule, lookahead_s: float, sink: Sink):
        self._source, self._sink, self._lookahead_s = source, sink, lookahead_s
        self._model, self._rule = model, rule
        self._next: tuple[Windowed, Rule] | None = None
        self._stretch: Stretch | None = None
        self._events = EventStream(rule)
        self._start_s = 0.0  # of the stretch, by the source's clock
        self._at = datetime.min  # of the same, UTC
        self._event: CryEvent | None = None

    def use(self, model: Windowed, rule: Rule) -> None:
        """Go on with another model as soon as no event is open."""
        self._next = model, rule

    def push(self, sound: Sound) -> None:
        """``sound`` comes next."""
        if self._next is not None and not self._events.is_open:
            self.finish()
            (self._model, self._rule), self._next = self._next, None
        if self._stretch is not None and sound.gap_s > FILLED_S:
            self.finish()
        if self._stretch is None:
            self._stretch = Stretch(
                self._model, live_context(self._model.context, self._lookahead_s)
            )
            self._events = EventStream(self._rule)
            self._start_s = sound.start_s
        elif sound.gap_s > SAME_S:
            self._tell(self._stretch.push(np.zeros(round(sound.gap_s * RATE_HZ), np.float32)))
        # Clocks drift: what the stretch began at, by ours, is asked of the newest sound.
        self._at = sound.at - timedelta(seconds=self._stretch.n_samples / RATE_HZ)
        self._tell(self._stretch.push(sound.samples))

    def finish(self) -> None:
        """There is a gap, or the source ends: what is open ends here."""
        stretch, self._stretch = self._stretch, None
        if stretch is not None and stretch.n_samples:
            self._tell(stretch.finish())
            for run in self._events.finish(stretch.n_samples / RATE_HZ):
                self._tell_event(run)

    def _tell(self, seconds: Iterator[Scored]) -> None:
        for second in seconds:
            start_s = self._start_s + second.number
            at = self._at + timedelta(seconds=second.number)
            self._sink.second(SecondScore(self._source, start_s, at, second.cry, second.level_dbfs))
            for run in self._events.add(second.cry):
                self._tell_event(run)

    def _tell_event(self, run: Run) -> None:
        if self._event is None:
            onset = self._at + timedelta(seconds=run.first)
            name = f"{onset:%Y%m%dT%H%M%S}-{self._source}-{secrets.token_hex(3)}"
            onset_s = self._start_s + run.first
            self._event = CryEvent(name, self._source, onset_s, onset, run.peak, run.mean)
        event = replace(self._event, peak=run.peak, mean=run.mean)
        if run.offset_s is not None:
            lasts = timedelta(seconds=run.offset_s - run.first)
            end_s = self._start_s + run.offset_s
            event = replace(event, end_s=end_s, end=event.onset + lasts)
        self._event = event if run.offset_s is None else None
        self._sink.event(event)


def windowed(detector: object, where: str) -> Windowed:
    """``detector`` as what can listen; ModelError where its seconds need a whole recording."""
    if not hasattr(detector, "hear"):
        raise ModelError(
            f"{where}: this kind of model scores whole recordings: listen with one of kind robust, "
            "such as data/calibrate/robust"
        )
    return detector  # type: ignore[return-value]

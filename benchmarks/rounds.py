"""Interleaved rounds: every round runs each thing once, so that a busy machine slows all alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One thing that is timed."""

    name: str
    seconds: float  # of sound that one call works through
    call: Callable[[], object]
    prepare: Callable[[], object] | None = None  # before each call, not timed


@dataclass(frozen=True)
class Comparison:
    """Things that are compared with each other."""

    name: str
    cases: tuple[Case, ...]
    reference: str  # the case that ratios are taken to
    threads: int  # that the cases may use
    # Where cases are of very different lengths and others use the machine too, time.process_time:
    # the longer one is interrupted more often.
    clock: Callable[[], float] = time.perf_counter


@dataclass(frozen=True)
class Timing:
    """What the rounds gave for one case; the middle is the median over rounds."""

    name: str
    ms: float  # a second of sound
    low_ms: float  # lower quartile
    high_ms: float  # upper quartile
    times_real_time: float  # seconds of sound a second
    ratio: float | None  # how many times as fast as the reference, the middle of the rounds' own
    low_ratio: float | None
    high_ratio: float | None


@dataclass(frozen=True)
class Result:
    """A comparison and its timings."""

    name: str
    reference: str
    threads: int
    rounds: int
    timings: tuple[Timing, ...]

    def timing(self, case: str) -> Timing | None:
        """Of the case of that name, if it was timed."""
        return next((timing for timing in self.timings if timing.name == case), None)


@dataclass(frozen=True)
class _Quartiles:
    low: float
    middle: float
    high: float


def measure(comparison: Comparison, rounds: int) -> Result:
    """Time the cases of ``comparison`` in ``rounds`` rounds after one that warms up."""
    spent_ms: dict[str, list[float]] = {case.name: [] for case in comparison.cases}
    gc.freeze()  # what the imports made need not be searched before every call
    for number in range(rounds + 1):
        # Every other round runs backwards: no case is always the one after a cache-filling one.
        for case in comparison.cases[:: -1 if number % 2 else 1]:
            spent_ms[case.name].append(1e3 * _time_s(case, comparison.clock) / case.seconds)
    gc.unfreeze()
    spent_ms = {name: values[1:] for name, values in spent_ms.items()}
    reference_ms = spent_ms.get(comparison.reference)
    timings = tuple(_timing(name, values, reference_ms) for name, values in spent_ms.items())
    return Result(comparison.name, comparison.reference, comparison.threads, rounds, timings)


def _time_s(case: Case, clock: Callable[[], float]) -> float:
    if case.prepare is not None:
        case.prepare()
    gc.collect()
    gc.disable()
    try:
        start = clock()
        case.call()
        return clock() - start
    finally:
        gc.enable()


def _timing(name: str, ms: Sequence[float], reference_ms: Sequence[float] | None) -> Timing:
    spread = _quartiles(ms)
    ratio = None
    if reference_ms is not None:
        ratio = _quartiles([other / own for other, own in zip(reference_ms, ms, strict=True)])
    return Timing(
        name=name,
        ms=spread.middle,
        low_ms=spread.low,
        high_ms=spread.high,
        times_real_time=1e3 / spread.middle,
        ratio=ratio and ratio.middle,
        low_ratio=ratio and ratio.low,
        high_ratio=ratio and ratio.high,
    )


def _quartiles(values: Sequence[float]) -> _Quartiles:
    if len(values) == 1:
        return _Quartiles(values[0], values[0], values[0])
    return _Quartiles(*statistics.quantiles(values, n=4, method="inclusive"))

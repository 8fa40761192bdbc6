"""Detection on a user's own files: scores per plain second, merged into events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from crywatch.audio.guard import GuardedReader, Limits
from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.condition import Condition
from crywatch.core.errors import AudioError, ConfigError, CrywatchError
from crywatch.core.names import Disk, recordings_below
from crywatch.detection.decisions import Decision, DetectedEvent, Rule, merge_events

THRESHOLD = 0.5  # of a model without a decision, where none is set


@dataclass(frozen=True)
class DetectConfig:
    """Section ``detect`` of params.yaml."""

    model: str  # folder of the default model
    threshold: float | None  # of a second's score, 0..1; None: as the model decides
    min_event_s: float  # with a threshold: shorter events are dropped
    max_gap_s: float  # with a threshold: events at most this far apart are merged
    false_alarms_per_hour: float | None = None  # a stated rate of the model; None: its default
    decoding: Limits = field(default_factory=Limits)  # of a file

    def rule(self, decision: Decision | None) -> Rule:
        """What is an event: by the threshold if one is set, else by the model's own decision."""
        if self.threshold is not None and self.false_alarms_per_hour is not None:
            raise ConfigError(
                "detect: a threshold and a rate of false alarms exclude each other: set one"
            )
        if self.threshold is None and decision is not None:
            return decision.rated(self.false_alarms_per_hour).rule
        if self.false_alarms_per_hour is not None:
            raise ConfigError(
                "detect: this model was not calibrated and keeps no rate of false alarms: use one "
                "of data/calibrate, or set a threshold"
            )
        threshold = THRESHOLD if self.threshold is None else self.threshold
        return Rule(threshold, threshold, self.min_event_s, self.max_gap_s)


@dataclass(frozen=True)
class Second:
    """The score of one plain second."""

    start_s: float
    cry: float  # 0..1; of a calibrated model the probability of a cry


@dataclass(frozen=True)
class Detection:
    """What was found in one sound, or why the file could not be read."""

    path: str  # of a sound in memory ""
    duration_s: float = 0.0
    cry: float = 0.0  # the clip's score: its highest second
    seconds: tuple[Second, ...] = ()
    events: tuple[DetectedEvent, ...] = ()
    error: str | None = field(default=None)
    condition: Condition = Condition()  # what was wrong with the file and yet scored


class Scorer(Protocol):
    """What is needed here of a `crywatch.detection.detectors.Detector`, which builds on this."""

    decision: Decision | None  # of a calibrated model

    def score_stream(self, chunks: Iterable[np.ndarray]) -> np.ndarray:
        """Scores [plain seconds] of a recording at 16 kHz that comes in ``chunks`` [samples]."""


def detect_file(path: Path, detector: Scorer, config: DetectConfig) -> Detection:
    """Decode and score one file; an error the user can act on becomes ``Detection.error``.

    The file is read block by block: memory grows with its length only by what the detector keeps.
    ConfigError if ``config`` asks for a decision that the model does not have.
    """
    from crywatch.audio.waves.resampling import at_rate

    rule = config.rule(detector.decision)
    try:
        reader = GuardedReader(path, config.decoding)
        scores = detector.score_stream(at_rate(reader, RATE_HZ))
    except (CrywatchError, OSError) as error:
        return Detection(path=str(path), error=str(error))
    duration_s = reader.n_samples / reader.info.rate_hz
    return _detection(str(path), scores, duration_s, detector, rule, reader.condition)


def detect_wave(
    wave: np.ndarray, rate_hz: int, detector: Scorer, config: DetectConfig
) -> Detection:
    """Score a sound in memory: [samples] or [samples, channels] in -1..1 at ``rate_hz``.

    Raises
    ------
    AudioError
        There are no samples, or they are no finite fractions of full scale.
    """
    from crywatch.audio.waves.downmix import LOUDEST, to_mono
    from crywatch.audio.waves.resampling import resample

    rule = config.rule(detector.decision)
    wave = np.asarray(wave)
    if not np.issubdtype(wave.dtype, np.floating) or wave.ndim not in (1, 2) or not wave.size:
        raise AudioError("a sound is [samples] or [samples, channels] of float, in -1..1")
    if not np.isfinite(wave).all():
        raise AudioError("the sound has samples that are not finite")
    if (peak := np.abs(wave).max()) > LOUDEST:
        raise AudioError(f"the sound has samples of up to {peak:.3g}; full scale is 1")
    mono = to_mono(wave.reshape(len(wave), -1).T, rate_hz)
    scores = detector.score_stream([resample(mono, rate_hz, RATE_HZ)])
    return _detection("", scores, len(wave) / rate_hz, detector, rule)


def _detection(
    path: str,
    scores: np.ndarray,
    duration_s: float,
    detector: Scorer,
    rule: Rule,
    condition: Condition = Condition(),
) -> Detection:
    scores = np.asarray(scores, dtype=np.float64)
    if detector.decision is not None:
        scores = detector.decision.calibration(scores)
    return Detection(
        path=path,
        duration_s=round(duration_s, 3),
        cry=float(scores.max()),
        seconds=tuple(Second(float(i), float(score)) for i, score in enumerate(scores)),
        events=merge_events(scores, duration_s, rule),
        condition=condition,
    )


def find_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Files as given; folders give the recordings below them (`core.names`), sorted."""
    for path in paths:
        if not path.exists():
            top = Path(path.anchor)
            path = top / Disk(top).spelt(str(path))
        if path.is_dir():
            yield from recordings_below(path)
        else:
            yield path

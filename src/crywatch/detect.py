"""Detection on a user's own files: scores per plain second, merged into events."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from crywatch.errors import CrywatchError
from crywatch.segments import RATE_HZ

AUDIO_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("3gp", "aac", "aif", "aiff", "amr", "caf", "flac", "m4a", "m4v", "mka", "mkv", "mov"),
        *("mp3", "mp4", "oga", "ogg", "opus", "wav", "webm", "wma"),
    )
)


@dataclass(frozen=True)
class DetectConfig:
    """Section ``detect`` of params.yaml."""

    model: str  # folder of the default model
    threshold: float  # of a second's score, 0..1
    min_event_s: float  # shorter events are dropped
    max_gap_s: float  # events at most this far apart are merged


@dataclass(frozen=True)
class Second:
    """The score of one plain second."""

    start_s: float
    cry: float  # 0..1


@dataclass(frozen=True)
class DetectedEvent:
    """A stretch of seconds at or above the threshold."""

    onset_s: float
    offset_s: float
    peak: float  # the highest score in it


@dataclass(frozen=True)
class Detection:
    """What was found in one file, or why it could not be read."""

    path: str
    duration_s: float = 0.0
    cry: float = 0.0  # the clip's score: its highest second
    seconds: tuple[Second, ...] = ()
    events: tuple[DetectedEvent, ...] = ()
    error: str | None = field(default=None)
    truncated: bool = False  # the file broke off; what came before was scored


class Scorer(Protocol):
    """What `crywatch.detectors.Detector` offers here."""

    def score_stream(self, chunks: Iterable[np.ndarray]) -> np.ndarray:
        """Scores [plain seconds] of a recording at 16 kHz that comes in ``chunks`` [samples]."""


def merge_events(
    scores: np.ndarray, duration_s: float, threshold: float, min_event_s: float, max_gap_s: float
) -> tuple[DetectedEvent, ...]:
    """Events from ``scores`` [plain seconds]: runs at or above ``threshold``.

    Runs at most ``max_gap_s`` apart are one event; then events shorter than ``min_event_s`` are
    dropped, unless the recording itself is shorter. The last offset never passes ``duration_s``.
    """
    active = np.flatnonzero(np.asarray(scores) >= threshold)
    runs: list[list[int]] = []
    for second in active.tolist():
        if runs and second - runs[-1][1] <= max_gap_s:
            runs[-1][1] = second + 1
        else:
            runs.append([second, second + 1])
    shortest = min(min_event_s, duration_s)
    events = []
    for first, last in runs:
        offset = min(float(last), duration_s)
        if offset - first >= shortest - 1e-9 or last - first >= min_event_s:
            peak = float(np.max(scores[first:last]))
            events.append(DetectedEvent(float(first), offset, peak))
    return tuple(events)


def detect_file(path: Path, detector: Scorer, config: DetectConfig) -> Detection:
    """Decode and score one file; an error the user can act on becomes ``Detection.error``.

    The file is read block by block: memory grows with its length only by what the detector keeps.
    """
    from crywatch import audio

    try:
        reader = audio.BlockReader(path)
        scores = np.asarray(detector.score_stream(audio.at_rate(reader, RATE_HZ)), dtype=np.float64)
    except (CrywatchError, OSError) as error:
        return Detection(path=str(path), error=str(error))
    duration_s = reader.n_samples / reader.info.rate_hz
    return Detection(
        path=str(path),
        duration_s=round(duration_s, 3),
        cry=float(scores.max()),
        seconds=tuple(Second(float(i), float(score)) for i, score in enumerate(scores)),
        events=merge_events(
            scores, duration_s, config.threshold, config.min_event_s, config.max_gap_s
        ),
        truncated=reader.truncated,
    )


def find_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Files as given; folders give the audio files below them (by suffix), sorted.

    Hidden files are passed over: macOS leaves a "._name.wav" beside each file that it copies.
    """
    for path in paths:
        if path.is_dir():
            yield from sorted(
                file
                for file in path.rglob("*")
                if file.suffix.lower() in AUDIO_SUFFIXES
                and not file.name.startswith(".")
                and file.is_file()
            )
        else:
            yield path


def to_jsonl(detection: Detection) -> str:
    """One line of JSON; a file that could not be decoded has only ``path`` and ``error``."""
    if detection.error is not None:
        return _json({"path": detection.path, "error": detection.error})
    record = asdict(detection)
    for key in ("error", "truncated"):
        record.pop(key)
    return _json(record)


def _json(record: dict) -> str:
    text = json.dumps(record, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        # A file name that is no UTF-8: escaped, a reader gets the very name back.
        return json.dumps(record)
    return text


def to_audacity(detection: Detection) -> str:
    """Audacity's label track: onset, offset, text, separated by tabs. It has no comments."""
    name = Path(detection.path).name
    return "\n".join(
        f"{event.onset_s:.3f}\t{event.offset_s:.3f}\tcry {event.peak:.3f} {name}"
        for event in detection.events
    )


def to_table(detection: Detection) -> str:
    """A line a file: score, seconds at the threshold as events, path."""
    if detection.error is not None:
        return f"{'-':>5}  {'error':<24}  {detection.error}"
    spans = ", ".join(f"{e.onset_s:.0f}-{e.offset_s:.0f} s" for e in detection.events) or "none"
    return f"{detection.cry:5.3f}  {spans:<24}  {detection.path}"


FORMATS: dict[str, Callable[[Detection], str]] = {
    "table": to_table,
    "jsonl": to_jsonl,
    "audacity": to_audacity,
}
TABLE_HEADER = f"{'cry':>5}  {'events':<24}  path"

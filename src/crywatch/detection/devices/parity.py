"""Whether an export says what torch says: on generated seconds, and on the test part."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from crywatch.core.errors import ModelError
from crywatch.data.selection import Source
from crywatch.detection.calibrate.listening import (
    Recording,
    known_clips,
    known_seconds,
    listen,
)
from crywatch.detection.decisions import Decision, Rule, merge_events
from crywatch.detection.detect import THRESHOLD
from crywatch.detection.robust.windowed import WindowedDetector

if TYPE_CHECKING:
    import pandas as pd

PLAIN = Rule(THRESHOLD, THRESHOLD, 1.0, 1.0)  # of a model without a decision
WHOLE = "int8"
GOLDEN, TEST = "golden", "test"  # sound


@dataclass  # not frozen: OmegaConf merges into it
class ParityLimits:
    """Above them a model is not exported."""

    logit: float  # nats, of any window in float
    auc: float  # per second, in whole numbers
    decisions: float  # share of the seconds that are an event to one and none to the other, int8

    def check(self, row: ParityRow) -> None:
        """ModelError for what is not torch's model any more."""
        said = None
        if row.format != WHOLE:
            if not row.logit_difference <= self.logit:
                said = f"logits differ by up to {row.logit_difference:.2g} (limit {self.logit:g})"
        elif row.auc is not None and row.torch_auc is not None:
            if abs(row.auc - row.torch_auc) > self.auc:
                said = f"AUC is {row.auc:.4f}, torch's {row.torch_auc:.4f} (limit {self.auc:g})"
            elif row.decisions_differ > self.decisions:
                share = f"{row.decisions_differ:.2%} of the seconds"
                said = f"{share} are decided otherwise (limit {self.decisions:.2%})"
        if said:
            raise ModelError(f"export: {row.format}: {said}: nothing is written")


@dataclass(frozen=True)
class ParityRow:
    """One format beside torch on the same sound."""

    format: str  # onnx, tflite, int8
    sound: str  # golden, or the part
    seconds: int
    windows: int  # that are not silent
    logit_difference: float  # nats, the highest of all windows
    mean_difference: float  # nats, of all windows
    torch_auc: float | None  # per second; None where a class is missing, or nothing is known
    auc: float | None
    decisions_differ: float  # share of the seconds

    def __str__(self) -> str:
        """For a terminal."""
        line = f"{self.format}, {self.sound}, {self.windows} windows: logits within "
        line += f"{self.logit_difference:.1g}"
        if self.auc is not None:
            line += f", AUC {self.auc:.4f} (torch {self.torch_auc:.4f})"
        if self.sound == TEST:
            line += f", {self.decisions_differ:.2%} of {self.seconds} s decided otherwise"
        return line

    def as_metrics(self) -> dict[str, float]:
        """For the tracking store."""
        names = ("logit_difference", "mean_difference", "torch_auc", "auc", "decisions_differ")
        values = {name: getattr(self, name) for name in names}
        head = f"{self.format}.{self.sound}"
        return {f"{head}.{name}": value for name, value in values.items() if value is not None}

    def as_dict(self) -> dict:
        """For the JSON beside the export."""
        return asdict(self)


class _Recorder(WindowedDetector):
    """A detector whose logits of windows are kept."""

    def __init__(self, detector: WindowedDetector):
        super().__init__(detector.name, 0, detector.rate_hz, detector.context)
        self._detector = detector
        self.logits: list[np.ndarray] = []

    def hear(self, windows: np.ndarray) -> np.ndarray:
        logits = self._detector.hear(windows)
        self.logits.append(np.array(logits))
        return logits


def golden_rows(
    reference: WindowedDetector, others: Mapping[str, WindowedDetector], waves: np.ndarray
) -> list[ParityRow]:
    """Of windows [n, samples]."""
    rows = []
    logits = reference.hear(waves)
    for name, other in others.items():
        difference = np.abs(other.hear(waves) - logits)
        highest, mean = float(difference.max()), float(difference.mean())
        n = len(waves)
        rows.append(ParityRow(name, GOLDEN, n, n, highest, mean, None, None, 0.0))
    return rows


def part_rows(
    reference: WindowedDetector,
    others: Mapping[str, WindowedDetector],
    sources: Sequence[Source],
    most_s: float,
) -> list[ParityRow]:
    """Of the test part, or of about ``most_s`` of it, evenly chosen."""
    clips = known_clips(sources, "test")
    step = max(1, math.ceil(clips["duration_s"].sum() / most_s))
    clips = clips.iloc[::step].reset_index(drop=True)
    ours = _listen(reference, clips, sources, "torch")
    return [
        _row(name, reference.decision, ours, _listen(other, clips, sources, name))
        for name, other in others.items()
    ]


def _listen(
    detector: WindowedDetector, clips: pd.DataFrame, sources: Sequence[Source], what: str
) -> tuple[list[Recording], np.ndarray]:
    recorder = _Recorder(detector)
    recordings = listen(recorder, clips, sources, f"export {what}")
    return recordings, np.concatenate([np.zeros(0, np.float32), *recorder.logits])


def _row(
    name: str,
    decision: Decision | None,
    reference: tuple[list[Recording], np.ndarray],
    other: tuple[list[Recording], np.ndarray],
) -> ParityRow:
    (ours, logits), (theirs, other_logits) = reference, other
    difference = np.abs(other_logits - logits)
    decided = [np.concatenate([_events(r, decision) for r in side]) for side in (ours, theirs)]
    return ParityRow(
        format=name,
        sound=TEST,
        seconds=len(decided[0]),
        windows=len(logits),
        logit_difference=float(difference.max(initial=0)),
        mean_difference=float(difference.mean()) if len(difference) else 0.0,
        torch_auc=_auc(ours),
        auc=_auc(theirs),
        decisions_differ=float(np.mean(decided[0] != decided[1])) if len(decided[0]) else 0.0,
    )


def _events(recording: Recording, decision: Decision | None) -> np.ndarray:
    """[plain seconds] bool: in an event."""
    scores, rule = recording.scores, PLAIN
    if decision is not None:
        scores, rule = decision.calibration(scores), decision.rated().rule
    inside = np.zeros(len(scores), dtype=bool)
    for event in merge_events(scores, recording.duration_s, rule):
        inside[int(event.onset_s) : math.ceil(event.offset_s)] = True
    return inside


def _auc(recordings: Sequence[Recording]) -> float | None:
    from sklearn.metrics import roc_auc_score

    seconds = known_seconds(recordings)
    if len(np.unique(seconds.labels)) < 2:
        return None
    return float(roc_auc_score(seconds.labels, seconds.scores))

"""What a model detects in the recordings of a part.

Each model listens to a clip once: its scores are kept below data/work, by the digests of the model,
the clips, their labels and the code that scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from crywatch.core import paths
from crywatch.core.atomic import atomic_path
from crywatch.core.code import code_sha256
from crywatch.core.digest import value_sha256
from crywatch.core.models import load
from crywatch.core.threads import one_thread
from crywatch.data.selection import Source, strong_labels
from crywatch.data.truth import Interval
from crywatch.detection.calibrate import PLAIN
from crywatch.detection.calibrate.listening import Recording, known_clips, listen
from crywatch.detection.decisions import DetectedEvent, Rule, decision_of, merge_events
from crywatch.detection.detectors import load_detector

CACHE = paths.WORK / "register"


@dataclass(frozen=True)
class Model:
    """A model folder to score recordings with."""

    folder: Path
    digest: str
    what: str  # for the progress bar


@dataclass(frozen=True)
class Detections:
    """The events that a model detects in one recording, by its own decision."""

    recording: Recording
    events: tuple[DetectedEvent, ...]

    @property
    def alarms(self) -> int:
        """Events that touch no cry."""
        return sum(not self._touched(event) for event in self.events)

    @property
    def found(self) -> set[int]:
        """Numbers of the cries that an event touches."""
        return {number for event in self.events for number in self._touched(event)}

    def covers(self, onset_s: float, offset_s: float) -> bool:
        """Whether an event has sound in common with the stretch."""
        return any(e.onset_s < offset_s and e.offset_s > onset_s for e in self.events)

    def _touched(self, event: DetectedEvent) -> list[int]:
        return self.recording.touched(event.onset_s, event.offset_s)


@one_thread()
def detect(model: Model, sources: Sequence[Source], part: str) -> list[Detections]:
    """By ``model`` in every known recording of ``part``."""
    clips = known_clips(sources, part)
    events = strong_labels(source.events for source in sources)
    key = value_sha256(
        [
            model.digest,
            code_sha256(__name__),
            clips[["clip_id", "sha256", "label", "corpus", "group_id"]].values.tolist(),
            events[events["clip_id"].isin(clips["clip_id"])].values.tolist(),
        ]
    )
    file = CACHE / f"{model.digest[:12]}-{part}-{key[:16]}.parquet"
    if file.is_file():
        recordings = _read(file)
    else:
        recordings = listen(load_detector(model.folder), clips, sources, f"{model.what} {part}")
        _write(file, recordings)
    decision = decision_of(load(model.folder).description, str(model.folder))
    rule: Rule = PLAIN if decision is None else decision.rated().rule
    calibrated = (lambda scores: scores) if decision is None else decision.calibration
    return [
        Detections(each, merge_events(calibrated(each.scores), each.duration_s, rule))
        for each in recordings
    ]


def _write(path: Path, recordings: Sequence[Recording]) -> None:
    rows = [vars(each) | {"cries": list(map(vars, each.cries))} for each in recordings]
    with atomic_path(path) as temp:
        pd.DataFrame(rows).to_parquet(temp, index=False)


def _read(path: Path) -> list[Recording]:
    return [
        Recording(**row | {"cries": tuple(Interval(**cry) for cry in row["cries"])})
        for row in pd.read_parquet(path).to_dict("records")
    ]

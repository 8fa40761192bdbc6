"""What a model detects in the recordings of a part.

Each model listens to a clip once: its scores are kept below data/work, by the digests of the model,
the clips, their labels and the code that scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

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

SECONDS = ("scores", "is_cry", "silent")  # what a recording has of each second


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
def detect(
    folder: Path, digest: str, sources: Sequence[Source], part: str, cache: Path, what: str
) -> list[Detections]:
    """By the model at ``folder`` (of that digest) in every known recording of ``part``."""
    clips = known_clips(sources, part)
    events = strong_labels(source.events for source in sources)
    key = value_sha256(
        [
            digest,
            code_sha256(__name__),
            clips[["clip_id", "sha256", "label", "corpus", "group_id"]].values.tolist(),
            events[events["clip_id"].isin(clips["clip_id"])].values.tolist(),
        ]
    )
    file = cache / f"{digest[:12]}-{part}-{key[:16]}.npz"
    if file.is_file():
        recordings = _read(file, clips)
    else:
        recordings = listen(load_detector(folder), clips, sources, f"{what} {part}")
        _write(file, recordings)
    decision = decision_of(load(folder).description, str(folder))
    rule: Rule = PLAIN if decision is None else decision.rated().rule
    calibrated = (lambda scores: scores) if decision is None else decision.calibration
    return [
        Detections(each, merge_events(calibrated(each.scores), each.duration_s, rule))
        for each in recordings
    ]


def _write(path: Path, recordings: Sequence[Recording]) -> None:
    """Arrays end to end, and how long each is."""
    cries = [[(cry.onset_s, cry.offset_s) for cry in each.cries] for each in recordings]
    arrays = {
        name: np.concatenate([getattr(each, name) for each in recordings] or [[]])
        for name in SECONDS
    }
    arrays |= {
        "seconds": np.array([len(each.scores) for each in recordings]),
        "duration_s": np.array([each.duration_s for each in recordings]),
        "strong": np.array([each.strong for each in recordings]),
        "n_cries": np.array([len(times) for times in cries]),
        "cries": np.array([pair for times in cries for pair in times]).reshape(-1, 2),
    }
    with atomic_path(path) as temp, open(temp, "wb") as sink:
        np.savez(sink, **arrays)  # type: ignore[arg-type]  # NumPy's stub takes them for flags


def _read(path: Path, clips: pd.DataFrame) -> list[Recording]:
    with np.load(path, allow_pickle=False) as stored:
        values = dict(stored)
    ends = np.cumsum(values["seconds"])[:-1]
    parts = {name: np.split(values[name], ends) for name in SECONDS}
    cries = np.split(values["cries"], np.cumsum(values["n_cries"])[:-1])
    names = zip(clips["clip_id"], clips["corpus"], clips["group_id"], strict=True)
    return [
        Recording(
            clip_id=clip_id,
            corpus=corpus,
            group_id=group_id,
            duration_s=float(values["duration_s"][n]),
            strong=bool(values["strong"][n]),
            cries=tuple(Interval(*times) for times in cries[n].tolist()),
            **{name: part[n] for name, part in parts.items()},
        )
        for n, (clip_id, corpus, group_id) in enumerate(names)
    ]

"""Detectors: a model folder as something that scores the plain seconds of a recording.

Here are the contract (`Detector`), what all kinds share (a long recording taken block by block),
and `load_detector`. Each kind has its module beside its network, named in `DETECTORS` and imported
only when a folder of that kind is opened.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from crywatch.audio.segments import RATE_HZ
from crywatch.core import params
from crywatch.core.errors import ModelError
from crywatch.core.models import REMAKE, ModelFolder, load
from crywatch.core.project import root
from crywatch.detection.decisions import Decision, decision_of
from crywatch.detection.detect import DetectConfig, Detection, detect_file, detect_wave

BATCH = 256  # segments
BLOCK_S = 300.0  # of a long recording, taken at a time
DETECTORS = {  # kind of a model folder: "module:class"
    "blazenet": "crywatch.detection.blazenet.detector:BlazeNetDetector",
    "rtfm": "crywatch.detection.anomaly.detector:RtfmDetector",
    "robust": "crywatch.detection.robust.detector:RobustDetector",
    "fused": "crywatch.detection.peer.detector:open_model",
    "svc": "crywatch.detection.baselines.detectors:SvcDetector",
    "dense": "crywatch.detection.baselines.detectors:DenseDetector",
    "cnn": "crywatch.detection.baselines.detectors:CnnDetector",
    "app": "crywatch.detection.baselines.detectors:AppDetector",
}
SIDECAR = "sidecar.json"  # of a folder that `crywatch export` wrote
EXPORTED = "crywatch.detection.devices.detector:ExportedDetector"


class Detector(ABC):
    """Scores of the plain seconds of a recording at 16 kHz."""

    decision: Decision | None = None  # of a calibrated model; scores are as they were before
    lookahead_s: float = 0.0  # of sound after a second that its score waits for
    config = DetectConfig(model="", threshold=None, min_event_s=1.0, max_gap_s=1.0)  # of `detect`

    def __init__(self, name: str, n_parameters: int):
        self.name = name
        self.n_parameters = n_parameters

    def speed_up(self) -> None:
        """Go on with the fastest runtime at hand: logits are equal within 1e-4, bytes are not."""
        return

    def score(self, wave: np.ndarray) -> np.ndarray:
        """[samples] float32 at 16 kHz to [plain seconds] in 0..1."""
        return self.score_stream([wave])

    @abstractmethod
    def score_stream(self, chunks: Iterable[np.ndarray]) -> np.ndarray:
        """The same of a recording that comes in ``chunks`` [samples], which are not kept."""

    def detect(self, sound: Path | str | np.ndarray, rate_hz: int = RATE_HZ) -> Detection:
        """Scores of the seconds of ``sound``, and its events as `config` and the model decide.

        ``sound`` is a file, or [samples] or [samples, channels] in -1..1 at ``rate_hz``. A file
        that cannot be read is `Detection.error`; an array that is no sound an AudioError.
        """
        if isinstance(sound, np.ndarray):
            return detect_wave(sound, rate_hz, self, self.config)
        return detect_file(Path(sound), self, self.config)


class FeatureDetector(Detector):
    """A detector whose network has numbers for a second, on which an anomaly head can sit."""

    def features(self, wave: np.ndarray) -> np.ndarray:
        """[samples] at 16 kHz to [plain seconds, 224]."""
        return self.features_stream([wave])

    @abstractmethod
    def features_stream(self, chunks: Iterable[np.ndarray]) -> np.ndarray:
        """The same of a recording that comes in ``chunks`` [samples]."""


@dataclass(frozen=True)
class Block:
    """A stretch of a recording with some segments of its surroundings on both sides."""

    wave: np.ndarray  # [samples] at 16 kHz
    first: int  # segment of ``wave`` that counts
    last: int | None  # the one after the last that counts; None at the recording's end


def blocks(
    chunks: Iterable[np.ndarray], segment_s: float, margin_segments: int = 1
) -> Iterator[Block]:
    """The recording in blocks of whole segments; a short one is one block.

    A block is resampled with what surrounds it, so that it has no edges of the filter inside.
    """
    segment = round(segment_s * RATE_HZ)
    margin = margin_segments * segment
    size = segment * max(1, int(BLOCK_S // segment_s))
    parts: list[np.ndarray] = []
    count = left = 0
    for chunk in chunks:
        parts.append(chunk)
        count += len(chunk)
        # What is left for the last block is longer than a segment, so that its tail counts right.
        if count < left + size + 2 * margin:
            continue
        wave = np.concatenate(parts)
        while len(wave) >= left + size + 2 * margin:
            end = left + size
            yield Block(wave[: end + margin], left // segment, end // segment)
            wave, left = wave[end - margin :], margin
        parts, count = [wave.copy()], len(wave)
    yield Block(np.concatenate(parts), left // segment, None)


class CountedChunks:
    """Chunks that pass by, and how many samples they held."""

    def __init__(self, chunks: Iterable[np.ndarray]):
        self._chunks = chunks
        self.n_samples = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for chunk in self._chunks:
            self.n_samples += len(chunk)
            yield chunk


def detector_of(model: ModelFolder) -> Detector:
    """The detector of a model's kind, from its weights; ModelError where they do not fit."""
    kind = _imported(DETECTORS[model.description["kind"]])
    with _fitting(model):
        return kind(model)


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


@contextmanager
def _fitting(model: ModelFolder) -> Iterator[None]:
    """Errors of libraries are the model's: what it says of itself does not fit its weights."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as e:
        raise ModelError(f"{model.folder}: {type(e).__name__}: {e}: {REMAKE}") from e


def load_detector(folder: Path | str | None = None) -> Detector:
    """The detector in a model folder or an exported one; ModelError if none is there or fits.

    Without a folder it is the one that section ``detect`` of params.yaml names, in the project
    around the current folder, and it decides as that section says, on the fastest runtime at hand.
    """
    if folder is None:
        config = params.section("detect", DetectConfig, root() / params.PARAMS_FILE)
        detector = load_detector(root() / config.model)
        config.rule(detector.decision)  # a decision that the model does not have is refused here
        detector.config = config
        detector.speed_up()
        return detector
    if (Path(folder) / SIDECAR).is_file():
        return _imported(EXPORTED)(Path(folder))
    return load_on_torch(folder)


def load_on_torch(folder: Path | str) -> Detector:
    """The detector of a model folder's weights, whether an export lies beside them or not."""
    model = load(folder)
    kind = model.description["kind"]
    if kind not in DETECTORS:
        raise ModelError(
            f"{folder}: a model of kind {kind!r} embeds infants and is no detector; "
            f"{', '.join(DETECTORS)} are, such as those in data/train_blazenet"
        )
    detector = detector_of(model)
    with _fitting(model):  # some settings meet the weights at the first sound
        detector.score(np.full(RATE_HZ, 0.01, dtype=np.float32))
    detector.decision = decision_of(model.description, str(folder))
    return detector

"""Detectors: a model folder as something that scores the plain seconds of a recording."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from crywatch.audio.decode import resample
from crywatch.audio.segments import RATE_HZ, n_segments, segments_to_seconds
from crywatch.core.errors import ModelError
from crywatch.core.models import REMAKE, ModelFolder, load
from crywatch.detection.anomaly.network import RtfmNetwork, n_parameters
from crywatch.detection.blazenet.frontend import FrontEndConfig, from_wave
from crywatch.detection.blazenet.network import FEATURES, BlazeNet, cry_probability
from crywatch.detection.decisions import Decision, decision_of
from crywatch.detection.robust.context import (
    ContextConfig,
    pooled,
    probabilities,
    window_logits,
    windows,
)
from crywatch.detection.robust.frontend import picture_config
from crywatch.detection.robust.frontend import pictures as robust_pictures
from crywatch.detection.systems import System

BATCH = 256  # segments
BLOCK_S = 300.0  # of a long recording, taken at a time


class Detector(ABC):
    """Scores of the plain seconds of a recording at 16 kHz."""

    decision: Decision | None = None  # of a calibrated model; scores are as they were before
    lookahead_s: float = 0.0  # of sound after a second that its score waits for

    def __init__(self, name: str, n_parameters: int):
        self.name = name
        self.n_parameters = n_parameters

    def score(self, wave: np.ndarray) -> np.ndarray:
        """[samples] float32 at 16 kHz to [plain seconds] in 0..1."""
        return self.score_stream([wave])

    @abstractmethod
    def score_stream(self, chunks: Iterable[np.ndarray]) -> np.ndarray:
        """The same of a recording that comes in ``chunks`` [samples], which are not kept."""


class BlazeNetDetector(Detector):
    """The classifier alone; a second of a 5 s front end has the score of its segment."""

    def __init__(self, model: ModelFolder):
        self.front_end = FrontEndConfig(**model.setting("frontend"))
        self.network = BlazeNet()
        model.fill(self.network, "backbone")
        self.network.eval()
        super().__init__(model.setting("name"), n_parameters(self.network))

    @torch.inference_mode()
    def score_stream(self, chunks: Iterable[np.ndarray]) -> np.ndarray:
        counted = _Counted(chunks)
        scores = self._segments(counted, lambda batch: cry_probability(self.network(batch)))
        n_seconds = n_segments(counted.n_samples)
        return segments_to_seconds(scores, self.front_end.segment_s, n_seconds)

    def pictures(self, wave: np.ndarray) -> np.ndarray:
        """[samples] at 16 kHz to [segments, bands, frames], what the network is given."""
        return from_wave(wave, self.front_end).numpy()

    def features(self, wave: np.ndarray) -> np.ndarray:
        """[samples] at 16 kHz to [plain seconds, 224]."""
        return self.features_stream([wave])

    @torch.inference_mode()
    def features_stream(self, chunks: Iterable[np.ndarray]) -> np.ndarray:
        """The same of a recording that comes in ``chunks`` [samples]."""
        return self._segments(chunks, self.network.features)

    def _segments(
        self, chunks: Iterable[np.ndarray], forward: Callable[[torch.Tensor], torch.Tensor]
    ) -> np.ndarray:
        """What ``forward`` makes of the pictures of all segments [segments, ...]."""
        parts = []
        for block in _blocks(chunks, self.front_end.segment_s):
            pictures = from_wave(block.wave, self.front_end)[block.first : block.last]
            parts += [forward(batch).numpy() for batch in pictures.split(BATCH)]
        return np.concatenate(parts)


class RobustDetector(Detector):
    """BlazeNet on level-free pictures; a second listens to the windows around it."""

    def __init__(self, model: ModelFolder):
        self.front_end = picture_config(model.setting("frontend"))
        self.context = ContextConfig(**model.setting("context"))
        self.lookahead_s = self.context.farthest_s
        self.network = BlazeNet()
        model.fill(self.network, "backbone")
        self.network.eval()
        super().__init__(model.setting("name"), n_parameters(self.network))

    def score_stream(self, chunks: Iterable[np.ndarray]) -> np.ndarray:
        # What the last second of a block hears, and a second for the edges of the resampler.
        margin_s = 1 + math.ceil(self.context.farthest_s)
        parts = []
        for block in _blocks(chunks, 1.0, margin_s):
            logits = window_logits(
                self.network, self._low(block.wave), self.front_end, self.context.hops
            )
            parts.append(pooled(logits, self.context)[block.first : block.last])
        return probabilities(np.concatenate(parts))

    def pictures(self, wave: np.ndarray) -> np.ndarray:
        """[samples] at 16 kHz to [plain seconds, bands, frames], what the network is given."""
        seconds = windows(self._low(wave), self.front_end.rate_hz, 1)
        return robust_pictures(seconds, self.front_end).numpy()

    def features(self, wave: np.ndarray) -> np.ndarray:
        """[samples] at 16 kHz to [plain seconds, 224], of each second's own window."""
        return self.features_stream([wave])

    @torch.inference_mode()
    def features_stream(self, chunks: Iterable[np.ndarray]) -> np.ndarray:
        """The same of a recording that comes in ``chunks`` [samples]."""
        parts = []
        for block in _blocks(chunks, 1.0):
            seconds = windows(self._low(block.wave), self.front_end.rate_hz, 1)
            for batch in seconds[block.first : block.last].split(BATCH):
                seen = robust_pictures(batch, self.front_end)
                parts.append(self.network.features(seen).numpy())
        return np.concatenate(parts) if parts else np.zeros((0, FEATURES), dtype=np.float32)

    def _low(self, wave: np.ndarray) -> np.ndarray:
        """At the front end's rate, with exactly the seconds that 16 kHz counts."""
        samples = n_segments(len(wave)) * self.front_end.rate_hz
        low = resample(wave, RATE_HZ, self.front_end.rate_hz)[:samples]
        return np.pad(low, (0, samples - len(low)))


class RtfmDetector(Detector):
    """The anomaly head over a frozen network or over an embedder."""

    def __init__(self, model: ModelFolder):
        self.head = RtfmNetwork(model.setting("dim"))
        model.fill(self.head, "head")
        self.head.eval()
        count = n_parameters(self.head)
        if "backbone" in model.description:
            backbone = {k: v for k, v in model.weights.items() if k.startswith("backbone.")}
            inner = _network(ModelFolder(model.description["backbone"], backbone, model.folder))
            self._features = inner.features_stream
            count += inner.n_parameters
        else:
            self._features = _embedder_features(model)
        super().__init__(model.setting("name"), count)

    def score_stream(self, chunks: Iterable[np.ndarray]) -> np.ndarray:
        from crywatch.detection.anomaly.training import score_seconds

        return score_seconds(self.head, self._features(chunks))


def _network(model: ModelFolder) -> BlazeNetDetector | RobustDetector:
    """A detector that has numbers for a second; ModelError for another kind."""
    kinds = {"blazenet": BlazeNetDetector, "robust": RobustDetector}
    kind = model.description.get("kind", "blazenet")
    if kind not in kinds:
        raise ModelError(f"{model.folder}: no head sits on a backbone of kind {kind!r}: {REMAKE}")
    return kinds[kind](model)


def _embedder_features(model: ModelFolder) -> Callable[[Iterable[np.ndarray]], np.ndarray]:
    """Chunks [samples] at 16 kHz to [plain seconds, dim], by the embedder the head was trained on.

    The handle may lead to other weights by now (a folder that was replaced): then the head would
    score numbers that it has never seen.
    """
    from crywatch.detection.embedders import EmbedderConfig, build

    told = model.setting("embedder")
    named = {k: told[k] for k in ("name", "dim", "handle")}
    embedder = build(EmbedderConfig(**named, pca=told.get("pca", "")))
    if told.get("digest", embedder.digest) != embedder.digest:
        raise ModelError(
            f"{model.folder}: made with other weights of {told['name']} than embedder.handle "
            f"{told['handle']!r} leads to now: put those back, or run `dvc repro`"
        )

    def features(chunks: Iterable[np.ndarray]) -> np.ndarray:
        blocks = _blocks(chunks, 1.0)
        return np.concatenate([embedder.embed(b.wave)[b.first : b.last] for b in blocks])

    return features


@dataclass(frozen=True)
class _Block:
    """A stretch of a recording with some segments of its surroundings on both sides."""

    wave: np.ndarray  # [samples] at 16 kHz
    first: int  # segment of ``wave`` that counts
    last: int | None  # the one after the last that counts; None at the recording's end


def _blocks(
    chunks: Iterable[np.ndarray], segment_s: float, margin_segments: int = 1
) -> Iterator[_Block]:
    """The recording in blocks of whole segments; a short one is one block.

    A block is resampled with what surrounds it, so that it has no edges of the filter inside.
    """
    segment = round(segment_s * RATE_HZ)
    margin = margin_segments * segment
    size = segment * max(1, int(BLOCK_S // segment_s))
    held: list[np.ndarray] = []
    count = left = 0
    for chunk in chunks:
        held.append(chunk)
        count += len(chunk)
        # What is left for the last block is longer than a segment, so that its tail counts right.
        if count < left + size + 2 * margin:
            continue
        wave = np.concatenate(held)
        while len(wave) >= left + size + 2 * margin:
            end = left + size
            yield _Block(wave[: end + margin], left // segment, end // segment)
            wave, left = wave[end - margin :], margin
        held, count = [wave.copy()], len(wave)
    yield _Block(np.concatenate(held), left // segment, None)


class _Counted:
    """Chunks that pass by, and how many samples they held."""

    def __init__(self, chunks: Iterable[np.ndarray]):
        self._chunks = chunks
        self.n_samples = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for chunk in self._chunks:
            self.n_samples += len(chunk)
            yield chunk


def load_detector(folder: Path | str) -> Detector:
    """The detector in a model folder; ModelError if there is none or it does not fit."""
    from crywatch.detection.baselines import detectors as baselines

    model = load(folder)
    kinds = {"blazenet": BlazeNetDetector, "rtfm": RtfmDetector, "robust": RobustDetector}
    kinds |= {
        "svc": baselines.SvcDetector,
        "dense": baselines.DenseDetector,
        "cnn": baselines.CnnDetector,
    }
    kind = model.description["kind"]
    if kind not in kinds:
        raise ModelError(
            f"{folder}: a model of kind {kind!r} embeds infants and is no detector; "
            f"{', '.join(kinds)} are, such as those in data/train_blazenet"
        )
    try:
        detector = kinds[kind](model)
        detector.decision = decision_of(model.description, str(folder))
        return detector
    except (KeyError, TypeError) as error:
        raise ModelError(f"{folder}: {type(error).__name__}: {error}: {REMAKE}") from error


def load_system(system: System) -> Detector:
    """The detector of a system: its model folder, or YAMNet as it is."""
    if system.family != "yamnet":
        return load_detector(system.source)
    from crywatch.detection.baselines.zero_shot import YamnetDetector

    return YamnetDetector(system)

"""Detectors: a model folder as something that scores the plain seconds of a recording."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from crywatch.anomaly.network import RtfmNetwork, n_parameters
from crywatch.blazenet.frontend import FrontEndConfig, from_wave
from crywatch.blazenet.network import BlazeNet, cry_probability
from crywatch.errors import ModelError
from crywatch.models import REMAKE, ModelFolder, load
from crywatch.segments import RATE_HZ, n_segments, segments_to_seconds

BATCH = 256  # segments
BLOCK_S = 300.0  # of a long recording, taken at a time


class Detector(ABC):
    """Scores of the plain seconds of a recording at 16 kHz."""

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


class RtfmDetector(Detector):
    """The anomaly head over a frozen BlazeNet or over an embedder."""

    def __init__(self, model: ModelFolder):
        self.head = RtfmNetwork(model.setting("dim"))
        model.fill(self.head, "head")
        self.head.eval()
        count = n_parameters(self.head)
        if "backbone" in model.description:
            backbone = {k: v for k, v in model.weights.items() if k.startswith("backbone.")}
            inner = BlazeNetDetector(
                ModelFolder(model.description["backbone"], backbone, model.folder)
            )
            self._features = inner.features_stream
            count += inner.n_parameters
        else:
            self._features = _embedder_features(model)
        super().__init__(model.setting("name"), count)

    def score_stream(self, chunks: Iterable[np.ndarray]) -> np.ndarray:
        from crywatch.anomaly.training import score_seconds

        return score_seconds(self.head, self._features(chunks))


def _embedder_features(model: ModelFolder) -> Callable[[Iterable[np.ndarray]], np.ndarray]:
    """Chunks [samples] at 16 kHz to [plain seconds, dim], by the embedder the head was trained on.

    The handle may lead to other weights by now (a folder that was replaced): then the head would
    score numbers that it has never seen.
    """
    from crywatch.embedders import EmbedderConfig, build

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
    """A stretch of a recording with a segment of its surroundings on both sides."""

    wave: np.ndarray  # [samples] at 16 kHz
    first: int  # segment of ``wave`` that counts
    last: int | None  # the one after the last that counts; None at the recording's end


def _blocks(chunks: Iterable[np.ndarray], segment_s: float) -> Iterator[_Block]:
    """The recording in blocks of whole segments; a short one is one block.

    A block is resampled with what surrounds it, so that it has no edges of the filter inside.
    """
    margin = round(segment_s * RATE_HZ)
    size = margin * max(1, int(BLOCK_S // segment_s))
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
            yield _Block(wave[: end + margin], left // margin, end // margin)
            wave, left = wave[end - margin :], margin
        held, count = [wave.copy()], len(wave)
    yield _Block(np.concatenate(held), left // margin, None)


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
    model = load(folder)
    kinds = {"blazenet": BlazeNetDetector, "rtfm": RtfmDetector}
    kind = model.description["kind"]
    if kind not in kinds:
        raise ModelError(
            f"{folder}: a model of kind {kind!r} embeds infants and is no detector; "
            f"{', '.join(kinds)} are, such as those in data/train_blazenet"
        )
    try:
        return kinds[kind](model)
    except (KeyError, TypeError) as error:
        raise ModelError(f"{folder}: {type(error).__name__}: {error}: {REMAKE}") from error

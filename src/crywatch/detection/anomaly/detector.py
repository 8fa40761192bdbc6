"""The anomaly head as a detector, over a frozen network or over an embedder."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from crywatch.core.errors import ModelError
from crywatch.core.models import REMAKE, ModelFolder, n_parameters
from crywatch.detection.anomaly.network import head_of, score_seconds
from crywatch.detection.detectors import (
    Detector,
    FeatureDetector,
    blocks,
    detector_of,
)


class RtfmDetector(Detector):
    """The anomaly head over a frozen network or over an embedder."""

    def __init__(self, model: ModelFolder):
        self.head = head_of(model)
        count = n_parameters(self.head)
        self._features: Callable[[Iterable[np.ndarray]], np.ndarray]
        if "backbone" in model.description:
            backbone = {k: v for k, v in model.weights.items() if k.startswith("backbone.")}
            description = {"kind": "blazenet"} | model.description["backbone"]
            inner = _backbone(ModelFolder(description, backbone, model.folder))
            self._features = inner.features_stream
            count += inner.n_parameters
        else:
            self._features = _embedder_features(model)
        super().__init__(model.setting("name"), count)

    def score_stream(self, chunks: Iterable[np.ndarray]) -> np.ndarray:
        return score_seconds(self.head, self._features(chunks))


def _backbone(model: ModelFolder) -> FeatureDetector:
    """A detector that has numbers for a second; ModelError for another kind."""
    kind = model.description["kind"]
    detector = detector_of(model) if kind in ("blazenet", "robust") else None
    if not isinstance(detector, FeatureDetector):
        raise ModelError(f"{model.folder}: no head sits on a backbone of kind {kind!r}: {REMAKE}")
    return detector


def _embedder_features(model: ModelFolder) -> Callable[[Iterable[np.ndarray]], np.ndarray]:
    """Chunks [samples] at 16 kHz to [plain seconds, dim], by the embedder the head was trained on.

    The handle may lead to other weights by now (a folder that was replaced): then the head would
    score numbers that it has never seen.
    """
    from crywatch.detection.embedders import EmbedderConfig, build

    stored = model.setting("embedder")
    config = {key: stored[key] for key in ("name", "dim", "handle")}
    embedder = build(EmbedderConfig(**config, pca=stored.get("pca", "")))
    if stored.get("digest", embedder.digest) != embedder.digest:
        raise ModelError(
            f"{model.folder}: made with other weights of {stored['name']} than embedder.handle "
            f"{stored['handle']!r} leads to now: put those back, or run `dvc repro`"
        )

    def features(chunks: Iterable[np.ndarray]) -> np.ndarray:
        return np.concatenate(
            [embedder.embed(b.wave)[b.first : b.last] for b in blocks(chunks, 1.0)]
        )

    return features

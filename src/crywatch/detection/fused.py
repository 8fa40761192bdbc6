"""Two detectors as one: the weighted mean of their logits, second by second."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from crywatch.detection.decisions import expit, logit
from crywatch.detection.detectors import Detector, blocks

MARGIN_SEGMENTS = 8  # plain seconds around a block: more than any detector here listens to
YAMNET_SHARE = 0.2  # chosen on validation: docs/experiments.md


class FusedDetector(Detector):
    """``first`` and ``second``, whose logits weigh ``share``."""

    def __init__(self, name: str, first: Detector, second: Detector, share: float = YAMNET_SHARE):
        super().__init__(name, first.n_parameters + second.n_parameters)
        self._weights = {first: 1 - share, second: share}
        self.lookahead_s = max(first.lookahead_s, second.lookahead_s)

    def speed_up(self) -> None:
        for detector in self._weights:
            detector.speed_up()

    def score_stream(self, chunks: Iterable[np.ndarray]) -> np.ndarray:
        parts = []
        for block in blocks(chunks, 1.0, MARGIN_SEGMENTS):
            weighted = [w * logit(each.score(block.wave)) for each, w in self._weights.items()]
            parts.append(np.sum(weighted, axis=0)[block.first : block.last])
        return expit(np.concatenate(parts))

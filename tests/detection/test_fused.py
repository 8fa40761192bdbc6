"""Fused detectors: the weighted mean of two logits, also of a recording that comes in pieces."""

from __future__ import annotations

import numpy as np
import pytest

from crywatch.audio.segments import n_segments
from crywatch.detection import detectors
from crywatch.detection.decisions import expit, logit
from crywatch.detection.detectors import Detector
from crywatch.detection.fused import FusedDetector


class Neighbourly(Detector):
    """The loudest sample of a second and of the two around it."""

    lookahead_s = 1.0

    def score_stream(self, chunks):
        wave = np.concatenate(list(chunks))
        padded = np.zeros(n_segments(len(wave)) * 16_000, dtype=np.float32)
        padded[: len(wave)] = wave[: len(padded)]
        loudest = np.pad(np.abs(padded).reshape(-1, 16_000).max(axis=1), 1)
        return np.max([loudest[:-2], loudest[1:-1], loudest[2:]], axis=0).astype(np.float64)


class Sure(Detector):
    """Sure of a cry wherever there is a sample."""

    def score_stream(self, chunks):
        return np.ones(n_segments(sum(map(len, chunks))))


@pytest.fixture
def fused():
    return FusedDetector("fused/x", Neighbourly("a", 3), Sure("b", 4), share=0.25)


def test_a_score_is_the_weighted_mean_of_both_logits(fused):
    wave = np.repeat(np.linspace(0.1, 0.8, 5, dtype=np.float32), 16_000)
    nats = 0.75 * logit(Neighbourly("a", 3).score(wave)) + 0.25 * logit(1.0)
    np.testing.assert_allclose(fused.score(wave), expit(nats))
    assert (fused.n_parameters, fused.lookahead_s) == (7, 1.0)
    assert fused.score(wave[:0]).shape == (0,)


@pytest.mark.parametrize("n_samples", [30 * 16_000, 47 * 16_000 + 9_000])
def test_blocks_change_nothing(fused, monkeypatch, n_samples):
    wave = np.random.default_rng(1).uniform(-1, 1, n_samples).astype(np.float32)
    wave *= np.repeat(np.random.default_rng(2).random(48), 16_000)[:n_samples].astype(np.float32)
    whole = fused.score(wave)
    monkeypatch.setattr(detectors, "BLOCK_S", 10.0)
    pieces = (wave[start : start + 7_000] for start in range(0, n_samples, 7_000))
    assert np.array_equal(fused.score_stream(pieces), whole)

"""What a fine-tuned network must beat: waves to vectors without having heard an infant."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from crywatch.audio.compiled import librosa
from crywatch.audio.segments import RATE_HZ
from crywatch.detection.embedders.base import EmbedderConfig
from crywatch.detection.embedders.logmel import BANDS, HOP, WINDOW, LogMel
from crywatch.speaker.batches import Embed

COEFFICIENTS = 20


def logmel_statistics(wave: np.ndarray) -> np.ndarray:
    """[samples] at 16 kHz to [128]: mean and deviation over the sound of 64 log-mel bands."""
    embedder = LogMel(EmbedderConfig("logmel", 2 * BANDS, ""))
    return embedder.embed_seconds(_at_least_a_frame(wave)[None])[0]


def mfcc_statistics(wave: np.ndarray) -> np.ndarray:
    """[samples] at 16 kHz to [38]: mean and deviation of 19 MFCCs; the 20th, the level, is out."""
    mfcc = librosa().feature.mfcc(
        y=_at_least_a_frame(wave),
        sr=RATE_HZ,
        n_mfcc=COEFFICIENTS,
        n_fft=512,
        win_length=WINDOW,
        hop_length=HOP,
        n_mels=BANDS,
        center=False,
    )[1:]
    return np.concatenate([mfcc.mean(axis=1), mfcc.std(axis=1)]).astype(np.float32)


def random_network(channels: int, seed: int) -> Embed:
    """An ECAPA-TDNN that has learnt nothing."""
    from crywatch.speaker.ecapa import RANDOM, EcapaConfig, build

    return build(EcapaConfig(RANDOM, channels, []), seed).embed


def each(vector: Callable[[np.ndarray], np.ndarray]) -> Embed:
    """A function of one wave as one of several: [samples] each to [waves, dim]."""

    def embed(waves: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([vector(wave) for wave in waves])

    return embed


def standardised(embed: Embed, cohort: Sequence[np.ndarray]) -> Embed:
    """``embed`` less the mean over ``cohort`` (waves), over the deviation.

    Statistics of spectra point one way for all sounds, so that their cosines say little; a cohort
    of the training part sets the origin and the units. A number that never changes stays 0.
    """
    mean, deviation = origin_and_units(embed(cohort))
    return lambda waves: (np.asarray(embed(waves), dtype=np.float64) - mean) / deviation


def origin_and_units(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation [dim] over ``vectors`` [n, dim]; infinite where a number is constant."""
    vectors = np.asarray(vectors, dtype=np.float64)
    mean, deviation = vectors.mean(axis=0), vectors.std(axis=0)
    return mean, np.where(deviation > 1e-9, deviation, np.inf)


def _at_least_a_frame(wave: np.ndarray) -> np.ndarray:
    """``wave``, repeated or silent up to one frame where it is shorter."""
    wave = np.asarray(wave, dtype=np.float32)
    return wave if len(wave) >= 512 else np.resize(wave, 512)

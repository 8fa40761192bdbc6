"""Adaptive S-norm: how far a clip is, compared with how far others are.

After Matejka et al. (Interspeech 2017), for distances: (s - mean) / deviation, once over the
cohort's clips nearest to this infant's model, once over the cohort's models nearest to this clip,
and the mean of both. A cohort of infants that are neither baselines nor tests is fixed, so clips of
one infant stay exchangeable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crywatch.core.errors import ConfigError
from crywatch.infants.models.contract import Arrays, Baseline, InfantModel

_LEAST_DEVIATION = 1e-6
_MODELS = 512  # scored against the cohort at once
_MEAN, _DEVIATION, _OWN = "cohort_mean", "cohort_deviation", "cohort_own"


@dataclass
class CohortConfig:
    """Section ``cohort``."""

    top_k: int  # nearest of the cohort that count, all where there are fewer; 0: no normalisation
    infants: int  # at most, drawn by their names
    clips: int  # of each at most, spread over its clips

    def __post_init__(self) -> None:
        if self.top_k < 0 or self.top_k == 1 or self.infants < 2 or self.clips < 1:
            raise ConfigError(
                f"cohort: top_k {self.top_k} must be 0 or at least 2, infants {self.infants} at "
                f"least 2, clips {self.clips} at least 1"
            )


class SNormalised(InfantModel):
    """Another model whose scores are normalised against a cohort.

    An infant that is in the cohort itself is left out of its own comparison.
    """

    def __init__(self, inner: InfantModel, cohort: Sequence[Baseline], config: CohortConfig):
        # By digest: the first names would all be of one corpus.
        drawn = sorted(cohort, key=_digest)[: config.infants]
        chosen = sorted(drawn, key=lambda baseline: baseline.infant_id)
        # One more than counts, for the one that is left out.
        self._top_k = min(config.top_k, len(chosen) - 1)
        if self._top_k < 2:
            raise ConfigError(
                f"cohort.top_k is {config.top_k} with {len(chosen)} infants in the cohort: S-norm "
                "needs at least 2 and 3; name more infants, or set it to 0"
            )
        self.inner, self.config = inner, config
        self.name = inner.name
        self._ids = {baseline.infant_id: row for row, baseline in enumerate(chosen)}
        members = [baseline.only(_spread(len(baseline), config.clips)) for baseline in chosen]
        self._clips = np.concatenate([baseline.vectors for baseline in members])
        self._owner = np.repeat(np.arange(len(members)), list(map(len, members)))
        self._models = inner.fit(members)

    @property
    def digest(self) -> str:
        """SHA-256 of the cohort's clips: models are normalised against this cohort alone."""
        digest = hashlib.sha256(repr((self.config, list(self._ids))).encode())
        digest.update(np.ascontiguousarray(self._clips).tobytes())
        return digest.hexdigest()

    def fit(self, baselines: Sequence[Baseline]) -> list[Arrays]:
        """The inner model's arrays, and mean and deviation of the cohort's nearest clips."""
        fitted = self.inner.fit(baselines)
        out: list[Arrays] = []
        for first in range(0, len(fitted), _MODELS):
            models = fitted[first : first + _MODELS]
            own = [self._ids.get(b.infant_id, -1) for b in baselines[first : first + _MODELS]]
            scores = self.inner.cross(models, self._clips)
            scores[np.equal(self._owner, np.array(own)[:, None])] = np.inf
            mean, deviation = _nearest(scores, self._top_k)
            for row, model in enumerate(models):
                values = (mean[row], deviation[row], own[row])
                named = zip((_MEAN, _DEVIATION, _OWN), values, strict=True)
                out.append(model | {name: np.array([value]) for name, value in named})
        return out

    def score(self, models: Sequence[Arrays], clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The mean of both normalisations."""
        if not models:
            return []
        sizes = [len(part) for part in clips]
        plain = np.concatenate(self.inner.score(models, clips))
        owner = np.repeat(np.arange(len(models)), sizes)
        against = self.inner.cross(self._models, np.concatenate(clips)).T
        own = np.concatenate([model[_OWN] for model in models])[owner]
        inside = np.flatnonzero(own >= 0)
        against[inside, own[inside]] = np.inf
        clip_mean, clip_deviation = _nearest(against, self._top_k)
        mean = np.concatenate([model[_MEAN] for model in models])[owner]
        deviation = np.concatenate([model[_DEVIATION] for model in models])[owner]
        scores = ((plain - mean) / deviation + (plain - clip_mean) / clip_deviation) / 2
        return np.split(scores, np.cumsum(sizes)[:-1])


def _nearest(scores: np.ndarray, top_k: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation [rows] of the ``top_k`` lowest of each row."""
    lowest = np.partition(scores, top_k - 1, axis=1)[:, :top_k]
    return lowest.mean(axis=1), np.maximum(lowest.std(axis=1), _LEAST_DEVIATION)


def _digest(baseline: Baseline) -> str:
    return hashlib.sha256(baseline.infant_id.encode()).hexdigest()


def _spread(n: int, most: int) -> np.ndarray:
    """At most ``most`` of ``n`` row numbers, evenly."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))

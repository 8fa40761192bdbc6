"""Following infants: what moves a baseline, what does not, and what it costs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from crywatch.errors import ConfigError, ModelError
from crywatch.infants.contract import Baseline
from crywatch.infants.cosine import Cosine, unit
from crywatch.infants.gate import Gate, Head
from crywatch.infants.mahalanobis import Mahalanobis, MahalanobisConfig
from crywatch.infants.updating import Band, Follower, Observation, Refit, UpdatingConfig
from infants_cases import conformal

DIM = 24
START = datetime(2024, 1, 1, tzinfo=UTC)
PASSES = Gate(cry=None, distress=None, least_p=0.02)


def updating(**changes) -> UpdatingConfig:
    given = {
        "refit_after": 4,
        "clips": 40,
        "repeat_cosine": 0.999,
        "watch": 12,
        "hold_chance": 0.01,
    }
    return UpdatingConfig(**given | changes)


def follower(gate: Gate | None = PASSES, model=None, **changes) -> Follower:
    return Follower(model or Cosine(), gate, conformal(smoothed=True), updating(**changes))


def around(centre: np.ndarray, n: int, seed, spread: float = 0.35) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return unit(centre + spread * rng.standard_normal((n, DIM))).astype(np.float32)


def baseline(name: str, centre: np.ndarray, n: int = 40, seed=0) -> Baseline:
    return Baseline(name, around(centre, n, seed), np.array([f"b{row // 2}" for row in range(n)]))


def stream(vectors: np.ndarray, name: str = "n", per_session: int = 2) -> list[Observation]:
    return [
        Observation(
            f"{name}{row}",
            f"{name}s{row // per_session}",
            START + timedelta(days=row // per_session, minutes=row),
            vector,
        )
        for row, vector in enumerate(vectors)
    ]


def centre_of(number: int = 0) -> np.ndarray:
    return unit(np.random.default_rng([5, number]).standard_normal((1, DIM)))[0] * 2

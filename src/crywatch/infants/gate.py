"""The gate before an infant's baseline: a cry, low in distress, and normal for this infant.

Two linear heads on the backbone's embedding tell cries from other sounds and distress from calm;
the infant's own conformal p-value tells the rest. A head that was found to tell nothing is off: it
would refuse at random. A gate is plain arrays, kept in a folder as safetensors beside its
description; nothing is executed by loading one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crywatch.core import models
from crywatch.core.errors import ModelError
from crywatch.core.models import ModelFolder

KIND = "gate"
CRY, DISTRESS = "cry", "distress"
HEADS = (CRY, DISTRESS)
NOT_A_CRY, DISTRESSED, ABNORMAL = "not a cry", "high distress", "not normal"
_REMAKE = "make it again with `dvc repro fit_infants`"


@dataclass(frozen=True)
class Head:
    """A logistic regression: P = 1 / (1 + exp(-(vector x weights + bias)))."""

    weights: np.ndarray  # [dim] float32
    bias: float
    threshold: float  # of P; a cry must reach it, distress must not pass it

    def probability(self, vectors: np.ndarray) -> np.ndarray:
        """P [n] of ``vectors`` [n, dim]."""
        logit = np.asarray(vectors, dtype=float) @ self.weights.astype(float) + self.bias
        return 1 / (1 + np.exp(-np.clip(logit, -60, 60)))


@dataclass(frozen=True)
class Decisions:
    """What a gate says of recordings."""

    accepted: np.ndarray  # [n] bool
    reasons: tuple[str | None, ...]  # why not; None where accepted
    sounds: np.ndarray  # [n] bool: both heads let it pass, whatever p is


@dataclass(frozen=True)
class BaselineGate:
    """Heads that are off are None; then only what is left decides."""

    cry: Head | None
    distress: Head | None
    least_p: float  # a recording below it is not normal enough

    def decide(self, vectors: np.ndarray, p: np.ndarray) -> Decisions:
        """Of ``vectors`` [n, dim] with the infant's own p-values ``p`` [n], 0..1.

        The first of cry, distress and p that refuses gives the reason.
        """
        reasons: list[str | None] = [None] * len(vectors)
        if self.cry is not None and len(vectors):
            cry, border = self.cry.probability(vectors), self.cry.threshold
            for row in np.flatnonzero(cry < border):
                reasons[row] = f"{NOT_A_CRY}: {cry[row]:.3f} below {border:.3f}"
        if self.distress is not None and len(vectors):
            distress, border = self.distress.probability(vectors), self.distress.threshold
            for row in np.flatnonzero(distress > border):
                reasons[row] = reasons[row] or (
                    f"{DISTRESSED}: {distress[row]:.3f} above {border:.3f}"
                )
        sounds = np.array([reason is None for reason in reasons], dtype=bool)
        for row in np.flatnonzero(np.asarray(p) < self.least_p):
            reasons[row] = reasons[row] or f"{ABNORMAL}: p {p[row]:.3f} below {self.least_p:g}"
        accepted = np.array([reason is None for reason in reasons], dtype=bool)
        return Decisions(accepted, tuple(reasons), sounds)


def save(folder: Path, gate: BaselineGate, description: dict) -> None:
    """Write a model folder: ``description`` and the heads. Equal gates give equal bytes."""
    import torch

    heads = {name: head for name in HEADS if (head := getattr(gate, name)) is not None}
    # An empty file would be no safetensors file: the minimum of p is there in any case.
    arrays = {"least_p": np.array([gate.least_p])}
    for name, head in heads.items():
        arrays[f"{name}.weights"] = np.ascontiguousarray(head.weights, dtype=np.float32)
        arrays[f"{name}.bias"] = np.array([head.bias])
        arrays[f"{name}.threshold"] = np.array([head.threshold])
    weights = {name: torch.from_numpy(array) for name, array in arrays.items()}
    about = {"kind": KIND, "heads": sorted(heads)} | description
    models.save(folder, ModelFolder(about, weights))


def load(folder: Path | str, digest: str | None = None) -> BaselineGate:
    """Read a gate.

    Raises ModelError if it is missing, damaged or of another kind, or learned on vectors of another
    ``digest`` (see EmbeddedCries) than the one given.
    """
    model = models.load(folder)
    if model.description["kind"] != KIND:
        raise ModelError(f"{folder}: kind {model.description['kind']!r} is no gate: {_REMAKE}")
    if digest is not None and model.setting("digest") != digest:
        raise ModelError(
            f"{folder} was made with another network or averaging than those at hand: {_REMAKE}"
        )
    arrays = {name: tensor.numpy() for name, tensor in model.weights.items()}
    try:
        heads = {name: _head(arrays, name) for name in model.setting("heads") if name in HEADS}
        return BaselineGate(heads.get(CRY), heads.get(DISTRESS), float(arrays["least_p"][0]))
    except (LookupError, TypeError, ValueError) as error:
        raise ModelError(
            f"{Path(folder) / models.WEIGHTS}: not the arrays of a gate ({error}): {_REMAKE}"
        ) from error


def _head(arrays: dict[str, np.ndarray], name: str) -> Head:
    weights, bias, threshold = (
        arrays[f"{name}.{part}"] for part in ("weights", "bias", "threshold")
    )
    if (weights.ndim, bias.shape, threshold.shape) != (1, (1,), (1,)):
        raise ValueError(f"{name}: {weights.shape}, {bias.shape}, {threshold.shape}")
    return Head(weights, float(bias[0]), float(threshold[0]))

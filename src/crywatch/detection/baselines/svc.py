"""scikit-learn's scaled SVC as plain arrays: what a file can hold without code in it.

Nothing is pickled: the decision function is computed here from the arrays, and equals
scikit-learn's (``decision_function_shape="ovr"``).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC


@dataclass(frozen=True)
class SvcArrays:
    """A fitted StandardScaler and an SVC with an RBF kernel; all float64."""

    mean: np.ndarray  # [features]
    scale: np.ndarray  # [features]
    support: np.ndarray  # [vectors, features], class after class, scaled
    counts: np.ndarray  # [classes] of vectors
    dual: np.ndarray  # [classes - 1, vectors]
    intercept: np.ndarray  # [pairs of classes]
    gamma: np.ndarray  # [1]

    def __post_init__(self) -> None:
        classes, (vectors, features) = len(self.counts), self.support.shape
        shapes = {
            "mean": (features,),
            "scale": (features,),
            "counts": (classes,),
            "dual": (classes - 1, vectors),
            "intercept": (classes * (classes - 1) // 2,),
            "gamma": (1,),
        }
        for name, shape in shapes.items():
            if (found := getattr(self, name).shape) != shape:
                raise ValueError(f"{name} has shape {found}, with these vectors {shape}")
        if self.counts.sum() != vectors:
            raise ValueError(f"{vectors} vectors, and counts of {self.counts.sum():g}")

    @classmethod
    def of(cls, scaler: StandardScaler, svc: SVC) -> SvcArrays:
        """The arrays of fitted ones; ``svc.gamma`` is a number."""
        # scikit-learn turns the sign around where there are two classes only.
        sign = -1.0 if len(svc.classes_) == 2 else 1.0
        return cls(
            mean=np.asarray(scaler.mean_, dtype=np.float64),
            scale=np.asarray(scaler.scale_, dtype=np.float64),
            support=np.asarray(svc.support_vectors_, dtype=np.float64),
            counts=np.asarray(svc.n_support_, dtype=np.float64),
            dual=sign * np.asarray(svc.dual_coef_, dtype=np.float64),
            intercept=sign * np.asarray(svc.intercept_, dtype=np.float64),
            gamma=np.array([svc.gamma], dtype=np.float64),
        )

    @property
    def n_parameters(self) -> int:
        """Numbers that a decision needs."""
        return sum(value.size for value in asdict(self).values())

    def decisions(self, vectors: np.ndarray) -> np.ndarray:
        """[n, features] to [n, classes]: duels won, and the sum of their margins to order ties."""
        scaled = (vectors - self.mean) / self.scale
        squares = (scaled**2).sum(axis=1)[:, None] + (self.support**2).sum(axis=1)
        kernel = np.exp(-self.gamma * np.maximum(squares - 2 * scaled @ self.support.T, 0))
        ends = np.cumsum(self.counts).astype(int)
        parts = [slice(end - int(n), end) for end, n in zip(ends, self.counts, strict=True)]
        n_classes = len(parts)
        won = np.zeros((len(vectors), n_classes))
        margin = np.zeros_like(won)
        pairs = [(i, j) for i in range(n_classes) for j in range(i + 1, n_classes)]
        for (i, j), intercept in zip(pairs, self.intercept, strict=True):
            duel = kernel[:, parts[i]] @ self.dual[j - 1, parts[i]]
            duel += kernel[:, parts[j]] @ self.dual[i, parts[j]] + intercept
            won[:, i] += duel >= 0
            won[:, j] += duel < 0
            margin[:, i] += duel
            margin[:, j] -= duel
        # A third at most in either direction: the margins never outweigh a duel.
        return won + margin / (3 * (np.abs(margin) + 1))

    def shares(self, vectors: np.ndarray) -> np.ndarray:
        """[n, features] to [n, classes] in 0..1, in the order of the decisions."""
        n_classes = len(self.counts)
        return (self.decisions(vectors) + 1 / 3) / (n_classes - 1 + 2 / 3)

"""What a model of an infant is: many baselines go in at once, plain arrays come out for each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from crywatch.core.errors import ModelError

Arrays = dict[str, np.ndarray]  # one infant's fitted model


@dataclass(frozen=True)
class Baseline:
    """What one infant's model is fitted on; rows are in the order of time."""

    infant_id: str
    vectors: np.ndarray  # [clips, dim], the embeddings
    sessions: np.ndarray  # [clips], a name or number of the session each clip is of

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.sessions):
            raise ModelError(
                f"infant {self.infant_id}: vectors {self.vectors.shape} and {len(self.sessions)} "
                "sessions do not belong together; give [clips, dim] and a session a clip"
            )
        if not len(self.vectors):
            raise ModelError(f"infant {self.infant_id} has no baseline clip; give at least one")
        if not np.isfinite(self.vectors).all():
            row = int(np.argmin(np.isfinite(self.vectors).all(axis=1)))
            raise ModelError(f"infant {self.infant_id}: the embedding of clip {row} is not finite")

    def __len__(self) -> int:
        return len(self.vectors)

    def only(self, rows: np.ndarray) -> Baseline:
        """The clips that ``rows`` (a mask or row numbers) names."""
        return Baseline(self.infant_id, self.vectors[rows], self.sessions[rows])


class InfantModel(ABC):
    """A kind of model. What is fitted for an infant depends on no other infant in the call.

    A score has no unit; higher is further from the infant's own normal.
    """

    name: str

    @abstractmethod
    def fit(self, baselines: Sequence[Baseline]) -> list[Arrays]:
        """One model for each baseline."""

    @abstractmethod
    def score(self, models: Sequence[Arrays], clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Scores [m] of each model's own ``clips`` [m, dim]; m may differ between models."""

    def cross(self, models: Sequence[Arrays], vectors: np.ndarray) -> np.ndarray:
        """Scores [models, clips] of the same ``vectors`` [clips, dim] by every model."""
        rows = [self.score([model], [vectors])[0] for model in models]
        return np.stack(rows) if rows else np.zeros((0, len(vectors)))


def held_out(sessions: np.ndarray, share: float) -> np.ndarray:
    """Which clips [n] bool a model is checked on while it is fitted: whole sessions, the latest.

    At least ``share`` of the clips where sessions allow it without more than half; where the latest
    are too long for that, the shortest session. A single session is divided itself, by time; with
    fewer than four clips in it nothing is held out.
    """
    n = len(sessions)
    _, first, number = np.unique(sessions, return_index=True, return_inverse=True)
    out = np.zeros(n, dtype=bool)
    if len(first) == 1:
        if n >= 4:
            out[n - max(1, round(share * n)) :] = True
        return out
    latest_first = np.argsort(-first)
    for session in latest_first:
        if out.sum() >= share * n:
            break
        if 2 * (out.sum() + (number == session).sum()) <= n:
            out |= number == session
    if not out.any():
        sizes = np.bincount(number)[latest_first]
        out = number == latest_first[np.argmin(sizes)]
    return out


def split_portions(sizes: Sequence[int], most: int) -> Iterator[slice]:
    """Neighbours with at most ``most`` rows together (one alone may have more)."""
    first = held = 0
    for position, size in enumerate(sizes):
        if position > first and held + size > most:
            yield slice(first, position)
            first, held = position, 0
        held += size
    if first < len(sizes):
        yield slice(first, len(sizes))


def group_alike(keys: Sequence, most: int) -> Iterator[np.ndarray]:
    """Positions of equal ``keys`` together, at most ``most`` at a time: what fits one tensor."""
    together: dict = {}
    for position, key in enumerate(keys):
        together.setdefault(key, []).append(position)
    for key in sorted(together):
        positions = np.array(together[key])
        yield from np.split(positions, range(most, len(positions), most))


def pad_rows(n: int) -> int:
    """The number of rows that ``n`` is padded to: at most half as many again above eight.

    It depends on n alone, so an infant is computed in one shape whoever else is in the batch.
    """
    rows = 8
    while rows < n:
        rows = rows * 3 // 2 if rows & (rows - 1) == 0 else rows * 4 // 3
    return rows


def stack_padded(parts: Sequence[np.ndarray], rows: int) -> np.ndarray:
    """[parts, rows, dim] of parts [n, dim], zeros below each part's own rows."""
    out = np.zeros((len(parts), rows, parts[0].shape[1]), dtype=parts[0].dtype)
    for row, part in enumerate(parts):
        out[row, : len(part)] = part
    return out

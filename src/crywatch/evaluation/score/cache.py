"""Scores by key: what made them, of what, through what. Nothing is computed twice.

An entry is a file under the digest of all that it depends on; entries that a rebuild does not ask
for are removed at its end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.core.atomic import atomic_path
from crywatch.core.digest import value_sha256


@dataclass(frozen=True)
class ScoreCache:
    """A folder of entries."""

    folder: Path

    def table(self, key: object) -> Path:
        """Where the table of ``key`` (plain values) lies, once it is there."""
        return self.folder / f"{value_sha256(key)[:32]}.parquet"

    def vectors(self, key: object) -> Path:
        """Where the vectors of ``key`` lie, once they are there."""
        return self.table(key).with_suffix(".npy")

    def only(self, entries: Iterable[Path]) -> None:
        """Remove everything but ``entries``."""
        stay = set(entries)
        for path in self.folder.iterdir():
            if path not in stay:
                path.unlink()


def write_entry(frame: pd.DataFrame, path: Path) -> None:
    """A table; on disk it has its final name only when it is complete."""
    with atomic_path(path) as temp:
        frame.to_parquet(temp, index=False, compression="zstd")


def write_vectors(vectors: np.ndarray, path: Path) -> None:
    """An array, alike."""
    with atomic_path(path) as temp, open(temp, "wb") as sink:
        np.save(sink, vectors)

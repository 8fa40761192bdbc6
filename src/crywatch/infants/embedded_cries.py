"""The store of the infants' vectors: what `embed_cries` writes and the stages after it read.

A row of a table is a row of the array beside it: recordings.parquet and vectors.npy, others.parquet
and others.npy, shifted.parquet and shifted.npy. ``store.json`` says what made the vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

import crywatch.data.tables.infants  # noqa: F401  the tables' schemas
from crywatch.core.atomic import atomic_dir, read_json, write_json
from crywatch.core.errors import TableError
from crywatch.data.tables.clips import empty, read_table, write_table
from crywatch.infants.clips import ChangedClips, InfantClips, ShiftedClips
from crywatch.infants.contract import Baseline

INFO = "store.json"
COHORT = ("train",)  # parts whose infants others are compared with
NO_SESSION = ""  # recordings of no known session count as one: nothing says that they are several
_ARRAYS = {"recordings": "vectors.npy", "others": "others.npy", "shifted": "shifted.npy"}
_REMAKE = "run `dvc repro embed_cries`"


@dataclass(frozen=True)
class EmbeddingInfo:
    """What made the vectors."""

    network: str  # a model of finetune_ecapa
    digest: str  # of its weights and the averaging: vectors of another digest are not comparable
    dim: int
    crops: int  # as in AveragingConfig
    crop_s: float


def write_embedded(
    folder: Path,
    info: EmbeddingInfo,
    recordings: pd.DataFrame,
    vectors: np.ndarray,
    *,
    others: pd.DataFrame | None = None,
    other_vectors: np.ndarray | None = None,
    shifted: pd.DataFrame | None = None,
    shifted_vectors: np.ndarray | None = None,
) -> None:
    """Write a store as a whole; what is not given is empty.

    ``vectors`` [recordings, dim] and so on; equal contents give equal bytes. Raises TableError for
    a table that breaks its schema or has another number of rows than its array.
    """
    given = {
        "recordings": (recordings, vectors),
        "others": (others, other_vectors),
        "shifted": (shifted, shifted_vectors),
    }
    with atomic_dir(folder) as temp:
        for name, (frame, array) in given.items():
            frame = empty(name) if frame is None else frame
            rows = _rows(array, info.dim)
            _same_length(folder / _ARRAYS[name], len(rows), name, len(frame))
            write_table(frame, temp / f"{name}.parquet", name)
            np.save(temp / _ARRAYS[name], rows)
        write_json(temp / INFO, asdict(info))


class EmbeddedCries:
    """A store at ``folder``; everything is read when it is first asked for.

    Raises TableError where a file is missing, damaged or does not fit the others.
    """

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        if not (self.folder / INFO).is_file():
            raise TableError(f"{self.folder}: no embedded cries ({INFO} is missing): {_REMAKE}")
        try:
            self.info = EmbeddingInfo(**read_json(self.folder / INFO))
        except (OSError, TypeError, ValueError) as error:
            raise TableError(f"{self.folder / INFO}: damaged ({error}): {_REMAKE}") from error

    @property
    def digest(self) -> str:
        """What makes vectors comparable: the network and the averaging."""
        return self.info.digest

    @cached_property
    def recordings(self) -> pd.DataFrame:
        """Table ``recordings``."""
        return read_table(self.folder / "recordings.parquet", "recordings")

    @cached_property
    def vectors(self) -> np.ndarray:
        """[recordings, dim], unit length."""
        return self._array("recordings", self.recordings)

    @cached_property
    def others(self) -> pd.DataFrame:
        """Table ``others``: clips without a cry."""
        return read_table(self.folder / "others.parquet", "others")

    @cached_property
    def other_vectors(self) -> np.ndarray:
        """[others, dim], unit length."""
        return self._array("others", self.others)

    @cached_property
    def shifted(self) -> pd.DataFrame:
        """Table ``shifted``: recordings after a made change."""
        return read_table(self.folder / "shifted.parquet", "shifted")

    @cached_property
    def shifted_vectors(self) -> np.ndarray:
        """[shifted, dim], unit length."""
        return self._array("shifted", self.shifted)

    def infants(self, parts: Sequence[str], changed: Sequence[str] = ()) -> list[InfantClips]:
        """The infants of those parts by name, each one's recordings in the order of time.

        Recordings whose category starts with one of ``changed`` are kept apart, under that name.
        """
        frame = self.recordings
        chosen = frame[frame["split"].isin(list(parts))]
        chosen = chosen.sort_values(["infant_id", "recorded_at", "clip_id"], kind="stable")
        made = self._shifts()
        return [
            self._infant(str(infant_id), rows, tuple(changed), made)
            for infant_id, rows in chosen.groupby("infant_id", sort=True)
        ]

    def cohort(self, changed: Sequence[str] = ()) -> list[Baseline]:
        """What others are compared with: the infants of `COHORT`, which are never tested."""
        return [
            Baseline(infant.infant_id, infant.vectors, infant.sessions)
            for infant in self.infants(COHORT, changed)
            if len(infant.vectors)
        ]

    def _infant(
        self,
        infant_id: str,
        frame: pd.DataFrame,
        prefixes: tuple[str, ...],
        made: dict[str, list[_Made]],
    ) -> InfantClips:
        kind = [_prefix(category, prefixes) for category in frame["category"]]
        normal = frame[[name is None for name in kind]]
        changed = []
        for prefix in prefixes:
            rows = frame[[name == prefix for name in kind]]
            if len(rows):
                changed.append(
                    ChangedClips(
                        prefix,
                        self.vectors[rows.index.to_numpy()],
                        _times(rows),
                        tuple(rows["clip_id"]),
                    )
                )
        clip_ids = tuple(normal["clip_id"])
        return InfantClips(
            infant_id=infant_id,
            vectors=self.vectors[normal.index.to_numpy()],
            sessions=normal["session_id"].fillna(NO_SESSION).to_numpy(dtype=str),
            times=_times(normal),
            shifted=self._shifted(clip_ids, made),
            changed=tuple(changed),
            clip_ids=clip_ids,
        )

    def _shifts(self) -> dict[str, list[_Made]]:
        """By clip_id."""
        found: dict[str, list[_Made]] = {}
        columns = (self.shifted[name] for name in ("clip_id", "shift", "control"))
        for row, (clip_id, name, control) in enumerate(zip(*columns, strict=True)):
            found.setdefault(clip_id, []).append(_Made(row, name, bool(control)))
        return found

    def _shifted(
        self, clip_ids: Sequence[str], made: dict[str, list[_Made]]
    ) -> tuple[ShiftedClips, ...]:
        found: dict[tuple[str, bool], list[tuple[int, int]]] = {}
        for place, clip_id in enumerate(clip_ids):
            for one in made.get(clip_id, ()):
                found.setdefault((one.name, one.control), []).append((place, one.row))
        return tuple(
            ShiftedClips(
                name,
                control,
                np.array([place for place, _ in pairs]),
                self.shifted_vectors[[row for _, row in pairs]],
            )
            for (name, control), pairs in found.items()
        )

    def _array(self, name: str, frame: pd.DataFrame) -> np.ndarray:
        array = self._load(_ARRAYS[name])
        _same_length(self.folder / _ARRAYS[name], len(array), name, len(frame))
        return array

    def _load(self, name: str) -> np.ndarray:
        path = self.folder / name
        try:
            array = np.load(path, allow_pickle=False)
        except (OSError, EOFError, ValueError) as error:
            raise TableError(f"{path}: cannot be read ({error}): {_REMAKE}") from error
        if array.ndim != 2 or array.shape[1] != self.info.dim or array.dtype != np.float32:
            raise TableError(
                f"{path}: {array.dtype} {array.shape}, expected float32 [rows, {self.info.dim}]: "
                f"{_REMAKE}"
            )
        return array


@dataclass(frozen=True)
class _Made:
    """A row of table ``shifted``."""

    row: int
    name: str
    control: bool


def _prefix(category: str, prefixes: tuple[str, ...]) -> str | None:
    return next((prefix for prefix in prefixes if category.startswith(prefix)), None)


def _times(frame: pd.DataFrame) -> np.ndarray:
    """UTC, as numpy keeps it; NaT where it is not known."""
    return frame["recorded_at"].dt.tz_convert(None).to_numpy()


def _rows(array: np.ndarray | None, dim: int) -> np.ndarray:
    return np.ascontiguousarray(
        np.zeros((0, dim)) if array is None else np.reshape(array, (-1, dim)), dtype=np.float32
    )


def _same_length(path: Path, rows: int, name: str, expected: int) -> None:
    if rows != expected:
        raise TableError(f"{path}: {rows} rows for {expected} of table {name}: {_REMAKE}")

"""The store of the infants' vectors: what `embed_cries` writes and the stages after it read.

A row of a table is a row of the arrays beside it: recordings.parquet, vectors.npy and
statistics.npy, others.parquet and others.npy, shifted.parquet and shifted.npy. ``store.json`` says
what made the vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.core.atomic import atomic_dir, read_json, write_json
from crywatch.core.errors import TableError
from crywatch.data.tables import empty, read_table, write_table
from crywatch.data.tables.infants import OTHERS, RECORDINGS, SHIFTED
from crywatch.detection.embedders.logmel import BANDS
from crywatch.infants.models.contract import Baseline

INFO = "store.json"
COHORT = ("train",)  # parts whose infants others are compared with
NO_SESSION = ""  # recordings of no known session count as one: nothing says that they are several
_ARRAYS = {"recordings": "vectors.npy", "others": "others.npy", "shifted": "shifted.npy"}
_STATISTICS = "statistics.npy"
_REMAKE = "run `dvc repro embed_cries`"


@dataclass(frozen=True)
class ShiftedClips:
    """Some of an infant's clips after one shift."""

    name: str
    control: bool  # must not alarm
    rows: np.ndarray  # [m], the infant's clip each was made from
    vectors: np.ndarray  # [m, dim]


@dataclass(frozen=True)
class ChangedClips:
    """Recordings of an infant that are known to be abnormal, such as after a planted change.

    They are no baseline and no false alarm; those later than the baseline are positives.
    """

    name: str
    vectors: np.ndarray  # [m, dim]
    times: np.ndarray  # [m], as those of the infant's other clips
    clip_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class InfantClips:
    """All that is known of one infant; ``times`` are numbers or datetime64."""

    infant_id: str
    vectors: np.ndarray  # [clips, dim]
    sessions: np.ndarray  # [clips]
    times: np.ndarray  # [clips]
    shifted: tuple[ShiftedClips, ...] = ()
    changed: tuple[ChangedClips, ...] = ()
    clip_ids: tuple[str, ...] = ()  # where they are known


@dataclass(frozen=True)
class EmbeddingInfo:
    """What made the vectors."""

    network: str  # a model of train_speaker
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
    statistics: np.ndarray | None = None,
) -> None:
    """Write a store as a whole; what is not given is empty.

    ``vectors`` [recordings, dim] and so on; ``statistics`` [recordings, 128]; equal contents give
    equal bytes. Raises TableError for a table that breaks its schema or has another number of rows
    than its array.
    """
    given = {
        RECORDINGS.name: (RECORDINGS, recordings, vectors),
        OTHERS.name: (OTHERS, others, other_vectors),
        SHIFTED.name: (SHIFTED, shifted, shifted_vectors),
    }
    with atomic_dir(folder) as temp:
        for name, (schema, frame, array) in given.items():
            frame = empty(schema) if frame is None else frame
            rows = np.zeros((0, info.dim)) if array is None else np.reshape(array, (-1, info.dim))
            _same_length(folder / _ARRAYS[name], len(rows), name, len(frame))
            write_table(frame, temp / f"{name}.parquet", schema)
            np.save(temp / _ARRAYS[name], np.ascontiguousarray(rows, dtype=np.float32))
        if statistics is not None:
            _same_length(folder / _STATISTICS, len(statistics), RECORDINGS.name, len(recordings))
            np.save(temp / _STATISTICS, np.ascontiguousarray(statistics, dtype=np.float32))
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
        return read_table(self.folder / "recordings.parquet", RECORDINGS)

    @cached_property
    def vectors(self) -> np.ndarray:
        """[recordings, dim], unit length."""
        return self._array(_ARRAYS["recordings"], "recordings", self.recordings)

    @cached_property
    def statistics(self) -> np.ndarray:
        """[recordings, 128], unit length: log-mel statistics beside a network's vectors."""
        return self._array(_STATISTICS, "recordings", self.recordings, 2 * BANDS)

    @cached_property
    def others(self) -> pd.DataFrame:
        """Table ``others``: clips without a cry."""
        return read_table(self.folder / "others.parquet", OTHERS)

    @cached_property
    def other_vectors(self) -> np.ndarray:
        """[others, dim], unit length."""
        return self._array(_ARRAYS["others"], "others", self.others)

    @cached_property
    def shifted(self) -> pd.DataFrame:
        """Table ``shifted``: recordings after a made change."""
        return read_table(self.folder / "shifted.parquet", SHIFTED)

    @cached_property
    def shifted_vectors(self) -> np.ndarray:
        """[shifted, dim], unit length."""
        return self._array(_ARRAYS["shifted"], "shifted", self.shifted)

    def infants(self, parts: Sequence[str], changed: Sequence[str] = ()) -> list[InfantClips]:
        """The infants of those parts by name, each one's recordings in the order of time.

        Recordings whose category starts with one of ``changed`` are kept apart, under that name.
        """
        frame = self.recordings
        chosen = frame[frame["split"].isin(list(parts))]
        chosen = chosen.sort_values(["infant_id", "recorded_at", "clip_id"], kind="stable")
        shifts = self.shifted.groupby("clip_id").indices
        return [
            self._infant(str(infant_id), rows, tuple(changed), shifts)
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
        shifts: Mapping[str, np.ndarray],
    ) -> InfantClips:
        """``frame`` are its rows of ``recordings``; ``shifts`` rows of ``shifted`` by clip_id."""
        kind = np.array([_prefix(category, prefixes) for category in frame["category"]])
        normal = frame[kind == ""]
        changed = [(prefix, frame[kind == prefix]) for prefix in prefixes]
        return InfantClips(
            infant_id=infant_id,
            vectors=self.vectors[normal.index.to_numpy()],
            sessions=normal["session_id"].fillna(NO_SESSION).to_numpy(dtype=str),
            times=_times(normal),
            shifted=self._shifted(normal["clip_id"], shifts),
            changed=tuple(
                ChangedClips(prefix, self.vectors[rows.index], _times(rows), tuple(rows["clip_id"]))
                for prefix, rows in changed
                if len(rows)
            ),
            clip_ids=tuple(normal["clip_id"]),
        )

    def _shifted(
        self, clip_ids: Iterable[str], shifts: Mapping[str, np.ndarray]
    ) -> tuple[ShiftedClips, ...]:
        pairs = [
            (place, row)
            for place, clip_id in enumerate(clip_ids)
            for row in shifts.get(clip_id, ())
        ]
        if not pairs:
            return ()
        places, rows = np.array(pairs).T
        made = self.shifted.iloc[rows].assign(place=places, row=rows)
        return tuple(
            ShiftedClips(
                name,
                bool(control),
                part["place"].to_numpy(),
                self.shifted_vectors[part["row"].to_numpy()],
            )
            for (name, control), part in made.groupby(["shift", "control"], sort=False)
        )

    def _array(self, file: str, name: str, frame: pd.DataFrame, dim: int = 0) -> np.ndarray:
        """Rows of table ``name``, of as many numbers as the network gives, or ``dim``."""
        path, dim = self.folder / file, dim or self.info.dim
        try:
            array = np.load(path, allow_pickle=False)
        except (OSError, EOFError, ValueError) as error:
            raise TableError(f"{path}: cannot be read ({error}): {_REMAKE}") from error
        if array.ndim != 2 or array.shape[1] != dim or array.dtype != np.float32:
            raise TableError(
                f"{path}: {array.dtype} {array.shape}, expected float32 [rows, {dim}]: {_REMAKE}"
            )
        _same_length(path, len(array), name, len(frame))
        if not np.isfinite(array).all():
            raise TableError(f"{path}: holds what is no number: {_REMAKE}")
        return array


def _prefix(category: str, prefixes: tuple[str, ...]) -> str:
    return next((prefix for prefix in prefixes if category.startswith(prefix)), "")


def _times(frame: pd.DataFrame) -> np.ndarray:
    """Times of recording in UTC, datetime64; NaT where it is not known."""
    return frame["recorded_at"].dt.tz_convert(None).to_numpy()


def _same_length(path: Path, rows: int, name: str, expected: int) -> None:
    if rows != expected:
        raise TableError(f"{path}: {rows} rows for {expected} of table {name}: {_REMAKE}")

"""Cries on disk: a table, and all their samples one after the other in one file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from crywatch.core.atomic import atomic_dir, write_json
from crywatch.core.digest import files_sha256
from crywatch.core.errors import TableError
from crywatch.data.tables import empty, read_table, write_table
from crywatch.data.tables.infants import CRIES, RECORDINGS, is_changed

TABLE, WAVES, SUMMARY = "cries.parquet", "waves.npy", "summary.json"
_SCALE = 32767.0
_BLOCK = 1 << 22  # samples copied at once


@dataclass(frozen=True)
class CryRow:
    """One cry to be written."""

    clip: Mapping[str, Any]  # the recording's row of split_clips
    onset_s: float
    offset_s: float
    found_by: str
    peak_dbfs: float  # of the recording
    wave: np.ndarray  # [samples] float32 at 16 kHz, -1..1


def write_cries(
    folder: Path, cries: Iterable[CryRow], summary: Callable[[], Mapping[str, Any]] = dict
) -> None:
    """Write the store at ``folder``; memory does not grow with the samples.

    ``summary`` is asked for when all cries are written. Cries of a recording come one after the
    other.
    """
    taken = [name for name in RECORDINGS.columns if name not in ("cries", "cry_s")]
    rows: list[dict[str, Any]] = []
    first, number, last = 0, 0, None
    with atomic_dir(folder) as temp:
        raw = temp / "samples"
        with open(raw, "wb") as handle:
            for cry in cries:
                number = number + 1 if cry.clip["clip_id"] == last else 0
                last = cry.clip["clip_id"]
                samples = np.round(np.clip(cry.wave, -1, 1) * _SCALE).astype("<i2")
                handle.write(samples.tobytes())
                rows.append(
                    {name: cry.clip[name] for name in taken}
                    | {
                        "cry_id": f"{last}#{number}",
                        "onset_s": cry.onset_s,
                        "offset_s": cry.offset_s,
                        "found_by": cry.found_by,
                        "peak_dbfs": cry.peak_dbfs,
                        "first": first,
                        "samples": len(samples),
                    }
                )
                first += len(samples)
        # The length stands in the header, and is known only now.
        with open(temp / WAVES, "wb") as handle, open(raw, "rb") as source:
            header = {"descr": "<i2", "fortran_order": False, "shape": (first,)}
            np.lib.format.write_array_header_1_0(handle, header)
            while block := source.read(2 * _BLOCK):
                handle.write(block)
        raw.unlink()
        table = pd.DataFrame(rows, columns=list(CRIES.columns)) if rows else empty(CRIES)
        write_table(table, temp / TABLE, CRIES)
        write_json(temp / SUMMARY, dict(summary()))


class CryStore:
    """What `write_cries` wrote; samples are read through a memory map."""

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        self.table = read_table(self.folder / TABLE, CRIES)
        if not (self.folder / WAVES).is_file():
            raise TableError(f"{self.folder / WAVES} is missing: run stage cries again (dvc repro)")
        # np.load cannot map an empty file.
        self._samples = np.load(self.folder / WAVES, mmap_mode="r" if len(self.table) else None)
        self._first = self.table["first"].to_numpy()
        self._last = self._first + self.table["samples"].to_numpy()
        if len(self.table) and self._last[-1] != len(self._samples):
            raise TableError(
                f"{self.folder}: {TABLE} tells of {self._last[-1]} samples, {WAVES} holds "
                f"{len(self._samples)}: run stage cries again (dvc repro)"
            )
        self.clip_ids: list[str] = self.table["clip_id"].tolist()  # the recording of each row
        self._rows = self.table.groupby("clip_id", sort=False).indices

    def __len__(self) -> int:
        return len(self.table)

    @property
    def recordings(self) -> list[str]:
        """clip_ids in the order of the file: infant by infant, by time."""
        return list(self._rows)

    def rows(self, clip_id: str) -> np.ndarray:
        """Row numbers of a recording's cries; TableError where it has none."""
        if clip_id not in self._rows:
            raise TableError(f"{self.folder}: no cry of {clip_id!r}")
        return self._rows[clip_id]

    def wave(self, row: int) -> np.ndarray:
        """[samples] float32 at 16 kHz of one cry."""
        samples = self._samples[self._first[row] : self._last[row]]
        return samples.astype(np.float32) / np.float32(_SCALE)

    def waves(self, clip_id: str) -> list[np.ndarray]:
        """The cries of a recording."""
        return [self.wave(row) for row in self.rows(clip_id)]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of table and samples."""
        return files_sha256([self.folder / TABLE, self.folder / WAVES])


def training_sounds(
    store: CryStore, count: int, changed: Sequence[str] = ()
) -> Sequence[np.ndarray]:
    """``count`` recordings of the training part, evenly over the file, each as its cries joined.

    Those whose category begins with one of ``changed`` are left out. TableError where there are
    fewer than two.
    """
    table = store.table[~is_changed(store.table, changed)] if changed else store.table
    clips = table.loc[table["split"] == "train", "clip_id"].unique()
    if len(clips) < 2:
        raise TableError(
            f"{store.folder}: part train has {len(clips)} recordings of cries; statistics are "
            "standardised on two or more: add infants"
        )
    picked = np.unique(np.linspace(0, len(clips) - 1, min(count, len(clips))).round().astype(int))
    return [np.concatenate(store.waves(clip_id)) for clip_id in clips[picked]]

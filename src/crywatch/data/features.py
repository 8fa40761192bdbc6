"""The feature store: one vector a plain segment, on disk by corpus, read through memory maps.

``store.json`` names the network that made the vectors and its digest; ``<corpus>.npy`` is
[segments, dim]; ``<corpus>.parquet`` has clip_id and start_s in row order.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from crywatch.core.atomic import atomic_path, read_json, write_json
from crywatch.core.errors import ModelError, TableError
from crywatch.core.progress import progress


@dataclass(frozen=True)
class StoreInfo:
    """What made the vectors."""

    name: str
    dim: int
    digest: str
    dtype: str = "<f4"  # as stored
    segment_s: float = 1.0


@dataclass(frozen=True)
class ClipFeatures:
    """The vectors of one clip."""

    clip_id: str
    vectors: np.ndarray  # [segments, dim]


@dataclass(frozen=True)
class RowRange:
    """Rows of one corpus."""

    corpus: str
    first: int
    last: int  # the row after the last one


class FeatureWriter:
    """Write a store corpus by corpus, streaming; an interrupted corpus goes on where it stopped.

    What lies in ``work_dir`` under ``key``, the digest of the inputs, is trusted; `finish` removes
    the whole folder, with what runs on other inputs left half done. Memory does not grow with the
    number of clips.
    """

    def __init__(self, info: StoreInfo, work_dir: Path, key: str = ""):
        self.info = info
        self._root = work_dir
        self.work_dir = work_dir = work_dir / key[:16]
        self._row_bytes = info.dim * np.dtype(info.dtype).itemsize
        work_dir.mkdir(parents=True, exist_ok=True)

    def done(self, corpus: str) -> list[str]:
        """Clip ids that are written already, in order; a torn tail is cut off."""
        journal, raw = self._journal(corpus), self._raw(corpus)
        if not journal.is_file() or not raw.is_file():
            # Half of the pair is left of a kill while `finish` removed the folder.
            journal.unlink(missing_ok=True)
            raw.unlink(missing_ok=True)
            return []
        ids, n_rows, n_bytes = [], 0, 0
        size = raw.stat().st_size // self._row_bytes
        with open(journal, "rb") as handle:
            for line in handle:
                try:
                    record = json.loads(line) if line.endswith(b"\n") else None
                except ValueError:
                    record = None
                if record is None or n_rows + record["n"] > size:
                    break
                ids.append(record["clip_id"])
                n_rows += record["n"]
                n_bytes += len(line)
        with open(journal, "rb+") as handle:
            handle.truncate(n_bytes)
        with open(raw, "rb+") as handle:
            handle.truncate(n_rows * self._row_bytes)
        return ids

    def write(self, corpus: str, clips: Iterable[ClipFeatures]) -> None:
        """Append clips; call `done` first and leave out what it names."""
        with open(self._raw(corpus), "ab") as raw, open(self._journal(corpus), "ab") as journal:
            for clip in clips:
                if clip.vectors.ndim != 2 or clip.vectors.shape[1] != self.info.dim:
                    raise ModelError(
                        f"{self.info.name}: vectors of {clip.clip_id} have shape "
                        f"{clip.vectors.shape}, expected [segments, {self.info.dim}]"
                    )
                raw.write(np.ascontiguousarray(clip.vectors, dtype=self.info.dtype).tobytes())
                raw.flush()
                record = {"clip_id": clip.clip_id, "n": len(clip.vectors)}
                journal.write(json.dumps(record).encode() + b"\n")
                journal.flush()

    def write_clips(
        self, clips: pd.DataFrame, make: Callable[[Any], np.ndarray], what: str
    ) -> None:
        """Append what ``make`` gives of each row of ``clips``, [segments, dim], with progress.

        Corpus by corpus, without the clips that are written already.
        """
        for corpus in sorted(clips["corpus"].unique()):
            written = set(self.done(corpus))
            left = clips[(clips["corpus"] == corpus) & ~clips["clip_id"].isin(written)]
            rows = progress(left.itertuples(), f"{what} {corpus}", len(left), "clip")
            self.write(corpus, (ClipFeatures(row.clip_id, make(row)) for row in rows))

    def finish(self, corpora: Iterable[str], out_dir: Path) -> None:
        """Turn what was written into a store at ``out_dir`` and remove the working folder."""
        temp = self.work_dir / "store"
        shutil.rmtree(temp, ignore_errors=True)
        temp.mkdir()
        for corpus in corpora:
            self._raw(corpus).touch()
            self._journal(corpus).touch()
            self._finish_corpus(corpus, temp)
        write_json(temp / "store.json", asdict(self.info))
        shutil.rmtree(out_dir, ignore_errors=True)
        out_dir.parent.mkdir(parents=True, exist_ok=True)
        temp.rename(out_dir)
        shutil.rmtree(self._root)

    def _finish_corpus(self, corpus: str, folder: Path) -> None:
        records = [json.loads(line) for line in self._journal(corpus).read_text().splitlines()]
        counts = np.array([record["n"] for record in records], dtype=int)
        index = pd.DataFrame(
            {
                "clip_id": np.repeat([record["clip_id"] for record in records], counts),
                "start_s": self.info.segment_s
                * np.concatenate([np.arange(n, dtype=float) for n in counts] or [np.zeros(0)]),
            }
        )
        with atomic_path(folder / f"{corpus}.npy") as temp, open(temp, "wb") as sink:
            header = {
                "descr": self.info.dtype,
                "fortran_order": False,
                "shape": (int(counts.sum()), self.info.dim),
            }
            np.lib.format.write_array_header_1_0(sink, header)
            with open(self._raw(corpus), "rb") as source:
                shutil.copyfileobj(source, sink)
        with atomic_path(folder / f"{corpus}.parquet") as temp:
            index.to_parquet(temp, index=False, compression="zstd")

    def _raw(self, corpus: str) -> Path:
        return self.work_dir / f"{corpus}.part"

    def _journal(self, corpus: str) -> Path:
        return self.work_dir / f"{corpus}.journal"


class FeatureStore:
    """A finished store, by clip."""

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        if not (self.folder / "store.json").is_file():
            raise TableError(f"{self.folder}: no feature store: run the stage that makes it")
        with self._named():
            self.info = StoreInfo(**read_json(self.folder / "store.json"))

    @contextmanager
    def _named(self) -> Iterator[None]:
        """What a damaged file raises, as a TableError that names the folder."""
        try:
            yield
        except (OSError, EOFError, KeyError, TypeError, ValueError) as error:
            raise TableError(
                f"{self.folder}: damaged feature store ({error}): run the stage that makes it"
            ) from error

    @cached_property
    def corpora(self) -> tuple[str, ...]:
        """Names of the corpora in the store."""
        return tuple(sorted(path.stem for path in self.folder.glob("*.npy")))

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        with self._named():
            return {c: np.load(self.folder / f"{c}.npy", mmap_mode="r") for c in self.corpora}

    @cached_property
    def _rows(self) -> dict[str, tuple[str, int, int]]:
        """clip_id -> corpus, first row, row after the last."""
        rows = {}
        for corpus in self.corpora:
            with self._named():
                ids = pd.read_parquet(self.folder / f"{corpus}.parquet")["clip_id"]
            first = np.flatnonzero(ids.ne(ids.shift()).to_numpy())
            last = np.append(first, len(ids))[1:]
            for clip_id, start, end in zip(ids.to_numpy()[first], first, last, strict=True):
                rows[clip_id] = (corpus, int(start), int(end))
        return rows

    def __contains__(self, clip_id: str) -> bool:
        return clip_id in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    @property
    def n_rows(self) -> int:
        """Segments in the store."""
        return sum(len(array) for array in self._arrays.values())

    def clip(self, clip_id: str) -> np.ndarray:
        """[segments, dim] of a clip, as stored; TableError if it is not in the store."""
        rows = self.rows(clip_id)
        return np.asarray(self._arrays[rows.corpus][rows.first : rows.last])

    def rows(self, clip_id: str) -> RowRange:
        """Where a clip's segments lie."""
        if clip_id not in self._rows:
            raise TableError(f"{self.folder}: clip {clip_id!r} has no features")
        return RowRange(*self._rows[clip_id])

    def array(self, corpus: str) -> np.ndarray:
        """All rows of a corpus [segments, dim], memory-mapped."""
        return self._arrays[corpus]

"""`crywatch embed` and the ears of `crywatch infant`: a user's files as cries and as vectors.

Cries are found as stage ``cries`` finds them, in blocks, so that memory does not grow with the
length of a recording; vectors are those of stage ``embed_cries``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from crywatch.audio.extents import ExtentConfig
from crywatch.audio.guard import GuardedReader, Limits
from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.cleaned import to_int16
from crywatch.audio.waves.condition import Condition
from crywatch.audio.waves.resampling import at_rate, gathered
from crywatch.core.atomic import atomic_path, owner_only
from crywatch.core.errors import AudioError, CrywatchError
from crywatch.core.threads import one_thread
from crywatch.detection.detectors import load_detector
from crywatch.infants.embed_cries import embedding_info, recording_vector
from crywatch.infants.embedded_cries import EmbeddingInfo
from crywatch.speaker import ecapa
from crywatch.speaker.batches import AveragingConfig, unit
from crywatch.speaker.cries import CriesConfig, CutRecording, Scores, cut_recording
from crywatch.speaker.logmel import open_network

BLOCK_S = 300.0  # of a recording, searched for cries at a time
WHOLE_S = 60.0  # of a whole file, embedded at a time
_MARGIN_S = 1.0  # crying that ends so near to a block's end may go on
_ALONE = AveragingConfig(0)  # a cry as it is
_ROWS = 1024  # written at a time

Say = Callable[[str], None]  # takes a message for the user


@dataclass
class HearingConfig:
    """Section ``hearing``: what finds cries, and what makes vectors of them."""

    detector: str  # model folder
    threshold: float  # as in section ``cries``, and the next two
    min_cry_s: float
    extents: ExtentConfig
    network: str  # model folder
    averaging: AveragingConfig  # of a recording's cries
    decoding: Limits = field(default_factory=Limits)  # of a file

    @property
    def cries(self) -> CriesConfig:
        """As stage ``cries`` takes it."""
        return CriesConfig(self.detector, self.threshold, self.min_cry_s, self.extents, 0)


@dataclass(frozen=True)
class CryWave:
    """A cry in a file."""

    onset_s: float
    wave: np.ndarray  # [samples] float32 at 16 kHz, 1 is the peak of what was heard with it


@dataclass(frozen=True)
class FileCries:
    """A file that was listened to."""

    path: Path
    digest: str  # SHA-256 of its samples at 16 kHz, 16 bits
    duration_s: float
    cries: tuple[CryWave, ...]
    condition: Condition  # what was wrong with it and yet heard

    @property
    def cry_s(self) -> float:
        """Seconds of crying."""
        return round(sum(len(cry.wave) for cry in self.cries) / RATE_HZ, 3)


@dataclass(frozen=True)
class EmbedReport:
    """What `embed_files` wrote, and what it could not read."""

    rows: int
    files: int
    failed: int


class Listener:
    """Detector and network, once for many files. ModelError where the network is missing."""

    def __init__(self, config: HearingConfig, root: Path, network: Path | None = None):
        folder = network if network is not None else root / config.network
        self.config = config
        self.info: EmbeddingInfo = embedding_info(folder, config.averaging)
        self._embed = open_network(folder).embed
        self._detector = root / config.detector

    @cached_property
    def scores(self) -> Scores:
        """The detector; ModelError where it is missing."""
        return load_detector(self._detector).score

    @one_thread()
    def hear(self, path: Path) -> FileCries:
        """The cries of a file; AudioError or OSError if it cannot be read."""
        file = _HashedFile(path, self.config.decoding)
        cries = tuple(self.cries(file))
        return FileCries(path, file.digest, file.duration_s, cries, file.condition)

    def cries(self, chunks: Iterable[np.ndarray]) -> Iterator[CryWave]:
        """The cries in ``chunks`` [samples] at 16 kHz, one after the other."""
        yield from cries_of(chunks, self.scores, self.config.cries)

    @one_thread()
    def recording_vector(self, heard: FileCries) -> np.ndarray:
        """[dim] of all cries of a file; equal sounds give equal vectors, whatever their names."""
        waves = [cry.wave for cry in heard.cries]
        return recording_vector(waves, heard.digest, self._embed, self.config.averaging)

    def vector(self, wave: np.ndarray) -> np.ndarray:
        """[dim] of one sound, of whatever length."""
        return recording_vector([wave], "", self._embed, _ALONE)


def cries_of(
    chunks: Iterable[np.ndarray], scores: Scores, config: CriesConfig, block_s: float = BLOCK_S
) -> Iterator[CryWave]:
    """The cries of a recording that comes in ``chunks`` [samples] at 16 kHz.

    A block ends before crying that may go on in the next one; crying of a whole block is cut.
    """
    rest, at_s = np.zeros(0, dtype=np.float32), 0.0
    size = round(block_s * RATE_HZ)
    for chunk in gathered(chunks, size):
        rest = np.concatenate([rest, chunk])
        while len(rest) > size:
            cut = cut_recording(rest[:size], scores, config)
            open_s = [s.onset_s for s in cut.crying if s.offset_s > block_s - _MARGIN_S]
            border_s = float(int(open_s[0])) if open_s and open_s[0] >= 1 else block_s
            yield from _cries_before(border_s, cut, at_s)
            rest, at_s = rest[round(border_s * RATE_HZ) :], at_s + border_s
    if len(rest):
        yield from _cries_before(np.inf, cut_recording(rest, scores, config), at_s)


def _cries_before(border_s: float, cut: CutRecording, at_s: float) -> Iterator[CryWave]:
    for cry in cut.cries:
        if cry.onset_s < border_s:
            yield CryWave(round(at_s + cry.onset_s, 3), cut.wave[cry.samples()])


@one_thread()
def embed_files(
    files: Iterable[Path], listener: Listener, out: Path, whole: bool, say: Say
) -> EmbedReport:
    """Write ``path``, ``start_s`` and ``vector`` of every cry (or of every file) to Parquet.

    Rows go to the file as they come; a file that cannot be read is told to ``say(message)`` and
    left out. The file's metadata names the network and its digest; it is for its owner alone.
    """
    if not whole:
        _ = listener.scores  # a missing detector is no fault of the files
    n_files = failed = rows = 0
    with owner_only(), atomic_path(out) as temp, _writer(temp, listener.info, whole) as add:
        for path in files:
            n_files += 1
            try:
                # As a whole: a file that turns out damaged leaves no rows.
                vectors = list(_vectors(path, listener, whole, say))
            except (CrywatchError, OSError) as error:
                say(str(error))
                failed += 1
                continue
            for start_s, vector in vectors:
                add(str(path), start_s, vector)
            rows += len(vectors)
            if not vectors:
                say(f"{path}: no cry was found")
    return EmbedReport(rows, n_files, failed)


def _vectors(
    path: Path, listener: Listener, whole: bool, say: Say
) -> Iterator[tuple[float, np.ndarray]]:
    """Start and vector of each cry, or of the file: the mean of its minutes, by their length."""
    file = _HashedFile(path, listener.config.decoding)
    if whole:
        total, weights = np.zeros(listener.info.dim), 0
        for part in _minutes(file):
            if len(part) >= ecapa.MIN_SAMPLES:
                total += len(part) * listener.vector(part).astype(float)
                weights += len(part)
        if not weights:
            raise AudioError(f"{path}: too short to embed ({file.duration_s:g} s)")
        yield 0.0, unit(total).astype(np.float32)
    else:
        for cry in listener.cries(file):
            yield cry.onset_s, listener.vector(cry.wave)
    for note in file.condition.notes(file.duration_s, "embedded"):
        say(f"{path}: {note}")


def _minutes(chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    size, rest = round(WHOLE_S * RATE_HZ), np.zeros(0, dtype=np.float32)
    for chunk in chunks:
        rest = np.concatenate([rest, chunk])
        while len(rest) >= size:
            yield rest[:size]
            rest = rest[size:]
    if len(rest):
        yield rest


class _HashedFile:
    """A file's samples at 16 kHz as they pass by, and what is known of it then."""

    def __init__(self, path: Path, limits: Limits):
        self._reader = GuardedReader(path, limits)
        self._hash = hashlib.sha256()

    def __iter__(self) -> Iterator[np.ndarray]:
        for chunk in at_rate(self._reader, RATE_HZ):
            self._hash.update(to_int16(chunk).astype("<i2").tobytes())
            yield chunk

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    @property
    def duration_s(self) -> float:
        return round(self._reader.n_samples / self._reader.info.rate_hz, 3)

    @property
    def condition(self) -> Condition:
        return self._reader.condition


def utf8(name: str) -> str:
    """A file's name as text: bytes that are no UTF-8 cannot stand in tables as they are."""
    return name.encode(errors="backslashreplace").decode()


@contextmanager
def _writer(
    path: Path, info: EmbeddingInfo, whole: bool
) -> Iterator[Callable[[str, float, np.ndarray], None]]:
    """A function that adds a row; equal rows give equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    description = {"network": info.network, "digest": info.digest, "dim": info.dim}
    description["of"] = "file" if whole else "cry"
    schema = pa.schema(
        [("path", pa.string()), ("start_s", pa.float64()), ("vector", pa.list_(pa.float32()))],
        metadata={"crywatch": json.dumps(description, sort_keys=True)},
    )
    rows: list[dict[str, object]] = []
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:

        def flush() -> None:
            if rows:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows.clear()

        def add(name: str, start_s: float, vector: np.ndarray) -> None:
            rows.append({"path": utf8(name), "start_s": start_s, "vector": vector.tolist()})
            if len(rows) >= _ROWS:
                flush()

        yield add
        flush()

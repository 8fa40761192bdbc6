"""Stage ``clean``: any recording to 16 kHz mono FLAC, with what was measured, or to quarantine.

Files are decoded block by block, so memory does not grow with a file's length, and in parallel, so
one bad file never stops a corpus. An interrupted run goes on with the files that are not there yet.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from crywatch.audio.decode import BlockReader
from crywatch.audio.guard import GuardedReader, Limits
from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.cleaned import to_int16
from crywatch.audio.waves.levels import SILENCE_DBFS, BandwidthMeter, level_dbfs
from crywatch.audio.waves.resampling import GATHER_SAMPLES, Resampler, gathered
from crywatch.core.atomic import TEMP_PREFIX, atomic_path, write_json
from crywatch.core.digest import value_sha256
from crywatch.core.errors import AudioError, ConfigError, CrywatchError
from crywatch.core.names import normal
from crywatch.core.progress import progress_bar
from crywatch.corpora.shared.base import CRY, ClipEntry, Corpus, Refused
from crywatch.corpora.shared.details import FILE as DETAILS_FILE
from crywatch.corpora.shared.details import ClipDetails, write_details

CHUNK = 8  # files of one transfer to a worker: its cost is shared
CHUNKS_AHEAD = 4  # of a worker; more would only wait in memory
FEW = 8  # files that are not worth a pool
MAX_STEM = 200  # characters; a file name has 255, and the temporary one is longer


@dataclass(frozen=True)
class CleanConfig:
    """Section ``clean``."""

    rate_hz: int
    min_duration_s: float
    max_duration_s: float
    min_peak_dbfs: float
    keep_silence: bool  # a silent clip labelled 'other' is a valid negative
    peak_normalise: bool
    workers: int
    decoding: Limits = field(default_factory=Limits)  # of a file
    event: str = CRY  # what is detected: an infant's cry, or a publisher's class


@dataclass(frozen=True, slots=True)  # kept for every clip
class Measured:
    """What cleaning found out about one file."""

    sha256: str  # of the 16 kHz mono int16 samples
    duration_s: float
    rate_hz: int  # as recorded
    bandwidth_hz: float
    peak_dbfs: float
    rms_dbfs: float
    truncated: bool
    damaged_s: float  # silence stands for what does not decode
    gap_s: float  # silence stands where the file has no sound


@dataclass(frozen=True)
class CleanSummary:
    """Counts and seconds of one corpus."""

    corpus: str
    n_clips: int
    n_quarantined: int
    n_truncated: int
    damaged_s: float
    gap_s: float
    seconds: float
    by_label: dict[str, int]
    reasons: dict[str, int]

    def as_metrics(self) -> dict[str, float]:
        """For the tracking store."""
        counts = {f"clips_{label}": float(count) for label, count in self.by_label.items()}
        return counts | {
            "clips": float(self.n_clips),
            "quarantined": float(self.n_quarantined),
            "truncated": float(self.n_truncated),
            "damaged_seconds": self.damaged_s,
            "gap_seconds": self.gap_s,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class _Task:
    name: str  # source_path of the entry
    source: Path
    target: Path
    label: str
    config: CleanConfig


def run(
    corpus: Corpus, config: CleanConfig, raw_dir: Path, out_dir: Path, work_dir: Path
) -> CleanSummary:
    """Clean ``corpus`` from ``raw_dir`` to ``out_dir`` (audio/, the tables, summary.json)."""
    if config.rate_hz != RATE_HZ:
        raise ConfigError(f"clean.rate_hz: {config.rate_hz}, but all stages read {RATE_HZ} Hz")
    if not 0 <= config.min_duration_s < config.max_duration_s:
        raise ConfigError(
            "clean: needs 0 <= min_duration_s < max_duration_s, not "
            f"{config.min_duration_s:g} and {config.max_duration_s:g}"
        )
    if not config.event.strip():
        raise ConfigError(
            "clean.event is empty: set cry, or the publishers' name of the class to be detected"
        )
    entries = [
        entry.by_event(config.event) if isinstance(entry, ClipEntry) else entry
        for entry in corpus.index(raw_dir)
    ]
    key = value_sha256(
        [asdict(config)]
        + [
            (entry.source_path, _stamp(raw_dir / entry.source_path))
            for entry in entries
            if isinstance(entry, ClipEntry)
        ]
    )
    state = work_dir / key[:16]
    (state / "audio").mkdir(parents=True, exist_ok=True)
    for half in (state / "audio").glob(f"{TEMP_PREFIX}*"):
        half.unlink()  # of a run that was killed
    clips = [entry for entry in entries if isinstance(entry, ClipEntry)]
    titles = {entry.source_path: entry.title for entry in clips if entry.title}
    stems = unique_stems([entry.source_path for entry in entries], titles)
    tasks = (
        _Task(
            entry.source_path,
            raw_dir / entry.source_path,
            state / "audio" / f"{stems[entry.source_path]}.flac",
            entry.label,
            config,
        )
        for entry in clips
    )
    results = _clean_all(tasks, len(clips), config.workers, corpus.name)
    summary = _write_tables(corpus, entries, stems, results, state, out_dir)
    shutil.rmtree(out_dir, ignore_errors=True)
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    state.rename(out_dir)
    shutil.rmtree(work_dir, ignore_errors=True)
    return summary


def _stamp(path: Path) -> tuple[int, int]:
    if not path.is_file():
        return -1, -1
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def unique_stems(
    source_paths: Iterable[str], titles: Mapping[str, str] | None = None
) -> dict[str, str]:
    """A file name for each source path: its title or own stem, where that is safe and unique.

    A name with other characters, one that two sources share, or one that is too long gets a digest
    of its path; NFC and NFD give the same, unless both are there.
    """
    own = {path: normal((titles or {}).get(path, Path(path).stem)) for path in source_paths}
    twins = Counter(map(normal, own))
    plain = {path: re.sub(r"[^A-Za-z0-9._-]+", "_", name) for path, name in own.items()}
    # Case is ignored: some file systems do not tell names apart by it.
    count = Counter(stem.lower() for stem in plain.values())
    stems = {}
    for path, stem in plain.items():
        if count[stem.lower()] > 1 or stem != own[path] or len(stem) > MAX_STEM:
            one = normal(path) if twins[normal(path)] == 1 else path
            stem = f"{stem[:80]}-{hashlib.sha256(one.encode()).hexdigest()[:8]}"
        stems[path] = stem
    return stems


def _clean_all(
    tasks: Iterator[_Task], count: int, workers: int, what: str
) -> dict[str, Measured | str]:
    """Result of every task: what was measured, or the reason it was refused."""
    results: dict[str, Measured | str] = {}
    with progress_bar(f"clean {what}", count, unit="file") as bar:
        for name, result in _parallel(tasks, workers if count >= FEW else 1):
            results[name] = result
            bar.update()
    return results


def _parallel(tasks: Iterator[_Task], workers: int) -> Iterator[tuple[str, Measured | str]]:
    """Results as they come; only so many files wait that no worker does, however many there are."""
    if workers <= 1:
        for task in tasks:
            yield task.name, clean_file(task)
        return
    running: dict[Future[list[Measured | str]], list[str]] = {}  # files of each chunk
    try:
        with ProcessPoolExecutor(workers) as pool:
            try:
                while True:
                    while len(running) < workers * CHUNKS_AHEAD and (
                        chunk := list(islice(tasks, CHUNK))
                    ):
                        running[pool.submit(_clean_files, chunk)] = [task.name for task in chunk]
                    if not running:
                        return
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        yield from zip(running.pop(future), future.result(), strict=True)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)  # after an error: what waits
    except BrokenProcessPool as error:
        raise CrywatchError(
            "clean: a worker process died, of too little memory perhaps. What is finished is kept: "
            "run the stage again, with clean.workers=1 if it stays so"
        ) from error


def _clean_files(tasks: list[_Task]) -> list[Measured | str]:
    return [clean_file(task) for task in tasks]


def clean_file(task: _Task) -> Measured | str:
    """Clean one file; a reason (str) where it must be refused. Runs in a worker process."""
    record = task.target.with_suffix(".json")
    if record.is_file() and task.target.is_file():
        return Measured(**json.loads(record.read_text()))
    try:
        measured = _convert(task)
    except AudioError as error:
        return str(error).removeprefix(f"{task.source}: ")
    write_json(record, asdict(measured))
    return measured


def _convert(task: _Task) -> Measured:
    import soundfile

    config = task.config
    gain = _gain(task) if config.peak_normalise else 1.0
    reader = _opened(task)
    rate_hz = reader.info.rate_hz
    resampler = Resampler(rate_hz, config.rate_hz)
    meter, level = BandwidthMeter(rate_hz), _Level()
    digest = hashlib.sha256()
    n_read = 0

    def converted(block: np.ndarray, last: bool) -> np.ndarray:
        block = resampler(block, last)
        samples = to_int16(block * gain if gain != 1 else block)
        digest.update(samples.tobytes())
        return samples

    with atomic_path(task.target) as temp:
        try:
            with soundfile.SoundFile(
                temp, "w", config.rate_hz, 1, subtype="PCM_16", format="FLAC"
            ) as sink:
                for block in gathered(reader, GATHER_SAMPLES):
                    n_read += len(block)
                    if n_read / rate_hz > config.max_duration_s:
                        raise AudioError(f"{task.source}: longer than {config.max_duration_s} s")
                    meter.add(block)
                    level.add(block)
                    sink.write(converted(block, last=False))
                sink.write(converted(np.zeros(0, dtype=np.float32), last=True))
        except soundfile.LibsndfileError as error:
            raise OSError(f"{error}") from error
        duration_s = n_read / rate_hz
        if duration_s < config.min_duration_s:
            raise AudioError(
                f"{task.source}: {1e3 * duration_s:.0f} ms, shorter than {config.min_duration_s} s"
            )
        silent = level.swing_dbfs < config.min_peak_dbfs
        if silent and not (config.keep_silence and task.label == "other"):
            raise AudioError(f"{task.source}: silent (peak {level.peak_dbfs:.0f} dBFS)")
    return Measured(
        sha256=digest.hexdigest(),
        duration_s=duration_s,
        rate_hz=rate_hz,
        bandwidth_hz=meter.result_hz(),
        peak_dbfs=level.peak_dbfs,
        rms_dbfs=level.rms_dbfs,
        truncated=reader.truncated,
        damaged_s=reader.damaged_s,
        gap_s=reader.gap_s,
    )


def _opened(task: _Task) -> BlockReader:
    return GuardedReader(task.source, task.config.decoding)


def _gain(task: _Task) -> float:
    """What brings the source's peak to 1: a pass of its own, before anything can clip."""
    peak = max(float(np.abs(block).max()) for block in _opened(task))
    return 1.0 if level_dbfs(peak) < task.config.min_peak_dbfs else 1.0 / peak


class _Level:
    """Peak, swing (half of what lies between the extremes) and RMS of a stream."""

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf
        self._energy = 0.0
        self._count = 0

    def add(self, block: np.ndarray) -> None:
        self.low = min(self.low, float(block.min()))
        self.high = max(self.high, float(block.max()))
        self._energy += float(np.square(block, dtype=np.float64).sum())
        self._count += len(block)

    @property
    def peak_dbfs(self) -> float:
        return level_dbfs(max(self.high, -self.low))

    @property
    def swing_dbfs(self) -> float:
        return level_dbfs((self.high - self.low) / 2)

    @property
    def rms_dbfs(self) -> float:
        return level_dbfs((self._energy / self._count) ** 0.5) if self._count else SILENCE_DBFS


def _write_tables(
    corpus: Corpus,
    entries: list[ClipEntry | Refused],
    stems: dict[str, str],
    results: dict[str, Measured | str],
    state: Path,
    out_dir: Path,
) -> CleanSummary:
    import pandas as pd

    from crywatch.data.tables import TableSchema, write_table
    from crywatch.data.tables.clips import CLIPS, EVENTS, QUARANTINE

    clips: list[dict[str, Any]] = []
    events: list[tuple[str, float, float, str]] = []
    quarantine: list[tuple[str, str, str]] = []
    details: list[ClipDetails] = []
    kept: list[Measured] = []
    for entry in entries:
        result = entry.reason if isinstance(entry, Refused) else results[entry.source_path]
        if isinstance(entry, Refused) or isinstance(result, str):
            quarantine.append((corpus.name, entry.source_path, str(result)))
            continue
        stem = stems[entry.source_path]
        kept.append(result)
        measured = asdict(result)
        for key in ("truncated", "damaged_s", "gap_s"):
            measured.pop(key)
        clip_id = f"{corpus.name}/{stem}"
        clips.append(
            measured
            | {
                "clip_id": clip_id,
                "corpus": corpus.name,
                "path": (out_dir / "audio" / f"{stem}.flac").as_posix(),
                "source_path": entry.source_path,
                "label": entry.label,
                "category": entry.category,
                "recording_id": entry.recording_id,
                "infant_id": entry.infant_id,
                "session_id": entry.session_id,
                "recorded_at": entry.recorded_at,
                "licence": entry.licence,
            }
        )
        events += [(clip_id, e.onset_s, e.offset_s, e.label) for e in entry.events]
        if entry.details is not None:
            details.append(ClipDetails(clip_id, entry.details))
    tables: list[tuple[TableSchema, list]] = [
        (CLIPS, clips),
        (EVENTS, events),
        (QUARANTINE, quarantine),
    ]
    for schema, rows in tables:
        frame = pd.DataFrame(rows, columns=list(schema.columns))
        write_table(frame, state / f"{schema.name}.parquet", schema)
    if details:
        write_details(details, state / DETAILS_FILE)
    for note in (state / "audio").glob("*.json"):
        note.unlink()
    summary = CleanSummary(
        corpus=corpus.name,
        n_clips=len(clips),
        n_quarantined=len(quarantine),
        n_truncated=sum(result.truncated for result in kept),
        damaged_s=round(sum(result.damaged_s for result in kept), 3),
        gap_s=round(sum(result.gap_s for result in kept), 3),
        seconds=round(sum(clip["duration_s"] for clip in clips), 3),
        by_label=dict(sorted(Counter(clip["label"] for clip in clips).items())),
        reasons=dict(sorted(Counter(reason for *_, reason in quarantine).items())),
    )
    write_json(state / "summary.json", asdict(summary))
    return summary

"""Stage ``embed_cries``: every recording of a known infant as one vector, and what it is tried on.

Beside the recordings: their log-mel statistics, whatever the network; clips without a cry, which
the gate must refuse; and the later recordings of the infants that are tested after made changes. A
change is made to each cry alone; cries that are too short for it are left out of the changed
recording.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.audio.segments import RATE_HZ
from crywatch.core.digest import file_sha256, value_sha256
from crywatch.core.errors import ConfigError, CrywatchError
from crywatch.core.models import WEIGHTS, load
from crywatch.core.progress import progress
from crywatch.core.threads import one_thread
from crywatch.data.selection import labelled
from crywatch.data.tables import PARTS
from crywatch.data.tables.infants import is_changed
from crywatch.infants.embedded_cries import EmbeddedCries, EmbeddingInfo, write_embedded
from crywatch.infants.shifts import LEAST_S, Shift, ShiftsConfig, all_shifts, apply
from crywatch.speaker.baselines import logmel_statistics, origin_and_units
from crywatch.speaker.batches import AveragingConfig, Embed, embed_cries
from crywatch.speaker.cries.store import CryStore
from crywatch.speaker.logmel import LogMelStatistics, open_network

__all__ = ["EmbedCriesConfig", "EmbedCriesSummary", "EmbeddedCries", "recording_vector", "run"]

OTHER = "other"  # label of the clips without a cry
_CHUNK = 8  # recordings that a process takes at a time


@dataclass
class ShiftedConfig:
    """Section ``shifted``: which recordings are changed, apart from `changed` ones."""

    parts: list[str]  # of infants
    least_sessions: int  # of an infant whose recordings are changed
    later_share: float  # of its recordings in the order of time, those that may be changed
    most: int  # of an infant, spread evenly over those

    def __post_init__(self) -> None:
        unknown = sorted(set(self.parts) - set(PARTS))
        if unknown or not 0 < self.later_share <= 1 or self.most < 0:
            raise ConfigError(
                f"shifted: parts {self.parts} must be of {', '.join(PARTS)}, later_share "
                f"{self.later_share} above 0 and at most 1, most {self.most} at least 0"
            )


@dataclass(frozen=True)
class EmbedCriesConfig:
    """Section ``embed_cries``. Sections inside are not frozen: OmegaConf merges into them."""

    network: str  # a model of train_speaker
    averaging: AveragingConfig  # of a recording's cries
    others_per_part: int  # clips without a cry, at most
    other_s: float  # of each, from its beginning
    changed: list[str]  # beginnings of the categories of recordings that are known to be abnormal
    shifted: ShiftedConfig
    shifts: ShiftsConfig
    workers: int  # processes


@dataclass(frozen=True)
class EmbedCriesSummary:
    """What was embedded."""

    recordings: int
    infants: int
    cries: int
    others: int
    shifted: int
    shifted_infants: int


def recording_vector(
    cries: Sequence[np.ndarray], clip_id: str, embed: Embed, averaging: AveragingConfig
) -> np.ndarray:
    """One unit vector [dim] for the cries of a recording; equal inputs give equal vectors.

    The crops are drawn by ``clip_id``, so that a changed recording has those of the unchanged one.
    """
    rng = np.random.default_rng(zlib.crc32(clip_id.encode()))
    return embed_cries(cries, embed, averaging, rng).astype(np.float32)


def run(
    cries_dir: Path,
    clips_table: Path,
    network_dir: Path,
    config: EmbedCriesConfig,
    seed: int,
    out_dir: Path,
) -> EmbedCriesSummary:
    """Embed the cries at ``cries_dir`` with the network at ``network_dir``.

    ``clips_table`` (schema split_clips) names the clips without a cry. Raises ModelError or
    TableError where an input is missing, ConfigError where no recording holds a cry.
    """
    cries = CryStore(cries_dir)
    recordings = _recordings(cries)
    if not len(recordings):
        raise ConfigError(f"{cries_dir} holds no cry of a known infant: add a corpus that has some")
    chosen = set(to_shift(recordings, config))
    shifts = tuple(all_shifts(config.shifts))
    tasks = [
        _EmbedTask(clip_id, None, shifts if clip_id in chosen else ())
        for clip_id in recordings["clip_id"]
    ]
    others = pick_others(labelled(clips_table), config.others_per_part)
    tasks += [
        _EmbedTask(clip_id, path, ())
        for clip_id, path in zip(others["clip_id"], others["path"], strict=True)
    ]
    worker = _Worker(
        str(cries_dir),
        cries.digest,
        str(network_dir),
        file_sha256(network_dir / WEIGHTS) if (network_dir / WEIGHTS).is_file() else "",
        config.averaging,
        config.other_s,
        seed,
    )
    vectors = _embed_all(worker, tasks, config.workers)
    own, of_others = vectors[: len(recordings)], vectors[len(recordings) :]
    shifted = [
        {"clip_id": clip_id, "shift": shift.name, "control": shift.control}
        for clip_id, recording in zip(recordings["clip_id"], own, strict=True)
        for shift in recording.shifts
    ]
    statistics = np.stack([recording.statistics for recording in own])
    heard = (recordings["split"] == "train") & ~is_changed(recordings, config.changed)
    units = statistics[heard.to_numpy()] if heard.any() else statistics
    write_embedded(
        out_dir,
        embedding_info(network_dir, config.averaging),
        recordings,
        np.stack([recording.whole for recording in own]),
        others=others.drop(columns="path"),
        other_vectors=_stack([other.whole for other in of_others]),
        shifted=pd.DataFrame(shifted, columns=["clip_id", "shift", "control"]),
        shifted_vectors=_stack([vector for recording in own for vector in recording.shifted]),
        statistics=LogMelStatistics(*origin_and_units(units)).standardised(statistics),
    )
    changed = {row["clip_id"] for row in shifted}
    return EmbedCriesSummary(
        recordings=len(recordings),
        infants=recordings["infant_id"].nunique(),
        cries=len(cries.table),
        others=len(others),
        shifted=len(shifted),
        shifted_infants=recordings.loc[recordings["clip_id"].isin(changed), "infant_id"].nunique(),
    )


def embedding_info(network_dir: Path, averaging: AveragingConfig) -> EmbeddingInfo:
    """What vectors of that network and averaging are known by; ModelError without a network."""
    model = load(network_dir)
    settings = asdict(averaging) if averaging.crops else {"crops": 0}
    digest = value_sha256([file_sha256(network_dir / WEIGHTS), settings])
    return EmbeddingInfo(
        str(model.setting("name")), digest, model.setting("dim"), averaging.crops, averaging.crop_s
    )


def to_shift(recordings: pd.DataFrame, config: EmbedCriesConfig) -> list[str]:
    """The clip ids of table ``recordings`` that are changed, by infant and time."""
    wanted = config.shifted
    normal = ~is_changed(recordings, config.changed)
    known = recordings["recorded_at"].notna() & recordings["session_id"].notna()
    frame = recordings[normal & known & recordings["split"].isin(wanted.parts)]
    chosen: list[str] = []
    for _, own in frame.sort_values(["recorded_at", "clip_id"]).groupby("infant_id", sort=True):
        if own["session_id"].nunique() >= wanted.least_sessions and wanted.most:
            later = own["clip_id"].to_numpy()[int(len(own) * (1 - wanted.later_share)) :]
            count = min(wanted.most, len(later))
            chosen += later[np.linspace(0, len(later) - 1, count).round().astype(int)].tolist()
    return chosen


def pick_others(clips: pd.DataFrame, per_part: int) -> pd.DataFrame:
    """At most ``per_part`` clips of each part, its categories in turn, drawn by their names.

    Columns of table ``others``, and ``path``; ``clips`` are those that a training may see.
    """
    chosen = []
    for part in PARTS:
        frame = clips[(clips["split"] == part) & (clips["label"] == OTHER)]
        order = frame.assign(drawn=[zlib.crc32(name.encode()) for name in frame["clip_id"]])
        order = order.sort_values(["drawn", "clip_id"])
        queues = [own.index.to_list() for _, own in order.groupby("category", sort=True)]
        turns = [row for turn in zip_longest(*queues) for row in turn if row is not None]
        chosen.append(frame.loc[turns[:per_part]])
    columns = ["clip_id", "corpus", "split", "category", "path"]
    return pd.concat(chosen)[columns].reset_index(drop=True)


def _recordings(cries: CryStore) -> pd.DataFrame:
    """Table ``recordings``, in the order of the store."""
    table = cries.table
    frame = table.groupby("clip_id", sort=False).first()
    counted = table.groupby("clip_id", sort=False)["samples"].agg(["size", "sum"])
    frame = frame.assign(cries=counted["size"], cry_s=counted["sum"] / RATE_HZ)
    return frame.loc[list(cries.recordings)].reset_index()


@dataclass(frozen=True)
class _EmbedTask:
    """A recording of the store, or the beginning of a file."""

    clip_id: str
    path: str | None  # of a clip without a cry
    shifts: tuple[Shift, ...]


@dataclass(frozen=True)
class _TaskVectors:
    """Vectors of one task."""

    whole: np.ndarray  # [dim]
    statistics: np.ndarray  # [128], not standardised; of a clip without a cry none
    shifts: list[Shift]  # those that could be made
    shifted: list[np.ndarray]  # [dim] each


@dataclass(frozen=True)
class _Worker:
    """What a process needs; digests tell folders apart that were made again."""

    cries_dir: str
    cries_digest: str
    network_dir: str
    network_digest: str
    averaging: AveragingConfig = field(hash=False)
    other_s: float
    seed: int

    def embed(self, task: _EmbedTask) -> _TaskVectors:
        network, store = _load(self)

        def vector(waves: Sequence[np.ndarray]) -> np.ndarray:
            return recording_vector(waves, task.clip_id, network, self.averaging)

        if task.path is not None:
            return _TaskVectors(vector([_beginning(task.path, self.other_s)]), np.empty(0), [], [])
        cries = store.waves(task.clip_id)
        enough = [cry for cry in cries if len(cry) >= LEAST_S * RATE_HZ and cry.any()]
        shifts = list(task.shifts) if enough else []
        # Cry by cry: what the shifts of one share is computed once.
        made = [[apply(shift, cry, RATE_HZ, self.seed) for shift in shifts] for cry in enough]
        changed = [vector(waves) for waves in zip(*made, strict=True)]
        return _TaskVectors(
            vector(cries), logmel_statistics(np.concatenate(cries)), shifts, changed
        )


@lru_cache(maxsize=1)
def _load(worker: _Worker) -> tuple[Embed, CryStore]:
    return open_network(worker.network_dir).embed, CryStore(worker.cries_dir)


@one_thread()
def _embed_some(worker: _Worker, tasks: Sequence[_EmbedTask]) -> list[_TaskVectors]:
    return [worker.embed(task) for task in tasks]


def _embed_all(worker: _Worker, tasks: Sequence[_EmbedTask], workers: int) -> list[_TaskVectors]:
    """In the order of ``tasks``; the number of processes changes nothing but the time."""
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    # The long ones first, so that no process ends long after the others.
    order = sorted(range(len(tasks)), key=lambda number: -len(tasks[number].shifts))
    # The first one here: processes that compile librosa's functions for two types at a time write
    # each other's code to numba's cache, and calling it ends a process.
    by_number = {n: _embed_some(worker, [tasks[n]])[0] for n in order[:1]}
    chunks = [order[start : start + _CHUNK] for start in range(1, len(order), _CHUNK)]
    if not chunks:
        return list(by_number.values())
    parallel = Parallel(n_jobs=min(workers, len(chunks)), return_as="generator")
    made = parallel(delayed(_embed_some)(worker, [tasks[n] for n in chunk]) for chunk in chunks)
    try:
        for chunk, vectors in zip(chunks, progress(made, "embed", len(chunks)), strict=True):
            by_number.update(zip(chunk, vectors, strict=True))
    except TerminatedWorkerError as error:
        raise CrywatchError(
            "embed_cries: a worker process died, of too little memory perhaps: run the stage "
            "again, with embed_cries.workers=1 if it stays so"
        ) from error
    return [by_number[number] for number in range(len(tasks))]


def _beginning(path: str, length_s: float) -> np.ndarray:
    """The first seconds of a cleaned clip, its peak at 1; silence stays silence."""
    from crywatch.audio.waves.cleaned import clean_blocks

    wave = next(clean_blocks(path, round(length_s * RATE_HZ)))
    return wave / max(float(np.abs(wave).max()), 1e-9) if wave.any() else wave


def _stack(vectors: Sequence[np.ndarray]) -> np.ndarray | None:
    return np.stack(vectors) if vectors else None

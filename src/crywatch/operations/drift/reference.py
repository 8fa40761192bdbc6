"""What the training sounds of a model were like: a row a clip, kept with the model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crywatch.core.atomic import atomic_dir, atomic_path, read_json, write_json
from crywatch.core.errors import TableError
from crywatch.core.models import own_files
from crywatch.operations.drift.measures import (
    EMBEDDING,
    SCALARS,
    DriftConfig,
    SoundMeasures,
    measure,
)

if TYPE_CHECKING:
    import pandas as pd

    from crywatch.detection.detectors import Detector

TABLE = "reference.parquet"
ABOUT = "reference.json"
GROUP = "group"


@dataclass(frozen=True)
class Reference:
    """What `build_reference` wrote."""

    frame: pd.DataFrame  # group and a column a quantity; embedding lists, where there are any
    model_sha256: str  # of the model folder
    excerpt_s: float


def build_reference(
    clips_table: Path, model: Path, config: DriftConfig, seed: int, out_dir: Path
) -> None:
    """Write what is compared with later: a row a training clip, with level, bandwidth, score and
    the network's own numbers; see `check_drift`.

    Paths of ``clips_table`` (schema split_clips) are relative to the working directory. Neither
    names nor ids go into the files: groups are numbers. Equal inputs give equal bytes.

    Raises
    ------
    TableError
        The table has no labelled clip in its training part.
    """
    from crywatch.audio.segments import RATE_HZ
    from crywatch.audio.waves.cleaned import read_clean
    from crywatch.core.digest import files_sha256
    from crywatch.core.progress import progress
    from crywatch.core.threads import one_thread
    from crywatch.data.selection import labelled
    from crywatch.detection.detectors import load_detector

    clips = labelled(clips_table)
    clips = clips[clips["split"] == "train"]
    if clips.empty:
        raise TableError(f"{clips_table}: no labelled clip in the training part to compare with")
    order = sorted(clips.itertuples(), key=lambda row: _draw(seed, row.sha256, row.clip_id))
    sample = order[: config.reference_clips]
    numbers = {group: i for i, group in enumerate(dict.fromkeys(row.group_id for row in sample))}
    detector = load_detector(model)
    rows, groups = [], []
    with one_thread():
        for row in progress(sample, "reference", unit="clip"):
            wave = excerpt_of(read_clean(row.path), RATE_HZ, config.excerpt_s, seed, row.sha256)
            rows.append(measure(wave, detector))
            groups.append(numbers[row.group_id])
    about = {
        "model_sha256": files_sha256(own_files(model)),
        "seed": seed,
        "excerpt_s": config.excerpt_s,
        "clips": len(rows),
        "clips_of_training": len(clips),
        "groups": len(numbers),
        "corpora": sorted(clips["corpus"].unique()),
    }
    with atomic_dir(out_dir) as temp:
        with atomic_path(temp / TABLE) as file:
            table(rows, groups).to_parquet(file, index=False, compression="zstd")
        write_json(temp / ABOUT, about)


def read_reference(folder: Path) -> Reference:
    """What was kept with a model; TableError if it is missing or broken."""
    import pandas as pd

    try:
        about = read_json(folder / ABOUT)
        frame = pd.read_parquet(folder / TABLE)
        missing = {GROUP, *(name for name, _, _ in SCALARS)} - set(frame.columns)
        if missing:
            raise ValueError(f"no column {', '.join(sorted(missing))}")
        return Reference(frame, about["model_sha256"], about["excerpt_s"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise TableError(
            f"{folder}: no reference to compare with ({error}): register the model again"
        ) from error


def table(rows: Iterable[SoundMeasures], groups: Iterable[int]) -> pd.DataFrame:
    """A row an excerpt: group, a column a quantity, and the embedding where all rows have one."""
    import pandas as pd

    frame = pd.DataFrame(
        [vars(row) for row in rows], columns=[*(name for name, *_ in SCALARS), EMBEDDING]
    )
    frame.insert(0, GROUP, np.asarray(list(groups), dtype=np.int64))
    if frame.empty or frame[EMBEDDING].isna().any():
        frame = frame.drop(columns=EMBEDDING)
    return frame


def excerpt_of(wave: np.ndarray, rate_hz: int, seconds: float, seed: int, name: str) -> np.ndarray:
    """``seconds`` of ``wave`` [samples] at a place drawn by ``seed`` and ``name``, or all of it."""
    length = round(seconds * rate_hz)
    return wave[(start := place(len(wave) - length, seed, name)) : start + length]


def place(span: int, seed: int, name: str) -> int:
    """A whole number in 0..``span``, drawn by ``seed`` and ``name``; 0 where there is no span."""
    return int(_draw(seed, name)[:15], 16) % (span + 1) if span > 0 else 0


def _draw(seed: int, *names: str) -> str:
    return hashlib.sha256("\0".join((str(seed), *names)).encode()).hexdigest()


def one_of_each_group(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A random row of each group: rows of one group are no independent draws."""
    sample = frame.sample(frac=1.0, random_state=seed)
    return sample.drop_duplicates(GROUP).sort_values(GROUP).reset_index(drop=True)


def measure_recordings(
    recordings: Iterable[Path], detector: Detector, config: DriftConfig, excerpt_s: float, seed: int
) -> tuple[list[SoundMeasures], list[str]]:
    """Measures of an excerpt of each recording, and why others could not be read."""
    from crywatch.audio.decode import excerpt
    from crywatch.audio.guard import GuardedReader
    from crywatch.audio.segments import RATE_HZ
    from crywatch.audio.waves.resampling import resample
    from crywatch.core.digest import file_sha256
    from crywatch.core.errors import AudioError
    from crywatch.core.progress import progress
    from crywatch.core.threads import one_thread

    rows, unreadable = [], []
    with one_thread():
        for path in progress(list(recordings), "recent", unit="file"):
            try:
                sound = excerpt(GuardedReader(path), 0.0, max(config.reach_s, excerpt_s))
                wave = resample(sound.wave, sound.rate_hz, RATE_HZ)
                if not len(wave):
                    raise AudioError(f"{path}: too short")
                rows.append(
                    measure(excerpt_of(wave, RATE_HZ, excerpt_s, seed, file_sha256(path)), detector)
                )
            except (AudioError, OSError) as error:
                unreadable.append(str(error))
    return rows, unreadable

"""What is measured of a corpus: levels, bandwidth, clipping and silence, by label.

Levels, bandwidths and rates come from the clips table (all clips); clipping and silence from the
sound of a bounded number of clips, read block by block.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crywatch.audio.decode import BlockReader
from crywatch.audio.segments import MIN_TAIL, RATE_HZ
from crywatch.audio.waves.levels import level_dbfs
from crywatch.audio.waves.resampling import gathered
from crywatch.core.progress import progress

if TYPE_CHECKING:
    import pandas as pd

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BLOCK_S = 30  # read at a time
SHORTCUT = 0.8  # AUC from which one number alone nearly tells the classes apart
MIN_CLASS = 5  # clips of each class, for an AUC to mean anything


@dataclass(frozen=True)
class Quantity:
    """A number of the clips table."""

    column: str
    title: str
    unit: str


QUANTITIES = (
    Quantity("peak_dbfs", "Peak level", "dBFS"),
    Quantity("rms_dbfs", "RMS level", "dBFS"),
    Quantity("bandwidth_hz", "Bandwidth as recorded", "Hz"),
    Quantity("rate_hz", "Rate as recorded", "Hz"),
    Quantity("duration_s", "Duration", "s"),
)


@dataclass(frozen=True)
class Sound:
    """What the samples of one clip say."""

    clipped: bool  # holds a run of samples at full scale
    n_seconds: int
    n_silent: int  # seconds below the level


@dataclass(frozen=True)
class LabelSound:
    """The same of the measured clips of a label."""

    label: str
    clips: int
    clipped: float  # share of the clips
    silent: float  # share of the seconds


@dataclass(frozen=True)
class Spread:
    """How a quantity is distributed over the clips of a label."""

    column: str
    label: str
    clips: int
    quantiles: dict[str, float]  # "0.05" -> value


@dataclass(frozen=True)
class Separation:
    """How well one number alone tells cries from other sounds."""

    column: str
    auc: float  # 0.5 nothing, 1 completely, whichever side the cries are on
    higher: str  # the label with the higher values

    @property
    def is_shortcut(self) -> bool:
        """Whether a model could live on it."""
        return self.auc >= SHORTCUT


def spreads(clips: pd.DataFrame) -> list[Spread]:
    """Quantiles of every quantity by label."""
    return [
        Spread(
            quantity.column,
            label,
            len(members),
            {f"{q:g}": round(float(members[quantity.column].quantile(q)), 3) for q in QUANTILES},
        )
        for quantity in QUANTITIES
        for label, members in clips.groupby("label", sort=True)
    ]


def separations(clips: pd.DataFrame) -> list[Separation]:
    """For a corpus with both classes; empty where a class has less than `MIN_CLASS` clips."""
    cries, others = (clips[clips["label"] == label] for label in ("cry", "other"))
    if min(len(cries), len(others)) < MIN_CLASS:
        return []
    rows = []
    for quantity in QUANTITIES:
        auc = _auc(cries[quantity.column].to_numpy(), others[quantity.column].to_numpy())
        higher = "cry" if auc >= 0.5 else "other"
        rows.append(Separation(quantity.column, round(max(auc, 1 - auc), 4), higher))
    return rows


def _auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Chance that a positive is above a negative; ties count half."""
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([positive, negative]))
    total = ranks[: len(positive)].sum() - len(positive) * (len(positive) + 1) / 2
    return float(total / (len(positive) * len(negative)))


def draw(clips: pd.DataFrame, max_clips: int) -> pd.DataFrame:
    """At most ``max_clips`` rows, evenly over the labels, in the table's order.

    By digest of the clip_id: the draw depends on nothing else, and a longer one holds the shorter.
    """
    order = clips["clip_id"].map(lambda name: hashlib.sha256(name.encode()).hexdigest())
    by_digest = clips.assign(_order=order).sort_values("_order")
    turn = by_digest.groupby("label").cumcount()  # the first of each label, then the second, ...
    rows = by_digest.assign(_turn=turn).sort_values(["_turn", "_order"]).index[:max_clips]
    return clips.loc[sorted(rows)]


def measure_sound(
    clips: pd.DataFrame, clip_level: float, clip_run: int, silent_dbfs: float
) -> list[LabelSound]:
    """Clipping and silence of ``clips`` by label; reads each of them once."""
    totals: dict[str, list[int]] = {}  # clips, clipped, seconds, silent
    rows = zip(clips["path"], clips["label"], strict=True)
    for path, label in progress(rows, "datasheet", total=len(clips), unit="clip"):
        sound = read_sound(Path(path), clip_level, clip_run, silent_dbfs)
        total = totals.setdefault(label, [0, 0, 0, 0])
        for at, value in enumerate((1, sound.clipped, sound.n_seconds, sound.n_silent)):
            total[at] += value
    return [
        LabelSound(label, total[0], total[1] / total[0], total[3] / max(total[2], 1))
        for label, total in sorted(totals.items())
    ]


def read_sound(path: Path, clip_level: float, clip_run: int, silent_dbfs: float) -> Sound:
    """Read a cleaned clip block by block: memory does not grow with its length."""
    run, clipped = 0, False  # samples at full scale that end the block before
    buffer = np.zeros(0, dtype=np.float32)
    n_seconds = n_silent = 0
    for block in gathered(BlockReader(path), BLOCK_S * RATE_HZ):
        full = np.abs(block) >= clip_level
        longest, run = _runs(full, run)
        clipped = clipped or longest >= clip_run
        buffer = np.concatenate([buffer, block])
        whole = len(buffer) // RATE_HZ
        n_seconds += whole
        n_silent += _silent(buffer[: whole * RATE_HZ].reshape(whole, RATE_HZ), silent_dbfs)
        buffer = buffer[whole * RATE_HZ :].copy()
    # As everywhere: half a second or more counts, and a clip has at least one.
    if len(buffer) >= MIN_TAIL * RATE_HZ or (len(buffer) and not n_seconds):
        n_seconds += 1
        n_silent += _silent(buffer[None], silent_dbfs)
    return Sound(clipped, n_seconds, n_silent)


def _runs(full: np.ndarray, before: int) -> tuple[int, int]:
    """Longest run of true in ``full``, which goes on one of ``before``, and the run at its end."""
    edges = np.flatnonzero(~full)
    if not len(edges):
        return before + len(full), before + len(full)
    inner = int(np.diff(edges).max(initial=1)) - 1
    first, last = before + int(edges[0]), len(full) - 1 - int(edges[-1])
    return max(first, inner, last), last


def _silent(seconds: np.ndarray, silent_dbfs: float) -> int:
    """How many rows of [seconds, samples] have a lower RMS than ``silent_dbfs``."""
    rms = np.sqrt(np.mean(np.square(seconds, dtype=np.float64), axis=1))
    return sum(level_dbfs(value) < silent_dbfs for value in rms)


def typical(clips: pd.DataFrame, label: str, count: int) -> pd.DataFrame:
    """The ``count`` clips of ``label`` nearest to its median level, each of another recording."""
    members = clips[clips["label"] == label].sort_values(["rms_dbfs", "clip_id"])
    middle = (len(members) - 1) // 2
    # Outwards from the middle: middle, one up, one down, ...
    order = sorted(range(len(members)), key=lambda row: (abs(row - middle), row))
    rows: list[int] = []
    recordings: set[str] = set()
    for row in order:
        recording = members["recording_id"].iloc[row]
        if len(rows) < count and recording not in recordings:
            recordings.add(recording)
            rows.append(row)
    return members.iloc[rows]

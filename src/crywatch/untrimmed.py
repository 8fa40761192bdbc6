"""Stage ``untrimmed``: recordings of 20 to 60 s joined from the clips of one part, onsets known.

Half of the recordings hold one to three cry clips among others, the rest hold none. Clips keep
their levels and follow each other with a short crossfade. An event is the extent of a cry clip: the
pauses within it count as cry, as they do in the clip's own label.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.atomic import atomic_dir
from crywatch.audio import bandwidth_hz, level_dbfs, read_clean, to_int16, write_flac
from crywatch.errors import ConfigError, TableError
from crywatch.progress import progress
from crywatch.segments import RATE_HZ
from crywatch.tables import PARTS, read_table, write_table

CORPUS = "untrimmed"
CROSSFADE_S = 0.05
MAX_CRY_CLIPS = 3


@dataclass(frozen=True)
class UntrimmedConfig:
    """Section ``untrimmed``."""

    min_duration_s: float
    max_duration_s: float
    per_part: dict[str, int]  # recordings
    single_source: float  # share whose clips all come from one corpus


@dataclass(frozen=True)
class UntrimmedSummary:
    """Counts by part."""

    recordings: dict[str, int]
    seconds: float
    cry_seconds: float

    def as_metrics(self) -> dict[str, float]:
        """For the tracking store."""
        counts = {f"recordings_{part}": float(n) for part, n in self.recordings.items()}
        return counts | {"seconds": self.seconds, "cry_seconds": self.cry_seconds}


@dataclass(frozen=True)
class Placed:
    """A clip in a recording."""

    clip_id: str
    label: str
    onset_s: float
    offset_s: float


def run(split_clips: Path, config: UntrimmedConfig, seed: int, out_dir: Path) -> UntrimmedSummary:
    """Build the recordings of every part; writes audio/, clips, events and members."""
    _check(config)
    clips = read_table(split_clips, "split_clips")
    clips = clips[clips["canonical"] & clips["label"].isin(["cry", "other"])]
    # A longer one fits no recording; one as short as the crossfade adds nothing to it.
    clips = clips[clips["duration_s"].between(2 * CROSSFADE_S, config.max_duration_s)]
    rows, events, members = [], [], []
    with atomic_dir(out_dir) as temp:
        for number, part in enumerate(PARTS):
            pool = clips[clips["split"] == part]
            for label in ("cry", "other"):
                if config.per_part[part] and not (pool["label"] == label).any():
                    raise TableError(
                        f"untrimmed: part {part} has no clip labelled {label!r} of at most "
                        f"{config.max_duration_s:g} s"
                    )
            for index in progress(range(config.per_part[part]), f"untrimmed {part}"):
                rng = np.random.default_rng([seed, number, index])
                chosen = choose(pool, index % 2 == 0, config, rng)
                wave, placed = join([read_clean(path) for path in chosen["path"]], chosen)
                name = f"{part}-{index:05d}"
                write_flac(temp / "audio" / f"{name}.flac", wave)
                clip_id = f"{CORPUS}/{name}"
                audio_path = (out_dir / "audio" / f"{name}.flac").as_posix()
                rows.append(_row(clip_id, audio_path, part, wave, chosen))
                for item in placed:
                    members.append((clip_id, item.clip_id, item.onset_s, item.offset_s))
                    if item.label == "cry":
                        events.append((clip_id, item.onset_s, item.offset_s, "cry"))
        table = pd.DataFrame(rows)
        write_table(table, temp / "clips.parquet", "split_clips")
        columns = ["clip_id", "onset_s", "offset_s", "label"]
        write_table(pd.DataFrame(events, columns=columns), temp / "events.parquet", "events")
        columns = ["clip_id", "member_clip_id", "onset_s", "offset_s"]
        pd.DataFrame(members, columns=columns).to_csv(
            temp / "members.csv", index=False, lineterminator="\n"
        )
    return UntrimmedSummary(
        recordings=dict(config.per_part),
        seconds=round(float(table["duration_s"].sum()), 1),
        cry_seconds=round(float(sum(event[2] - event[1] for event in events)), 1),
    )


def _check(config: UntrimmedConfig) -> None:
    if not 0 < config.min_duration_s <= config.max_duration_s:
        raise ConfigError(
            "untrimmed: needs 0 < min_duration_s <= max_duration_s, not "
            f"{config.min_duration_s:g} and {config.max_duration_s:g}"
        )
    if set(config.per_part) != set(PARTS) or min(config.per_part.values()) < 0:
        raise ConfigError(f"untrimmed.per_part: needs a number for each of {', '.join(PARTS)}")
    if not 0 <= config.single_source <= 1:
        raise ConfigError(f"untrimmed.single_source: {config.single_source:g} is not in 0..1")


def choose(
    pool: pd.DataFrame, with_cry: bool, config: UntrimmedConfig, rng: np.random.Generator
) -> pd.DataFrame:
    """Clips for one recording, in order; together at least as long as was drawn."""
    target_s = rng.uniform(config.min_duration_s, config.max_duration_s)
    cries, others = (pool[pool["label"] == label] for label in ("cry", "other"))
    if rng.random() < config.single_source:
        # Corpora that hold what is needed: some have no clip but cries.
        fit = set(others["corpus"]) & (set(cries["corpus"]) if with_cry else set(others["corpus"]))
        if fit:
            corpus = sorted(fit)[int(rng.integers(len(fit)))]
            cries, others = (frame[frame["corpus"] == corpus] for frame in (cries, others))
    picked = []
    if with_cry:
        count = min(int(rng.integers(1, MAX_CRY_CLIPS + 1)), len(cries))
        picked = rng.choice(len(cries), count, replace=False).tolist()
    parts = []
    # Of the recording, not of its clips: each joint takes a crossfade away.
    total_s = CROSSFADE_S
    for row in picked:
        more_s = float(cries["duration_s"].iloc[row]) - CROSSFADE_S
        if not parts or total_s + more_s <= config.max_duration_s:
            parts.append(cries.iloc[[row]])
            total_s += more_s
    while total_s < target_s:
        parts.append(others.iloc[[int(rng.integers(len(others)))]])
        total_s += float(parts[-1]["duration_s"].iloc[0]) - CROSSFADE_S
    while len(parts) > 1 and total_s > config.max_duration_s:
        if parts[-1]["label"].iloc[0] == "cry":
            break
        total_s -= float(parts.pop()["duration_s"].iloc[0]) - CROSSFADE_S
    return pd.concat([parts[row] for row in rng.permutation(len(parts))], ignore_index=True)


def join(waves: list[np.ndarray], chosen: pd.DataFrame) -> tuple[np.ndarray, list[Placed]]:
    """One wave [samples] with linear crossfades, and where each clip lies in it."""
    fade = round(CROSSFADE_S * RATE_HZ)
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    total = sum(map(len, waves)) - fade * (len(waves) - 1)
    out = np.zeros(total, dtype=np.float32)
    placed = []
    position = 0
    for number, wave in enumerate(waves):
        wave = wave.copy()
        if number > 0 and len(wave) > fade:
            wave[:fade] *= ramp
        if number < len(waves) - 1 and len(wave) > fade:
            wave[-fade:] *= ramp[::-1]
        out[position : position + len(wave)] += wave
        clip = chosen.iloc[number]
        onset, offset = position / RATE_HZ, (position + len(wave)) / RATE_HZ
        placed.append(Placed(clip["clip_id"], clip["label"], onset, offset))
        position += max(len(wave) - fade, 1)
    return out, placed


def _row(clip_id: str, path: str, part: str, wave: np.ndarray, chosen: pd.DataFrame) -> dict:
    samples = to_int16(wave)
    corpora = sorted(set(chosen["corpus"]))
    return {
        "clip_id": clip_id,
        "corpus": CORPUS,
        "path": path,
        "source_path": "+".join(corpora),
        "sha256": hashlib.sha256(samples.tobytes()).hexdigest(),
        "duration_s": len(wave) / RATE_HZ,
        "rate_hz": RATE_HZ,
        "bandwidth_hz": bandwidth_hz(wave, RATE_HZ),
        "peak_dbfs": level_dbfs(float(np.abs(wave).max())),
        "rms_dbfs": level_dbfs(float(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))),
        "label": "cry" if (chosen["label"] == "cry").any() else "other",
        "category": "single_source" if len(corpora) == 1 else "several_sources",
        "recording_id": clip_id,
        "infant_id": None,
        "session_id": None,
        "recorded_at": pd.NaT,
        "licence": "; ".join(sorted(set(chosen["licence"]))),
        "cluster_id": None,
        "canonical": True,
        "group_id": f"{CORPUS}/{part}",
        "split": part,
    }

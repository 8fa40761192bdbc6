"""Untrimmed recordings of 20 to 60 s, joined from the clips of one part, onsets known.

Weak clips are untrimmed as they are: where a part has enough, they are its bags (`bags`).

Half of the recordings hold one to three cry clips among others, the rest hold none. Clips keep
their levels and follow each other with a short crossfade. An event is the extent of a cry clip: the
pauses within it count as cry, as they do in the clip's own label.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.audio.joints import crossfaded
from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.cleaned import read_clean
from crywatch.core.atomic import atomic_dir
from crywatch.core.errors import ConfigError, TableError
from crywatch.core.progress import progress
from crywatch.data.mixtures.bags import write_bags
from crywatch.data.mixtures.recordings import (
    RecordingsSummary,
    RecordingWriter,
    check_per_part,
    check_share,
)
from crywatch.data.selection import labelled, weak_cries
from crywatch.data.tables import PARTS

CORPUS = "untrimmed"
CROSSFADE_S = 0.05
MAX_CRY_CLIPS = 3


@dataclass  # not frozen: OmegaConf merges into it
class UntrimmedConfig:
    """Section ``mixtures.untrimmed``."""

    min_duration_s: float
    max_duration_s: float
    per_part: dict[str, int]  # recordings
    single_source: float  # share whose clips all come from one corpus
    min_weak: int = 10  # weak clips of a part and label from which they stand for joined ones


@dataclass(frozen=True)
class Placed:
    """A clip in a recording."""

    clip_id: str
    label: str
    onset_s: float
    offset_s: float


def run(split_clips: Path, config: UntrimmedConfig, seed: int, out_dir: Path) -> RecordingsSummary:
    """Build the recordings of every part; writes audio/, clips, events, members and bags."""
    _check(config)
    every = labelled(split_clips, weak=True)
    clips = every[~weak_cries(every)]
    # A longer one fits no recording; one as short as the crossfade adds nothing to it.
    clips = clips[clips["duration_s"].between(2 * CROSSFADE_S, config.max_duration_s)]
    members = []
    with atomic_dir(out_dir) as temp:
        writer = RecordingWriter(temp, out_dir)
        for number, part in enumerate(PARTS):
            pool = clips[clips["split"] == part]
            for label in ("cry", "other"):
                if config.per_part[part] and not (pool["label"] == label).any():
                    raise TableError(
                        f"mixtures.untrimmed: part {part} has no clip labelled {label!r} of at "
                        f"most {config.max_duration_s:g} s"
                    )
            for index in progress(range(config.per_part[part]), f"untrimmed {part}"):
                rng = np.random.default_rng([seed, number, index])
                sources = choose(pool, index % 2 == 0, config, rng)
                wave, placed = join([read_clean(path) for path in sources["path"]], sources)
                clip_id = f"{CORPUS}/{part}-{index:05d}"
                single = sources["corpus"].nunique() == 1
                category = "single_source" if single else "several_sources"
                cries = [
                    (clip_id, item.onset_s, item.offset_s, "cry")
                    for item in placed
                    if item.label == "cry"
                ]
                writer.add(clip_id, part, category, wave, sources, cries)
                members += [(clip_id, item.clip_id, item.onset_s, item.offset_s) for item in placed]
        writer.write_tables()
        write_bags(every, writer.clips(), config.min_weak, temp)
        columns = ["clip_id", "member_clip_id", "onset_s", "offset_s"]
        pd.DataFrame(members, columns=columns).to_csv(
            temp / "members.csv", index=False, lineterminator="\n"
        )
    return writer.summary()


def _check(config: UntrimmedConfig) -> None:
    if not 0 < config.min_duration_s <= config.max_duration_s:
        raise ConfigError(
            "mixtures.untrimmed: needs 0 < min_duration_s <= max_duration_s, not "
            f"{config.min_duration_s:g} and {config.max_duration_s:g}"
        )
    check_per_part("mixtures.untrimmed.per_part", config.per_part)
    check_share("mixtures.untrimmed.single_source", config.single_source)
    if config.min_weak < 1:
        raise ConfigError(f"mixtures.untrimmed.min_weak: {config.min_weak} is below 1")


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
    rows = []
    if with_cry:
        count = min(int(rng.integers(1, MAX_CRY_CLIPS + 1)), len(cries))
        rows = rng.choice(len(cries), count, replace=False).tolist()
    parts: list[pd.DataFrame] = []
    # Of the recording, not of its clips: each joint takes a crossfade away.
    total_s = CROSSFADE_S
    for row in rows:
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


def join(waves: list[np.ndarray], sources: pd.DataFrame) -> tuple[np.ndarray, list[Placed]]:
    """One wave [samples] with linear crossfades, and where each clip lies in it."""
    joined = crossfaded(waves, round(CROSSFADE_S * RATE_HZ))
    placed = []
    for number, (start, wave) in enumerate(zip(joined.starts, waves, strict=True)):
        clip = sources.iloc[number]
        onset, offset = start / RATE_HZ, (start + len(wave)) / RATE_HZ
        placed.append(Placed(clip["clip_id"], clip["label"], onset, offset))
    return joined.wave, placed

"""What may go into the soundscapes of one part, and the draw of a plan from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import pandas as pd

from crywatch.audio.extents import ExtentConfig, Stretch, dynamics_db, heard, merged, sounding
from crywatch.audio.mixer import NOISE_EXPONENTS, Background, Foreground, Soundscape
from crywatch.audio.waves.cleaned import read_clean
from crywatch.core.errors import ConfigError, TableError

MIN_BACKGROUND_S = 1.0  # of the stretch that is looped
PLACES = 10  # drawn for a cry, until one is clear of the other cries
HELD_CLIPS = 8  # decoded clips in memory
SEEDS = 2**31


@dataclass  # not frozen: OmegaConf merges into it
class Range:
    """Drawn evenly between the two."""

    min: float
    max: float

    def draw(self, rng: np.random.Generator, digits: int = 2) -> float:
        """A value, rounded."""
        return round(float(rng.uniform(self.min, self.max)), digits)

    def check(self, key: str, above: float = -np.inf) -> None:
        """ConfigError unless min <= max and both are more than ``above``."""
        if not above < self.min <= self.max:
            lowest = f"{above:g} < " if np.isfinite(above) else ""
            raise ConfigError(f"{key}: needs {lowest}min <= max, not {self.min:g} and {self.max:g}")


@dataclass
class KindConfig:
    """How many mixtures of a kind, and what is in one."""

    per_part: dict[str, int]
    max_cries: int  # of a mixture that holds any
    max_confusers: int


@dataclass
class RoomConfig:
    """Section ``mixtures.soundscapes.rooms``."""

    share: float  # of mixtures whose foregrounds are heard in a room
    rt60_s: Range
    direct_db: Range  # direct-to-reverberant ratio, of each foreground


@dataclass  # not frozen: OmegaConf merges into it
class SoundscapesConfig:
    """Section ``mixtures.soundscapes``."""

    ten_s: KindConfig  # of 10 s
    untrimmed: KindConfig
    untrimmed_s: Range
    cry_share: float  # of mixtures that hold a cry
    max_clip_s: float  # longer clips go into no mixture
    foreground_s: Range  # longest extent of a foreground
    snr_db: Range
    background_dbfs: Range
    backgrounds: list[str]  # categories of other clips; empty for any
    max_dynamics_db: float  # of a background, between the 5th and 95th percentile of its level
    confusers: list[str]  # categories of other clips; empty for all that are in no background list
    extents: ExtentConfig
    rooms: RoomConfig


@dataclass(frozen=True)
class Loop:
    """What of a clip may be a background."""

    clip_id: str
    stretch: Stretch


class Sources:
    """The clips of one part, by what they may be."""

    def __init__(
        self, part: str, clips: pd.DataFrame, events: pd.DataFrame, config: SoundscapesConfig
    ):
        """``clips`` of table ``split_clips``, canonical and labelled; ``events`` are their own."""
        self.part = part
        self.clips = clips.set_index("clip_id")
        self.config = config
        self.cries = clips.loc[clips["label"] == "cry", "clip_id"].tolist()
        others = clips[clips["label"] == "other"]
        if config.confusers:
            wanted = others["category"].isin(config.confusers)
        else:
            wanted = ~others["category"].isin(config.backgrounds)
        # A category of that name would read as a cry in the events.
        wanted &= others["category"] != "cry"
        self.confusers = others.loc[wanted, "clip_id"].tolist()
        self._events = dict(iter(events.groupby("clip_id")))
        self.read = lru_cache(maxsize=HELD_CLIPS)(self._read)
        self.stretches = cache(self._stretches)
        if config.backgrounds:
            others = others[others["category"].isin(config.backgrounds)]
        loops = (self._loop(clip_id) for clip_id in others["clip_id"])
        self.loops = [loop for loop in loops if loop is not None]

    def _read(self, clip_id: str) -> np.ndarray:
        return read_clean(self.clips.at[clip_id, "path"])

    def _stretches(self, clip_id: str) -> list[Stretch]:
        """Where the clip sounds: by its own strong events of its label, else by energy."""
        wave = self.read(clip_id)
        own = self._events.get(clip_id)
        if own is None:
            return sounding(wave, self.config.extents)
        own = own[(own["label"] == "cry") == (self.clips.at[clip_id, "label"] == "cry")]
        events = [Stretch(event.onset_s, event.offset_s) for event in own.itertuples()]
        return heard(wave, events, self.config.extents)

    def _loop(self, clip_id: str) -> Loop | None:
        """The longest active stretch, if it is long and steady enough."""
        wave = self.read(clip_id)
        active = sounding(wave, self.config.extents)
        longest = max(active, key=lambda stretch: stretch.length_s, default=Stretch(0.0, 0.0))
        if longest.length_s < MIN_BACKGROUND_S:
            return None
        if dynamics_db(wave[longest.samples()]) > self.config.max_dynamics_db:
            return None
        return Loop(clip_id, longest)


def draw(
    sources: Sources,
    clip_id: str,
    category: str,
    duration_s: float,
    kind: KindConfig,
    with_cry: bool,
    rng: np.random.Generator,
) -> Soundscape:
    """A plan: one to ``max_cries`` cries or none, and up to ``max_confusers`` confusers.

    A mixture without cries holds at least one confuser where the part has any.
    """
    config = sources.config
    background = _draw_background(sources, rng)
    rt60_s = config.rooms.rt60_s.draw(rng, 3) if rng.random() < config.rooms.share else None
    labels = ["cry"] * int(rng.integers(1, kind.max_cries + 1)) if with_cry else []
    fewest = 0 if with_cry else min(1, kind.max_confusers)
    labels += ["other"] * int(rng.integers(fewest, kind.max_confusers + 1))
    foregrounds: list[Foreground] = []
    for label in labels:
        source = _draw_source(sources, label, background.clip_id, rng)
        if source is None:
            continue
        stretches = cut(
            sources.stretches(source),
            min(config.foreground_s.draw(rng, 3), duration_s),
            config.extents.min_length_s,
            rng,
        )
        name = "cry" if label == "cry" else sources.clips.at[source, "category"]
        cries = [own for own in foregrounds if own.label == "cry"] if label == "cry" else []
        foregrounds.append(
            Foreground(
                clip_id=source,
                label=name,
                onset_s=_draw_onset(stretches, cries, duration_s, rng),
                stretches=stretches,
                snr_db=config.snr_db.draw(rng),
                direct_db=None if rt60_s is None else config.rooms.direct_db.draw(rng),
                seed=int(rng.integers(SEEDS)),
            )
        )
    return Soundscape(
        clip_id=clip_id,
        part=sources.part,
        category=category,
        duration_s=duration_s,
        background=background,
        rt60_s=rt60_s,
        foregrounds=tuple(sorted(foregrounds, key=lambda own: (own.onset_s, own.clip_id))),
    )


def _draw_background(sources: Sources, rng: np.random.Generator) -> Background:
    level_dbfs = sources.config.background_dbfs.draw(rng)
    seed = int(rng.integers(SEEDS))
    if not sources.loops:
        colour = sorted(NOISE_EXPONENTS)[int(rng.integers(len(NOISE_EXPONENTS)))]
        return Background(None, colour, None, 0.0, seed, level_dbfs)
    loop = sources.loops[int(rng.integers(len(sources.loops)))]
    # Not near the end: what comes first must be longer than the crossfade.
    start_s = round(float(rng.uniform(0, 0.7 * loop.stretch.length_s)), 3)
    return Background(loop.clip_id, None, loop.stretch, start_s, seed, level_dbfs)


def _draw_source(
    sources: Sources, label: str, background: str | None, rng: np.random.Generator
) -> str | None:
    """A clip that sounds; None where the part has no confuser but the background."""
    pool = sources.cries if label == "cry" else sources.confusers
    for row in rng.permutation(len(pool)).tolist():
        if pool[row] != background and sources.stretches(pool[row]):
            return pool[row]
    if label == "cry":
        raise TableError(
            f"mixtures.soundscapes: part {sources.part} has no clip labelled 'cry' of at most "
            f"{sources.config.max_clip_s:g} s that is not silent"
        )
    return None


def cut(
    stretches: list[Stretch], longest_s: float, min_length_s: float, rng: np.random.Generator
) -> tuple[Stretch, ...]:
    """Consecutive ones of ``stretches`` that together extend over ``longest_s`` at most.

    They start with one that as much follows as was asked for (else the first), or inside it where
    it alone is longer.
    """
    latest_s = stretches[-1].offset_s - longest_s
    starts = [stretch for stretch in stretches if stretch.onset_s <= latest_s] or stretches[:1]
    first = starts[int(rng.integers(len(starts)))]
    onset_s = first.onset_s
    if first.length_s > longest_s:
        onset_s = round(float(rng.uniform(onset_s, first.offset_s - longest_s)), 3)
    inside = [stretch.within(onset_s, onset_s + longest_s) for stretch in stretches]
    kept = [
        stretch
        for stretch in inside
        if stretch.onset_s >= onset_s and stretch.length_s >= min_length_s
    ]
    return tuple(kept)


def _draw_onset(
    stretches: tuple[Stretch, ...],
    others: list[Foreground],
    duration_s: float,
    rng: np.random.Generator,
) -> float:
    """Where the foreground starts, clear of ``others`` if one of some draws is."""
    length_ms = round(1000 * (stretches[-1].offset_s - stretches[0].onset_s))
    last_ms = round(1000 * duration_s) - length_ms
    occupied = merged(
        (other.span.moved(other.onset_s - other.span.onset_s) for other in others), 0.0
    )
    onset_s = 0.0
    for _ in range(PLACES):
        onset_s = int(rng.integers(last_ms + 1)) / 1000
        mine = Stretch(onset_s, round(onset_s + length_ms / 1000, 3))
        if not any(mine.within(other.onset_s, other.offset_s).length_s > 0 for other in occupied):
            break
    return onset_s

"""Where a clip sounds: its active stretches by energy, and how much its level moves.

All times are whole milliseconds, which is 16 samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.levels import SILENCE_DBFS

FRAME_S = 0.02
SILENT_DBFS = -60.0  # of the loudest frame; a clip or an event that is quieter is not heard


@dataclass  # not frozen: OmegaConf merges into it
class ExtentConfig:
    """Section ``mixtures.soundscapes.extents``."""

    on_below_peak_db: float  # a stretch holds a frame at least this near to the loudest one
    off_below_peak_db: float  # and goes on while frames are this near
    min_gap_s: float  # a shorter pause does not end a stretch
    min_length_s: float  # of a stretch


@dataclass(frozen=True)
class Stretch:
    """From onset to offset."""

    onset_s: float
    offset_s: float

    @property
    def length_s(self) -> float:
        """Seconds."""
        return round(self.offset_s - self.onset_s, 3)

    def moved(self, by_s: float) -> Stretch:
        """The same stretch, later."""
        return Stretch(round(self.onset_s + by_s, 3), round(self.offset_s + by_s, 3))

    def within(self, onset_s: float, offset_s: float) -> Stretch:
        """What lies between two times; without length if nothing does."""
        onset = round(max(self.onset_s, onset_s), 3)
        return Stretch(onset, max(onset, round(min(self.offset_s, offset_s), 3)))

    def samples(self) -> slice:
        """Of a wave at 16 kHz."""
        return slice(to_samples(self.onset_s), to_samples(self.offset_s))


def to_samples(seconds: float) -> int:
    """Number of samples at 16 kHz."""
    return round(seconds * RATE_HZ)


def frame_levels(wave: np.ndarray) -> np.ndarray:
    """Level of each whole frame of 20 ms of ``wave`` [samples], without overlap; [frames] dBFS."""
    size = to_samples(FRAME_S)
    frames = wave[: len(wave) // size * size].reshape(-1, size)
    power = np.mean(np.square(frames, dtype=np.float64), axis=1)
    return 10 * np.log10(np.maximum(power, 10 ** (SILENCE_DBFS / 10)))


def sounding(wave: np.ndarray, config: ExtentConfig) -> list[Stretch]:
    """The active stretches of ``wave`` [samples] in order of time; none for a silent one.

    Hysteresis on the level of frames relative to the loudest: a run of frames above the lower
    threshold counts if one of them is above the upper. Runs with less than ``min_gap_s`` between
    them are one, and then those shorter than ``min_length_s`` are dropped.
    """
    levels = frame_levels(wave)
    if levels.max(initial=SILENCE_DBFS) < SILENT_DBFS:
        return []
    peak = levels.max()
    low = np.concatenate([[False], levels >= peak - config.off_below_peak_db, [False]])
    edges = np.flatnonzero(low[1:] != low[:-1]).reshape(-1, 2)
    runs = [
        Stretch(round(first * FRAME_S, 3), round(end * FRAME_S, 3))
        for first, end in edges.tolist()
        if levels[first:end].max() >= peak - config.on_below_peak_db
    ]
    joined = merged(runs, config.min_gap_s)
    return [stretch for stretch in joined if stretch.length_s >= config.min_length_s]


def merged(stretches: Iterable[Stretch], min_gap_s: float) -> list[Stretch]:
    """``stretches`` by onset; those that overlap, touch or have a shorter gap are one."""
    out: list[Stretch] = []
    for stretch in sorted(stretches, key=lambda s: (s.onset_s, s.offset_s)):
        gap_s = round(stretch.onset_s - out[-1].offset_s, 3) if out else 0.0
        if out and (gap_s <= 0 or gap_s < min_gap_s):
            out[-1] = Stretch(out[-1].onset_s, max(out[-1].offset_s, stretch.offset_s))
        else:
            out.append(stretch)
    return out


def heard(wave: np.ndarray, stretches: Sequence[Stretch], config: ExtentConfig) -> list[Stretch]:
    """Those of a clip's strong events that lie in ``wave``, are long enough and not silent.

    Digital silence that lasts ``min_gap_s`` is no part of an event: nothing of it can be scaled.
    """
    end_s = len(wave) // 16 / 1000
    inside = [
        Stretch(round(s.onset_s, 3), round(s.offset_s, 3)).within(0.0, end_s) for s in stretches
    ]
    return [
        stretch
        for event in merged(inside, 0.0)
        for stretch in _without_silence(wave, event, config.min_gap_s)
        if stretch.length_s >= max(config.min_length_s, FRAME_S)
        and frame_levels(wave[stretch.samples()]).max() >= SILENT_DBFS
    ]


def _without_silence(wave: np.ndarray, event: Stretch, min_gap_s: float) -> Iterator[Stretch]:
    """What is left of ``event``; some may have no length."""
    silent = frame_levels(wave[event.samples()]) <= SILENCE_DBFS
    silent = np.concatenate([[False], silent, [False]])
    onset_s = event.onset_s
    for first, end in np.flatnonzero(silent[1:] != silent[:-1]).reshape(-1, 2).tolist():
        pause = Stretch(first * FRAME_S, end * FRAME_S).moved(event.onset_s)
        if pause.length_s >= min_gap_s:
            yield Stretch(onset_s, pause.onset_s)
            onset_s = pause.offset_s
    yield Stretch(onset_s, event.offset_s)


def dynamics_db(wave: np.ndarray) -> float:
    """From the 5th to the 95th percentile of the frames' levels of ``wave`` [samples]."""
    low, high = np.percentile(frame_levels(wave), [5, 95])
    return float(high - low)

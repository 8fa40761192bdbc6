"""Where in a clip a second may be taken: a silent second of a crying clip is not a cry.

A frame is active within ``active_db`` of the loudest that may be a cry, and quiet ``quiet_db`` or
more below the clip's loudest. All times are frames of 20 ms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RATE_HZ = 8_000
FRAME = 160  # samples, 20 ms at 8 kHz
SECOND = 50  # frames
HALF = SECOND // 2  # of a second may lie beyond the clip's end, where there is nothing
FLOOR = 1e-10  # of mean power, -100 dBFS: digital silence


@dataclass  # not frozen: OmegaConf merges into it
class ActivityConfig:
    """What counts as crying in a clip that cries somewhere."""

    active_db: float  # below the loudest frame that strong labels allow, in a weak clip of all
    least_share: float  # of a second's frames that are active; 0 takes any second with a cry
    quiet_db: float  # below the clip's loudest frame, of every frame of a pause


def frame(wave: np.ndarray) -> np.ndarray:
    """[samples] at 8 kHz to rows of 20 ms; what does not fill the last one is dropped."""
    count = max(1, len(wave) // FRAME)
    wave = wave[: count * FRAME]
    return np.pad(wave, (0, count * FRAME - len(wave))).reshape(count, FRAME)


def frame_levels(frames: np.ndarray) -> np.ndarray:
    """[frames, samples] to [frames] dBFS."""
    power = np.square(frames, dtype=np.float32).mean(axis=1, dtype=np.float64)
    return 10 * np.log10(power + FLOOR)


def _counts(flags: np.ndarray) -> np.ndarray:
    """How many of the 50 frames from each start on are set; a start for each possible second."""
    total = np.concatenate([[0], np.cumsum(flags)])
    starts = np.arange(max(1, len(flags) - HALF + 1))
    return total[np.minimum(starts + SECOND, len(flags))] - total[starts]


def cry_starts(levels: np.ndarray, crying: np.ndarray, config: ActivityConfig) -> np.ndarray:
    """Frames at which a second of crying may begin; at least one.

    ``crying`` [frames] bool are those that strong labels allow, all of them in a weak clip. Where
    no second has ``least_share``, those with the most active frames are it.
    """
    # Not of all frames: a louder sound beside the cry would leave none of it active.
    loudest = levels[crying].max(initial=-np.inf)
    counts = _counts(crying & (levels >= loudest - config.active_db))
    enough = (counts >= config.least_share * SECOND) & (_counts(crying) > 0)
    return np.flatnonzero(enough if enough.any() else counts == counts.max())


def pause_starts(levels: np.ndarray, crying: np.ndarray, config: ActivityConfig) -> np.ndarray:
    """Frames at which a whole second without crying begins: all quiet, or outside strong labels.

    May be empty. Digital silence is none.
    """
    quiet = ~crying | (levels < levels.max() - config.quiet_db)
    heard = levels > 10 * np.log10(2 * FLOOR)
    return np.flatnonzero((_counts(quiet) == SECOND) & (_counts(heard) > HALF))


def other_starts(levels: np.ndarray) -> np.ndarray:
    """Frames at which a second of another sound may begin: not in digital silence, if it can be."""
    heard = _counts(levels > 10 * np.log10(2 * FLOOR)) > 0
    return np.flatnonzero(heard if heard.any() else ~heard)

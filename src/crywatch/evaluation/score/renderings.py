"""What of a clip is heard: all of it, as recorded or through a channel, or what holds no cry.

Pauses of cry clips and clips of background are there for the audit: in a pause the room, the phone
and the codec of a cry are all that is left of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from crywatch.audio import channels
from crywatch.audio.segments import RATE_HZ, n_segments
from crywatch.core.code import code_sha256
from crywatch.data.truth import SILENT_DBFS
from crywatch.evaluation.scored import AS_RECORDED, BACKGROUND_SCALED, PAUSES, PAUSES_SCALED

FRAME = 400  # samples, 25 ms
PEAK = 0.99  # a scaled stretch is at most so loud: nothing is clipped


@dataclass
class BackgroundConfig:
    """Section ``score.audited.background``."""

    categories: list[str]  # of clips that hold nothing but background
    below_db: float  # of a pause, under the clip's loudest frame
    min_s: float  # shorter pauses are passed over
    level_dbfs: float  # RMS that stretches are scaled to


@dataclass(frozen=True)
class Stretch:
    """A part of a clip."""

    onset_s: float
    wave: np.ndarray  # [samples] at 16 kHz


@dataclass(frozen=True)
class Rendering:
    """How clips are heard."""

    name: str  # a channel, `AS_RECORDED`, or one of the background's
    key: object  # plain values: all that its sound depends on, beside the clip
    stretches: Callable[[np.ndarray, str], Iterator[Stretch]]  # of a wave [samples], by clip_id


def renderings(
    names: list[str], section: Mapping[str, Any], config: BackgroundConfig
) -> dict[str, Rendering]:
    """As recorded, through channels ``names`` of ``section``, and the background's three.

    ConfigError if there is no such channel, or it cannot be made.
    """
    code = code_sha256("crywatch.audio.channels.steps")
    here = code_sha256(__name__)
    found = [Rendering(AS_RECORDED, AS_RECORDED, _whole)]
    for name in names:
        made = channels.channel(name, section)
        found.append(Rendering(name, [name, section[name], code], partial(_through, made)))
    for name, stretches in {
        BACKGROUND_SCALED: partial(_scaled, _whole, config),
        PAUSES: partial(pauses, config),
        PAUSES_SCALED: partial(_scaled, partial(pauses, config), config),
    }.items():
        found.append(Rendering(name, [name, vars(config), here], stretches))
    return {rendering.name: rendering for rendering in found}


def _whole(wave: np.ndarray, clip_id: str) -> Iterator[Stretch]:
    yield Stretch(0.0, wave)


def _through(channel: channels.Channel, wave: np.ndarray, clip_id: str) -> Iterator[Stretch]:
    yield Stretch(0.0, channels.apply(channel, wave, clip_id))


def pauses(config: BackgroundConfig, wave: np.ndarray, clip_id: str = "") -> Iterator[Stretch]:
    """The quiet parts of a recording [samples] at 16 kHz, of ``min_s`` or more.

    Quiet are 25 ms frames ``below_db`` or more under the loudest one. A pause is mirrored at its
    end to fill its last second: a second half of zeros would be a sound of its own.
    """
    frames = wave[: len(wave) // FRAME * FRAME].reshape(-1, FRAME)
    power = np.mean(np.square(frames, dtype=np.float64), axis=1)
    quiet = power <= power.max(initial=0.0) * 10 ** (-config.below_db / 10)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], quiet.astype(int), [0]])))
    for first, last in edges.reshape(-1, 2).tolist():
        if (last - first) * FRAME >= config.min_s * RATE_HZ and not quiet.all():
            part = wave[first * FRAME : last * FRAME]
            length = n_segments(len(part)) * RATE_HZ
            padded = np.pad(part, (0, max(0, length - len(part))), mode="symmetric")[:length]
            yield Stretch(first * FRAME / RATE_HZ, padded)


def _scaled(
    stretches: Callable[[np.ndarray, str], Iterator[Stretch]],
    config: BackgroundConfig,
    wave: np.ndarray,
    clip_id: str,
) -> Iterator[Stretch]:
    """At one level; digital silence cannot be scaled."""
    for stretch in stretches(wave, clip_id):
        rms = float(np.sqrt(np.mean(np.square(stretch.wave, dtype=np.float64))))
        if rms >= 10 ** (SILENT_DBFS / 20):
            highest = PEAK / float(np.abs(stretch.wave).max())
            gain = min(10 ** (config.level_dbfs / 20) / rms, highest)
            scaled = (stretch.wave * np.float32(gain)).astype(np.float32)
            yield Stretch(stretch.onset_s, scaled)

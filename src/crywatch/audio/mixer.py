"""From the plan of a soundscape to its samples: everything that was drawn stands in the plan.

Each foreground is scaled to its signal-to-noise ratio: its power over its labelled stretches, as
heard in the room, against that of the background under them. The whole mixture is scaled down
where it would clip.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from crywatch.audio.extents import Stretch, to_samples
from crywatch.audio.joints import crossfaded
from crywatch.audio.rooms import response, reverberant
from crywatch.audio.segments import RATE_HZ

FADE_S = 0.02  # of a foreground, outside its labelled stretches where the clip has samples there
LOOP_FADE_S = 0.25
PEAK = 0.98  # of full scale
NOISE_EXPONENTS = {"pink": 1.0, "brown": 2.0}  # power falls with frequency to that power
LOWEST_NOISE_HZ = 20.0  # below it generated noise is flat
MIN_POWER = 1e-12  # stands for a background that is silent where an event lies

Read = Callable[[str], np.ndarray]  # clip_id to its samples


@dataclass(frozen=True)
class Background:
    """What is heard throughout: a stretch of a clip, looped, or generated noise."""

    clip_id: str | None
    noise: str | None  # pink or brown where there is no clip
    stretch: Stretch | None  # of the clip
    start_s: float  # from the stretch's onset: where the loop begins
    seed: int  # of the noise
    level_dbfs: float  # rms, before the mixture is scaled


@dataclass(frozen=True)
class Foreground:
    """A cut of a clip."""

    clip_id: str
    label: str
    onset_s: float  # in the mixture, of the first stretch
    stretches: tuple[Stretch, ...]  # of the clip; between them it is heard, but not labelled
    snr_db: float
    direct_db: float | None  # direct-to-reverberant ratio, None in the open
    seed: int  # of the room response

    @property
    def span(self) -> Stretch:
        """From the first onset to the last offset, in the clip."""
        return Stretch(self.stretches[0].onset_s, self.stretches[-1].offset_s)

    def events(self) -> list[Stretch]:
        """The labelled stretches, in the mixture."""
        by_s = self.onset_s - self.stretches[0].onset_s
        return [stretch.moved(by_s) for stretch in self.stretches]


@dataclass(frozen=True)
class Soundscape:
    """The plan of a mixture."""

    clip_id: str
    part: str
    category: str
    duration_s: float
    background: Background
    rt60_s: float | None  # of the room of all foregrounds, None in the open
    foregrounds: tuple[Foreground, ...]

    def clip_ids(self) -> list[str]:
        """Of the background and the foregrounds."""
        names = [self.background.clip_id, *(foreground.clip_id for foreground in self.foregrounds)]
        return [name for name in names if name is not None]

    @classmethod
    def from_annotation(cls, record: dict[str, Any]) -> Soundscape:
        """The plan in a line of annotations.jsonl; `render` gives the same samples from it."""
        background = dict(record["background"])
        del background["gain_db"]
        if background["stretch"] is not None:
            background["stretch"] = Stretch(**background["stretch"])
        foregrounds = []
        for annotation in record["foregrounds"]:
            values = {key: value for key, value in annotation.items() if key != "gain_db"}
            values["stretches"] = tuple(Stretch(**stretch) for stretch in annotation["stretches"])
            foregrounds.append(Foreground(**values))
        plan = {key: value for key, value in record.items() if key not in ("path", "gain_db")}
        plan |= {"background": Background(**background), "foregrounds": tuple(foregrounds)}
        return cls(**plan)


@dataclass(frozen=True)
class Mixture:
    """A soundscape as samples, and the gains that were applied to what went into it."""

    wave: np.ndarray  # [samples] float32
    gain_db: float  # of the whole, after all others; below 0 where it would have clipped
    background_gain_db: float
    foreground_gains_db: tuple[float, ...]

    def annotation(self, plan: Soundscape, path: str) -> dict[str, Any]:
        """Plan and gains as plain values."""
        record = asdict(plan) | {"path": path, "gain_db": self.gain_db}
        record["background"]["gain_db"] = self.background_gain_db
        for foreground, gain_db in zip(
            record["foregrounds"], self.foreground_gains_db, strict=True
        ):
            foreground["gain_db"] = gain_db
        return record


def render(plan: Soundscape, read: Read) -> Mixture:
    """The samples of ``plan``."""
    n_samples = to_samples(plan.duration_s)
    background = _background(plan.background, n_samples, read)
    level = np.sqrt(_power(background))
    background_gain = 10 ** (plan.background.level_dbfs / 20) / level
    background *= background_gain
    mixture = background.copy()
    gains_db = []
    for foreground in plan.foregrounds:
        wet = _foreground(foreground, plan.rt60_s, n_samples, read)
        active = np.zeros(n_samples, dtype=bool)
        for event in foreground.events():
            active[event.samples()] = True
        under = max(_power(background[active]), MIN_POWER)
        gain = np.sqrt(under * 10 ** (foreground.snr_db / 10) / _power(wet[active]))
        mixture += gain * wet
        gains_db.append(_db(gain))
    gain = min(1.0, PEAK / np.abs(mixture).max())
    return Mixture(
        wave=(gain * mixture).astype(np.float32),
        gain_db=_db(gain),
        background_gain_db=_db(background_gain),
        foreground_gains_db=tuple(gains_db),
    )


def _background(plan: Background, n_samples: int, read: Read) -> np.ndarray:
    """[n_samples] float64, at the level of the clip."""
    if plan.clip_id is None or plan.stretch is None:
        assert plan.noise is not None
        return coloured_noise(plan.noise, n_samples, plan.seed)
    sound = read(plan.clip_id)[plan.stretch.samples()]
    return looped(sound, to_samples(plan.start_s), n_samples).astype(np.float64)


def looped(sound: np.ndarray, start: int, n_samples: int) -> np.ndarray:
    """``sound`` [samples] from ``start`` on, over and over with crossfades: [n_samples]."""
    fade = min(to_samples(LOOP_FADE_S), len(sound) // 4)
    pieces = [sound[start:]]
    length = len(pieces[0])
    while length < n_samples:
        pieces.append(sound)
        length += len(sound) - fade
    return crossfaded(pieces, fade, equal_power=True).wave[:n_samples]


def coloured_noise(colour: str, n_samples: int, seed: int) -> np.ndarray:
    """Pink or brown noise [n_samples] with a root mean square of 1."""
    white = np.fft.rfft(np.random.default_rng(seed).standard_normal(n_samples))
    freqs_hz = np.maximum(np.fft.rfftfreq(n_samples, 1 / RATE_HZ), LOWEST_NOISE_HZ)
    white *= freqs_hz ** (-NOISE_EXPONENTS[colour] / 2)
    white[0] = 0.0
    noise = np.fft.irfft(white, n_samples)
    return noise / np.sqrt(_power(noise))


def _foreground(plan: Foreground, rt60_s: float | None, n_samples: int, read: Read) -> np.ndarray:
    """[n_samples] float64: the cut where it is heard, with the room's tail, and zeros."""
    clip = read(plan.clip_id)
    fade = to_samples(FADE_S)
    span = plan.span.samples()
    first, end = max(span.start - fade, 0), min(span.stop + fade, len(clip))
    dry = clip[first:end].astype(np.float64)
    ramp = np.linspace(0, 1, min(fade, len(dry) // 2))
    dry[: len(ramp)] *= ramp
    dry[len(dry) - len(ramp) :] *= ramp[::-1]
    if rt60_s is not None and plan.direct_db is not None:
        dry = reverberant(dry, response(rt60_s, plan.direct_db, plan.seed))
    at = to_samples(plan.onset_s) - (span.start - first)
    skipped = max(-at, 0)  # the fade of a foreground that starts with the mixture
    out = np.zeros(n_samples)
    heard = dry[skipped : skipped + n_samples - max(at, 0)]
    out[max(at, 0) : max(at, 0) + len(heard)] = heard
    return out


def _power(wave: np.ndarray) -> float:
    return float(np.mean(np.square(wave, dtype=np.float64)))


def _db(gain: float) -> float:
    # Rounded: the last bit of a logarithm is the processor's.
    return round(float(20 * np.log10(gain)), 6)

"""A generated nursery: infants with stable voices over weeks, as own recordings (`recordings`).

A few infants have long histories; the others have two sessions each and are there to be learnt
from. Every session has its own room, distance and mood, so that no two are alike for reasons that
are not the infant. Some of the long histories end in a change that is planted, and named in the
column ``category``.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from crywatch.corpora.generate import synthesis
from crywatch.corpora.generate.config import GeneratorConfig, NurseryConfig
from crywatch.corpora.generate.files import write_sound, write_table
from crywatch.corpora.generate.filters import lfilter
from crywatch.corpora.generate.synthesis import Voice
from crywatch.corpora.shared.recordings_table import COLUMNS, TABLE

FIRST_DAY = datetime(2024, 3, 4, 19, 30)
SHORT_SESSIONS = 2
RATE_HZ = 16_000
THREADS = 2  # their number changes nothing but the time
PAIN_SHARE = 0.1  # of recordings
# Every third long history ends in one of these, by turns.
PLANTED = ("pitch +20 %", "formants +15 %", "breath")


def write(folder: Path, config: GeneratorConfig) -> None:
    """recordings.csv, and a WAV file a recording; a fan that no infant belongs to besides."""
    nursery = config.nursery
    infants = range(nursery.long_infants + nursery.short_infants)
    with ThreadPoolExecutor(THREADS) as pool:
        made = pool.map(lambda infant: list(_infant(folder, config.seed, infant, nursery)), infants)
        rows = [row for of_infant in made for row in of_infant]
    rng = np.random.default_rng([config.seed, 9])
    write_sound(folder / "fan.flac", synthesis.room(synthesis.hum(4.0, rng), rng), RATE_HZ)
    rows.append(("fan.flac", "other", "", "", ""))
    write_table(folder / TABLE, COLUMNS, rows)


def _infant(folder: Path, seed: int, infant: int, config: NurseryConfig) -> Iterator[tuple]:
    rng = np.random.default_rng([seed, 8, infant])
    voice = synthesis.infant_voice(rng)
    is_long = infant < config.long_infants
    sessions = config.sessions if is_long else SHORT_SESSIONS
    planted = PLANTED[infant // 3 % len(PLANTED)] if is_long and infant % 3 == 0 else ""
    name = f"infant {infant + 1:02d}"
    for session in range(sessions):
        start = FIRST_DAY + timedelta(days=2 * session + infant, minutes=int(rng.integers(600)))
        today = on_a_day(voice, rng)
        is_changed = bool(planted) and session >= sessions - config.changed_sessions
        if is_changed:
            today = changed(today, planted)
        place = Place.draw(rng)
        for number in range(config.recordings):
            pain = rng.random() < PAIN_SHARE
            sound = synthesis.cry(config.seconds, in_pain(today) if pain else today, rng)
            file = f"{name}/{session + 1:03d} {'ab'[number % 2]}{number // 2 or ''}.wav"
            write_sound(folder / file, place.hear(sound, rng), RATE_HZ)
            time = (start + timedelta(minutes=7 * number)).isoformat()
            category = f"planted {planted}" if is_changed else "pain" if pain else "hunger"
            yield file, "cry", name, f"{time}+00:00", category


def changed(voice: Voice, change: str) -> Voice:
    """``voice`` after one of `PLANTED`."""
    if change == "pitch +20 %":
        return replace(voice, f0_hz=1.2 * voice.f0_hz)
    if change == "formants +15 %":
        first, second, third = voice.formants_hz
        return replace(voice, formants_hz=(1.15 * first, 1.15 * second, 1.15 * third))
    return replace(voice, breathiness=voice.breathiness + 0.15)


def in_pain(voice: Voice) -> Voice:
    """Higher, longer and rougher."""
    return replace(
        voice,
        f0_hz=1.08 * voice.f0_hz,
        jitter=2 * voice.jitter,
        expiration_s=1.3 * voice.expiration_s,
    )


def on_a_day(voice: Voice, rng: np.random.Generator) -> Voice:
    """No two days are quite alike: the deviations are those of one session."""
    return replace(
        voice,
        f0_hz=voice.f0_hz * rng.normal(1, 0.015),
        breathiness=voice.breathiness * rng.uniform(0.8, 1.2),
        expiration_s=voice.expiration_s * rng.uniform(0.9, 1.1),
    )


@dataclass(frozen=True)
class Place:
    """A room and a distance: the same for all recordings of a session."""

    tilt: float
    floor: float
    colour: float
    level: float

    @staticmethod
    def draw(rng: np.random.Generator) -> Place:
        """Any of them."""
        return Place(
            tilt=rng.uniform(-0.3, 0.3),
            floor=10 ** rng.uniform(-2.3, -1.3),
            colour=rng.uniform(0.0, 0.97),
            level=10 ** rng.uniform(-0.8, -0.1),
        )

    def hear(self, sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """``sound`` [samples] as it is recorded there."""
        noise = synthesis.normalise(
            lfilter([1.0], [1.0, -self.colour], rng.standard_normal(len(sound)))
        )
        filtered = lfilter([1.0, self.tilt], [1.0], sound)
        return self.level * synthesis.normalise(filtered + self.floor * noise)

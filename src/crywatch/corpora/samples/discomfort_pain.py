"""Generated sounds in the layout of discomfort_pain: an infant's baths and its vaccination."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from crywatch.corpora.generate import synthesis
from crywatch.corpora.generate.config import GeneratorConfig
from crywatch.corpora.generate.files import write_sound

CRIES = {"bath1": 3, "bath2": 3, "vaccination": 3}  # files of an infant


def write(folder: Path, config: GeneratorConfig) -> None:
    """Of each infant cries of 1.5 s; in pain its voice is higher and rougher."""
    for number in range(config.other_infants):
        rng = np.random.default_rng([config.seed, 8, number])
        voice = synthesis.infant_voice(rng)
        pain = replace(voice, f0_hz=1.25 * voice.f0_hz, breathiness=voice.breathiness + 0.4)
        for occasion, count in CRIES.items():
            own = pain if occasion == "vaccination" else voice
            for cry in range(count):
                sound = synthesis.room(synthesis.cry(1.5, own, rng), rng)
                write_sound(folder / f"b{number + 1:02d}_{occasion}_{cry + 1}.wav", sound, 44_100)

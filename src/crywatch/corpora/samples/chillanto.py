"""Generated sounds in Baby Chillanto's layout: a folder a class, a file a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crywatch.corpora import chillanto
from crywatch.corpora.generate import synthesis
from crywatch.corpora.generate.config import GeneratorConfig
from crywatch.corpora.generate.files import write_sound
from crywatch.corpora.generate.synthesis import RATE_HZ

SECONDS = 3  # of an infant


def write(folder: Path, config: GeneratorConfig) -> None:
    """Seconds of one recording an infant, infants over the five classes."""
    for number in range(max(config.other_infants, len(chillanto.CLASSES))):
        rng = np.random.default_rng([config.seed, 7, number])
        code = number % len(chillanto.CLASSES)
        category = list(chillanto.CLASSES)[code]
        cries = synthesis.cry(float(SECONDS), synthesis.infant_voice(rng), rng)
        wave = synthesis.room(cries, rng)
        for second in range(SECONDS):
            name = f"{number + 1:04d}{second + 1:03d}{10 * (code + 1):03d}.wav"
            cut = wave[second * RATE_HZ : (second + 1) * RATE_HZ]
            write_sound(folder / f"1s_{category}" / name, cut, 8_000)

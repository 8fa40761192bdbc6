"""Generated sounds in EnesBabyCries' layout: bouts, and the cries cut from them."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from crywatch.corpora import enesbabycries
from crywatch.corpora.generate import synthesis
from crywatch.corpora.generate.config import GeneratorConfig
from crywatch.corpora.generate.files import write_sound
from crywatch.corpora.generate.synthesis import RATE_HZ

CRIES = 3  # of a bout
FIRST_DAY = datetime(2019, 10, 10, 20, 58)


def write(folder: Path, config: GeneratorConfig) -> None:
    """A bout of each infant at each of four ages, and its cries."""
    for number in range(config.other_infants):
        rng = np.random.default_rng([config.seed, 6, number])
        voice = synthesis.infant_voice(rng)
        for age in range(4):
            time = FIRST_DAY + timedelta(days=number + 30 * age, hours=age)
            cause = "FISD"[(number + age) % 4]
            stem = f"BM{number + 1:02d}_{'MF'[number % 2]}_{age + 1}_{cause}_{cause}"
            stem = f"{stem}_{time:%d%m%Y_%H%M}"
            cries = [synthesis.room(synthesis.cry(0.8, voice, rng), rng) for _ in range(CRIES)]
            pause = 1e-3 * rng.standard_normal(round(0.4 * RATE_HZ)).astype(np.float32)
            bout, at_ms = [], 0
            for cry in cries:
                end_ms = at_ms + round(1e3 * len(cry) / RATE_HZ)
                top = folder / enesbabycries.FOLDERS["cry"]
                write_sound(top / f"{stem}_{at_ms}-{end_ms}.wav", cry, RATE_HZ)
                at_ms = end_ms + 400
                bout += [cry, pause]
            top = folder / enesbabycries.FOLDERS["bout"]
            write_sound(top / f"{stem}.wav", np.concatenate(bout), 44_100)

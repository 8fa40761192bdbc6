"""Generated sounds of a home, by kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crywatch.corpora import synthetic
from crywatch.corpora.generate import synthesis
from crywatch.corpora.generate.config import GeneratorConfig
from crywatch.corpora.generate.files import write_sound
from crywatch.corpora.generate.freesound import Sound, of_infant

SECONDS = 5.0
KINDS: dict[str, Sound] = {  # of conf/kinds.yaml
    synthetic.CRIES: of_infant(synthesis.varied_cry),
    "toddler_speech": synthesis.toddler,
    "adult_speech": synthesis.speech,
    "laughter": of_infant(synthesis.laugh),
    "cat": synthesis.meow,
    "animal": synthesis.animal,
    "alarm": synthesis.siren,
    "household": synthesis.ticks,
    "machine": synthesis.hum,
    "silence": synthesis.quiet,
}


def write(folder: Path, config: GeneratorConfig) -> None:
    """As many sounds of 5 s of each kind as ESC-50 has clips of a class."""
    for kind_number, (kind, make) in enumerate(KINDS.items()):
        for number in range(config.esc50_clips_per_class):
            rng = np.random.default_rng([config.seed, 10, kind_number, number])
            wave = synthesis.scene(make(SECONDS, rng), rng)
            write_sound(folder / synthetic.ROOT / kind / f"{number:03d}.flac", wave, 16_000)

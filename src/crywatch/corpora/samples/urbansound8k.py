"""Generated sounds in UrbanSound8K's layout: six of its ten classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crywatch.corpora import urbansound8k
from crywatch.corpora.generate import synthesis
from crywatch.corpora.generate.config import GeneratorConfig
from crywatch.corpora.generate.files import write_sound, write_table
from crywatch.corpora.generate.freesound import Sound

SECONDS = 4.0  # of a slice
CLASSES: dict[str, tuple[int, Sound]] = {  # classID and how it sounds
    "air_conditioner": (0, synthesis.noise),
    "car_horn": (1, synthesis.siren),
    "children_playing": (2, synthesis.toddler),
    "dog_bark": (3, synthesis.animal),
    "engine_idling": (5, synthesis.hum),
    "siren": (8, synthesis.siren),
}


def write(folder: Path, config: GeneratorConfig) -> None:
    """Of each class recordings of two slices, in folds of their own."""
    rows = []
    for category, (number, make) in CLASSES.items():
        for source in range(config.other_infants):
            rng = np.random.default_rng([config.seed, 9, number, source])
            wave = synthesis.scene(make(2 * SECONDS, rng), rng)
            fs_id, fold = 20_000 + 100 * number + source, 1 + source % urbansound8k.FOLDS
            length = len(wave) // 2
            for part in range(2):
                name = f"{fs_id}-{number}-0-{part}.wav"
                path = folder / urbansound8k.ROOT / "audio" / f"fold{fold}" / name
                write_sound(path, wave[part * length : (part + 1) * length], 44_100)
                start_s = part * SECONDS
                times = (start_s, start_s + SECONDS)
                rows.append((name, fs_id, *times, 1, fold, number, category))
    write_table(folder / urbansound8k.META, urbansound8k.COLUMNS, rows)

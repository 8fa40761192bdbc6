"""Generated Freesound recordings as ESC-50 cuts them: `esc50` has them, and so has a copy of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from crywatch.corpora.generate import synthesis
from crywatch.corpora.generate.config import GeneratorConfig
from crywatch.corpora.generate.synthesis import RATE_HZ, Voice

SECONDS = 5.0  # of a clip
Sound = Callable[[float, np.random.Generator], np.ndarray]


def of_infant(make: Callable[[float, Voice, np.random.Generator], np.ndarray]) -> Sound:
    return lambda seconds, rng: make(seconds, synthesis.infant_voice(rng), rng)


# ESC-50 class -> (target, how it sounds)
CLASSES: dict[str, tuple[int, Sound]] = {
    "dog": (0, synthesis.animal),
    "rooster": (1, synthesis.animal),
    "cat": (5, synthesis.meow),
    "rain": (10, synthesis.noise),
    "sea_waves": (11, synthesis.noise),
    "crackling_fire": (12, synthesis.ticks),
    "crying_baby": (20, of_infant(synthesis.varied_cry)),
    "sneezing": (21, synthesis.speech),
    "laughing": (26, of_infant(synthesis.laugh)),
    "clock_tick": (38, synthesis.ticks),
    "helicopter": (40, synthesis.hum),
    "siren": (42, synthesis.siren),
}


@dataclass(frozen=True)
class Clip:
    stem: str
    fold: int
    source: int
    take: str
    target: int
    category: str
    wave: np.ndarray  # [samples] at 22.05 kHz


def clips_of(config: GeneratorConfig, category: str, most: int | None = None) -> list[Clip]:
    """Clips of one class, the first ``most``; each source recording gives two takes, sources fill
    the folds.
    """
    target, make = CLASSES[category]
    count = config.esc50_clips_per_class
    count = count if most is None else min(count, most)
    length = round(SECONDS * RATE_HZ)
    clips = []
    for source in range(-(-count // 2)):
        rng = np.random.default_rng([config.seed, 1, target, source])
        wave = synthesis.scene(make(2 * SECONDS, rng), rng)
        fold, number = 1 + source % 5, 10_000 + 100 * target + source
        for take, letter in enumerate("AB"):
            clips.append(
                Clip(
                    stem=f"{fold}-{number}-{letter}-{target}",
                    fold=fold,
                    source=number,
                    take=letter,
                    target=target,
                    category=category,
                    wave=wave[take * length : (take + 1) * length],
                )
            )
    return clips[:count]

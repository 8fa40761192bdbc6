"""Generated sounds in baby_cry_detection's layout, partly copies of those of ESC-50."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crywatch.corpora import baby_cry_detection
from crywatch.corpora.generate import freesound, synthesis
from crywatch.corpora.generate.config import GeneratorConfig
from crywatch.corpora.generate.files import write_sound
from crywatch.corpora.generate.synthesis import RATE_HZ


def write(folder: Path, config: GeneratorConfig) -> None:
    """Clips of the four classes; cries and noises are partly those of ESC-50."""
    root = folder / baby_cry_detection.ROOT
    per_class = config.baby_cry_detection_clips_per_class
    folders = {category: root / name for name, category in baby_cry_detection.CLASSES.items()}
    # As in the real corpus: the cries and noises of ESC-50 under its names, as Ogg.
    shared = freesound.clips_of(config, "crying_baby", per_class // 2)
    for clip in shared:
        stem = clip.stem.rsplit("-", 1)[0]
        write_sound(folders["crying_baby"] / f"{stem}.ogg", clip.wave, RATE_HZ)
    most = -(-per_class // 6)  # of each kind of noise
    kinds = ("rain", "dog", "helicopter")
    noises = [clip for name in kinds for clip in freesound.clips_of(config, name, most)]
    noises = noises[: per_class // 2]
    for clip in noises:
        stem = clip.stem.rsplit("-", 1)[0]
        write_sound(folders["noise"] / f"{stem}.ogg", clip.wave, RATE_HZ)

    def cuts(category: str, source: str, count: int, key: int, make: freesound.Sound) -> None:
        rng = np.random.default_rng([config.seed, 2, key])
        length = round(freesound.SECONDS * RATE_HZ)
        wave = synthesis.scene(make(count * freesound.SECONDS, rng), rng)
        for number in range(count):
            cut = wave[number * length : (number + 1) * length]
            write_sound(folders[category] / f"{source}_{number}.wav", cut, RATE_HZ)

    rest = per_class - len(shared)
    third = -(-rest // 3)
    for key, source in enumerate(("anna.m4a", "V_2017.mp3", "margot.m4a")):
        count = min(third, rest - key * third)
        if count > 0:
            cuts("crying_baby", source, count, key, freesound.of_infant(synthesis.varied_cry))
    for key in range(3):
        count = max(1, per_class // 3)
        cuts("silence", f"silence_{key}.wav", count, 10 + key, synthesis.quiet)
        cuts(
            "baby_laugh", f"laugh_{key}.m4a", count, 20 + key, freesound.of_infant(synthesis.laugh)
        )
        if per_class > len(noises):
            cuts("noise", f"talk_{key}.wav", max(1, per_class // 6), 30 + key, synthesis.toddler)

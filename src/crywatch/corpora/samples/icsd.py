"""Generated sounds in ICSD's layout: strong, weak and synthetic clips of each part."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crywatch.corpora import icsd
from crywatch.corpora.generate import synthesis
from crywatch.corpora.generate.config import GeneratorConfig
from crywatch.corpora.generate.files import write_sound, write_table
from crywatch.corpora.generate.synthesis import RATE_HZ

SECONDS = 10.0


def write(folder: Path, config: GeneratorConfig) -> None:
    """Strong real and synthetic clips in each part, weak ones in train; one without an event."""
    stems = {
        "train": ("real_strong_train", "synth_strong_train", "weak"),
        "validation": ("strong_val", "synth_strong_val"),
        "test": ("real_strong_test", "synth_strong_test"),
    }
    for part_number, (part, tables) in enumerate(stems.items()):
        for table_number, stem in enumerate(tables):
            rng = np.random.default_rng([config.seed, 5, part_number, table_number])
            rows, names = [], []
            for number in range(max(2, config.other_infants // 2)):
                category = (icsd.CRY, icsd.SNORING)[number % 2]
                name = f"{stem}_{number}.wav" if "synth" not in stem else f"{number}.wav"
                names.append(name)
                onset_s = round(float(rng.uniform(0.5, 4)), 3)
                wave = np.zeros(round(SECONDS * RATE_HZ), dtype=np.float32)
                sound = (
                    synthesis.varied_cry(4.0, synthesis.infant_voice(rng), rng)
                    if category == icsd.CRY
                    else synthesis.hum(4.0, rng)
                )
                start = round(onset_s * RATE_HZ)
                wave[start : start + len(sound)] += sound
                file = folder / "data" / "audio" / part / stem / name
                write_sound(file, synthesis.scene(wave, rng), 16_000)
                rows.append((name, onset_s, round(onset_s + 4, 3), category))
            metadata = folder / "data" / "metadata" / part
            if stem == "weak":
                weak = [(name, category) for name, _, _, category in rows]
                write_table(metadata / "weak.tsv", icsd.WEAK, weak, "\t")
                continue
            write_table(metadata / f"{stem}.tsv", icsd.STRONG, rows, "\t")
            if stem == "real_strong_test":
                quiet = synthesis.scene(synthesis.noise(SECONDS, rng), rng)
                write_sound(folder / "data" / "audio" / part / stem / "quiet.wav", quiet, 16_000)
                durations = [(name, SECONDS) for name in [*names, "quiet.wav"]]
                columns = ("filename", "duration")
                write_table(metadata / f"{stem}_durations.tsv", columns, durations, "\t")

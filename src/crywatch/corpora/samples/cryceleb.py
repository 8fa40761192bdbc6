"""Generated sounds in CryCeleb's layout, with its tables of pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crywatch.corpora.generate import synthesis
from crywatch.corpora.generate.config import GeneratorConfig
from crywatch.corpora.generate.files import write_sound, write_table
from crywatch.corpora.shared import cryceleb_tables

CRIES = 3  # of an infant in a period


def write(folder: Path, config: GeneratorConfig) -> None:
    """Infants over the three parts, every third of train without a discharge; all dev pairs."""
    rows = []
    babies: dict[str, list[str]] = {part: [] for part in cryceleb_tables.PARTS}
    for number in range(max(config.other_infants, 6)):
        part = ("train", "dev", "test")[min(number % 4, 2)]
        baby = f"spk{number + 1}" if part != "test" else f"anonymous{number + 1}"
        babies[part].append(baby)
        rng = np.random.default_rng([config.seed, 4, number])
        voice = synthesis.infant_voice(rng)
        for period in "BD"[: 1 if number % 12 == 4 else 2]:
            for index in range(CRIES):
                name = f"audio/{part}/{baby}/{period}/{baby}_{period}_{index + 1:03d}.wav"
                wave = synthesis.room(synthesis.cry(0.9, voice, rng), rng)
                write_sound(folder / name, wave, 16_000)
                file_id = Path(name).stem
                rows.append((baby, period, 0.9, part, index + 1, name, file_id))
    write_table(folder / cryceleb_tables.META, cryceleb_tables.COLUMNS, rows)
    dev = [(b, d, int(b == d)) for b in babies["dev"] for d in babies["dev"]]
    write_table(folder / cryceleb_tables.PAIRS["dev"], ("baby_id_B", "baby_id_D", "label"), dev)
    test = [(b, d, f"{b}_{d}") for b in babies["test"] for d in babies["test"]]
    write_table(folder / cryceleb_tables.PAIRS["test"], ("baby_id_B", "baby_id_D", "id"), test)
    sample = [(trial, 0.5) for *_, trial in test]
    write_table(folder / cryceleb_tables.SAMPLE_SUBMISSION, ("id", "score"), sample)

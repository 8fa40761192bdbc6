"""Generated sounds in the layouts of the corpora that the demo does not use by default.

Small: ``other_infants`` infants a corpus, seconds of sound each.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from crywatch.corpora import chillanto, cryceleb_tables, enesbabycries, icsd
from crywatch.corpora.generate import synthesis
from crywatch.corpora.generate.encode import write_sound
from crywatch.corpora.generate.synthesis import RATE_HZ

CRIES = 3  # of an infant at a time
ICSD_SECONDS = 10.0
FIRST_DAY = datetime(2019, 10, 10, 20, 58)


def write_cryceleb(folder: Path, seed: int, infants: int) -> None:
    """Infants over the three parts, every third of train without a discharge; all dev pairs."""
    rows, babies = [], {part: [] for part in cryceleb_tables.PARTS}
    for number in range(max(infants, 6)):
        part = ("train", "dev", "test")[min(number % 4, 2)]
        baby = f"spk{number + 1}" if part != "test" else f"anonymous{number + 1}"
        babies[part].append(baby)
        rng = np.random.default_rng([seed, 4, number])
        voice = synthesis.infant_voice(rng)
        for period in "BD"[: 1 if number % 12 == 4 else 2]:
            for index in range(CRIES):
                name = f"audio/{part}/{baby}/{period}/{baby}_{period}_{index + 1:03d}.wav"
                wave = synthesis.room(synthesis.cry(0.9, voice, rng), rng)
                _sound(folder / name, wave, 16_000)
                file_id = Path(name).stem
                rows.append((baby, period, 0.9, part, index + 1, name, file_id))
    _table(folder / cryceleb_tables.META, cryceleb_tables.COLUMNS, rows)
    dev = [(b, d, int(b == d)) for b in babies["dev"] for d in babies["dev"]]
    _table(folder / cryceleb_tables.PAIRS["dev"], ("baby_id_B", "baby_id_D", "label"), dev)
    test = [(b, d, f"{b}_{d}") for b in babies["test"] for d in babies["test"]]
    _table(folder / cryceleb_tables.PAIRS["test"], ("baby_id_B", "baby_id_D", "id"), test)
    sample = [(trial, 0.5) for *_, trial in test]
    _table(folder / cryceleb_tables.SAMPLE_SUBMISSION, ("id", "score"), sample)


def write_icsd(folder: Path, seed: int, infants: int) -> None:
    """Strong real and synthetic clips in each part, weak ones in train; one without an event."""
    stems = {
        "train": ("real_strong_train", "synth_strong_train", "weak"),
        "validation": ("strong_val", "synth_strong_val"),
        "test": ("real_strong_test", "synth_strong_test"),
    }
    for part_number, (part, tables) in enumerate(stems.items()):
        for table_number, stem in enumerate(tables):
            rng = np.random.default_rng([seed, 5, part_number, table_number])
            rows, names = [], []
            for number in range(max(2, infants // 2)):
                category = (icsd.CRY, icsd.SNORING)[number % 2]
                name = f"{stem}_{number}.wav" if "synth" not in stem else f"{number}.wav"
                names.append(name)
                onset_s = round(float(rng.uniform(0.5, 4)), 3)
                wave = np.zeros(round(ICSD_SECONDS * RATE_HZ), dtype=np.float32)
                sound = (
                    synthesis.cry(4.0, synthesis.infant_voice(rng), rng)
                    if category == icsd.CRY
                    else synthesis.hum(4.0, rng)
                )
                start = round(onset_s * RATE_HZ)
                wave[start : start + len(sound)] += sound
                file = folder / "data" / "audio" / part / stem / name
                _sound(file, synthesis.room(wave, rng), 16_000)
                rows.append((name, onset_s, round(onset_s + 4, 3), category))
            metadata = folder / "data" / "metadata" / part
            if stem == "weak":
                weak = [(name, category) for name, _, _, category in rows]
                _table(metadata / "weak.tsv", icsd.WEAK, weak, "\t")
                continue
            _table(metadata / f"{stem}.tsv", icsd.STRONG, rows, "\t")
            if stem == "real_strong_test":
                quiet = synthesis.room(synthesis.noise(ICSD_SECONDS, rng), rng)
                _sound(folder / "data" / "audio" / part / stem / "quiet.wav", quiet, 16_000)
                durations = [(name, ICSD_SECONDS) for name in [*names, "quiet.wav"]]
                columns = ("filename", "duration")
                _table(metadata / f"{stem}_durations.tsv", columns, durations, "\t")


def write_enesbabycries(folder: Path, seed: int, infants: int) -> None:
    """A bout of each infant at each of four ages, and its cries."""
    for number in range(infants):
        rng = np.random.default_rng([seed, 6, number])
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
                _sound(top / f"{stem}_{at_ms}-{end_ms}.wav", cry, RATE_HZ)
                at_ms = end_ms + 400
                bout += [cry, pause]
            top = folder / enesbabycries.FOLDERS["bout"]
            _sound(top / f"{stem}.wav", np.concatenate(bout), 44_100)


def write_chillanto(folder: Path, seed: int, infants: int) -> None:
    """Seconds of one recording an infant, infants over the five classes."""
    for number in range(max(infants, len(chillanto.CLASSES))):
        rng = np.random.default_rng([seed, 7, number])
        code = number % len(chillanto.CLASSES)
        category = list(chillanto.CLASSES)[code]
        cries = synthesis.cry(float(CRIES), synthesis.infant_voice(rng), rng)
        wave = synthesis.room(cries, rng)
        for second in range(CRIES):
            name = f"{number + 1:04d}{second + 1:03d}{10 * (code + 1):03d}.wav"
            cut = wave[second * RATE_HZ : (second + 1) * RATE_HZ]
            _sound(folder / f"1s_{category}" / name, cut, 8_000)


def _sound(path: Path, wave: np.ndarray, rate_hz: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_sound(path, wave, rate_hz)


def _table(
    path: Path, columns: Sequence[str], rows: Iterable[Sequence], delimiter: str = ","
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, delimiter=delimiter, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)

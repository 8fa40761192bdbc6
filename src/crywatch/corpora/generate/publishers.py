"""Writes generated sounds in the publishers' own layouts, for the demo profile and the tests.

The loaders, cleaners and stages that follow cannot tell them from real corpora; every report
says that they are generated.
"""

from __future__ import annotations

import csv
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from crywatch.corpora import baby_cry_detection, donateacry, esc50, uploads
from crywatch.corpora.generate import (
    audioset as generate_audioset,
)
from crywatch.corpora.generate import (
    infants as generate_infants,
)
from crywatch.corpora.generate import (
    nursery as generate_nursery,
)
from crywatch.corpora.generate import (
    synthesis,
)
from crywatch.corpora.generate.encode import write_sound
from crywatch.corpora.generate.nursery import NurseryConfig
from crywatch.corpora.generate.synthesis import RATE_HZ, Voice

ESC50_SECONDS = 5.0
DONATEACRY_SECONDS = 7.0
FIRST_EPOCH_S = 1_430_000_000
DAY_S = 86_400


@dataclass
class GeneratorConfig:
    """Section ``data.generator`` of params.yaml."""

    seed: int
    esc50_clips_per_class: int
    baby_cry_detection_clips_per_class: int
    donateacry_infants: int
    donateacry_sessions: int  # of an infant
    other_infants: int = 4  # of each corpus that the demo does not use by default
    nursery: NurseryConfig = field(default_factory=NurseryConfig)


Sound = Callable[[float, np.random.Generator], np.ndarray]


def _infant(make: Callable[[float, Voice, np.random.Generator], np.ndarray]) -> Sound:
    return lambda seconds, rng: make(seconds, synthesis.infant_voice(rng), rng)


# ESC-50 class -> (target, how it sounds)
ESC50_CLASSES: dict[str, tuple[int, Sound]] = {
    "dog": (0, synthesis.animal),
    "rooster": (1, synthesis.animal),
    "rain": (10, synthesis.noise),
    "sea_waves": (11, synthesis.noise),
    "crackling_fire": (12, synthesis.ticks),
    "crying_baby": (esc50.CRY_TARGET, _infant(synthesis.cry)),
    "sneezing": (21, synthesis.speech),
    "laughing": (26, _infant(synthesis.laugh)),
    "clock_tick": (38, synthesis.ticks),
    "helicopter": (40, synthesis.hum),
}


def generate(corpus: str, folder: Path, config: GeneratorConfig) -> None:
    """Write corpus ``corpus`` below ``folder``; the same configuration gives the same bytes."""
    makers = {
        "esc50": _esc50,
        "baby_cry_detection": _baby_cry_detection,
        "donateacry": _donateacry,
        "recordings": _recordings,
    }
    others = {
        "cryceleb": generate_infants.write_cryceleb,
        "icsd": generate_infants.write_icsd,
        "enesbabycries": generate_infants.write_enesbabycries,
        "audioset": generate_audioset.write_audioset,
        "chillanto": generate_infants.write_chillanto,
    }
    if corpus in others:
        others[corpus](folder, config.seed, config.other_infants)
    else:
        makers[corpus](folder, config)


def _recordings(folder: Path, config: GeneratorConfig) -> None:
    generate_nursery.write_nursery(folder, config.seed, config.nursery)


def _rng(config: GeneratorConfig, *key: int) -> np.random.Generator:
    return np.random.default_rng([config.seed, *key])


@dataclass(frozen=True)
class _Esc50Clip:
    stem: str
    fold: int
    source: int
    take: str
    target: int
    category: str
    wave: np.ndarray  # [samples] at 22.05 kHz


def _esc50_clips(config: GeneratorConfig, category: str) -> list[_Esc50Clip]:
    """Clips of one class; two takes come from each source recording, sources fill the folds."""
    target, make = ESC50_CLASSES[category]
    clips = []
    for number in range(config.esc50_clips_per_class):
        source, take = 10_000 + 100 * target + number // 2, number % 2
        rng = _rng(config, 1, target, number // 2)
        wave = synthesis.room(make(2 * ESC50_SECONDS, rng), rng)
        length = round(ESC50_SECONDS * RATE_HZ)
        fold = 1 + (number // 2) % 5
        letter = "AB"[take]
        clips.append(
            _Esc50Clip(
                stem=f"{fold}-{source}-{letter}-{target}",
                fold=fold,
                source=source,
                take=letter,
                target=target,
                category=category,
                wave=wave[take * length : (take + 1) * length],
            )
        )
    return clips


def _esc50(folder: Path, config: GeneratorConfig) -> None:
    audio = folder / esc50.ROOT / "audio"
    audio.mkdir(parents=True)
    rows = []
    for category in ESC50_CLASSES:
        for clip in _esc50_clips(config, category):
            write_sound(audio / f"{clip.stem}.wav", clip.wave, 44_100)
            rows.append(
                (f"{clip.stem}.wav", clip.fold, clip.target, category, True, clip.source, clip.take)
            )
    meta = folder / esc50.META
    meta.parent.mkdir(parents=True)
    with open(meta, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(esc50.COLUMNS)
        writer.writerows(sorted(rows))


def _baby_cry_detection(folder: Path, config: GeneratorConfig) -> None:
    root = folder / baby_cry_detection.ROOT
    per_class = config.baby_cry_detection_clips_per_class
    folders = {category: root / name for name, category in baby_cry_detection.CLASSES.items()}
    for directory in folders.values():
        directory.mkdir(parents=True)

    # As in the real corpus: the cries and noises of ESC-50 under its names, as Ogg.
    shared = _esc50_clips(config, "crying_baby")[: per_class // 2]
    for clip in shared:
        stem = clip.stem.rsplit("-", 1)[0]
        write_sound(folders["crying_baby"] / f"{stem}.ogg", clip.wave, RATE_HZ)
    noises = [c for name in ("rain", "dog", "helicopter") for c in _esc50_clips(config, name)]
    for clip in noises[: per_class // 2]:
        stem = clip.stem.rsplit("-", 1)[0]
        write_sound(folders["noise"] / f"{stem}.ogg", clip.wave, RATE_HZ)

    def cuts(category: str, source: str, count: int, key: int, make: Sound) -> None:
        rng = _rng(config, 2, key)
        length = round(ESC50_SECONDS * RATE_HZ)
        wave = synthesis.room(make(count * ESC50_SECONDS, rng), rng)
        for number in range(count):
            cut = wave[number * length : (number + 1) * length]
            write_sound(folders[category] / f"{source}_{number}.wav", cut, RATE_HZ)

    rest = per_class - len(shared)
    third = -(-rest // 3)
    for key, source in enumerate(("anna.m4a", "V_2017.mp3", "margot.m4a")):
        count = min(third, rest - key * third)
        if count > 0:
            cuts("crying_baby", source, count, key, _infant(synthesis.cry))
    for key in range(3):
        count = max(1, per_class // 3)
        cuts("silence", f"silence_{key}.wav", count, 10 + key, synthesis.quiet)
        cuts("baby_laugh", f"laugh_{key}.m4a", count, 20 + key, _infant(synthesis.laugh))
        if per_class > len(noises[: per_class // 2]):
            cuts("noise", f"talk_{key}.wav", max(1, per_class // 6), 30 + key, synthesis.speech)


def _donateacry(folder: Path, config: GeneratorConfig) -> None:
    android, ios = (folder / path for path in donateacry.RAW)
    for directory in (folder / donateacry.CLEANED, android, ios):
        directory.mkdir(parents=True)
    reasons = [(code, uploads.REASONS[code]) for code in ("hu", "bu", "bp", "dc", "ti")]
    for infant in range(config.donateacry_infants):
        rng = _rng(config, 3, infant)
        voice = synthesis.infant_voice(rng)
        instance = str(uuid.UUID(bytes=rng.bytes(16), version=4))
        is_ios = infant % 2 == 0
        instance = instance.upper() if is_ios else instance
        gender, age = rng.choice(["m", "f"]), rng.choice(["04", "48", "26"])
        start_s = FIRST_EPOCH_S + int(rng.integers(0, 200 * DAY_S))
        for session in range(config.donateacry_sessions):
            for clip in range(2):
                code, reason = reasons[int(rng.integers(len(reasons)))]
                second = start_s + session * 3 * DAY_S + 40 * clip
                epoch = second if is_ios else second * 1000 + int(rng.integers(1000))
                stem = f"{instance}-{epoch}-1.{0 if is_ios else 7}-{gender}-{age}-{code}"
                wave = synthesis.room(synthesis.cry(DONATEACRY_SECONDS, voice, rng), rng)
                cleaned = folder / donateacry.CLEANED / reason
                cleaned.mkdir(exist_ok=True)
                write_sound(cleaned / f"{stem}.wav", wave, 8_000)
                if clip == 0:
                    raw = ios / f"{stem}.caf" if is_ios else android / f"{stem}.3gp"
                    write_sound(raw, wave, 8_000)

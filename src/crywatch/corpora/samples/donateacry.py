"""Generated sounds in the layout of donate-a-cry: uploads of a few infants over days."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np

from crywatch.corpora import donateacry
from crywatch.corpora.generate import synthesis
from crywatch.corpora.generate.config import GeneratorConfig
from crywatch.corpora.generate.files import write_sound
from crywatch.corpora.shared import uploads

SECONDS = 7.0  # of an upload
FIRST_EPOCH_S = 1_430_000_000
DAY_S = 86_400


def write(folder: Path, config: GeneratorConfig) -> None:
    """Uploads of each infant, cleaned, and every second one raw."""
    android, ios = (folder / path for path in donateacry.RAW)
    for directory in (folder / donateacry.CLEANED, android, ios):
        directory.mkdir(parents=True)
    reasons = [(code, uploads.REASONS[code]) for code in ("hu", "bu", "bp", "dc", "ti")]
    for infant in range(config.donateacry_infants):
        rng = np.random.default_rng([config.seed, 3, infant])
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
                wave = synthesis.scene(synthesis.varied_cry(SECONDS, voice, rng), rng)
                cleaned = folder / donateacry.CLEANED / reason
                cleaned.mkdir(exist_ok=True)
                write_sound(cleaned / f"{stem}.wav", wave, 8_000)
                if clip == 0:
                    raw = ios / f"{stem}.caf" if is_ios else android / f"{stem}.3gp"
                    write_sound(raw, wave, 8_000)

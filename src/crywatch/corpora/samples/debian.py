"""Generated sounds in the layout of Debian's packages: some of each that is a default."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crywatch.corpora.debian import SHARE
from crywatch.corpora.generate import synthesis
from crywatch.corpora.generate.config import GeneratorConfig
from crywatch.corpora.generate.files import write_sound
from crywatch.corpora.generate.freesound import Sound, of_infant

SECONDS = 1.5
PROMPTS = {"en": "en_US_f_Allison", "fr": "fr_CA_f_June", "it": "it_IT_m_Carlo"}
PROMPTS["ru"] = "ru_RU_f_IvrvoiceRU"
FILES: dict[str, tuple[tuple[str, Sound], ...]] = {  # by package, with a place for a number
    **{
        f"asterisk-core-sounds-{language}-wav": (
            (f"asterisk/sounds/{speaker}/prompt-{{}}.wav", synthesis.speech),
        )
        for language, speaker in PROMPTS.items()
    },
    "asterisk-moh-opsound-wav": (("asterisk/moh/artist_{}-piece.wav", synthesis.hum),),
    "tuxpaint-stamps-default": (
        ("tuxpaint/stamps/animals/birds/bird{}_desc_fr.ogg", synthesis.speech),
        ("tuxpaint/stamps/animals/birds/bird{}.ogg", synthesis.animal),
    ),
    "klettres-data": (
        ("klettres/de/alpha/a{}.ogg", synthesis.speech),
        ("klettres/pt_BR/alpha/a{}.ogg", synthesis.speech),
    ),
    "hedgewars-data": (
        ("games/hedgewars/Data/Music/theme_{}.ogg", synthesis.hum),
        ("games/hedgewars/Data/Sounds/voices/Pirate/Hello{}.ogg", synthesis.speech),
        ("games/hedgewars/Data/Sounds/voices/Pirate/Laugh{}.ogg", of_infant(synthesis.laugh)),
    ),
    "lomiri-sounds": (("sounds/lomiri/ringtones/Tone {}.ogg", synthesis.siren),),
    "sound-theme-freedesktop": (
        ("sounds/freedesktop/stereo/audio-channel-{}.oga", synthesis.speech),
    ),
}


def write(folder: Path, config: GeneratorConfig) -> None:
    """Of each name so many sounds as other corpora have infants."""
    for package_number, (package, files) in enumerate(FILES.items()):
        licence = folder / package / SHARE / "doc" / package / "copyright"
        licence.parent.mkdir(parents=True)
        licence.write_text(f"Generated, in the layout of {package}.\n", encoding="utf-8")
        for kind, (name, make) in enumerate(files):
            for number in range(config.other_infants):
                rng = np.random.default_rng([config.seed, 11, package_number, kind, number])
                wave = synthesis.scene(make(SECONDS, rng), rng)
                path = folder / package / SHARE / name.format(number)
                rate_hz = 8_000 if path.suffix == ".wav" else 44_100
                write_sound(path.with_suffix(path.suffix.replace(".oga", ".ogg")), wave, rate_hz)
                if path.suffix == ".oga":
                    path.with_suffix(".ogg").rename(path)

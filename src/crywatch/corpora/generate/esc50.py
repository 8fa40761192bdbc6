"""Generated sounds in ESC-50's layout: twelve of its classes, which are all said to be ESC-10."""

from __future__ import annotations

from pathlib import Path

from crywatch.corpora.generate import freesound
from crywatch.corpora.generate.config import GeneratorConfig
from crywatch.corpora.generate.files import write_sound, write_table
from crywatch.corpora.shared import esc50_folder


def write(folder: Path, config: GeneratorConfig) -> None:
    """Clips of twelve classes, two takes of each source."""
    audio = folder / esc50_folder.ROOT / "audio"
    rows = []
    for category in freesound.CLASSES:
        for clip in freesound.clips_of(config, category):
            write_sound(audio / f"{clip.stem}.wav", clip.wave, 44_100)
            rows.append(
                (f"{clip.stem}.wav", clip.fold, clip.target, category, True, clip.source, clip.take)
            )
    write_table(folder / esc50_folder.META, esc50_folder.COLUMNS, sorted(rows))

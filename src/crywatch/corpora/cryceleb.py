"""CryCeleb2023: cries of 786 newborns at birth and at discharge, for verification of infants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from crywatch.corpora.shared.base import ClipEntry, Corpus, Details, Refused, Remote
from crywatch.corpora.shared.cryceleb_tables import (
    AUDIO,
    CORPUS,
    META,
    PAIRS,
    PERIODS,
    SAMPLE_SUBMISSION,
    read_metadata,
)

_HUB = "https://huggingface.co/datasets/Ubenwa/CryCeleb2023"


class CryCeleb(Corpus):
    """``audio/{split}/{baby}/{B|D}/{baby}_{B|D}_{001}.wav`` and ``metadata.csv``."""

    name = CORPUS
    citation = (
        "D. Budaghyan, C. C. Onu, A. Gorin, C. Subakan, D. Precup. CryCeleb: A Speaker "
        "Verification Dataset Based on Infant Cry Sounds. ICASSP 2024 (arXiv 2305.00969)."
    )
    licence = "CC BY-NC-ND 4.0"
    terms = "Academic use only, no commercial use; the terms are accepted on Hugging Face."
    commercial_use = False
    homepage = _HUB
    remotes = tuple(
        Remote(f"{_HUB}/resolve/main/{name}", name, host="huggingface", unpack=name == "audio.zip")
        for name in (META, *PAIRS.values(), SAMPLE_SUBMISSION, "audio.zip")
    )

    def check(self, folder: Path) -> None:
        """The audio, the metadata and both tables of pairs must be there."""
        self.require(folder, AUDIO, META, *PAIRS.values())

    def entries(self, folder: Path) -> Iterator[ClipEntry | Refused]:
        """Rows of the metadata in their order, then audio files that it does not list."""
        in_table: set[str] = set()
        for cry in read_metadata(folder):
            if cry.path in in_table:
                yield Refused(cry.path, f"listed twice in {META}")
                continue
            in_table.add(cry.path)
            if not (folder / cry.path).is_file():
                yield Refused(cry.path, f"listed in {META}, but the file is missing")
                continue
            session = f"cryceleb/{cry.baby_id}/{cry.period}"
            yield ClipEntry(
                source_path=cry.path,
                label="cry",
                category=PERIODS[cry.period],
                recording_id=session,
                licence=self.licence,
                infant_id=f"cryceleb/{cry.baby_id}",
                session_id=session,
                details=Details(part=cry.part, kind="cry", age_round=cry.period),
            )
        for path in self.audio_files(folder, AUDIO):
            if path not in in_table:
                yield Refused(path, f"not listed in {META}")

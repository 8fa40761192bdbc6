"""At which signal-to-noise ratio the cries of soundscapes lie, by their annotations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from crywatch.audio.mixer import Soundscape
from crywatch.core.errors import TableError


def read_annotations(path: Path) -> list[Soundscape]:
    """The plans of all soundscapes; empty where none were made."""
    if not path.is_file():
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [Soundscape.from_annotation(json.loads(line)) for line in lines]
    except (KeyError, TypeError, ValueError) as error:
        raise TableError(f"{path}: no annotation of a soundscape: {error}") from error


def band(snr_db: float, borders_db: Sequence[float]) -> str:
    """The name of the band between two of the rising borders that holds the ratio."""
    below = [border for border in borders_db if border <= snr_db]
    above = [border for border in borders_db if border > snr_db]
    if below and above:
        return f"{below[-1]:g} to {above[0]:g} dB"
    return f"below {above[0]:g} dB" if above else f"{below[-1]:g} dB and more" if below else "all"


def bands(borders_db: Sequence[float]) -> list[str]:
    """All names, from loud noise to little."""
    if not borders_db:
        return ["all"]
    return [band(borders_db[0] - 1, borders_db), *(band(one, borders_db) for one in borders_db)]

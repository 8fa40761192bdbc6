"""ESC-50: 2,000 clips of 5 s in 50 classes, cut from Freesound recordings."""

from __future__ import annotations

from crywatch.corpora.shared.esc50_folder import (
    COLUMNS,
    CRY_TARGET,
    LICENCE,
    META,
    ROOT,
    Esc50Folder,
)

__all__ = ["COLUMNS", "CRY_TARGET", "META", "ROOT", "Esc50"]


class Esc50(Esc50Folder):
    """All of the folder."""

    name = "esc50"
    licence = LICENCE
    terms = "The ESC-10 subset is CC BY 3.0; the rest may not be used commercially."
    commercial_use = False

"""The second half as the page on infants reads it, without its stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crywatch.cries import CryRow, write_cries
from crywatch.report import InfantsInputs
from crywatch.report.tables import Table

TABLES = (
    "verification_tables",
    "infant_tables",
    "gate_tables",
    "follow_tables",
    "year_tables",
    "timeline_tables",
)
SVG = '<svg xmlns="http://www.w3.org/2000/svg"/>'


def infants_inputs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> InfantsInputs:
    """Folders with cries and figures; each function of tables gives one that names it."""
    for name in TABLES:
        made = [Table(f"of {name}", ["model", "EER"], [["<ge2e>", "0.25"]], f"Note on {name}.")]
        monkeypatch.setattr(f"crywatch.report.infants.{name}", lambda *_, made=made: made)
    clip = {
        "clip_id": "toy/a",
        "corpus": "toy",
        "infant_id": "toy/mia",
        "session_id": "s",
        "recorded_at": None,
        "recording_id": "r",
        "cluster_id": None,
        "split": "test",
        "category": "cry",
    }
    wave = np.zeros(16_000, dtype=np.float32)
    cries = [CryRow(clip, n, n + 1.0, "detector", -3.0, wave) for n in (0.0, 2.0)]
    write_cries(folder / "cries", cries)
    for name in ("verification/det", "verification/embedding_map", "year/year"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.svg").write_text(SVG)
    names = ("cries", "verification", "fitted", "gate", "followed", "year", "timeline")
    return InfantsInputs(
        **{name: folder / name for name in names},
        models=["cosine"],
        model="cosine",
        network="ge2e_aam",
    )

"""ICLAS's own infants, where their corpus is there: the slides' figures beside those measured here.

The slides name 17 infants and show the recording BS03_W_3_F_F_19122018_2021.wav: a file name of
EnesBabyCries (`crywatch.corpora.enesbabycries`), whose babies they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from crywatch.report.pages import note
from crywatch.report.tables import JsonRow, Table, number, read_output

CORPUS = "enesbabycries"
MODEL = "autoencoder"  # of the slides' table
MEASURES = {
    "AUC": "auc",
    "AP": "average_precision",
    "F1": "f1",
    "recall": "recall",
    "false alarms": "false_alarm_rate",
}
# Recordings, and the `MEASURES` in their order.
SLIDES = {
    "BR07": (15, 0.923, 0.964, 0.937, 0.9, 0.067),
    "BR15": (18, 0.908, 0.96, 0.818, 0.72, 0.111),
    "BS03": (8, 0.885, 0.976, 0.903, 0.84, 0.125),
    "CA12": (35, 0.902, 0.927, 0.797, 0.98, 0.686),
    "GL13": (22, 0.894, 0.942, 0.847, 1.0, 0.818),
    "KA02": (15, 0.925, 0.978, 0.935, 1.0, 0.467),
    "LC10": (16, 0.919, 0.944, 0.952, 1.0, 0.312),
    "LC26": (29, 0.956, 0.971, 0.916, 0.98, 0.276),
    "MR30": (36, 0.966, 0.976, 0.949, 0.94, 0.056),
    "PA08": (11, 0.771, 0.926, 0.88, 0.88, 0.545),
    "PA27": (9, 0.969, 0.995, 0.943, 1.0, 0.667),
    "PJ14": (11, 0.891, 0.973, 0.571, 0.4, 0.0),
    "RB01": (38, 0.899, 0.925, 0.842, 0.96, 0.421),
    "SA20": (28, 0.94, 0.963, 0.884, 0.84, 0.107),
    "SB23": (9, 0.931, 0.987, 0.931, 0.94, 0.444),
    "TA05": (23, 0.909, 0.948, 0.84, 1.0, 0.826),
    "TM04": (27, 0.807, 0.881, 0.875, 0.98, 0.481),
}


def iclas_tables(fitted: Path, parts: Mapping[str, str]) -> list[Table]:
    """A row for each of the slides' infants, if one of them is among those of ``parts``.

    ``parts`` has the part of every infant with cries, by its id; ``fitted`` the autoencoder's
    folder. TableError where that was not fitted.
    """
    ids = {infant: f"{CORPUS}/{infant}" for infant in SLIDES}
    if not parts.keys() & ids.values():
        return []
    measured = read_output(fitted / MODEL / "tables.json", "fit_infants")["parts"]
    rows = {row["infant_id"]: row for part in measured.values() for row in part["rows"]}
    reasons = {row["infant_id"]: row["reason"] for p in measured.values() for row in p["unusable"]}
    cells = []
    for infant, (recordings, *figures) in SLIDES.items():
        name = ids[infant]
        row: JsonRow = rows.get(name, {})
        pairs = [
            (number(theirs), number(row.get(measure)))
            for theirs, measure in zip(figures, MEASURES.values(), strict=True)
        ]
        place = parts.get(name, "not here")
        if place == "train":
            place = "train: not measured, the network heard it"
        elif name in reasons:
            place = f"{place}: {reasons[name]}"
        counts = [str(recordings), number(row.get("recordings"), 0)]
        cells.append([infant, place, *counts, *(cell for pair in pairs for cell in pair)])
    named = ["recordings", *MEASURES]
    columns = ["infant", "part", *(f"{n}, {who}" for n in named for who in ("slides", "here"))]
    return [Table("ICLAS's infants: autoencoder", columns, cells, note("iclas"))]

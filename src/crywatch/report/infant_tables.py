"""The report's tables of the infants' models: infant by infant, side by side, and made changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crywatch.core.errors import TableError
from crywatch.report import iclas_tables
from crywatch.report.pages import note
from crywatch.report.tables import (
    Columns,
    JsonRow,
    Table,
    bracketed,
    num,
    number,
    plus_minus,
    read_output,
    table,
)

PART = "test"
NAMES = {
    "autoencoder": "autoencoder",
    "one_class_svm": "one-class SVM",
    "one_class_svm_nu005": "one-class SVM, nu 0.05",
    "mixture": "Gaussian mixture",
    "mixture_iclas": "Gaussian mixture as in the slides",
    "mahalanobis": "shrinkage Mahalanobis",
    "cosine": "cosine to the centroid",
}
CHANGES = {"detected": "change", "changed": "in the corpus", "controls": "control"}
# Means and deviations of the columns of the slides' table, 17 infants' autoencoders.
SLIDES = {
    "auc": (0.90559, 0.04946),
    "average_precision": (0.9550, 0.0277),
    "f1": (0.8719, 0.0887),
    "recall": (0.90353, 0.14669),
    "false_alarm_rate": (0.377, 0.26481),
}
SLIDES_WORST = 0.826
# Of the same table: recordings of each infant. An infant's AP at chance is 50 / (50 + recordings).
SLIDES_RECORDINGS = tuple(int(recordings) for recordings, *_ in iclas_tables.SLIDES.values())
RANKED = ("auc", "average_precision")  # need no decisions
SLIDES_POSITIVES = 50  # of other infants, for each


def infant_tables(folder: Path, models: Sequence[str], default: str) -> list[Table]:
    """Tables from the folders of ``models`` in ``folder``; ``default`` is shown infant by infant.

    Raises TableError where a model was not fitted.
    """
    parts = {name: _read(folder / name / "tables.json") for name in (default, *models)}
    summaries = {name: parts[name]["summary"] for name in models}
    # Every model is tested on the same clips, and promises to the same infants.
    tables = [
        by_infant(default, parts[default]),
        side_by_side(summaries, parts[default]["rows"]),
    ]
    changes = made_changes(summaries)
    return [*tables, changes] if changes.rows else tables


def by_infant(model: str, part: JsonRow) -> Table:
    """A row an infant, and their mean and deviation."""
    columns: Columns = {
        "infant": "infant_id",
        "recordings": "recordings",
        "baseline, in sessions": lambda row: (
            f"{row['baseline_clips']} in {row['baseline_sessions']}"
        ),
        "test, in sessions": lambda row: f"{row['test_clips']} in {row['test_sessions']}",
        "AUC": num("auc"),
        "AP": num("average_precision"),
        "F1": num("f1"),
        "recall": num("recall"),
        "false alarms promised": num("rate_promised", 2),
        "seen": lambda row: _rate(row, "false_alarm_rate", "false_alarm", 2),
        "calibration": lambda row: row["method"] if row["promised"] else row["reason"],
    }
    notes = [note("not_health"), note("earlier")]
    if part["unusable"]:
        names = ", ".join(infant["infant_id"] for infant in part["unusable"][:5])
        more = ", ..." if len(part["unusable"]) > 5 else ""
        notes.append(
            f"{len(part['unusable'])} infant(s) have too few recordings or sessions for a baseline "
            f"and a test: {names}{more}."
        )
    title = f"Infants: {NAMES[model]}, {PART} part"
    infants = table(title, columns, part["rows"], " ".join(notes))
    if infants.rows:
        summary = part["summary"]
        *means, false_alarms = (_mean(summary["means"].get(name)) for name in SLIDES)
        promised = number(summary["rate_promised"], 2)
        infants.rows.append(["mean ± sd", *[""] * 3, *means, promised, false_alarms, ""])
    return infants


def alarming_always(counts: Sequence[tuple[int, int]]) -> dict[str, tuple[float, float]]:
    """Mean and sd over infants of what calling every clip abnormal gives, by measure of `SLIDES`.

    ``counts`` are normal clips and positives of each infant; those without either are left out.
    """
    both = np.array([pair for pair in counts if min(pair) > 0], dtype=float).reshape(-1, 2)
    if not len(both):
        return {}
    normals, positives = both.T
    ones = np.ones(len(both))
    values = {
        "auc": ones / 2,
        "average_precision": positives / (positives + normals),
        "f1": 2 * positives / (2 * positives + normals),
        "recall": ones,
        "false_alarm_rate": ones,
    }
    ddof = min(1, len(both) - 1)
    return {name: (float(v.mean()), float(v.std(ddof=ddof))) for name, v in values.items()}


def side_by_side(summaries: Mapping[str, JsonRow], rows: Sequence[JsonRow]) -> Table:
    """Means over infants of every model and the slides' own, and of alarming always on each.

    ``rows`` are those of any of the models.
    """
    cells = [
        [
            NAMES[name],
            f"{summary['promised']} of {summary['infants']}",
            *(_mean(summary["means"].get(measure)) for measure in SLIDES),
            number(summary["rate_promised"], 2),
            _rate(summary, "rate_pooled", "rate_pooled"),
            number(summary["worst"]),
            f"{number(summary['over_twice'])} ({number(summary['over_twice_by_chance'])})",
        ]
        for name, summary in summaries.items()
    ]
    counts = [(row["test_clips"], row["positives"]) for row in rows]
    decided = [pair for pair, row in zip(counts, rows, strict=True) if row["promised"]]
    cells.append(_always("alarming always", counts, decided))
    slides = [plus_minus(*values) for values in SLIDES.values()]
    cells.append(["slides, autoencoder", "17", *slides, "none", "n/a", number(SLIDES_WORST), "n/a"])
    theirs = [(recordings, SLIDES_POSITIVES) for recordings in SLIDES_RECORDINGS]
    cells.append(_always("slides, alarming always", theirs, theirs))
    columns = ["model", "infants with a promise", "AUC", "AP", "F1", "recall", "false alarms"]
    columns += ["promised", "seen, pooled", "worst infant", "over twice (by chance)"]
    text = f"Mean ± sd over infants. {note('always')} {note('not_health')} {note('over_twice')}"
    return Table(f"Models of infants, {PART} part", columns, cells, text)


def made_changes(summaries: Mapping[str, JsonRow]) -> Table:
    """Detection of made and planted changes by every model, then the controls, then unchanged."""
    cells = []
    for group, kind in CHANGES.items():
        for name in dict.fromkeys(name for row in summaries.values() for name in row[group]):
            shares = [_mean(row[group].get(name), 2) for row in summaries.values()]
            cells.append([name, kind, *shares])
    if cells:
        rates = [_mean(row["means"].get("false_alarm_rate"), 2) for row in summaries.values()]
        cells.append(["unchanged", "false alarms", *rates])
    columns = ["recordings", "kind", *(NAMES[name] for name in summaries)]
    return Table(f"Changes, {PART} part", columns, cells, f"{note('controls')} {note('planted')}")


def _always(name: str, counts: Sequence[tuple[int, int]], decided: Sequence) -> list[str]:
    """AUC and AP over all infants of ``counts``, what needs decisions over those ``decided``."""
    ranked, called = alarming_always(counts), alarming_always(decided)
    values = called | {key: ranked[key] for key in RANKED if ranked}
    shown = [plus_minus(*values[key]) if key in values else "n/a" for key in SLIDES]
    infants = f"{len(decided)} of {len(counts)}"
    return [name, infants, *shown, "none", "n/a", number(1.0 if called else None), "n/a"]


def _read(path: Path) -> Any:
    try:
        return read_output(path, "fit_infants")["parts"][PART]
    except (KeyError, TypeError, ValueError) as error:
        raise TableError(f"{path}: damaged ({error}): run `dvc repro fit_infants`") from error


def _rate(row: JsonRow, key: str, ends: str, digits: int = 3) -> str:
    if row[key] is None:
        return "n/a"
    return bracketed(row[key], row[f"{ends}_low"], row[f"{ends}_high"], digits)


def _mean(value: JsonRow | None, digits: int = 3) -> str:
    return "n/a" if value is None else plus_minus(value["mean"], value["deviation"], digits)

"""The report's tables of the infants' models: infant by infant, side by side, and made changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crywatch.core.atomic import read_json
from crywatch.core.errors import TableError
from crywatch.report.tables import Table, number

PART = "test"
NAMES = {
    "autoencoder": "autoencoder",
    "one_class_svm": "one-class SVM",
    "mixture": "Gaussian mixture",
    "mahalanobis": "shrinkage Mahalanobis",
    "cosine": "cosine to the centroid",
}
# Means and deviations of the columns of the slides' table, 17 infants' autoencoders.
SLIDES = {
    "auc": (0.90559, 0.04946),
    "average_precision": (0.9550, 0.0277),
    "f1": (0.8719, 0.0887),
    "recall": (0.90353, 0.14669),
    "false_alarm_rate": (0.377, 0.26481),
}
SLIDES_WORST = 0.826
NOT_HEALTH = (
    "Positives are recordings of other infants: AUC, AP, F1 and recall measure identity, not "
    "health, because no corpus at hand has health labels."
)
EARLIER = (
    "A baseline is of earlier sessions than the test. In brackets: 95 % intervals (Clopper and "
    "Pearson), which take recordings as independent."
)
CONTROLS = (
    "Share of the later recordings with an alarm, mean over infants. A change is made from the "
    "infant's own cries. Controls leave the voice as it is, so they should alarm as often as the "
    "unchanged recordings do: noise is that of a room, return is the pitch moved there and back, "
    "which leaves nothing but the artefacts of moving it. A model knows the rooms of its baseline "
    "alone: noise above any that it has heard is a change to it. What a change has above return is "
    "owed to the voice."
)
PLANTED = "Recordings that a corpus says are changed are in no baseline and are no false alarms."


def infant_tables(folder: Path, models: Sequence[str], default: str) -> list[Table]:
    """Tables from the folders of ``models`` in ``folder``; ``default`` is shown infant by infant.

    Raises TableError where a model was not fitted.
    """
    found = {name: _read(folder / name / "tables.json", PART) for name in (default, *models)}
    tables = [by_infant(default, found[default]), side_by_side(models, found)]
    changes = made_changes(models, found)
    return [*tables, changes] if changes.rows else tables


def by_infant(model: str, part: dict[str, Any]) -> Table:
    """A row an infant, and their mean and deviation."""
    summary, rows = part["summary"], part["rows"]
    cells = [
        [
            row["infant_id"],
            str(row["recordings"]),
            f"{row['baseline_clips']} in {row['baseline_sessions']}",
            f"{row['test_clips']} in {row['test_sessions']}",
            *(number(row[name]) for name in ("auc", "average_precision", "f1", "recall")),
            number(row["rate_promised"], 2),
            _rate(row),
            row["method"] if row["promised"] else row["reason"],
        ]
        for row in rows
    ]
    if rows:
        means = [_mean(summary["means"].get(name)) for name in list(SLIDES)[:-1]]
        seen = _mean(summary["means"].get("false_alarm_rate"))
        promised = number(summary["rate_promised"], 2)
        cells.append(["mean ± sd", *[""] * 3, *means, promised, seen, ""])
    columns = ["infant", "recordings", "baseline, in sessions", "test, in sessions", "AUC", "AP"]
    columns += ["F1", "recall", "false alarms promised", "seen", "calibration"]
    note = [NOT_HEALTH, EARLIER]
    if part["unusable"]:
        names = ", ".join(one["infant_id"] for one in part["unusable"][:5])
        more = ", ..." if len(part["unusable"]) > 5 else ""
        note.append(
            f"{len(part['unusable'])} infant(s) have too few recordings or sessions for a baseline "
            f"and a test: {names}{more}."
        )
    title = f"Infants: {NAMES[model]}, {PART} part"
    return Table(title, columns, cells, " ".join(note))


def side_by_side(models: Sequence[str], found: dict[str, dict[str, Any]]) -> Table:
    """Means over infants of every model, and the slides' own."""
    cells = []
    for name in models:
        summary = found[name]["summary"]
        cells.append(
            [
                NAMES[name],
                f"{summary['promised']} of {summary['infants']}",
                *(_mean(summary["means"].get(measure)) for measure in SLIDES),
                number(summary["rate_promised"], 2),
                _pooled(summary),
                number(summary["worst"]),
                f"{number(summary['over_twice'])} ({number(summary['over_twice_by_chance'])})",
            ]
        )
    slides = [_plus_minus(*SLIDES[measure]) for measure in SLIDES]
    cells.append(["slides, autoencoder", "17", *slides, "none", "n/a", number(SLIDES_WORST), "n/a"])
    columns = ["model", "infants with a promise", "AUC", "AP", "F1", "recall", "false alarms"]
    columns += ["promised", "seen, pooled", "worst infant", "over twice (by chance)"]
    note = (
        f"Mean ± sd over infants. {NOT_HEALTH} Over twice: share of the infants above twice the "
        "promise; by chance: what it would be if every recording kept the promise. The slides' "
        "figures are of other infants, without a promise."
    )
    return Table(f"Models of infants, {PART} part", columns, cells, note)


def made_changes(models: Sequence[str], found: dict[str, dict[str, Any]]) -> Table:
    """Detection of made and planted changes by every model, then the controls, then unchanged."""
    summaries = {name: found[name]["summary"] for name in models}
    cells = []
    for group, kind in (
        ("detected", "change"),
        ("changed", "in the corpus"),
        ("controls", "control"),
    ):
        names = dict.fromkeys(name for one in summaries.values() for name in one[group])
        for name in names:
            shares = [_mean(summaries[model][group].get(name), 2) for model in models]
            cells.append([name, kind, *shares])
    if cells:
        seen = [_mean(summaries[model]["means"].get("false_alarm_rate"), 2) for model in models]
        cells.append(["unchanged", "false alarms", *seen])
    columns = ["recordings", "kind", *(NAMES[name] for name in models)]
    return Table(f"Changes, {PART} part", columns, cells, f"{CONTROLS} {PLANTED}")


def _read(path: Path, part: str) -> dict[str, Any]:
    if not path.is_file():
        raise TableError(f"{path} is missing: run `dvc repro fit_infants`")
    try:
        return read_json(path)["parts"][part]
    except (KeyError, TypeError, ValueError) as error:
        raise TableError(f"{path}: damaged ({error}): run `dvc repro fit_infants`") from error


def _rate(row: dict[str, Any]) -> str:
    if row["false_alarm_rate"] is None:
        return "n/a"
    low, high = number(row["false_alarm_low"], 2), number(row["false_alarm_high"], 2)
    return f"{number(row['false_alarm_rate'], 2)} ({low} to {high})"


def _pooled(summary: dict[str, Any]) -> str:
    if summary["rate_pooled"] is None:
        return "n/a"
    low, high = number(summary["rate_pooled_low"]), number(summary["rate_pooled_high"])
    return f"{number(summary['rate_pooled'])} ({low} to {high})"


def _mean(value: dict[str, Any] | None, digits: int = 3) -> str:
    return "n/a" if value is None else _plus_minus(value["mean"], value["deviation"], digits)


def _plus_minus(mean: float, deviation: float | None, digits: int = 3) -> str:
    return number(mean, digits) + ("" if deviation is None else f" ± {number(deviation, digits)}")

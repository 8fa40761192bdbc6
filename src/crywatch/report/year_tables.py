"""The report's tables of the gate, of following infants, and of the generated year."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crywatch.core.atomic import read_json
from crywatch.core.errors import TableError
from crywatch.report.tables import Table, bracketed, number

METRICS = "metrics.json"
WAYS = {
    "gated": "with the gate",
    "ungated": "without it",
    "frozen": "first model, never updated",
    "trimming": "with a gate that trims",
}
HEADS = {"cry": "a cry, not another sound", "distress": "distress, not calm"}
HOSTILE = {
    "infants": "other infants' cries",
    "sounds": "noise and silence",
    "repeats": "one recording again and again",
    "drip": "one other infant, every other session",
}
GENERATED = "Voices are generated in every profile: no corpus follows an infant for a year."
INTERVALS = "In brackets: 95 % intervals over infants (Student's t)."


def gate_tables(folder: Path) -> list[Table]:
    """AUC of the gate's heads, from the folder of ``train_gate``."""
    found = _read(folder)
    rows = [
        [
            HEADS.get(row["head"], row["head"]),
            row["part"],
            row["scope"],
            f"{row['positives']} / {row['negatives']}",
            f"{row['positive_groups']} / {row['negative_groups']}",
            bracketed(row["auc"], row["auc_low"], row["auc_high"]),
            number(row["passed_right"]),
            number(row["passed_wrong"]),
        ]
        for row in found["rows"]
    ]
    used = "; ".join(
        f"{HEADS.get(name, name)}: {'used' if said['on'] else 'off'}, {said['reason']}"
        for name, said in sorted(found["heads"].items())
    )
    note = (
        f"{used}. In brackets: 95 % intervals of the bootstrap over infants (clips, where there is "
        "no infant). Passed: share that the head lets into a baseline, of what should pass and of "
        "what should not."
    )
    if not found["shared_corpora"]:
        note += (
            " No corpus holds both cries of known infants and other sounds: the first head may "
            "tell corpora apart by more than cries."
        )
    columns = ["head", "part", "measured on", "of each class", "infants", "AUC"]
    columns += ["passed, should", "passed, should not"]
    return [Table("Gate: what its heads can tell", columns, rows, note)]


def follow_tables(folder: Path) -> list[Table]:
    """Infants followed through their recordings, from the folder of ``follow_infants``."""
    found = _read(folder)
    columns = {
        "false_alarm_rate": "false alarms",
        "detected": "changed recordings that alarm",
        "accepted": "taken up",
        "accepted_changed": "changed, taken up",
        "versions": "versions",
    }
    rows = [
        [part, WAYS.get(way, way), *_cells(measures, columns)]
        for part, ways in found["means"].items()
        for way, measures in _ordered(ways)
    ]
    refused = ", ".join(f"{reason} {count}" for reason, count in found["refused"].items())
    note = (
        f"Shares of the recordings after an infant's baseline, {found['rate']:g} false alarms "
        f"promised, {found['model']}. {INTERVALS} Refused by the gate: {refused or 'nothing'}."
    )
    title = "Following infants: with the gate, without it, and never updated"
    return [Table(title, ["part", "updating", *columns.values()], rows, note)]


def year_tables(folder: Path) -> list[Table]:
    """A table a scenario, from the folder of ``simulate_year``."""
    found = _read(folder)
    slow = {
        "false_alarms_a_month": "false alarms a month",
        "false_alarm_rate": "share of recordings",
        "false_alarm_rate_last_quarter": "in the last quarter",
        "false_alarm_rate_passed": "of those the heads pass",
        "refused_by_heads": "refused by the heads",
        "held_at_end": "infants held at the end",
        "accepted": "taken up",
    }
    change = {
        "first_alarm_days": "days to the first alarm",
        "noticed": "infants noticed",
        "noticed_days": "days until noticed",
        "noticed_recordings": "recordings until noticed",
        "accepted": "absorbed",
        "alarms_at_first": "alarms, first weeks",
        "alarms_at_last": "alarms, last weeks",
    }
    attack = {
        "hostile_accepted": "hostile, taken up",
        "drift": "drift of the baseline",
        "false_alarm_rate": "false alarms meanwhile",
        "false_alarm_rate_after": "and after",
        "accepted_after": "own, taken up after",
    }
    infants = f"{found['infants']} infants, {found['rate']:g} false alarms promised"
    return [
        Table(
            f"Generated year, slow development: {infants}",
            ["updating", *slow.values()],
            _rows(found["slow"], slow),
            f"{GENERATED} {INTERVALS} The gate that trims has a minimum of p of "
            f"{found['trimming_p']:g}: what it refuses is missing from the next calibration. Held: "
            "so many alarms that nothing enters; without a change that is an error, which a person "
            "has to mend.",
        ),
        Table(
            f"Generated year, a change that stays: {infants}",
            ["change", "updating", *change.values()],
            _rows(found["change"], change, str),
            f"{GENERATED} Noticed: more of the latest recordings alarm than chance gives; delays "
            "are over the infants in which there is one (their number where not all). Absorbed: "
            "share of the changed recordings that entered a baseline.",
        ),
        Table(
            f"Generated year, a hostile stream: {infants}",
            ["what comes", "updating", *attack.values()],
            _rows(found["attack"], attack, lambda kind: HOSTILE.get(kind, kind)),
            f"{GENERATED} Drift: how far the baseline's centroid is from that of the same infant "
            "left in peace, in mean distances of its recordings from theirs. A baseline that was "
            "held back is some way from one that went on.",
        ),
    ]


def _rows(
    kinds: Mapping[str, Mapping[str, Mapping[str, Any]]],
    columns: Mapping[str, str],
    name: Any = None,
) -> list[list[str]]:
    return [
        [*([] if name is None else [name(kind)]), WAYS.get(way, way), *_cells(measures, columns)]
        for kind, ways in kinds.items()
        for way, measures in _ordered(ways)
    ]


def _ordered(ways: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The ways in the order of `WAYS`: files have them by name."""
    return [(way, ways[way]) for way in WAYS if way in ways]


def _cells(measures: Mapping[str, Any], columns: Sequence[str] | Mapping[str, str]) -> list[str]:
    """Means with their intervals; the number of infants where it is not that of all."""
    most = max((one["infants"] for one in measures.values()), default=0)
    cells = []
    for column in columns:
        one = measures.get(column)
        if one is None:
            cells.append("n/a")
            continue
        text = bracketed(one["mean"], one["low"], one["high"], 2)
        cells.append(text if one["infants"] == most else f"{text}, {one['infants']} infants")
    return cells


def _read(folder: Path) -> Any:
    path = folder / METRICS
    if not path.is_file():
        raise TableError(f"{path} is missing: run `dvc repro {folder.name}`")
    return read_json(path)

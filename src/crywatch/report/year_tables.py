"""The report's tables of the gate, of following infants, and of the generated year."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from crywatch.report.pages import note
from crywatch.report.tables import (
    Columns,
    Row,
    Table,
    bracketed,
    interval,
    num,
    read_output,
    table,
)

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
    metrics = _read(folder)
    columns: Columns = {
        "head": lambda row: HEADS.get(row["head"], row["head"]),
        "part": "part",
        "measured on": "scope",
        "of each class": lambda row: f"{row['positives']} / {row['negatives']}",
        "infants": lambda row: f"{row['positive_groups']} / {row['negative_groups']}",
        "AUC": interval("auc"),
        "passed, should": num("passed_right"),
        "passed, should not": num("passed_wrong"),
    }
    heads = "; ".join(
        f"{HEADS.get(name, name)}: {'used' if head['on'] else 'off'}, {head['reason']}"
        for name, head in sorted(metrics["heads"].items())
    )
    text = f"{heads}. {note('gate')}"
    if not metrics["shared_corpora"]:
        text += f" {note('not_shared')}"
    return [table("Gate: what its heads can tell", columns, metrics["rows"], text)]


def follow_tables(folder: Path) -> list[Table]:
    """Infants followed through their recordings, from the folder of ``follow_infants``."""
    metrics = _read(folder)
    columns = {
        "false_alarm_rate": "false alarms",
        "detected": "changed recordings that alarm",
        "accepted": "taken up",
        "accepted_changed": "changed, taken up",
        "versions": "versions",
    }
    rows = [
        [part, WAYS.get(way, way), *_cells(measures, columns)]
        for part, ways in metrics["means"].items()
        for way, measures in _ordered(ways)
    ]
    refused = ", ".join(f"{reason} {count}" for reason, count in metrics["refused"].items())
    text = (
        f"Shares of the recordings after an infant's baseline, {metrics['rate']:g} false alarms "
        f"promised, {metrics['model']}. {INTERVALS} Refused by the gate: {refused or 'nothing'}."
    )
    title = "Following infants: with the gate, without it, and never updated"
    return [Table(title, ["part", "updating", *columns.values()], rows, text)]


def year_tables(folder: Path) -> list[Table]:
    """A table a scenario, from the folder of ``simulate_year``."""
    metrics = _read(folder)
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
    infants = f"{metrics['infants']} infants, {metrics['rate']:g} false alarms promised"
    return [
        Table(
            f"Generated year, slow development: {infants}",
            ["updating", *slow.values()],
            _rows(metrics["slow"], slow),
            f"{GENERATED} {INTERVALS} {note('slow').format(trimming_p=metrics['trimming_p'])}",
        ),
        Table(
            f"Generated year, a change that stays: {infants}",
            ["change", "updating", *change.values()],
            _rows(metrics["change"], change, str),
            f"{GENERATED} {note('change')}",
        ),
        Table(
            f"Generated year, a hostile stream: {infants}",
            ["what comes", "updating", *attack.values()],
            _rows(metrics["attack"], attack, lambda kind: HOSTILE.get(kind, kind)),
            f"{GENERATED} {note('attack')}",
        ),
    ]


def _rows(
    kinds: Mapping[str, Mapping[str, Row]],
    columns: Mapping[str, str],
    name: Callable[[str], str] | None = None,
) -> list[list[str]]:
    return [
        [*([] if name is None else [name(kind)]), WAYS.get(way, way), *_cells(measures, columns)]
        for kind, ways in kinds.items()
        for way, measures in _ordered(ways)
    ]


def _ordered(ways: Row) -> list[tuple[str, Any]]:
    """The ways in the order of `WAYS`: files have them by name."""
    return [(way, ways[way]) for way in WAYS if way in ways]


def _cells(measures: Row, columns: Mapping[str, str]) -> list[str]:
    """Means with their intervals; the number of infants where it is not that of all."""
    most = max((measure["infants"] for measure in measures.values()), default=0)

    def cell(measure: Row | None) -> str:
        if measure is None:
            return "n/a"
        text = bracketed(measure["mean"], measure["low"], measure["high"], 2)
        infants = measure["infants"]
        return text if infants == most else f"{text}, {infants} infants"

    return [cell(measures.get(column)) for column in columns]


def _read(folder: Path) -> Any:
    return read_output(folder / METRICS, folder.name)

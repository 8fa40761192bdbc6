"""The report's tables of the gate and of following infants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from crywatch.report.pages import columns, note
from crywatch.report.tables import (
    Columns,
    JsonRow,
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
INTERVALS = "In brackets: 95 % intervals over infants (Student's t)."


def gate_tables(folder: Path) -> list[Table]:
    """AUC of the gate's heads, from its folder of stage ``fit_infants``."""
    metrics = read_output(folder / METRICS, "fit_infants")
    heads: Columns = {
        "head": lambda row: HEADS.get(row["head"], row["head"]),
        "part": "part",
        "measured on": "scope",
        "of each class": lambda row: f"{row['positives']} / {row['negatives']}",
        "infants": lambda row: f"{row['positive_groups']} / {row['negative_groups']}",
        "AUC": interval("auc"),
        "passed, should": num("passed_right"),
        "passed, should not": num("passed_wrong"),
    }
    verdicts = "; ".join(
        f"{HEADS.get(name, name)}: {'used' if head['on'] else 'off'}, {head['reason']}"
        for name, head in sorted(metrics["heads"].items())
    )
    text = f"{verdicts}. {note('gate')}"
    if not metrics["shared_corpora"]:
        text += f" {note('not_shared')}"
    return [table("Gate: what its heads can tell", heads, metrics["rows"], text)]


def follow_tables(folder: Path) -> list[Table]:
    """Infants followed through their recordings, from their folder of stage ``timeline``."""
    metrics = read_output(folder / METRICS, "timeline")
    refused = ", ".join(f"{reason} {count}" for reason, count in metrics["refused"].items())
    text = (
        f"Shares of the recordings after an infant's baseline, {metrics['rate']:g} false alarms "
        f"promised, {metrics['model']}. {INTERVALS} Refused by the gate: {refused or 'nothing'}."
    )
    title = "Following infants: with the gate, without it, and never updated"
    return [by_way(title, "follow", ["part"], metrics["means"], text)]


def by_way(
    title: str, name: str, heads: list[str], kinds: Mapping[str, Mapping[str, JsonRow]], text: str
) -> Table:
    """A line a kind (shown where ``heads`` has its title) and way, in the order of `WAYS`."""
    titles = columns(name)
    rows = [
        [*([kind] if heads else []), WAYS[way], *_cells(ways[way], titles)]
        for kind, ways in kinds.items()
        for way in WAYS
        if way in ways
    ]
    return Table(title, [*heads, "updating", *titles.values()], rows, text)


def _cells(measures: JsonRow, keys: Iterable[str]) -> list[str]:
    """Means with their intervals; the number of infants where it is not that of all."""
    most = max((measure["infants"] for measure in measures.values()), default=0)

    def cell(measure: JsonRow | None) -> str:
        if measure is None:
            return "n/a"
        text = bracketed(measure["mean"], measure["low"], measure["high"], 2)
        infants = measure["infants"]
        return text if infants == most else f"{text}, {infants} infants"

    return [cell(measures.get(key)) for key in keys]

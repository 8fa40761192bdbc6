"""The page on shortcuts: what is left of a detector where nothing tells the corpora apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from crywatch.report.pages import ReportOrigin, SectionsPage, sections_page
from crywatch.report.tables import (
    Columns,
    JsonRow,
    Table,
    cries,
    distinct,
    groups,
    interval,
    num,
    number,
    read_output,
    table,
)

MEASURES = {
    "auc": "AUC",
    "average_precision": "average precision",
    "recall_at_1pct": "recall at 1 % false alarms",
}
KINDS = {"clip": "clips of background", "pause": "pauses between cries"}
SOUNDS = {"as recorded": "as recorded", "scaled": "at one level"}
PARTS = {"all": "all", "unseen": "never trained on"}
POOLED = "pooled"


def shortcuts_page(folder: Path, title: str, origin: ReportOrigin) -> SectionsPage:
    """Collect tables and figures from folder ``shortcuts`` of stage ``evaluate``."""
    means = read_output(folder / "means.json", "evaluate")
    channels = means["channels"]
    scopes = [scope for scope in distinct(channels, "scope") if scope != POOLED]
    tables = {
        "channels": channel_tables(channels, POOLED),
        "within": [each for scope in scopes for each in channel_tables(channels, scope)],
        "left_out": [left_out_table(means["left_out"])],
        "probe": probe_tables(means["probes"]),
        "factors": factor_tables(means["factors"]),
        "background": [background_table(means["background"])],
        "recall": recall_tables(means["recall"]),
    }
    seeds = max((row["seeds"] for row in channels), default=0)
    facts = f"{len(distinct(channels, 'row'))} systems, up to {seeds} seed(s) of each."
    folders = dict.fromkeys(tables, folder)
    return sections_page("shortcuts", title, origin, facts, tables, folders)


def mean_of_seeds(key: str, digits: int = 3) -> Callable[[JsonRow], str]:
    """A cell with a mean, its deviation over seeds and its interval, as far as there are any."""

    def cell(row: JsonRow) -> str:
        text, deviation = interval(key, digits)(row), row.get(f"{key}_sd")
        if row[key] is None or deviation is None:
            return text
        mean = number(row[key], digits)
        return text.replace(mean, f"{mean} ± {number(deviation, digits)}", 1)

    return cell


def crossed(
    title: str,
    rows: Sequence[JsonRow],
    line: Sequence[str],
    cell: Callable[[JsonRow], str],
    note: str = "",
) -> Table:
    """A line for every value of the keys ``line``, a column for every channel."""
    channels = distinct(rows, "channel")
    lines: dict[tuple, dict[str, str]] = {}
    for row in rows:
        lines.setdefault(tuple(row[key] for key in line), {})[row["channel"]] = cell(row)
    cells = [
        [*map(str, head), *(by_channel.get(channel, "n/a") for channel in channels)]
        for head, by_channel in lines.items()
    ]
    heads = ["system" if key == "row" else key for key in line]
    return Table(title, [*heads, *channels], cells, note)


def channel_tables(rows: Sequence[JsonRow], scope: str) -> list[Table]:
    """A table a measure, of one scope."""
    scoped = [row for row in rows if row["scope"] == scope]
    counts = {row["unit"]: row for row in scoped}
    note = "; ".join(
        f"per {unit}: {row['n_cry']} cries of {row['n']}, groups {number(row['cry_groups'], 0)} "
        f"and {number(row['other_groups'], 0)}"
        for unit, row in counts.items()
    )
    return [
        crossed(
            f"{scope}: {name}",
            scoped,
            ("row", "unit"),
            mean_of_seeds(key),
            f"{note}." if note else "",
        )
        for key, name in MEASURES.items()
    ]


def left_out_table(rows: Sequence[JsonRow]) -> Table:
    """Every system on the corpus that it was not trained on."""
    columns: Columns = {
        "system": "row",
        "measured on": "scope",
        "unit": "unit",
        "cries of all": cries,
        "groups, cry / other": groups,
        **{name: mean_of_seeds(key) for key, name in MEASURES.items()},
    }
    return table("Corpora left out of training", columns, rows)


def probe_tables(rows: Sequence[JsonRow]) -> list[Table]:
    """A table for cries and one for others."""
    columns: Columns = {
        "given": "row",
        "clips": lambda row: PARTS.get(row["parts"], row["parts"]),
        "seconds": "n",
        "fewest groups": "groups",
        "balanced accuracy": mean_of_seeds("balanced_accuracy"),
        "chance": num("chance"),
        "names drawn anew (highest)": lambda row: (
            f"{number(row['permuted'])} ({number(row['permuted_high'])})"
        ),
        "points over chance": lambda row: number(
            100 * (row["balanced_accuracy"] - row["chance"]), 0
        ),
    }
    tables = []
    for label in distinct(rows, "label"):
        labelled = [row for row in rows if row["label"] == label]
        note = (
            f"Corpora: {', '.join(labelled[0]['corpora'])}. Names drawn anew: the same probe of "
            "recordings whose corpora were shuffled. Networks were trained on a part of all clips."
        )
        tables.append(table(f"Corpus probe, {label} seconds alone", columns, labelled, note))
    return tables


def factor_tables(rows: Sequence[JsonRow]) -> list[Table]:
    """A table a measure, a column a change."""
    factors = [
        f"{factor}: {', '.join(distinct([r for r in rows if r['factor'] == factor], 'channel'))}"
        for factor in distinct(rows, "factor")
    ]
    note = f"{'; '.join(factors)}." if factors else ""
    titles = {
        "flipped": "Share of decisions that are no longer the same",
        "logit_change_cry": "Mean change of the logit, cries",
        "logit_change_other": "Mean change of the logit, others",
        "auc": "AUC per second after the change, pooled",
    }
    return [
        crossed(title, rows, ("row",), mean_of_seeds(key, 2), note) for key, title in titles.items()
    ]


def background_table(rows: Sequence[JsonRow]) -> Table:
    """Shares of background that are called a cry."""
    columns: Columns = {
        "system": "row",
        "corpus": "corpus",
        "what": lambda row: KINDS.get(row["kind"], row["kind"]),
        "heard": lambda row: SOUNDS.get(row["heard"], row["heard"]),
        "seconds": "n",
        "clips": "clips",
        "called a cry": mean_of_seeds("called"),
        "at 1 % false alarms": mean_of_seeds("called_at_1pct"),
    }
    note = (
        "Called a cry: share of seconds at the threshold of a decision, and at the one that gives "
        "1 % false alarms on the other sounds of the validation part."
    )
    return table("Background called a cry", columns, rows, note)


def recall_tables(rows: Sequence[JsonRow]) -> list[Table]:
    """By age and by infant, at either threshold; a column a system."""
    thresholds = {"found": "at the threshold", "found_at_1pct": "at 1 % false alarms"}
    tables = []
    for by in distinct(rows, "by"):
        mine = [{**row, by: row["value"], "channel": row["row"]} for row in rows if row["by"] == by]
        tables += [
            crossed(f"Cries found by {by}, {at}", mine, ("corpus", by, "clips"), interval(key, 2))
            for key, at in thresholds.items()
        ]
    return tables

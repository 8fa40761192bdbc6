"""A comparison as text, CSV and JSON, and the cells that its page has too."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence

import pandas as pd

from crywatch.operations.compare import Comparison
from crywatch.operations.compare.rows import Decision, Estimate, Line
from crywatch.report.tables import Table, number

WIDTH = 100  # of a note's lines on a terminal
METRICS = {"auc": "AUC", "average_precision": "AP"}
NOTE = (
    "In brackets: 95 % intervals of the bootstrap over groups (recordings and infants). A run's "
    "own number is of all that it measured; the difference (second minus first) is of the rows "
    "that both have; in brackets how many rows only the first and only the second has. p: paired "
    "bootstrap, two-sided; beside it corrected for the lines shown (Holm). Verdicts are at a "
    "corrected p of 0.05, and only where each class has five groups or more."
)
DECISION_NOTE = (
    "Each run at its own threshold, that of the highest F1 per second on its validation part. A "
    "recording is right if every clip of it is. p: McNemar's exact test, not corrected."
)


def main_table(comparison: Comparison) -> Table:
    """A line a metric, with both runs."""
    columns = ["model", "scope", "unit", "metric", "first", "second", "difference"]
    columns += ["p", "corrected", "rows", "cry/other groups", "verdict"]
    several = len(comparison.pairs) > 1
    rows = [_cells(line) for line in comparison.lines]
    if several:
        columns.insert(0, "second run")
        rows = [[line.second, *row] for line, row in zip(comparison.lines, rows, strict=True)]
    return Table("Does the second differ from the first?", columns, rows, NOTE)


def decision_table(comparison: Comparison) -> Table:
    """A line a scope: who alone decides rightly."""
    columns = ["model", "scope", "recordings", "first right", "second right"]
    columns += ["only first right", "only second right", "p"]
    rows = [_decision_cells(one) for one in comparison.decisions]
    return Table("Decisions on recordings of the test part", columns, rows, DECISION_NOTE)


def _cells(line: Line) -> list[str]:
    told = line.as_dict()
    ends = (told["difference_low"], told["difference_high"])
    rows = str(line.n_common)
    if line.only_first or line.only_second:
        rows += f" (-{line.only_first} -{line.only_second})"
    if line.relabelled:
        rows += f", {line.relabelled} relabelled"
    groups = "" if line.common is None else f"{told['cry_groups']}/{told['other_groups']}"
    return [
        line.model if line.model == line.against else f"{line.model} - {line.against}",
        line.scope,
        line.unit,
        METRICS[line.metric],
        estimate(line.of_first),
        estimate(line.of_second),
        interval(told["difference"], *ends, sign="+"),
        p_value(told["p"]),
        p_value(line.p_holm),
        rows,
        groups,
        line.verdict,
    ]


def _decision_cells(one: Decision) -> list[str]:
    test = one.test
    model = one.model if one.model == one.against else f"{one.model} - {one.against}"
    counts = (test.n, test.first_right, test.second_right, test.only_first, test.only_second)
    return [model, one.scope, *map(str, counts), p_value(test.p)]


def estimate(one: Estimate) -> str:
    """A number with its interval."""
    return interval(one.value, one.low, one.high)


def interval(value: float | None, low: float | None, high: float | None, sign: str = "") -> str:
    """``0.912 [0.870, 0.953]``; without brackets where nothing was drawn."""
    if value is None:
        return number(None)
    if low is None or high is None:
        return f"{value:{sign}.3f}"
    return f"{value:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def p_value(value: float | None) -> str:
    """Empty where there is no test."""
    return "" if value is None else f"{value:.4f}"


def heading(comparison: Comparison) -> list[str]:
    """Which runs they are, and what only one of them has."""
    told = []
    for first, second in comparison.pairs:
        names = [("first", first), ("second", second)] if first is not second else [("", first)]
        for name, run in names:
            parts = [run.label]
            if run.commit:
                parts.append(f"commit {run.commit[:10]}{' with changes' if run.dirty else ''}")
            parts += [text for text in (run.experiment, run.started_at) if text]
            parts.append(f"run {run.run_id}" if run.run_id else "data/evaluate_detection")
            told.append(f"{name}: ".lstrip(": ") + ", ".join(parts))
    for one in comparison.clips:
        told.append(
            f"the clips differ in {one.corpus}: {one.common} of the test part in both, "
            f"{one.only_first} only in the first, {one.only_second} only in the second"
        )
    return list(dict.fromkeys(told + comparison.notes))


def as_text(comparison: Comparison) -> str:
    """For a terminal."""
    parts = ["\n".join(heading(comparison)), aligned(main_table(comparison))]
    if comparison.decisions:
        parts.append(aligned(decision_table(comparison)))
    return "\n\n".join(parts)


def aligned(table: Table) -> str:
    """Columns of one width, and the note."""
    rows: Sequence[list[str]] = [table.columns, *table.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.columns))]
    told = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([table.title, *told, *textwrap.wrap(table.note, WIDTH)])


def as_csv(comparison: Comparison) -> str:
    """The lines, at full precision."""
    return pd.DataFrame([line.as_dict() for line in comparison.lines]).to_csv(index=False)


def as_json(comparison: Comparison) -> str:
    """Runs, lines, decisions and what differs in the clips."""
    told = {
        "runs": [
            {
                side: {k: v for k, v in vars(run).items() if k != "metrics"}
                for side, run in zip(("first", "second"), pair, strict=True)
            }
            for pair in comparison.pairs
        ],
        "lines": [line.as_dict() for line in comparison.lines],
        "decisions": [one.as_dict() for one in comparison.decisions],
        "clips_differ": [vars(one) for one in comparison.clips],
        "notes": comparison.notes,
    }
    return json.dumps(told, indent=2, allow_nan=False)


FORMATS = {"table": as_text, "csv": as_csv, "json": as_json}

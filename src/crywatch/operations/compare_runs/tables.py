"""A comparison as text, CSV and JSON, and the cells that its page has too."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace

import pandas as pd

from crywatch.operations.compare_runs.comparison import ParameterDiffers, RunComparison
from crywatch.operations.compare_runs.differences import (
    FEW,
    NOTHING,
    MetricDifference,
    MetricEstimate,
)
from crywatch.report.tables import Columns, Table, number, table

WIDTH = 100  # of a note's lines on a terminal
METRICS = {"auc": "AUC", "average_precision": "AP"}
NOTE = (
    "In brackets: 95 % intervals of the bootstrap over groups (recordings and infants). A run's "
    "own number is of all that it measured; the difference (second minus first) is of the rows "
    "that both have; in brackets how many rows only the first and only the second has. p: paired "
    "bootstrap, two-sided; beside it corrected for all lines that were compared (Holm). Verdicts "
    "are at a corrected p of 0.05, and only where each class has five groups or more."
)
DECISION_NOTE = (
    "Each run at its own threshold, that of the highest F1 per second on its validation part. A "
    "recording is right if every clip of it is. p: McNemar's exact test, not corrected."
)


def main_table(comparison: RunComparison) -> Table:
    """A line a metric, with both runs."""
    columns: dict[str, Callable[[MetricDifference], str]] = {
        "model": lambda row: row.models,
        "scope": lambda line: line.scope,
        "unit": lambda line: line.unit,
        "metric": lambda line: METRICS[line.metric],
        "first": lambda line: estimate(line.of_first),
        "second": lambda line: estimate(line.of_second),
        "difference": _difference,
        "p": lambda line: p_value(line.common.p if line.common else None),
        "corrected": lambda line: p_value(line.p_holm),
        "rows": _rows,
        "cry/other groups": lambda line: (
            f"{line.common.cry_groups}/{line.common.other_groups}" if line.common else ""
        ),
        "verdict": lambda line: line.verdict,
    }
    if len(comparison.pairs) > 1:
        columns = {"second run": lambda line: line.second, **columns}
    return table("Does the second differ from the first?", columns, comparison.lines, NOTE)


def decision_table(comparison: RunComparison) -> Table:
    """A line a scope: who alone decides rightly."""
    columns: Columns = {
        "model": lambda row: row.models,
        "scope": lambda row: row.scope,
        "recordings": lambda row: str(row.test.n),
        "first right": lambda row: str(row.test.first_right),
        "second right": lambda row: str(row.test.second_right),
        "only first right": lambda row: str(row.test.only_first),
        "only second right": lambda row: str(row.test.only_second),
        "p": lambda row: p_value(row.test.p),
    }
    title = "Decisions on recordings of the test part"
    return table(title, columns, comparison.decisions, DECISION_NOTE)


def _difference(line: MetricDifference) -> str:
    if line.common is None:
        return number(None)
    return interval(line.common.difference, line.common.low, line.common.high, sign="+")


def _rows(line: MetricDifference) -> str:
    text = str(line.n_common)
    if line.only_first or line.only_second:
        text += f" (-{line.only_first} -{line.only_second})"
    return text + (f", {line.relabelled} relabelled" if line.relabelled else "")


def estimate(value: MetricEstimate) -> str:
    """A number with its interval."""
    return interval(value.value, value.low, value.high)


def interval(value: float | None, low: float | None, high: float | None, sign: str = "") -> str:
    """``0.912 [0.870, 0.953]``; without brackets where there is no interval."""
    if value is None:
        return number(None)
    if low is None or high is None:
        return f"{value:{sign}.3f}"
    return f"{value:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def p_value(value: float | None) -> str:
    """Empty where there is no test."""
    return "" if value is None else f"{value:.4f}"


def parameter_table(comparison: RunComparison) -> Table:
    """A line a parameter that differs."""
    columns: dict[str, Callable[[ParameterDiffers], str]] = {
        "parameter": lambda row: row.name,
        "first": lambda row: row.first,
        "second": lambda row: row.second,
    }
    if len(comparison.pairs) > 1:
        columns["second run"] = lambda row: row.run
    return table("Parameters that differ", columns, comparison.changed)


def heading(comparison: RunComparison) -> list[str]:
    """Which runs they are, and what only one of them has."""
    lines = [*run_lines(comparison), *clip_lines(comparison), *comparison.notes]
    return list(dict.fromkeys(lines))


def run_lines(comparison: RunComparison) -> list[str]:
    """Which runs they are."""
    lines = []
    for first, second in comparison.pairs:
        names = [("first", first), ("second", second)] if first is not second else [("", first)]
        for name, run in names:
            parts = [run.label]
            if run.commit:
                parts.append(f"commit {run.commit[:10]}{' with changes' if run.dirty else ''}")
            parts += [text for text in (run.experiment, run.started_at) if text]
            parts.append(f"run {run.run_id}" if run.run_id else "data/evaluate")
            lines.append(f"{name}: ".lstrip(": ") + ", ".join(parts))
    return list(dict.fromkeys(lines))


def clip_lines(comparison: RunComparison) -> list[str]:
    """In which corpora they were measured on other clips."""
    return [
        f"the clips differ in {clips.corpus}: {clips.common} of the test part in both, "
        f"{clips.only_first} only in the first, {clips.only_second} only in the second"
        for clips in comparison.clips
    ]


def telling(comparison: RunComparison) -> RunComparison:
    """The lines that answer whether the runs differ, and a note on what is left out.

    That is what has too few groups, and where both runs have the same scores.
    """
    lines = [line for line in comparison.lines if _can_tell(line)]
    shown = {(line.second, line.models, line.scope) for line in lines}
    decisions = [d for d in comparison.decisions if (d.second, d.models, d.scope) in shown]
    notes = list(comparison.notes)
    if silent := sorted({line.models for line in comparison.lines} - {m for _, m, _ in shown}):
        notes.append(f"nothing differs, as far as can be told, of {', '.join(silent)}")
    if left := len(comparison.lines) - len(lines):
        notes.append(
            f"{left} of {len(comparison.lines)} lines are left out: they have too few groups, or "
            "the same scores (--all prints them, --html FILE writes them as a page)"
        )
    return replace(comparison, lines=lines, decisions=decisions, notes=notes)


def _can_tell(line: MetricDifference) -> bool:
    common = line.common
    if common is None or line.verdict in (FEW, NOTHING):
        return False
    return bool(common.difference or common.low or common.high)


def as_text(comparison: RunComparison) -> str:
    """For a terminal."""
    parts = ["\n".join(heading(comparison))]
    if comparison.lines:
        parts.append(aligned(main_table(comparison)))
    if comparison.decisions:
        parts.append(aligned(decision_table(comparison)))
    return "\n\n".join(parts)


def aligned(table: Table) -> str:
    """Columns of one width, and the note."""
    rows: Sequence[list[str]] = [table.columns, *table.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.columns))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([table.title, *lines, *textwrap.wrap(table.note, WIDTH)])


def as_csv(comparison: RunComparison) -> str:
    """The lines, at full precision."""
    return pd.DataFrame([line.as_dict() for line in comparison.lines]).to_csv(index=False)


def as_json(comparison: RunComparison) -> str:
    """Runs, lines, decisions and what differs in the clips."""
    content = {
        "runs": [
            {
                side: {k: v for k, v in vars(run).items() if k not in ("metrics", "params")}
                for side, run in zip(("first", "second"), pair, strict=True)
            }
            for pair in comparison.pairs
        ],
        "lines": [line.as_dict() for line in comparison.lines],
        "decisions": [test.as_dict() for test in comparison.decisions],
        "params_differ": [vars(each) for each in comparison.changed],
        "clips_differ": [vars(clips) for clips in comparison.clips],
        "notes": comparison.notes,
    }
    return json.dumps(content, indent=2, allow_nan=False)


FORMATS = {"table": as_text, "csv": as_csv, "json": as_json}

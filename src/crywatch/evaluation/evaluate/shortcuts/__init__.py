"""Does a detector know crying, or the corpora it was trained on?

Cries and other sounds come from different corpora, and so from different microphones, codecs and
levels. Four tests take that away: one channel for all; a probe for what tells corpora apart; a
change of one factor at a time; and sound in which there is nothing but a corpus's background.
Beside them stands whose cries are found, by infant and by age.
Nothing is chosen here but a threshold, on the validation part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crywatch.core.atomic import write_json
from crywatch.core.charts import save_svg
from crywatch.core.progress import progress
from crywatch.core.seeds import over_seeds
from crywatch.data.truth import CRY
from crywatch.evaluation.evaluate.shortcuts.background import (
    SCALED,
    BackgroundRow,
    background_rows,
)
from crywatch.evaluation.evaluate.shortcuts.figures import channels_figure, probe_figure
from crywatch.evaluation.evaluate.shortcuts.measures import (
    ChannelRow,
    FactorRow,
    alarm_threshold,
    channel_rows,
    factor_rows,
    left_out_rows,
)
from crywatch.evaluation.evaluate.shortcuts.probe import ALL, ProbeConfig, ProbeRow, probe_rows
from crywatch.evaluation.evaluate.shortcuts.recall import RecallRow, recall_rows
from crywatch.evaluation.scopes import POOLED, SECOND, audible
from crywatch.evaluation.scored import AS_RECORDED, SHORTCUTS, Scored
from crywatch.metrics.curves import FALSE_ALARM_RATE
from crywatch.metrics.rows import flat

DIGITS = 6  # of the headline
# By table what rows of one system have in common that differ by their seed alone, and what is a
# mean of them.
_MEASURED = ("auc", "average_precision", "recall_at_1pct")
_BOUNDS = ("auc_low", "auc_high", "average_precision_low", "average_precision_high")
_CHANNEL = (("row", "channel", "scope", "unit"), (*_MEASURED, *_BOUNDS))
MERGED = {
    "channels": _CHANNEL,
    "left_out": _CHANNEL,
    "factors": (
        ("row", "factor", "channel"),
        ("logit_change_cry", "logit_change_other", "flipped", "auc", "auc_change"),
    ),
    "background": (
        ("row", "corpus", "kind", "heard"),
        ("called", "called_at_1pct", "mean_score"),
    ),
    "recall": (
        ("row", "corpus", "by", "value"),
        [f"{name}{end}" for name in ("found", "found_at_1pct") for end in ("", "_low", "_high")],
    ),
    "probes": (
        ("row", "label", "parts"),
        ("balanced_accuracy", "permuted", "permuted_high"),
    ),
}


@dataclass
class ShortcutsConfig:
    """Section ``evaluate.shortcuts``."""

    main: list[str]  # rows that the few numbers of metrics.json are of
    probe: ProbeConfig


@dataclass(frozen=True)
class AuditSummary:
    """All rows."""

    channels: list[ChannelRow]
    left_out: list[ChannelRow]
    factors: list[FactorRow]
    background: list[BackgroundRow]
    recall: list[RecallRow]
    probes: list[ProbeRow]

    def tables(self) -> dict[str, list[dict]]:
        """Plain values, by the name of a table."""
        return {name: [flat(row) for row in rows] for name, rows in vars(self).items()}

    def means(self) -> dict[str, list[dict]]:
        """The same with one row for all seeds of a system: means, and deviations ``_sd``."""
        return {name: over_seeds(rows, *MERGED[name]) for name, rows in self.tables().items()}


def run(
    scored: Scored, threshold: float, config: ShortcutsConfig, seed: int, out_dir: Path
) -> AuditSummary:
    """Measure; writes the tables by system and by row, metrics.json and two figures."""
    index = scored.index
    summary = AuditSummary([], [], [], [], [], list(probe_rows(scored, config.probe, seed)))
    for system in progress(index.of(SHORTCUTS), "shortcuts", unit="system"):
        names = dict.fromkeys([AS_RECORDED, *index.channels, *sum(index.factors.values(), [])])
        heard = {name: audible(scored.seconds(system.name, name)) for name in names}
        recorded = heard[AS_RECORDED]
        matched = {name: heard[name] for name in (AS_RECORDED, *index.channels)}
        at_1pct = alarm_threshold(recorded, FALSE_ALARM_RATE, system.leave_out)
        summary.channels.extend(channel_rows(system, matched, threshold))
        summary.left_out.extend(left_out_rows(system, recorded, threshold))
        summary.factors.extend(factor_rows(system, heard, index.factors, threshold))
        summary.background.extend(background_rows(system, scored, threshold, at_1pct))
        summary.recall.extend(recall_rows(system, recorded, scored, threshold, at_1pct))
    means = summary.means()
    write_json(out_dir / "tables.json", summary.tables())
    write_json(out_dir / "means.json", means)
    write_json(out_dir / "metrics.json", headlines(summary, config.main))
    save_svg(channels_figure(means["channels"]), out_dir / "channels.svg")
    save_svg(probe_figure(means["probes"]), out_dir / "probe.svg")
    return summary


def headlines(summary: AuditSummary, main: Sequence[str]) -> dict[str, dict[str, float]]:
    """For `dvc metrics`: a few numbers per second of the ``main`` rows, means over seeds.

    ``auc_<channel>`` is pooled, ``auc_left_out`` the lowest of the corpora left out, ``probe_cry``
    the balanced accuracy of the corpus probe on cries less its chance, and ``background_called``
    the highest share of a corpus's background that is called a cry, scaled to one level.
    """
    means = summary.means()
    headline: dict[str, dict[str, float]] = {}
    for row in main:
        tables = {
            name: [cells for cells in rows if row == cells.get("system_row", cells["row"])]
            for name, rows in means.items()
        }
        values: dict[str, float | None] = {
            f"auc_{cells['channel'].replace(' ', '_')}": cells["auc"]
            for cells in tables["channels"]
            if (cells["scope"], cells["unit"]) == (POOLED, SECOND)
        }
        left = [cells["auc"] for cells in tables["left_out"] if cells["unit"] == SECOND]
        values["auc_left_out"] = min((auc for auc in left if auc is not None), default=None)
        scaled = [cells["called"] for cells in tables["background"] if cells["heard"] == SCALED]
        values["background_called"] = max(scaled, default=None)
        over = [
            cells["balanced_accuracy"] - cells["chance"]
            for cells in tables["probes"]
            if (cells["label"], cells["parts"]) == (CRY, ALL)
        ]
        values["probe_cry"] = max(over, default=None)
        known = {name: round(value, DIGITS) for name, value in values.items() if value is not None}
        if known:
            headline[row] = known
    return headline

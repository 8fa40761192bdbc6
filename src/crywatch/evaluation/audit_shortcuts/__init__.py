"""Stage ``audit_shortcuts``: does a detector know crying, or the corpora it was trained on?

Cries and other sounds come from different corpora, and so from different microphones, codecs and
levels. Four tests take that away: one channel for all; a probe for what tells corpora apart; a
change of one factor at a time; and sound in which there is nothing but a corpus's background.
Nothing is chosen here but a threshold, on the validation part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crywatch.audio.channels import channel
from crywatch.core.atomic import atomic_dir, write_json
from crywatch.core.charts import save_svg
from crywatch.core.errors import ConfigError
from crywatch.core.seeds import over_seeds
from crywatch.core.threads import one_thread
from crywatch.data.selection import Source, sounds, strong_labels
from crywatch.data.tables import empty, write_table
from crywatch.data.tables.evaluation import AUDIT_BACKGROUND, AUDIT_SCORES
from crywatch.data.truth import CRY, Truth
from crywatch.detection.systems import System, load_system
from crywatch.evaluation.audit_shortcuts.background import (
    SCALED,
    AuditBackgroundConfig,
    BackgroundRow,
    background_rows,
    score_background,
)
from crywatch.evaluation.audit_shortcuts.figures import channels_figure, probe_figure
from crywatch.evaluation.audit_shortcuts.front_ends import chosen, hear, sources
from crywatch.evaluation.audit_shortcuts.measures import (
    ChannelRow,
    FactorRow,
    channel_rows,
    factor_rows,
    left_out_rows,
)
from crywatch.evaluation.audit_shortcuts.probe import ALL, ProbeConfig, ProbeRow, probe_rows
from crywatch.evaluation.audit_shortcuts.thresholds import is_heard, thresholds
from crywatch.evaluation.channel_scores import AS_RECORDED, SystemScorer, channel_scores, with_clips
from crywatch.evaluation.scopes import POOLED, SECOND
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
    "probes": (
        ("row", "label", "parts"),
        ("balanced_accuracy", "permuted", "permuted_high"),
    ),
}


@dataclass(frozen=True)
class AuditShortcutsConfig:
    """Section ``audit_shortcuts``."""

    systems: list[str]  # family/variant
    main: list[str]  # of these the few numbers of metrics.json are
    threshold: float  # of a decision
    channels: list[str]  # of section ``channels``: one for all clips alike
    factors: dict[str, list[str]]  # what changes alone, and the channels that change it
    background: AuditBackgroundConfig
    probe: ProbeConfig


@dataclass(frozen=True)
class AuditSummary:
    """All rows."""

    channels: list[ChannelRow]
    left_out: list[ChannelRow]
    factors: list[FactorRow]
    background: list[BackgroundRow]
    probes: list[ProbeRow]

    def tables(self) -> dict[str, list[dict]]:
        """Plain values, by the name of a table."""
        return {name: [flat(row) for row in rows] for name, rows in vars(self).items()}

    def means(self) -> dict[str, list[dict]]:
        """The same with one row for all seeds of a system: means, and deviations ``_sd``."""
        return {name: over_seeds(rows, *MERGED[name]) for name, rows in self.tables().items()}

    def headline(self, main: Sequence[str]) -> dict[str, float]:
        """Of the parent run: ``<row of a system>/<metric>``."""
        return {
            f"{row}/{name}": value
            for row, values in headlines(self, main).items()
            for name, value in values.items()
        }


@one_thread()
def run(
    systems: Sequence[System],
    source: Source,
    config: AuditShortcutsConfig,
    channel_section: Mapping,
    seed: int,
    out_dir: Path,
) -> AuditSummary:
    """Score and measure; writes the scores, the tables by system and by row, and two figures.

    Raises
    ------
    ConfigError
        There is no such channel, or it cannot be made.
    """
    if not systems:
        raise ConfigError("audit_shortcuts.systems names none that is at hand")
    factors = [name for names in config.factors.values() for name in names]
    names = dict.fromkeys([*config.channels, *factors])
    channels = {name: channel(name, channel_section) for name in names}
    clips = sounds([source.clips])
    truth = Truth(clips, strong_labels([source.events]))
    scorers = [SystemScorer(system, load_system(system)) for system in systems]

    scores = channel_scores(scorers, clips, truth, channels, is_heard, "audit: channels")
    seconds = with_clips(scores, clips)
    background = score_background(scorers, clips, config.background)
    probed = sources(scorers)
    vectors = hear(chosen(clips, config.probe.clips), probed)
    at_1pct = thresholds(seconds, FALSE_ALARM_RATE, systems)
    summary = AuditSummary(
        channels=list(
            channel_rows(systems, seconds, [AS_RECORDED, *config.channels], config.threshold)
        ),
        left_out=list(left_out_rows(systems, seconds, config.threshold)),
        factors=list(factor_rows(systems, seconds, config.factors, config.threshold)),
        background=list(background_rows(systems, background, clips, config.threshold, at_1pct)),
        probes=list(probe_rows(vectors, probed, config.probe, seed)),
    )
    means = summary.means()
    figures = {
        "channels.svg": channels_figure(means["channels"]),
        "probe.svg": probe_figure(means["probes"]),
    }
    with atomic_dir(out_dir) as temp:
        write_table(scores, temp / "scores.parquet", AUDIT_SCORES)
        if background.empty:
            background = empty(AUDIT_BACKGROUND)
        write_table(background, temp / "background.parquet", AUDIT_BACKGROUND)
        write_json(temp / "tables.json", summary.tables())
        write_json(temp / "means.json", means)
        write_json(temp / "metrics.json", headlines(summary, config.main))
        for name, figure in figures.items():
            save_svg(figure, temp / name)
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

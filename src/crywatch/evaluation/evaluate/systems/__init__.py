"""Every system on the same seconds of the same split, in one table.

Systems that differ by their seed alone are one row: mean, deviation, and an interval of the mean by
the bootstrap over groups. Each row is paired with the peer (YAMNet, where it is at hand) on the
same seconds. Scopes are those of `crywatch.evaluation.scopes`. Through a matched channel all clips
alike are heard; a phone is the case study's recording chain, applied to the test part only.
Decisions are at a threshold chosen on the validation part as recorded, also after a channel: what a
system would do when it is moved there. On corpora left out, all parts of which are measured, there
are none. False alarms are counted by kind of sound (`kinds`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crywatch.core.atomic import write_json
from crywatch.core.charts import save_svg
from crywatch.core.errors import ConfigError
from crywatch.evaluation.evaluate.systems.figures import comparison_figure
from crywatch.evaluation.evaluate.systems.kinds import KindRow, MixRow, kind_rows, mix_rows
from crywatch.evaluation.evaluate.systems.measures import ComparedRow, compare, never_heard
from crywatch.evaluation.scopes import CLIP, POOLED
from crywatch.evaluation.scored import AS_RECORDED, SHORTCUTS, SYSTEMS, Scored
from crywatch.metrics.rows import flat

DIGITS = 6  # of the headline


@dataclass
class SystemsConfig:
    """Section ``evaluate.systems``."""

    peer: str  # system whose difference to every row is estimated
    main: list[str]  # rows whose numbers metrics.json has
    recall: float = 0.8  # of crying seconds, at which false alarms are counted by kind of sound
    mix: dict[str, float] = field(default_factory=dict)  # hours of each kind in a nursery's day

    def check(self) -> None:
        """ConfigError where a value cannot be kept."""
        if not 0 < self.recall <= 1:
            raise ConfigError(f"evaluate.systems.recall: {self.recall:g} is not above 0 up to 1")
        for kind, hours in self.mix.items():
            if not hours > 0:
                raise ConfigError(f"evaluate.systems.mix.{kind}: {hours:g} hours, set more than 0")


@dataclass(frozen=True)
class CompareSummary:
    """All rows, and what is known of the systems."""

    rows: list[ComparedRow]
    parameters: dict[str, int]  # by row
    peer: str
    shifts: list[str]
    kinds: list[KindRow]
    mixes: list[MixRow]
    config: SystemsConfig

    def as_tables(self) -> dict:
        """For tables.json."""
        return {
            "rows": [flat(row) for row in self.rows],
            "parameters": [
                {"row": row, "parameters": count} for row, count in self.parameters.items()
            ],
            "peer": self.peer,
            "shifts": self.shifts,
            "kinds": [flat(row) for row in self.kinds],
            "mixes": [flat(row) for row in self.mixes],
            "main": self.config.main,
            "recall": self.config.recall,
            "mix": dict(self.config.mix),
        }


def run(scored: Scored, config: SystemsConfig, out_dir: Path) -> CompareSummary:
    """Measure; writes tables.json, metrics.json and comparison.svg."""
    config.check()
    index = scored.index
    kinds = [
        row
        for system in index.systems
        if {SHORTCUTS, SYSTEMS} & set(system.evaluations)
        for row in kind_rows(
            system, scored.seconds(system.name), never_heard(system, index), config.recall
        )
    ]
    summary = CompareSummary(
        rows=compare(scored, config.peer),
        parameters={system.row: system.parameters for system in index.of(SYSTEMS)},
        peer=config.peer,
        shifts=index.shifts,
        kinds=kinds,
        mixes=list(mix_rows(kinds, config.mix)),
        config=config,
    )
    write_json(out_dir / "tables.json", summary.as_tables())
    write_json(out_dir / "metrics.json", headlines(summary.rows, config.main))
    figure = comparison_figure(summary.rows, index.matched, config.peer)
    save_svg(figure, out_dir / "comparison.svg")
    return summary


def headlines(rows: Sequence[ComparedRow], main: Sequence[str]) -> dict[str, dict[str, float]]:
    """For `dvc metrics`: ``<metric>[_clip]_<scope>[_<channel>]`` of the ``main`` rows.

    AUC of what is pooled, average precision of a single corpus or of two.
    """
    headline: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.row not in main:
            continue
        metric = "auc" if row.scope == POOLED else "average_precision"
        value = row.metrics[metric].mean
        if value is None:
            continue
        parts = [metric, CLIP if row.unit == CLIP else "", row.scope.replace(",", "")]
        parts.append("" if row.channel == AS_RECORDED else row.channel)
        name = "_".join("_".join(part.split()) for part in parts if part)
        headline.setdefault(row.row, {})[name] = round(value, DIGITS)
    return headline

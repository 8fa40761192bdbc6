"""Stage ``compare_detectors``: every system on the same seconds of the same split, in one table.

Systems that differ by their seed alone are one row: mean, deviation, and an interval of the mean by
the bootstrap over groups. Each row is paired with the peer (YAMNet, where it is at hand) on the
same seconds. Scopes are those of `crywatch.evaluation.scopes`. Through a matched channel all clips
alike are heard; the phone is the case study's recording chain, applied to the test part only.
Decisions are at a threshold chosen on the validation part as recorded, also after a channel: what a
system would do when it is moved there. On corpora left out, all parts of which are measured, there
are none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crywatch.audio.channels import channel
from crywatch.core.atomic import atomic_dir, write_json
from crywatch.core.charts import save_svg
from crywatch.core.errors import ConfigError
from crywatch.core.threads import one_thread
from crywatch.data.selection import Source, sounds, strong_labels
from crywatch.data.tables import write_table
from crywatch.data.tables.evaluation import AUDIT_SCORES
from crywatch.data.truth import Truth
from crywatch.detection.systems import System, load_system
from crywatch.evaluation.channel_scores import AS_RECORDED, channel_scores, with_clips
from crywatch.evaluation.compare_detectors.contenders import contenders, is_heard, thresholds
from crywatch.evaluation.compare_detectors.figures import comparison_figure
from crywatch.evaluation.compare_detectors.measures import ComparedRow, compare
from crywatch.evaluation.scopes import CLIP, POOLED
from crywatch.metrics.rows import flat

DIGITS = 6  # of the headline


@dataclass(frozen=True)
class CompareDetectorsConfig:
    """Section ``compare_detectors``."""

    systems: list[str]  # family/variant
    peer: str  # of them, whose difference to every row is estimated
    main: list[str]  # rows whose numbers metrics.json has
    matched: list[str]  # of section ``channels``: one for all clips alike
    shift: str  # of section ``channels``: the recording chain of the phone


@dataclass(frozen=True)
class CompareSummary:
    """All rows, and what is known of the systems."""

    rows: list[ComparedRow]
    parameters: dict[str, int]  # by row
    peer: str
    shift: str

    def as_tables(self) -> dict:
        """For tables.json."""
        return {
            "rows": [flat(row) for row in self.rows],
            "parameters": [
                {"row": row, "parameters": count} for row, count in self.parameters.items()
            ],
            "peer": self.peer,
            "shift": self.shift,
        }

    def headline(self, main: Sequence[str]) -> dict[str, float]:
        """Of the parent run: ``<row>/<metric>``."""
        return {
            f"{row}/{name}": value
            for row, values in headlines(self.rows, main).items()
            for name, value in values.items()
        }


@one_thread()
def run(
    systems: Sequence[System],
    source: Source,
    config: CompareDetectorsConfig,
    channel_section: Mapping,
    out_dir: Path,
) -> CompareSummary:
    """Score and measure; writes scores.parquet, tables.json, metrics.json and comparison.svg.

    Raises
    ------
    ConfigError
        No system is at hand, or there is no such channel.
    ModelError
        A system's model is missing.
    """
    if not systems:
        raise ConfigError("compare_detectors.systems names none that is at hand")
    names = dict.fromkeys([*config.matched, config.shift])
    channels = {name: channel(name, channel_section) for name in names if name}
    clips = sounds([source.clips])
    truth = Truth(clips, strong_labels([source.events]))
    detectors = {system.name: load_system(system) for system in systems}
    listed = contenders(systems, detectors, clips["corpus"])
    scores = channel_scores(listed, clips, truth, channels, is_heard, "compare")
    seconds = with_clips(scores, clips)
    summary = CompareSummary(
        rows=compare(listed, seconds, thresholds(seconds), config.peer),
        parameters={s.row: detectors[s.name].n_parameters for s in systems},
        peer=config.peer,
        shift=config.shift,
    )
    with atomic_dir(out_dir) as temp:
        write_table(scores, temp / "scores.parquet", AUDIT_SCORES)
        write_json(temp / "tables.json", summary.as_tables())
        write_json(temp / "metrics.json", headlines(summary.rows, config.main))
        figure = comparison_figure(summary.rows, config.matched, config.peer)
        save_svg(figure, temp / "comparison.svg")
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

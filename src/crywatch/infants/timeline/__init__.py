"""Stage ``timeline``: each infant over time, as tables and as one page that a clinician can read.

Infants are followed first (`crywatch.infants.follow`), into folder ``follow``. Then `analysis`
computes the timelines (all at once, or a recording at a time), `summary` says in numbers what was
unusual, when and how sure, `page` shows it. The scales are told of in `standard`, the trend and its
limits in `trend` and `limits`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.core.atomic import atomic_dir, write_json
from crywatch.data.tables import TableSchema, empty, read_table, write_table
from crywatch.data.tables.infants import BANDS, FOLLOWED
from crywatch.data.tables.timelines import TIMELINE, TIMELINE_SESSIONS
from crywatch.infants.conformal import ConformalConfig
from crywatch.infants.evaluation.division import DivisionConfig
from crywatch.infants.follow import BANDS_TABLE, FollowSummary, follow_infants
from crywatch.infants.follow import TABLE as FOLLOWED_TABLE
from crywatch.infants.models.registry import ModelsConfig
from crywatch.infants.timeline.analysis import InfantTimeline, analyse
from crywatch.infants.timeline.config import TimelineConfig
from crywatch.infants.timeline.drawing import pictures_of
from crywatch.infants.timeline.page import write_page
from crywatch.infants.timeline.summary import STATUSES, InfantSummary, by_urgency, summarise
from crywatch.speaker.cries.store import CryStore

PAGE, TABLE, SESSIONS = "timelines.html", "timeline.parquet", "sessions.parquet"
SUMMARY, METRICS = "summary.json", "metrics.json"
FOLLOW = "follow"  # folder of the followed recordings
GENERATED = (
    "The infants of this page are generated: a program made their voices and the changes of them, "
    "and nothing here tells of any child."
)
PARTLY_GENERATED = "Some infants of this page are generated: a program made their voices."


@dataclass(frozen=True)
class TimelineResult:
    """What the stage made."""

    timelines: list[InfantTimeline]
    summaries: list[InfantSummary]  # of the same infants

    def as_metrics(self) -> dict[str, float]:
        """For metrics.json and the tracking store; counts, and shares where there is a whole.

        A remark tells of a change. A lasting change that no remark overlaps is counted as one
        that nobody knows of: on recordings where every change was made it is a false one.
        """
        infants = self.summaries
        remarks = [remark for infant in infants for remark in infant.remarks]
        delays = [remark.passed_after for remark in remarks if remark.passed_after]
        lasting = [
            (infant, episode)
            for infant in infants
            for episode in infant.episodes
            if episode.lasting
        ]
        unremarked = [
            episode
            for infant, episode in lasting
            if not any(
                episode.begin <= remark.end and remark.begin <= episode.end
                for remark in infant.remarks
            )
        ]
        judged = sum(infant.judged for infant in infants)
        marked = sum(infant.marked for infant in infants)
        metrics = {
            "infants": len(infants),
            "infants_promised": sum(infant.promised for infant in infants),
            "recordings": sum(len(timeline.recordings) for timeline in self.timelines),
            "new_recordings": sum(infant.new for infant in infants),
            "new_sessions": sum(infant.new_sessions for infant in infants),
            "judged_recordings": judged,
            "marked_recordings": marked,
            "marks_expected": sum(infant.expected for infant in infants),
            "kept_out": sum(infant.kept_out for infant in infants),
            "lasting_changes": len(lasting),
            "lasting_changes_unremarked": len(unremarked),
            "possible_episodes": sum(len(one.episodes) for one in infants) - len(lasting),
            "change_points": sum(len(infant.changes.points) for infant in infants),
            "remarks": len(remarks),
            "remarks_passed": len(delays),
        }
        if judged:
            metrics["marked_share"] = marked / judged
        if delays:
            metrics["delay_sessions_median"] = float(np.median(delays))
        return {name: round(float(value), 6) for name, value in metrics.items()}


def run(
    embedded_dir: Path,
    gate_dir: Path,
    cries_dir: Path,
    config: TimelineConfig,
    conformal: ConformalConfig,
    division: DivisionConfig,
    settings: ModelsConfig,
    seed: int,
    generated: Collection[str],
    out_dir: Path,
) -> tuple[FollowSummary, TimelineResult]:
    """Follow the infants of the store at ``embedded_dir``, and write what `draw` writes of them.

    ``cries_dir`` has their cries; ``conformal``, ``division`` and ``settings`` are those of the
    models.
    """
    with atomic_dir(out_dir) as temp:
        summary = follow_infants(
            embedded_dir,
            gate_dir,
            config.follow,
            conformal,
            division,
            settings,
            seed,
            temp / FOLLOW,
        )
        return summary, draw(temp / FOLLOW, cries_dir, config, seed, generated, temp)


def draw(
    follow_dir: Path,
    cries_dir: Path,
    config: TimelineConfig,
    seed: int,
    generated: Collection[str],
    folder: Path,
) -> TimelineResult:
    """Write the tables, the summaries, the metrics and the page of all followed infants.

    ``generated`` are corpora whose sounds a program made; the page says where infants are of them.
    """
    followed = read_table(follow_dir / FOLLOWED_TABLE, FOLLOWED)
    bands = read_table(follow_dir / BANDS_TABLE, BANDS)
    timelines = analyse(followed, bands, config, seed)
    result = TimelineResult(timelines, [summarise(one, config) for one in timelines])
    pictures = pictures_of(CryStore(cries_dir), config.page.picture_s)
    corpora = {clip_id.partition("/")[0] for clip_id in followed["clip_id"]}
    notes = notes_on(corpora, generated)
    for file, schema, tables in (
        (TABLE, TIMELINE, [one.recordings for one in timelines]),
        (SESSIONS, TIMELINE_SESSIONS, [one.sessions for one in timelines]),
    ):
        write_table(_all(tables, schema), folder / file, schema)
    order = by_urgency(result.summaries)
    write_json(folder / SUMMARY, [as_json(result.summaries[at]) for at in order])
    write_json(folder / METRICS, result.as_metrics())
    write_page(folder / PAGE, timelines, config, pictures, notes)
    return result


def as_json(summary: InfantSummary) -> dict:
    """A summary as plain values, its status in words too; times in ISO 8601, UTC."""
    return _plain(asdict(summary)) | {"status_text": STATUSES[summary.status]}


def notes_on(corpora: Collection[str], generated: Collection[str]) -> list[str]:
    """What the page says on top, of infants of ``corpora``, some of which may be generated."""
    made = set(corpora) & set(generated)
    if not made:
        return []
    return [GENERATED if made == set(corpora) else PARTLY_GENERATED]


def _all(tables: Sequence[pd.DataFrame], schema: TableSchema) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True) if tables else empty(schema)


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value.isoformat() if isinstance(value, pd.Timestamp) else value

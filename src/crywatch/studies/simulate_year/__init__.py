"""Stage ``simulate_year``: a generated year of infants, with the gate, without it, and frozen.

No corpus follows an infant for a year, so voices are generated in every profile; the backbone and
the gate are the real ones. Three things happen: all voices develop slowly and are to be followed
without alarms; some change in a day, which must not be absorbed; and into some comes a hostile
stream, which must not draw the baseline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd

from crywatch.core.atomic import atomic_dir, write_json
from crywatch.core.charts import save_svg
from crywatch.core.errors import ConfigError
from crywatch.corpora.samples.recordings import PLANTED
from crywatch.data.tables import write_table
from crywatch.data.tables.infants import YEAR
from crywatch.infants import gate as gates
from crywatch.infants.conformal import ConformalConfig
from crywatch.infants.embedded_cries import EmbeddedCries
from crywatch.infants.estimates import Estimate
from crywatch.infants.follow import FollowConfig, followers
from crywatch.infants.models.registry import ModelsConfig, build
from crywatch.infants.updating import FollowedInfant, Follower, InfantState, Observation
from crywatch.studies.simulate_year import measures
from crywatch.studies.simulate_year.figures import year_figure
from crywatch.studies.simulate_year.measures import ATTACK, CHANGE, SLOW, Estimates, Rules
from crywatch.studies.simulate_year.streams import HOSTILE, Calendar, Vectors, day_of
from crywatch.studies.simulate_year.voices import (
    OWN,
    HearingSettings,
    VoicesConfig,
    VoiceYear,
    embed,
)

TABLE, METRICS, FIGURE = "year.parquet", "metrics.json", "year.svg"
TRIMMING = "trimming"
_LAST_DAYS = 14.0


@dataclass(frozen=True)
class SimulateYearConfig:
    """Section ``simulate_year``. Sections inside are not frozen: OmegaConf merges into them."""

    seed: int  # of the generated voices and what they record
    calendar: Calendar
    voices: VoicesConfig
    changes: list[str]  # as in the generated nursery
    hostile: list[str]  # infants, sounds, repeats, drip
    trimming_p: float  # a minimum of p that trims the baseline, to show what that does
    workers: int  # processes

    def __post_init__(self) -> None:
        for key, names, choices in (
            ("changes", self.changes, PLANTED),
            ("hostile", self.hostile, HOSTILE),
        ):
            if unknown := sorted(set(names) - set(choices)):
                raise ConfigError(
                    f"simulate_year.{key} has no {unknown[0]!r}; there are {', '.join(choices)}"
                )


@dataclass(frozen=True)
class YearSummary:
    """Means over infants by scenario: kind to way to measure."""

    infants: int
    recordings: int  # generated
    rate: float  # of false alarms, promised
    trimming_p: float
    slow: dict[str, dict[str, Estimates]]
    change: dict[str, dict[str, Estimates]]
    attack: dict[str, dict[str, Estimates]]

    def headline(self) -> dict[str, float]:
        """Of slow development, each way."""
        return {
            f"year_{way}_false_alarms_a_month": estimates["false_alarms_a_month"].mean
            for way, estimates in self.slow[""].items()
        }


def run(
    embedded_dir: Path,
    network_dir: Path,
    gate_dir: Path,
    config: SimulateYearConfig,
    follow: FollowConfig,
    conformal: ConformalConfig,
    settings: ModelsConfig,
    hearing: HearingSettings,
    out_dir: Path,
) -> YearSummary:
    """Write year.parquet (schema year), metrics.json and year.svg.

    ``network_dir`` is the network that made the store at ``embedded_dir``, whose cohort others are
    compared with.
    """
    from joblib import Parallel, delayed

    store = EmbeddedCries(embedded_dir)
    calendar = config.calendar
    year = VoiceYear(config.seed, calendar.weeks, config.voices, str(network_dir), hearing)
    needed = calendar.needed(config.changes, config.hostile)
    vectors = embed(year, needed, config.workers)
    gate = gates.load(gate_dir, store.digest)
    model = build(follow.model, settings, config.seed, store.cohort(follow.changed))
    ways = followers(model, gate, conformal, follow.updating)
    trimming = replace(gate, least_p=config.trimming_p)
    ways[TRIMMING] = Follower(model, trimming, conformal, follow.updating)
    lives = Parallel(n_jobs=min(config.workers, len(ways)))(
        delayed(live)(
            follower,
            calendar,
            # What trimming does, it does to infants to whom nothing happens.
            () if way == TRIMMING else config.changes,
            () if way == TRIMMING else config.hostile,
            vectors,
        )
        for way, follower in ways.items()
    )
    by_way = dict(zip(ways, lives, strict=True))
    frame = pd.concat([lived.table.assign(way=way) for way, lived in by_way.items()])
    rules = Rules(
        rate=conformal.rate,
        watch=max(1, follow.updating.watch),
        hold_chance=follow.updating.hold_chance,
        event_day=7.0 * calendar.event_week,
        over_day=7.0 * (calendar.event_week + calendar.attack_weeks),
        end_day=7.0 * calendar.weeks,
        last_days=_LAST_DAYS,
    )
    measured: dict[str, dict[str, dict[str, Estimates]]] = {SLOW: {}, CHANGE: {}, ATTACK: {}}
    for (scenario, kind, way), rows in frame.reset_index(drop=True).groupby(
        ["scenario", "kind", "way"], sort=False
    ):
        estimates = measures.MEASURES[scenario](rows, rules)
        if scenario == ATTACK:
            drift = Estimate.of(by_way[way].drift[kind])
            estimates |= {"drift": drift} if drift else {}
        measured[scenario].setdefault(kind, {})[way] = estimates
    summary = YearSummary(
        infants=calendar.infants,
        recordings=len(needed),
        rate=rules.rate,
        trimming_p=config.trimming_p,
        slow=measured[SLOW],
        change=measured[CHANGE],
        attack=measured[ATTACK],
    )
    with atomic_dir(out_dir) as temp:
        write_table(frame[list(YEAR.columns)], temp / TABLE, YEAR)
        write_json(temp / METRICS, asdict(summary))
        save_svg(year_figure(temp), temp / FIGURE)
    return summary


@dataclass(frozen=True)
class LivedYear:
    """A year under one way of updating."""

    table: pd.DataFrame  # table ``year`` without the way
    drift: dict[str, list[float]]  # by what is hostile, an infant each


def live(
    follower: Follower,
    calendar: Calendar,
    changes: Sequence[str],
    hostile: Sequence[str],
    vectors: Vectors,
) -> LivedYear:
    """All that happens to the infants of ``calendar``; until its event they live one life."""
    infants = range(calendar.infants)
    event, over = calendar.event_week, calendar.event_week + calendar.attack_weeks

    def own(first: int, last: int, kind: str = OWN) -> list[list[Observation]]:
        return [
            calendar.stream(calendar.own(infant, first, last, kind), vectors) for infant in infants
        ]

    start = follower.start([calendar.baseline(infant, vectors) for infant in infants])
    before = follower.observe(start, own(calendar.baseline_weeks, event))
    during = follower.observe(_states(before), own(event, over))
    rest = follower.observe(_states(during), own(over, calendar.weeks))
    tables = [_table(SLOW, "", before, during, rest)]
    for change in changes:
        changed = own(event, event + calendar.change_weeks, change)
        tables.append(_table(CHANGE, change, follower.observe(_states(before), changed)))
    drift = {}
    for kind in hostile:
        attacked = [calendar.attacked(infant, kind, vectors) for infant in infants]
        under = follower.observe(_states(before), attacked)
        after = follower.observe(_states(under), own(over, over + calendar.after_weeks))
        tables.append(_table(ATTACK, kind, under, after))
        drift[kind] = [
            measures.drift_of(attacked.state.baseline, other.state.baseline)
            for attacked, other in zip(under, during, strict=True)
        ]
    return LivedYear(pd.concat(tables, ignore_index=True), drift)


def _states(observed: Sequence[FollowedInfant]) -> list[InfantState]:
    return [infant.state for infant in observed]


def _table(scenario: str, kind: str, *stretches: Sequence[FollowedInfant]) -> pd.DataFrame:
    rows = []
    for infant, parts in enumerate(zip(*stretches, strict=True)):
        withdrawn = {clip_id for part in parts for clip_id in part.withdrawn}
        outcomes = [outcome for part in parts for outcome in part.outcomes]
        for order, outcome in enumerate(outcomes):
            rows.append(
                {
                    "infant": infant,
                    "order": order,
                    "day": day_of(outcome.recorded_at),
                    "hostile": scenario == ATTACK and outcome.clip_id.endswith(f" {kind}"),
                    "score": outcome.score,
                    "p": outcome.p,
                    "alarm": outcome.alarm,
                    "accepted": outcome.accepted and outcome.clip_id not in withdrawn,
                    "reason": outcome.reason,
                    "version": outcome.version,
                }
            )
    return pd.DataFrame(rows).assign(scenario=scenario, kind=kind)

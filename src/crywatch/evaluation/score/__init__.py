"""Stage ``score``: every system on every second that the evaluations need, through every channel.

All miners, BlazeNets and anomaly heads, and who is listed beside them, hear the parts val and test
as recorded, untrimmed recordings and soundscapes too; who is audited or compared hears the clips of
part test through channels as well; who never heard a corpus or a kind of sound hears all of it. A
system's training part is never scored. Stage ``evaluate`` makes everything else of these scores
(`scored`).

Scores are kept by what they depend on (`cache`): the model, the code that scores, the channel and
the sounds. So a new or changed system scores itself alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from crywatch.core.atomic import atomic_dir, write_json
from crywatch.core.errors import ConfigError
from crywatch.core.threads import one_thread
from crywatch.data.selection import MADE, Source, is_left_out, sounds, weak_cries
from crywatch.data.tables import write_parts, write_table
from crywatch.data.tables.evaluation import PROBED, SCORES, SECONDS
from crywatch.detection.systems import System
from crywatch.evaluation import scored
from crywatch.evaluation.score.cache import ScoreCache
from crywatch.evaluation.score.hearing import Hearing, hear
from crywatch.evaluation.score.probed import chosen, inputs
from crywatch.evaluation.score.probed import hear as probe
from crywatch.evaluation.score.renderings import BackgroundConfig, Rendering, renderings
from crywatch.evaluation.score.scorers import Scorer, Silence
from crywatch.evaluation.scored import ScoredSystem, ScoreIndex


@dataclass
class AuditedConfig:
    """Section ``score.audited``."""

    systems: list[str]  # family/variant
    channels: list[str]  # of section ``channels``: one for all clips alike
    factors: dict[str, list[str]]  # what changes alone, and the channels that change it
    background: BackgroundConfig
    probe_clips: int  # at most, of a corpus and label


@dataclass
class ComparedConfig:
    """Section ``score.compared``."""

    systems: list[str]  # family/variant
    matched: list[str]  # of section ``channels``: one for all clips alike
    shifts: list[str]  # of section ``channels``: recording chains of a phone


@dataclass(frozen=True)
class ScoreConfig:
    """Section ``score``."""

    recorded: list[str]  # family/variant, beside all miners, BlazeNets and anomaly heads
    audited: AuditedConfig
    compared: ComparedConfig
    workers: int = 1  # processes

    def channels(self) -> list[str]:
        """All that are heard through, once."""
        factors = [name for names in self.audited.factors.values() for name in names]
        matched = [*self.compared.matched, *self.compared.shifts]
        return list(dict.fromkeys(self.audited.channels + factors + matched))


@dataclass(frozen=True)
class ScoreSummary:
    """How much there was to do."""

    seconds: int  # rows of the table of scores
    scored: int  # of its row groups, those that were not there yet
    row_groups: int

    def as_metrics(self) -> dict[str, float]:
        """For the tracking store."""
        return {"seconds": self.seconds, "scored": self.scored, "row_groups": self.row_groups}


@one_thread()
def run(
    systems: Mapping[str, Sequence[System]],
    sources: Sequence[Source],
    config: ScoreConfig,
    channel_section: Mapping[str, Any],
    out_dir: Path,
    work_dir: Path,
) -> ScoreSummary:
    """Score and write what `crywatch.evaluation.scored` reads.

    ``systems`` are those of each of `scored.EVALUATIONS`; the first of ``sources`` are the clips,
    the others recordings made of them.

    Raises
    ------
    ConfigError
        There are no systems, or there is no such channel.
    ModelError
        A system's model is missing.
    """
    lists = ("recorded", "audited.systems", "compared.systems")
    for evaluation, key in zip(scored.EVALUATIONS, lists, strict=True):
        if not systems[evaluation]:
            raise ConfigError(f"score.{key} names none that is at hand")
    rendered = renderings(config.channels(), channel_section, config.audited.background)
    every = {system.name: Scorer(system) for listed in systems.values() for system in listed}
    names = {evaluation: {s.name for s in listed} for evaluation, listed in systems.items()}
    clips = sounds(source.clips for source in sources)
    hearings = list(plan(list(every.values()), names, clips, config, rendered))
    recorded = [h.clips for h in hearings if h.rendering.name == scored.AS_RECORDED]
    heard = clips[clips["clip_id"].isin(pd.concat(recorded)["clip_id"])]
    silence = Hearing(Silence(), rendered[scored.AS_RECORDED], heard)
    audited = inputs([every[system.name] for system in systems[scored.SHORTCUTS]])
    as_found = clips[~clips["corpus"].isin(MADE) & ~weak_cries(clips)]
    probed = chosen(as_found, config.audited.probe_clips)

    cache = ScoreCache(work_dir)
    missing = sum(not cache.table(hearing.key).is_file() for hearing in hearings)
    hear([*hearings, silence], cache, config.workers)
    vectors = probe(audited, probed, cache)
    entries = {cache.table(hearing.key): hearing for hearing in hearings}
    index = ScoreIndex(
        systems=[_described(scorer, names) for scorer in every.values()],
        channels=config.audited.channels,
        factors=config.audited.factors,
        categories=config.audited.background.categories,
        matched=config.compared.matched,
        shifts=config.compared.shifts,
        probes=[one.source for one in audited],
    )
    with atomic_dir(out_dir) as temp:
        n_seconds = write_parts(row_groups(entries), temp / scored.TABLE, SCORES)
        seconds = pd.read_parquet(cache.table(silence.key))
        seconds["silent"] = seconds["score"] > 0
        write_table(seconds[list(SECONDS.columns)], temp / scored.SECONDS_TABLE, SECONDS)
        table = pd.read_parquet(vectors[0])
        write_table(table, temp / scored.PROBE / scored.SECONDS_TABLE, PROBED)
        for number, path in enumerate(vectors[1:]):
            shutil.copyfile(path, temp / scored.PROBE / f"{number}.npy")
        write_json(temp / scored.INDEX, asdict(index))
    cache.only([*entries, *vectors, cache.table(silence.key)])
    return ScoreSummary(n_seconds, missing, len(hearings))


def plan(
    scorers: Sequence[Scorer],
    names: Mapping[str, set[str]],
    clips: pd.DataFrame,
    config: ScoreConfig,
    rendered: Mapping[str, Rendering],
) -> Iterator[Hearing]:
    """What every system hears: ``names`` are those of each evaluation, ``clips`` all sounds."""
    made, test = clips["corpus"].isin(MADE), clips["split"] == "test"
    audited = config.audited
    is_background = clips["category"].isin(audited.background.categories)
    cries = clips["label"] == "cry"
    background = {
        scored.BACKGROUND_SCALED: clips[test & ~made & is_background & ~cries],
        scored.PAUSES: clips[test & ~made & cries],
    }
    background[scored.PAUSES_SCALED] = background[scored.PAUSES]
    by_factor = [name for listed in audited.factors.values() for name in listed]
    left_out = {s.system.leave_out for s in scorers if s.system.name in names[scored.SYSTEMS]}
    for scorer in scorers:
        system, channels = scorer.system, []
        mine = left_out if system.family in scored.UNTRAINED else {system.leave_out}
        wanted = (clips["split"] != "train") & (~made | (system.name in names[scored.DETECTION]))
        for leave_out in mine:
            wanted |= is_left_out(clips, leave_out)
        yield Hearing(scorer, rendered[scored.AS_RECORDED], clips[wanted])
        if system.name in names[scored.SHORTCUTS]:
            channels += [*audited.channels, *by_factor]
        if system.name in names[scored.SYSTEMS] and not system.leave_out:
            channels += [*config.compared.matched, *config.compared.shifts]
        for name in dict.fromkeys(channels):
            yield Hearing(scorer, rendered[name], clips[test & ~made])
        if system.name in names[scored.SHORTCUTS]:
            for name, sounding in background.items():
                yield Hearing(scorer, rendered[name], sounding)


def _described(scorer: Scorer, names: Mapping[str, set[str]]) -> ScoredSystem:
    system = scorer.system
    return ScoredSystem(
        name=system.name,
        row=system.row,
        leave_out=system.leave_out,
        segment_s=system.segment_s,
        parameters=scorer.detector.n_parameters,
        sha256=scorer.sha256,
        evaluations=tuple(name for name in scored.EVALUATIONS if system.name in names[name]),
    )


def row_groups(entries: Mapping[Path, Hearing]) -> Iterator[pd.DataFrame]:
    """Tables "scores" of what was heard, by its entries."""
    for path, hearing in entries.items():
        assert isinstance(hearing.scorer, Scorer)
        head = {"system": hearing.scorer.system.name, "channel": hearing.rendering.name}
        yield pd.read_parquet(path).assign(**head)

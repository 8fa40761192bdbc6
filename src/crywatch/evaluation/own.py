"""Somebody else's detector as one more system: its scores beside those of stage ``score``.

A detector is heard as stage ``score`` hears every system. Of a file of scores (JSON lines as
`crywatch detect` writes them) a line is a clip: its path ends as the clip's does, and what stands
before that is the channel, where it is one (`write_sounds`). Either way `beside` makes a folder
that `crywatch.evaluation.scored.Scored` reads, with the scores of others on the same clips.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from crywatch.audio.waves.cleaned import read_clean, write_flac
from crywatch.core.atomic import write_json
from crywatch.core.errors import ConfigError, TableError
from crywatch.core.names import normal
from crywatch.core.progress import progress
from crywatch.data.selection import MADE, Source
from crywatch.data.tables import empty, read_table, write_parts, write_table
from crywatch.data.tables.clips import SPLIT_CLIPS
from crywatch.data.tables.evaluation import PROBED, SCORES
from crywatch.detection.detectors import Detector
from crywatch.detection.own import no_probability, open_own
from crywatch.detection.systems import System
from crywatch.evaluation.score import ScoreConfig, plan, row_groups
from crywatch.evaluation.score.cache import ScoreCache
from crywatch.evaluation.score.hearing import hear
from crywatch.evaluation.score.renderings import renderings
from crywatch.evaluation.score.scorers import Scorer
from crywatch.evaluation.scored import (
    AS_RECORDED,
    DETECTION,
    INDEX,
    PROBE,
    SECONDS_TABLE,
    SHORTCUTS,
    SYSTEMS,
    TABLE,
    Scored,
    ScoredSystem,
)

FAMILY = "own"
TAIL = 3  # parts of a clip's path that a line is known by: corpus, audio, file
HOW = "give lines as `crywatch detect --format jsonl` prints them"
SOUNDS = "score the files that `crywatch evaluate --sounds FOLDER` writes"
Clips = Mapping[str, set[str]]  # clip_ids by channel


@dataclass(frozen=True)
class OwnScorer(Scorer):
    """A system of family ``own``; nothing of it is known by a digest, so nothing is kept."""

    @cached_property
    def detector(self) -> Detector:
        """ConfigError or ModelError if there is none."""
        return open_own(self.system.name, self.system.source)

    @property
    def key(self) -> list[str]:
        """Of the entries of one evaluation."""
        return [self.system.name]


def hear_own(
    system: System, scored: Scored, config: ScoreConfig, channels: Mapping[str, Any], work: Path
) -> tuple[list[pd.DataFrame], int]:
    """Tables "scores" of a detector, one a channel, and its parameters.

    ``work`` is an empty folder.
    """
    scorer = OwnScorer(system)
    n_parameters = scorer.detector.n_parameters  # what cannot be opened is refused here
    rendered = renderings(config.channels(), channels, config.audited.background)
    measured = {name: {system.name} for name in (SHORTCUTS, SYSTEMS)} | {DETECTION: set()}
    cache = ScoreCache(work)
    hearings = list(plan([scorer], measured, scored.clips, config, rendered))
    # A first clip in this process: what is wrong is told in one line, without those of others.
    hear([replace(hearings[0], clips=hearings[0].clips.head(1))], cache)
    hear(hearings, cache, config.workers)
    return list(row_groups({cache.table(each.key): each for each in hearings})), n_parameters


def judged(scored: Scored) -> Clips:
    """What files of scores are to hold: parts val and test as recorded, test through channels."""
    clips, index = scored.clips, scored.index
    clips = clips[~clips["corpus"].isin(MADE) & (clips["split"] != "train")]
    test = set(clips.loc[clips["split"] == "test", "clip_id"])
    factors = [name for listed in index.factors.values() for name in listed]
    through = [*index.channels, *factors, *index.matched, *index.shifts]
    return {AS_RECORDED: set(clips["clip_id"])} | dict.fromkeys(through, test)


def write_sounds(
    scored: Scored, config: ScoreConfig, channels: Mapping[str, Any], folder: Path
) -> int:
    """Write all that is `judged` below ``folder``, as CHANNEL/CORPUS/audio/NAME.flac; its number.

    16 bits at 16 kHz: what a channel makes louder than full scale is clipped.
    """
    rendered = renderings(config.channels(), channels, config.audited.background)
    todo = [(rendered[name], clips) for name, clips in judged(scored).items()]
    paths = dict(zip(scored.clips["clip_id"], scored.clips["path"], strict=True))
    shown = progress(sorted(todo[0][1]), "sounds", unit="clip")
    for clip_id in shown:
        wave = read_clean(paths[clip_id])
        for rendering in [each for each, clips in todo if clip_id in clips]:
            (stretch,) = rendering.stretches(wave, clip_id)
            path = folder.joinpath(rendering.name, *_tail(paths[clip_id]))
            path.parent.mkdir(parents=True, exist_ok=True)
            write_flac(path, stretch.wave)
    return sum(len(clips) for _, clips in todo)


def read_scores(
    files: Sequence[Path], system: str, scored: Scored, sources: Sequence[Source], partial: bool
) -> list[pd.DataFrame]:
    """Tables "scores" of files of JSON lines, one a channel; clips of no part are passed over.

    Raises
    ------
    TableError
        A line is no such line, or of no clip of the rebuild; or clips of a channel that is there
        are missing, and it is not ``partial``.
    """
    every = pd.concat([read_table(source.clips, SPLIT_CLIPS) for source in sources])
    by_tail = {
        _tail(path): clip for path, clip in zip(every["path"], every["clip_id"], strict=True)
    }
    counts = scored.known["clip_id"].value_counts()
    wanted = judged(scored)
    frames: dict[str, dict[str, pd.DataFrame]] = {}
    for file in files:
        for where, line in _lines(file):
            parts = PurePosixPath(normal(line["path"])).parts
            clip_id = by_tail.get(parts[-TAIL:])
            channel = next(
                (name for name in parts[-TAIL - 1 : -TAIL] if name in wanted), AS_RECORDED
            )
            if clip_id is None:
                raise TableError(f"{where}: {line['path']} is no clip of this rebuild: {SOUNDS}")
            if clip_id not in wanted[channel] or "error" in line:
                continue
            of_channel = frames.setdefault(channel, {})
            if clip_id in of_channel:
                raise TableError(f"{where}: {line['path']} has a line above: leave one of them")
            scores = _seconds(line, where)
            if len(scores) != counts[clip_id]:
                raise TableError(
                    f"{where}: seconds: {len(scores)} scores, and the clip has {counts[clip_id]} "
                    "plain seconds (a remainder of half a second counts): score each"
                )
            starts = np.arange(len(scores), dtype=float)
            columns = {"clip_id": clip_id, "start_s": starts, "end_s": starts + 1, "score": scores}
            of_channel[clip_id] = pd.DataFrame(columns)
    _check_clips(", ".join(map(str, files)), frames, wanted, partial)
    return [
        pd.concat(of_channel.values()).assign(system=system, channel=channel)
        for channel, of_channel in frames.items()
    ]


def _check_clips(
    files: str, frames: Mapping[str, Mapping[str, pd.DataFrame]], wanted: Clips, partial: bool
) -> None:
    """TableError where clips are missing: all as recorded or, unless ``partial``, any."""
    if AS_RECORDED not in frames:
        raise TableError(f"{files}: no clip of part val or test as recorded: {SOUNDS}")
    for channel, of_channel in frames.items():
        missing = sorted(wanted[channel] - of_channel.keys())
        if missing and not partial:
            raise TableError(
                f"{files}: {len(missing)} of {len(wanted[channel])} clips have no scores "
                f"{channel} ({', '.join(missing[:3])}{', ...' if missing[3:] else ''}): score them "
                "too, or judge what is there with --partial"
            )


def compared(scored: Scored) -> list[ScoredSystem]:
    """The compared systems that heard every corpus and kind, in their order."""
    return [system for system in scored.index.of(SYSTEMS) if not system.leave_out]


def others(scored: Scored, against: Sequence[str]) -> list[ScoredSystem]:
    """The compared systems of the rows of ``against``; ConfigError if one was not compared."""
    systems = compared(scored)
    rows = {system.name: system.row for system in systems}
    for name in against:
        if name not in rows:
            raise ConfigError(f"--against: {name!r} was not compared; there are {', '.join(rows)}")
    return [system for system in systems if system.row in {rows[name] for name in against}]


def beside(
    system: ScoredSystem,
    tables: Sequence[pd.DataFrame],
    others: Sequence[ScoredSystem],
    scored: Scored,
    sources: Sequence[Source],
    folder: Path,
) -> Scored:
    """Its scores, and those of ``others`` on the same clips, as what ``folder`` holds then."""
    clips = {str(frame["channel"].iloc[0]): set(frame["clip_id"]) for frame in tables if len(frame)}

    def frames() -> Iterator[pd.DataFrame]:
        yield from tables
        for other in others:
            for channel, heard in clips.items():
                frame = scored.scores(other.name, channel)
                frame = frame[frame["clip_id"].isin(heard)]
                yield frame.assign(system=other.name, channel=channel)

    write_parts(frames(), folder / TABLE, SCORES)
    shutil.copyfile(scored.folder / SECONDS_TABLE, folder / SECONDS_TABLE)
    (folder / PROBE).mkdir()
    write_table(empty(PROBED), folder / PROBE / SECONDS_TABLE, PROBED)
    index = scored.index
    here = replace(
        index,
        systems=[system, *others],
        channels=[name for name in index.channels if name in clips],
        factors={k: [n for n in v if n in clips] for k, v in index.factors.items()},
        matched=[name for name in index.matched if name in clips],
        shifts=[name for name in index.shifts if name in clips],
        probes=[],
    )
    write_json(folder / INDEX, asdict(here))
    return Scored(folder, sources)


def _tail(path: str) -> tuple[str, ...]:
    return PurePosixPath(normal(path)).parts[-TAIL:]


def _lines(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The place of each line that is not empty, for people, and what it holds."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"{file}: cannot be read ({error}): {HOW}") from error
    for number, content in enumerate(text.splitlines(), 1):
        where = f"{file}, line {number}"
        if not content.strip():
            continue
        try:
            line = json.loads(content)
        except ValueError as error:
            raise TableError(f"{where}: not JSON ({error}): {HOW}") from error
        line = line if isinstance(line, dict) else {}
        needed = {"path": str} if "error" in line else {"path": str, "seconds": list}
        for key, kind in needed.items():
            if not isinstance(line.get(key), kind):
                raise TableError(f"{where}: {key!r} is missing or no {kind.__name__}: {HOW}")
        yield where, line


def _seconds(line: dict[str, Any], where: str) -> list[float]:
    """Scores of the plain seconds of a line; TableError that names the second."""
    scores = []
    for number, second in enumerate(line["seconds"]):
        key = f"{where}: seconds[{number}]"
        start_s, score = (
            second.get(name) if isinstance(second, dict) else None for name in ("start_s", "cry")
        )
        if not isinstance(start_s, int | float) or not isinstance(score, int | float):
            raise TableError(f"{key}: 'start_s' or 'cry' is missing or no number: {HOW}")
        if start_s != number:
            raise TableError(f"{key}: start_s is {start_s:g}, not {number}: score each second")
        if not math.isfinite(score) or not 0 <= score <= 1:
            raise TableError(f"{key}: cry: {no_probability(score)}")
        scores.append(score)
    return scores

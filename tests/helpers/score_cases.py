"""Systems to score and what stage ``score`` makes of them, for the tests of both its sides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crywatch.core.atomic import write_bytes, write_json
from crywatch.core.models import DESCRIPTION, WEIGHTS
from crywatch.data.selection import Source
from crywatch.detection.systems import System
from crywatch.evaluation.score import (
    AuditedConfig,
    BackgroundConfig,
    ComparedConfig,
    ScoreConfig,
    ScoreSummary,
    run,
)
from crywatch.evaluation.scored import DETECTION, SHORTCUTS, SYSTEMS, Scored, ScoredSystem

BACKGROUND = BackgroundConfig(["silence"], below_db=25.0, min_s=0.5, level_dbfs=-26.0)
CONFIG = ScoreConfig(
    recorded=[],
    audited=AuditedConfig([], ["matched"], {"level": ["quiet"]}, BACKGROUND, probe_clips=40),
    compared=ComparedConfig([], matched=["dull"], shifts=["phone"]),
)
CHANNELS = {
    "quiet": [{"gain": {"db": -20}}],
    "matched": [{"level": {"dbfs": -26}}],
    "dull": [{"band": {"high_hz": 1000}}, {"level": {"dbfs": -26}}],
    "phone": [{"gain": {"db": -20}}],
    "phone_pcm": [{"gain": {"db": -10}}],
}


def scored_system(name: str, leave_out: str = "", segment_s: float = 1.0) -> ScoredSystem:
    """As the index of scores has it."""
    return ScoredSystem(name, name, leave_out, segment_s, 1, "0" * 64, (DETECTION,))


def with_models(folder: Path, systems: Iterable[System]) -> list[System]:
    """Each with a folder of its own, in which there is a description and no network."""
    found = []
    for system in systems:
        source = folder / system.name
        kind = "svc" if system.family == "baselines" else system.family
        if system.family == "yamnet":
            write_bytes(source, b"network")
        else:
            write_json(source / DESCRIPTION, {"kind": kind, "name": system.name})
            write_bytes(source / WEIGHTS, system.name.encode())
        found.append(replace(system, source=str(source)))
    return found


def score(
    folder: Path,
    sources: Sequence[Source],
    systems: Mapping[str, Sequence[System]],
    detector: Callable[[System], Any],
    config: ScoreConfig = CONFIG,
    channels: Mapping = CHANNELS,
) -> ScoreSummary:
    """Run the stage into ``folder``, with what ``detector`` gives for a system; work is beside it.

    An evaluation that ``systems`` do not name has the first system of the others.
    """
    first = next(listed for listed in systems.values() if listed)[:1]
    every = {name: systems.get(name, first) for name in (DETECTION, SHORTCUTS, SYSTEMS)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("crywatch.evaluation.score.scorers.load_system", detector)
        return run(every, sources, config, channels, folder, folder.with_name("work"))


def scored(folder: Path, sources: Sequence[Source]) -> Scored:
    """What the stage left there."""
    return Scored(folder, sources)

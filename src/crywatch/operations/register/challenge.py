"""A challenger beside the champion: on the part that decides, and on the one that does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crywatch.core import paths
from crywatch.data.mixtures.soundscapes import ANNOTATIONS
from crywatch.data.selection import Source, sounds
from crywatch.operations.register import PromotionGate
from crywatch.operations.register.config import RegisterConfig
from crywatch.operations.register.gates import (
    FIT_INFANTS,
    InfantsCount,
    check_floors,
    check_gates,
    count_infants,
)
from crywatch.operations.register.listening import Model, detect
from crywatch.operations.register.slices import Slice, slices
from crywatch.operations.register.training import read_annotations, read_members, trained_on

REPORTED = "test"


@dataclass(frozen=True)
class Champion:
    """The model to beat, and what was recorded with it."""

    model: Model
    training: Path  # the list of what it was trained on
    infants: InfantsCount | None  # of the rebuild that made it


@dataclass(frozen=True)
class ChallengeResult:
    """What was measured and what follows from it."""

    gates: tuple[PromotionGate, ...]
    slices: tuple[Slice, ...] = ()
    reported: tuple[Slice, ...] = ()
    recordings: int = 0  # of the part
    left_out: int = 0  # of them: the champion was trained on them

    @property
    def failed(self) -> list[PromotionGate]:
        """In their order."""
        return [gate for gate in self.gates if not gate.passed]


def all_sources() -> list[Source]:
    """Every table of recordings that the rebuild made."""
    return list(map(Source, paths.CLIPS_TABLES, paths.EVENTS_TABLES))


def infants_of(config: RegisterConfig, part: str) -> InfantsCount | None:
    """Of this rebuild."""
    return count_infants(_tables(config), part)


def infants_missing(config: RegisterConfig) -> str:
    """What to do where this rebuild fitted no infants, as one that failed before; or ""."""
    if infants_of(config, config.part) is not None:
        return ""
    return (
        f"infants are not judged, there is no {_tables(config)}: run `{FIT_INFANTS}`, then "
        "register it again"
    )


def _tables(config: RegisterConfig) -> Path:
    return paths.FIT_INFANTS / config.infants.model / "tables.json"


def judge(
    challenger: Model,
    champion: Champion | None,
    sources: Sequence[Source],
    config: RegisterConfig,
    seed: int,
) -> ChallengeResult:
    """Score with both and check the gates; without a champion the floors."""
    tables = [source.clips for source in sources]
    clips = sounds(tables)
    plans = read_annotations(paths.SOUNDSCAPES / ANNOTATIONS)
    out: frozenset[str] = frozenset()
    if champion is not None:
        out = trained_on(champion.training, tables, read_members())
    by_part: dict[str, list[Slice]] = {}
    counts: dict[str, tuple[int, int]] = {}
    for part in (config.part, REPORTED):
        second = detect(challenger, sources, part)
        first = second if champion is None else detect(champion.model, sources, part)
        pairs = [
            pair for pair in zip(first, second, strict=True) if pair[0].recording.clip_id not in out
        ]
        counts[part] = len(second), len(second) - len(pairs)
        by_part[part] = slices(pairs, clips, plans, config, seed)
    infants = infants_of(config, config.part)
    if champion is None:
        gates = check_floors(by_part[config.part], infants, config)
    else:
        gates = check_gates(by_part[config.part], infants, champion.infants, config)
    return ChallengeResult(
        tuple(gates), tuple(by_part[config.part]), tuple(by_part[REPORTED]), *counts[config.part]
    )

"""A challenger beside the champion: on the part that decides, and on the one that does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crywatch.core import paths
from crywatch.core.digest import files_sha256
from crywatch.data.selection import Source, sounds
from crywatch.data.soundscapes import ANNOTATIONS
from crywatch.operations.register import Gate
from crywatch.operations.register.config import RegisterConfig
from crywatch.operations.register.gates import InfantsSeen, floors, infants_seen, judge
from crywatch.operations.register.listening import heard
from crywatch.operations.register.noise import read_annotations
from crywatch.operations.register.slices import Compared, Slice, slices
from crywatch.operations.register.training import read_members, trained_on

CACHE = paths.WORK / "register"
REPORTED = "test"


@dataclass(frozen=True)
class Model:
    """A model folder to listen with."""

    folder: Path
    digest: str
    what: str  # for the progress bar


@dataclass(frozen=True)
class Champion:
    """What is known of the one to beat."""

    model: Model
    training: Path  # the list of what it was trained on
    infants: InfantsSeen | None  # of the rebuild that made it


@dataclass(frozen=True)
class Judgement:
    """What was measured and what follows from it."""

    gates: tuple[Gate, ...]
    slices: tuple[Slice, ...]
    reported: tuple[Slice, ...]
    recordings: int  # of the part
    left_out: int  # of them: the champion was trained on them

    @property
    def failed(self) -> list[Gate]:
        """In their order."""
        return [gate for gate in self.gates if not gate.passed]


def at_hand() -> list[Source]:
    """Every table of recordings that the rebuild made."""
    pairs = zip(paths.CLIPS_TABLES, paths.EVENTS_TABLES, strict=True)
    return [Source(clips, events) for clips, events in pairs]


def infants_of(config: RegisterConfig, part: str) -> InfantsSeen | None:
    """Of this rebuild."""
    return infants_seen(paths.FIT_INFANTS / config.infants.model / "tables.json", part)


def compare(
    challenger: Model,
    champion: Champion | None,
    sources: Sequence[Source],
    config: RegisterConfig,
    seed: int,
) -> Judgement:
    """Listen with both and judge; without a champion by floors."""
    tables = [source.clips for source in sources]
    clips = sounds(tables)
    plans = read_annotations(paths.SOUNDSCAPES / ANNOTATIONS)
    out: frozenset[str] = frozenset()
    if champion is not None:
        out = trained_on(champion.training, tables, read_members())
    found: dict[str, list[Slice]] = {}
    counts: dict[str, tuple[int, int]] = {}
    for part in (config.part, REPORTED):
        both = _both(challenger, champion, sources, part)
        kept = both.without(out)
        counts[part] = len(both.challenger), len(both.challenger) - len(kept.challenger)
        found[part] = slices(kept, clips, plans, config, seed)
    seen = infants_of(config, config.part)
    if champion is None:
        gates = floors(found[config.part], seen, config)
    else:
        gates = judge(found[config.part], seen, champion.infants, config)
    return Judgement(
        tuple(gates), tuple(found[config.part]), tuple(found[REPORTED]), *counts[config.part]
    )


def _both(
    challenger: Model, champion: Champion | None, sources: Sequence[Source], part: str
) -> Compared:
    second = _listen(challenger, sources, part)
    return Compared(second if champion is None else _listen(champion.model, sources, part), second)


def _listen(model: Model, sources: Sequence[Source], part: str) -> list:
    return heard(model.folder, model.digest, sources, part, CACHE, model.what)


def without_numbers(gate: Gate) -> Judgement:
    """Where nothing could be compared."""
    return Judgement((gate,), (), (), 0, 0)


def clips_digest(sources: Sequence[Source]) -> str:
    """Of all that is judged on."""
    files = [path for source in sources for path in (source.clips, source.events)]
    return files_sha256(files)

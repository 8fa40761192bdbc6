"""Batches of several cries of several infants, their crops, and the crops of a test.

A pair may be two views of a recording instead: then recordings stand where infants do.
Every draw is a function of the seed, the epoch and the batch's number alone: a training that goes
on in the middle of an epoch sees the batches that it would have seen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest

import numpy as np
from torch.utils.data import Sampler

from crywatch.audio.segments import RATE_HZ
from crywatch.core.digest import value_sha256
from crywatch.core.errors import ConfigError

SHORT = ("repeat", "join")
LEFT_OUT = -1  # stands for the number of an infant that no batch holds
_ORDER, _PICK, _CROP = range(3)  # streams of random numbers

Embed = Callable[[Sequence[np.ndarray]], np.ndarray]  # waves [samples] to [waves, dim]


@dataclass
class BatchConfig:
    """What is in a batch."""

    infants: int  # N
    cries: int  # M, of each infant
    spread: bool = True  # take an infant's cries from as many sessions or periods as it has


@dataclass
class CropConfig:
    """Crops for training: all of a batch have one length, drawn anew for each batch."""

    min_s: float = 3.0
    max_s: float = 5.0
    # A cry shorter than the crop: "repeat" it, or "join" others of its infant and session to it
    # (and repeat those, should they be too short together).
    short: str = "repeat"


@dataclass
class AveragingConfig:
    """Shuffled-crop averaging at test time (what won the CryCeleb challenge)."""

    crops: int  # 0: no averaging, the cries joined in their order as one sound
    crop_s: float = 5.0


@dataclass(frozen=True)
class CryRef:
    """One cry that may be drawn."""

    clip_id: str
    infant_id: str
    session_id: str | None  # a session or a period; None where it is not known


class InfantBatches(Sampler[list[int]]):
    """Row numbers of N infants x M cries, infant by infant.

    An epoch visits every infant once in random order; the last batch is filled up with infants of
    the epoch's beginning. Infants with fewer than ``least`` cries are left out: a pair needs two,
    unless two crops of one cry are one. An infant with fewer than M has its cries again.

    Raises
    ------
    ConfigError
        N or M is below 2, or there are fewer than N infants with ``least`` cries.
    """

    def __init__(self, cries: Sequence[CryRef], config: BatchConfig, seed: int, least: int = 2):
        if config.infants < 2 or config.cries < 2:
            raise ConfigError(
                f"batches: {config.infants} infants x {config.cries} cries: set both to 2 or more"
            )
        sessions: dict[str, dict[str | None, list[int]]] = defaultdict(lambda: defaultdict(list))
        for row, cry in enumerate(cries):
            session = cry.session_id if config.spread else None
            sessions[cry.infant_id][session].append(row)
        usable = {i: s for i, s in sessions.items() if sum(map(len, s.values())) >= least}
        if len(usable) < config.infants:
            raise ConfigError(
                f"batches.infants is {config.infants}, but only {len(usable)} infants have two "
                "cries or more: lower it"
            )
        self.config, self.seed = config, seed
        self.infants = tuple(sorted(usable))  # infant_id by number
        self._sessions = [
            [np.array(rows) for _, rows in sorted(usable[infant].items(), key=_by_name)]
            for infant in self.infants
        ]
        number = {infant: index for index, infant in enumerate(self.infants)}
        self.labels = np.array(  # [cries]: the infant's number, or LEFT_OUT
            [number.get(cry.infant_id, LEFT_OUT) for cry in cries], dtype=np.int64
        )
        self.epoch, self.first = 0, 0

    def __len__(self) -> int:
        """Batches of an epoch."""
        return -(-len(self.infants) // self.config.infants)

    def set_epoch(self, epoch: int, first: int = 0) -> None:
        """What the next iteration gives: the batches of ``epoch`` from number ``first`` on."""
        self.epoch, self.first = epoch, first

    def __iter__(self) -> Iterator[list[int]]:
        for number in range(self.first, len(self)):
            yield self.batch(self.epoch, number)

    def batch(self, epoch: int, number: int) -> list[int]:
        """The rows [N x M] of one batch."""
        order = np.random.default_rng([self.seed, _ORDER, epoch]).permutation(len(self.infants))
        size = self.config.infants
        chosen = np.take(order, range(number * size, (number + 1) * size), mode="wrap")
        rng = np.random.default_rng([self.seed, _PICK, epoch, number])
        return [row for infant in chosen for row in self._pick(self._sessions[infant], rng)]

    def _pick(self, sessions: list[np.ndarray], rng: np.random.Generator) -> list[int]:
        """M rows of one infant: one of each session in turn, in random order."""
        shuffled = [rng.permutation(sessions[at]).tolist() for at in rng.permutation(len(sessions))]
        turns = [row for turn in zip_longest(*shuffled) for row in turn if row is not None]
        return np.resize(turns, self.config.cries).tolist()


def _by_name(entry: tuple[str | None, list[int]]) -> tuple[bool, str]:
    return entry[0] is not None, entry[0] or ""


def recordings_as_infants(
    cries: Sequence[CryRef], clip_ids: Sequence[str], config: BatchConfig
) -> tuple[list[CryRef], BatchConfig]:
    """``cries`` by recording, and batches of as many crops, two of each recording.

    A crop is of the recording's cries in random order. Raises ConfigError where there are fewer
    recordings than a batch needs.
    """
    wanted, there = config.infants * config.cries // 2, len(set(clip_ids))
    if wanted > there:
        raise ConfigError(
            f"batches: {config.infants} infants x {config.cries} cries are two views of {wanted} "
            f"recordings, but there are {there}: lower batches.infants"
        )
    refs = [CryRef(c.clip_id, clip, clip) for c, clip in zip(cries, clip_ids, strict=True)]
    return refs, BatchConfig(wanted, 2, spread=False)


class Crops:
    """Waves of a batch, all of one length.

    ``load`` gives the wave [samples] at 16 kHz of a row of ``cries``.
    """

    def __init__(
        self,
        cries: Sequence[CryRef],
        load: Callable[[int], np.ndarray],
        config: CropConfig,
        seed: int,
    ):
        if not 0 < config.min_s <= config.max_s:
            raise ConfigError(
                f"crops: min_s is {config.min_s:g} and max_s {config.max_s:g}: set 0 < min_s <= "
                "max_s"
            )
        if config.short not in SHORT:
            raise ConfigError(
                f"crops.short: {config.short!r} is unknown; there are {', '.join(SHORT)}"
            )
        self.config, self.seed, self._load = config, seed, load
        self._key = [(cry.infant_id, cry.session_id) for cry in cries]
        self._rows: dict[tuple[str, str | None], list[int]] = defaultdict(list)
        for row, key in enumerate(self._key):
            self._rows[key].append(row)

    def batch(self, rows: Sequence[int], epoch: int, number: int) -> np.ndarray:
        """[rows, samples] float32 of batch ``number`` of ``epoch``."""
        rng = np.random.default_rng([self.seed, _CROP, epoch, number])
        length = round(rng.uniform(self.config.min_s, self.config.max_s) * RATE_HZ)
        return np.stack([crop(self._long(row, length, rng), length, rng) for row in rows])

    def _long(self, row: int, length: int, rng: np.random.Generator) -> np.ndarray:
        """The wave of a row, with others of its infant and session after it where it is short."""
        wave = self._load(row)
        if self.config.short != "join" or len(wave) >= length:
            return wave
        parts, count = [wave], len(wave)
        for other in rng.permutation(self._rows[self._key[row]]).tolist():
            if count >= length:
                break
            if other != row:
                parts.append(self._load(other))
                count += len(parts[-1])
        return np.concatenate(parts)


def crop(wave: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """``length`` samples of ``wave`` from a random start; a shorter one is repeated."""
    if len(wave) < length:
        # The start of a repeated cry is random too, so that it is not always heard first.
        return np.resize(np.roll(wave, -int(rng.integers(len(wave)))), length).astype(np.float32)
    start = int(rng.integers(len(wave) - length + 1))
    return wave[start : start + length].astype(np.float32)


def shuffled_crops(
    cries: Sequence[np.ndarray], config: AveragingConfig, rng: np.random.Generator
) -> np.ndarray:
    """[crops, samples]: each a crop of all ``cries`` joined in an order of its own."""
    if config.crops < 1 or not config.crop_s > 0:
        raise ConfigError(
            f"averaging: {config.crops} crops of {config.crop_s:g} s: set both above 0"
        )
    length = round(config.crop_s * RATE_HZ)
    return np.stack(
        [
            crop(np.concatenate([cries[at] for at in rng.permutation(len(cries))]), length, rng)
            for _ in range(config.crops)
        ]
    )


def embed_cries(
    cries: Sequence[np.ndarray], embed: Embed, config: AveragingConfig, rng: np.random.Generator
) -> np.ndarray:
    """One unit vector [dim] for ``cries`` (waves at 16 kHz of one infant at one time).

    Without averaging that of the cries joined; with it the mean of the unit vectors of shuffled
    crops.
    """
    return embed_sounds([averaged_waves(cries, config, rng)], embed)[0]


def averaged_waves(
    cries: Sequence[np.ndarray], config: AveragingConfig, rng: np.random.Generator
) -> list[np.ndarray]:
    """The waves [samples] whose mean direction stands for ``cries``."""
    if config.crops == 0:
        return [np.concatenate(list(cries))]
    return list(shuffled_crops(cries, config, rng))


def embed_sounds(sounds: Sequence[Sequence[np.ndarray]], embed: Embed) -> np.ndarray:
    """Unit vectors [sounds, dim] of the `averaged_waves` of each, all embedded in one call."""
    vectors = unit(np.asarray(embed([w for waves in sounds for w in waves]), dtype=np.float64))
    starts = np.cumsum([0, *map(len, sounds)])
    means = [vectors[a:b].mean(axis=0) for a, b in pairwise(starts)]
    return unit(np.stack(means))


def named_rng(seed: int, name: str) -> np.random.Generator:
    """Draws that depend on the seed and a sound's name, not on the other sounds."""
    return np.random.default_rng([seed, int(value_sha256(name)[:16], 16)])


def unit(vectors: np.ndarray) -> np.ndarray:
    """``vectors`` [..., dim] at length 1; zeros stay zeros."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)

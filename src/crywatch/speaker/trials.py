"""Trials: pairs of sounds of one infant, within a session or across sessions, and of two infants.

Within a session the room and the phone give the answer away; only pairs across sessions say whether
the infant is known. Both lists have the same pairs of two infants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.core.errors import TableError
from crywatch.corpora.shared.cryceleb_tables import Pair, read_metadata
from crywatch.corpora.shared.sessions import GAP_S
from crywatch.speaker.batches import (
    AveragingConfig,
    Embed,
    averaged_waves,
    embed_sounds,
    named_rng,
    unit,
)

SAME_SOUND = ("recording_id", "cluster_id")
AT_ONCE = 16  # utterances


@dataclass
class TrialConfig:
    """Which pairs of a table of clips are trials."""

    gap_s: float = GAP_S  # between recordings of different sessions, at least
    per_infant: int = 100  # pairs of one infant at most, so that none decides alone
    others: int = 20_000  # pairs of two infants at most


@dataclass(frozen=True)
class TrialList:
    """Pairs of sounds; all arrays are [trials]."""

    first: np.ndarray  # names of sounds, str
    second: np.ndarray
    first_infant: np.ndarray  # str
    second_infant: np.ndarray
    same: np.ndarray | None  # bool; None where the publisher keeps it back

    def __len__(self) -> int:
        return len(self.first)

    def known(self) -> np.ndarray:
        """``same``; TableError where it is not known."""
        if self.same is None:
            raise TableError("trials: their publisher keeps back which are of one infant")
        return self.same


@dataclass(frozen=True)
class SessionTrials:
    """The two lists of a corpus."""

    within: TrialList  # pairs of one infant in one session
    across: TrialList  # pairs of one infant in two sessions


@dataclass(frozen=True)
class Utterance:
    """Cries of one infant at one time, joined to one sound."""

    name: str
    infant_id: str
    paths: tuple[str, ...]  # below the corpus folder, in the order of time


def session_trials(
    clips: pd.DataFrame,
    config: TrialConfig,
    seed: int,
    apart: Sequence[str] = SAME_SOUND,
) -> SessionTrials:
    """Trials from clips with ``clip_id``, ``infant_id`` and ``session_id`` or ``recorded_at``.

    Within: the same session. Across: another session and, where both times are known, ``gap_s`` or
    more between them. Where a clip's session is not known the times alone decide; what neither
    tells is in no list. Pairs of two infants stay within a corpus (column ``corpus``, if it is
    there): another corpus is told by its sound. No pair is equal in a column of ``apart`` (columns
    that are not there count for nothing): an upload and its cleaned copy are one sound. Clips
    without an infant are in no trial.
    """
    for column in ("clip_id", "infant_id"):
        if column not in clips:
            raise TableError(f"trials: column {column} is missing")
    clips = clips[clips["infant_id"].notna()].sort_values("clip_id").reset_index(drop=True)
    table = _Columns(clips, tuple(column for column in apart if column in clips))
    rng = np.random.default_rng(seed)
    within: list[np.ndarray] = []
    across: list[np.ndarray] = []
    for rows in clips.groupby("infant_id", sort=True).indices.values():
        first, second = (rows[side] for side in np.triu_indices(len(rows), 1))
        free = table.free(first, second)
        near, far = table.near(first, second, config.gap_s), table.far(first, second, config.gap_s)
        for pairs, chosen in ((within, near & free), (across, far & free)):
            picked = _at_most(np.flatnonzero(chosen), config.per_infant, rng)
            pairs.append(np.stack([first[picked], second[picked]]))
    others = _pairs_of_two(table, config.others, rng)
    return SessionTrials(table.trials(within, others), table.trials(across, others))


class _Columns:
    """Columns of the clips as numbers: equal values have equal ones, -1 is unknown."""

    def __init__(self, clips: pd.DataFrame, apart: Sequence[str]):
        unknown = np.full(len(clips), -1)
        self.names = clips["clip_id"].to_numpy(dtype=str)
        self.infants = clips["infant_id"].to_numpy(dtype=str)
        self.infant = pd.factorize(clips["infant_id"])[0]
        self.corpus = pd.factorize(clips["corpus"])[0] if "corpus" in clips else unknown
        has_sessions = "session_id" in clips
        self.session = pd.factorize(clips["session_id"])[0] if has_sessions else unknown
        self.apart = [pd.factorize(clips[column])[0] for column in apart]
        times = clips["recorded_at"] if "recorded_at" in clips else pd.Series(pd.NaT, clips.index)
        times = pd.to_datetime(times, utc=True)
        self.time_s = (times - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy(dtype=float)

    def free(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """[pairs] bool: not the same sound."""
        same = np.zeros(len(first), dtype=bool)
        for numbers in self.apart:
            same |= (numbers[first] == numbers[second]) & (numbers[first] >= 0)
        return ~same

    def near(self, first: np.ndarray, second: np.ndarray, gap_s: float) -> np.ndarray:
        """[pairs] bool: of one session; near in time where a session is not known."""
        same = self.session[first] == self.session[second]
        return np.where(self._known(first, second), same, self._apart_s(first, second) < gap_s)

    def far(self, first: np.ndarray, second: np.ndarray, gap_s: float) -> np.ndarray:
        """[pairs] bool: far in time and not of one session; of two where a time is not known."""
        apart_s, known = self._apart_s(first, second), self._known(first, second)
        two = self.session[first] != self.session[second]
        return np.where(known, two, True) & np.where(np.isnan(apart_s), known, apart_s >= gap_s)

    def _known(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.minimum(self.session[first], self.session[second]) >= 0

    def _apart_s(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.abs(self.time_s[first] - self.time_s[second])

    def trials(self, own: list[np.ndarray], others: np.ndarray) -> TrialList:
        """Pairs of one infant [2, pairs] and of two [2, pairs] as one list."""
        first, second = np.concatenate([*own, others], axis=1)
        return TrialList(
            self.names[first],
            self.names[second],
            self.infants[first],
            self.infants[second],
            self.infant[first] == self.infant[second],
        )


def _at_most(rows: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    if len(rows) <= count:
        return rows
    return np.sort(rng.choice(rows, count, replace=False))


def _pairs_of_two(table: _Columns, count: int, rng: np.random.Generator) -> np.ndarray:
    """[2, pairs] rows of two infants of a corpus: all, or ``count`` drawn evenly."""

    def allowed(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        two = table.infant[first] != table.infant[second]
        return two & (table.corpus[first] == table.corpus[second]) & table.free(first, second)

    n = len(table.names)
    if n * (n - 1) // 2 <= max(8 * count, 1 << 16):
        first, second = np.triu_indices(n, 1)
        rows = _at_most(np.flatnonzero(allowed(first, second)), count, rng)
        return np.stack([first[rows], second[rows]])
    # So many that they are not listed: drawn until there are enough, each pair once.
    drawn = np.empty(0, dtype=np.int64)
    for _ in range(64):
        first, second = np.sort(rng.integers(n, size=(2, 4 * count)), axis=0)
        keys = (first * n + second)[(first != second) & allowed(first, second)]
        drawn = np.concatenate([drawn, keys])
        drawn = drawn[np.sort(np.unique(drawn, return_index=True)[1])]
        if len(drawn) >= count:
            break
    drawn = np.sort(drawn[:count])
    return np.stack([drawn // n, drawn % n])


def cosine_scores(trials: TrialList, embeddings: Mapping[str, np.ndarray]) -> np.ndarray:
    """[trials] cosines of ``embeddings`` [dim] by name; TableError where one is missing."""
    names, rows = np.unique(np.concatenate([trials.first, trials.second]), return_inverse=True)
    for name in names.tolist():
        if name not in embeddings:
            raise TableError(f"trials: {name!r} has no embedding")
    if not len(names):
        return np.empty(0)
    units = unit(np.stack([np.asarray(embeddings[name], dtype=np.float64) for name in names]))
    first, second = rows.reshape(2, -1)
    return np.einsum("td,td->t", units[first], units[second])


# CryCeleb's protocol


def cryceleb_utterances(folder: Path, part: str) -> list[Utterance]:
    """All cries of a baby at birth (B) or at discharge (D) as one, for every baby of ``part``."""
    by_period: dict[tuple[str, str], list] = {}
    for cry in read_metadata(folder):
        if cry.part == part:
            by_period.setdefault((cry.baby_id, cry.period), []).append(cry)
    return [
        Utterance(
            _name(baby, period),
            baby,
            tuple(cry.path for cry in sorted(cries, key=lambda cry: cry.number)),
        )
        for (baby, period), cries in sorted(by_period.items())
    ]


def cryceleb_trials(pairs: Sequence[Pair]) -> TrialList:
    """The official trials, in their order: birth of one baby against discharge of another."""
    known = [pair.same for pair in pairs]
    return TrialList(
        np.array([_name(pair.baby_b, "B") for pair in pairs], dtype=str),
        np.array([_name(pair.baby_d, "D") for pair in pairs], dtype=str),
        np.array([pair.baby_b for pair in pairs], dtype=str),
        np.array([pair.baby_d for pair in pairs], dtype=str),
        None if None in known else np.array(known, dtype=bool),
    )


def by_trial(pairs: Sequence[Pair], scores: np.ndarray) -> dict[str, float]:
    """``scores`` [pairs] by trial, as `cryceleb_tables.write_submission` takes them."""
    return {pair.trial_id: float(score) for pair, score in zip(pairs, scores, strict=True)}


def _name(baby: str, period: str) -> str:
    return f"{baby}/{period}"


def embed_utterances(
    utterances: Sequence[Utterance],
    load: Callable[[str], np.ndarray],
    embed: Embed,
    config: AveragingConfig,
    seed: int,
    what: str = "embed",
) -> dict[str, np.ndarray]:
    """A unit vector [dim] by the name of each; ``load`` gives the wave at 16 kHz of a path.

    The crops of an utterance depend on ``seed`` and its name, not on the others. ``what`` stands
    beside the bar of progress.
    """
    from crywatch.core.progress import progress

    vectors: dict[str, np.ndarray] = {}
    names: list[str] = []
    sounds: list[list[np.ndarray]] = []
    for utterance in progress(utterances, what, unit="utterance"):
        cries = [load(path) for path in utterance.paths]
        names.append(utterance.name)
        sounds.append(averaged_waves(cries, config, named_rng(seed, utterance.name)))
        # Several at once: crops of one length make a batch.
        if len(names) == AT_ONCE or utterance is utterances[-1]:
            vectors |= zip(names, embed_sounds(sounds, embed), strict=True)
            names, sounds = [], []
    return vectors

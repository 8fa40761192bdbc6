"""How well infants that were not trained on are told apart, after every epoch.

What decides is the equal error rate across sessions; where no infant has two sessions, that within
sessions; where none has two recordings, the loss. The loss is the same for every loss that is
trained: NT-Xent of the crops. (AAM's weights know none of these infants, and one measure makes the
curves comparable.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from crywatch.core.errors import ConfigError, TableError
from crywatch.data.tables.infants import is_changed
from crywatch.speaker.batches import AveragingConfig, named_rng, shuffled_crops, unit
from crywatch.speaker.cries.store import CryStore
from crywatch.speaker.ecapa import Ecapa
from crywatch.speaker.logmel import LogMelStatistics
from crywatch.speaker.losses import NtXent, NtXentConfig
from crywatch.speaker.trials import TrialConfig, TrialList, cosine_scores, session_trials
from crywatch.speaker.verification import VerificationConfig, verify

ACROSS, WITHIN, LOSS = "EER across sessions", "EER within sessions", "loss"
OF_SESSION = 2  # recordings that are taken of a session before the next one's turn
BLOCK = 32  # recordings whose crops are in memory


@dataclass
class ValidationConfig:
    """Which recordings are embedded, and how."""

    recordings: int  # at most; infants with two sessions first
    per_infant: int  # recordings at most
    averaging: AveragingConfig


@dataclass(frozen=True)
class InfantVerdict:
    """What a network is worth."""

    eer: float | None  # of the measure that decides; None where that is the loss
    eer_within: float | None  # within sessions; None without such trials
    loss: float  # NT-Xent

    def better_than(self, other: InfantVerdict) -> bool:
        """A lower error rate; at equal ones, a lower loss."""
        ours, theirs = (0.0 if v.eer is None else v.eer for v in (self, other))
        return (ours, self.loss) < (theirs, other.loss)


class InfantValidation:
    """Recordings of part val that are not ``changed`` (see `select_unchanged`), and their trials.

    Raises
    ------
    ConfigError
        Fewer than two crops a recording.
    TableError
        Fewer than two infants in the part.
    """

    def __init__(
        self, store: CryStore, config: ValidationConfig, seed: int, changed: Sequence[str] = ()
    ):
        if config.averaging.crops < 2:
            raise ConfigError(
                f"validation.averaging.crops is {config.averaging.crops}: set it to 2 or more, the "
                "loss is between crops"
            )
        of_part = select_unchanged(store.table, changed, "val")
        recordings = choose_recordings(of_part.drop_duplicates("clip_id"), config, seed)
        self.infants = sorted(recordings["infant_id"].unique())
        if len(self.infants) < 2:
            raise TableError(
                f"{store.folder}: {len(self.infants)} infants in part val, two or more are needed: "
                "give the split more infants, or val a larger share"
            )
        self.recordings = recordings["clip_id"].tolist()
        numbers = {infant: number for number, infant in enumerate(self.infants)}
        self._labels = recordings["infant_id"].map(numbers).to_numpy()
        self._store, self._averaging, self._seed = store, config.averaging, seed
        trials = session_trials(recordings, TrialConfig(), seed)
        self._within = trials.within if _usable(trials.within) else None
        self._across = trials.across if _usable(trials.across) else None
        self._loss = NtXent(NtXentConfig())

    @property
    def measure(self) -> str:
        """What decides between epochs."""
        if self._across is not None:
            return ACROSS
        return WITHIN if self._within is not None else LOSS

    def judge(self, network: Ecapa | LogMelStatistics) -> InfantVerdict:
        """The same crops each time; no random state is touched."""
        crops = self._embedded(network)  # [recordings, crops, dim]
        means = unit(crops.mean(axis=1))
        vectors = dict(zip(self.recordings, means, strict=True))
        within, across = (self._eer(t, vectors) for t in (self._within, self._across))
        labels = torch.from_numpy(np.repeat(self._labels, crops.shape[1]))
        loss = self._loss(torch.from_numpy(crops.reshape(-1, crops.shape[2])), labels)
        return InfantVerdict(within if across is None else across, within, float(loss))

    def _embedded(self, network: Ecapa | LogMelStatistics) -> np.ndarray:
        parts = []
        for start in range(0, len(self.recordings), BLOCK):
            block = self.recordings[start : start + BLOCK]
            crops = np.concatenate([self._crops(clip_id) for clip_id in block])
            parts.append(unit(network.embed(list(crops)).astype(np.float64)))
        return np.concatenate(parts).reshape(len(self.recordings), self._averaging.crops, -1)

    def _crops(self, clip_id: str) -> np.ndarray:
        cries = self._store.waves(clip_id)
        return shuffled_crops(cries, self._averaging, named_rng(self._seed, clip_id))

    def _eer(self, trials: TrialList | None, vectors: dict[str, np.ndarray]) -> float | None:
        if trials is None:
            return None
        scores = cosine_scores(trials, vectors)
        return verify(trials, scores, VerificationConfig(resamples=0), self._seed).eer


def _usable(trials: TrialList) -> bool:
    return 0 < int(np.sum(trials.known())) < len(trials)


def select_unchanged(cries: pd.DataFrame, changed: Sequence[str], *parts: str) -> pd.DataFrame:
    """Rows of ``cries`` of those parts whose category begins with none of ``changed``.

    A network that hears changes of an infant learns to miss them.
    """
    return cries[cries["split"].isin(parts) & ~is_changed(cries, changed)]


def choose_recordings(
    recordings: pd.DataFrame, config: ValidationConfig, seed: int
) -> pd.DataFrame:
    """Rows of ``recordings`` (one each) within the limits, in their order.

    Of an infant two of a session, then two of the next, so that there are pairs of both kinds.
    """
    rng = np.random.default_rng(seed)
    by_infant = []
    for _, recordings_of in recordings.groupby("infant_id", sort=True):
        shuffled = recordings_of.iloc[rng.permutation(len(recordings_of))]
        session = pd.Series(pd.factorize(shuffled["session_id"])[0], shuffled.index)
        turn = session.groupby(session).cumcount() // OF_SESSION
        by_infant.append(shuffled.iloc[np.lexsort((session, turn))][: config.per_infant])
    order = [by_infant[at] for at in rng.permutation(len(by_infant))]
    order.sort(
        key=lambda recordings_of: (
            recordings_of["session_id"].nunique() < 2,
            len(recordings_of) < 2,
        )
    )
    picked = pd.concat(order)[: config.recordings] if order else recordings
    return recordings[recordings["clip_id"].isin(picked["clip_id"])]

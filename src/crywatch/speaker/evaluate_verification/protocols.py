"""Who is compared with whom: within and across sessions, and as CryCeleb's challenge does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from crywatch.audio import channels
from crywatch.audio.decode import decode
from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.cleaned import to_int16
from crywatch.audio.waves.resampling import resample
from crywatch.core.errors import TableError
from crywatch.corpora.shared.cryceleb_tables import read_pairs
from crywatch.data.tables.infants import is_changed
from crywatch.speaker.cries.store import CryStore
from crywatch.speaker.trials import (
    TrialConfig,
    TrialList,
    Utterance,
    cryceleb_trials,
    cryceleb_utterances,
    session_trials,
)

WITHIN, ACROSS, CRYCELEB = "within", "across", "cryceleb"
PHONE = "phone"  # across sessions, the second recording through a phone in a room
_HEARD = "@phone"  # after the name of such a recording
POOLED = "pooled"
OF_SESSION = 2  # recordings that are taken of a session before the next one's turn
# A network is chosen on the official dev pairs too: they are val here.
OFFICIAL = {"dev": "val", "test": "test"}


def whole(protocol: str) -> str:
    """The scope of all that a protocol measures; corpus cryceleb is one of the others'."""
    return CRYCELEB if protocol == CRYCELEB else POOLED


@dataclass(frozen=True)
class NamedTrials:
    """One list whose answers are known."""

    protocol: str  # within, across, phone, cryceleb
    scope: str  # pooled, or a corpus
    part: str  # val, test
    trials: TrialList

    @property
    def is_reported(self) -> bool:
        """Whether its numbers are results: of the test part, or CryCeleb's dev pairs."""
        return self.part == "test" or self.protocol == CRYCELEB


@dataclass(frozen=True)
class Protocol:
    """Sounds, and lists of trials between them."""

    utterances: list[Utterance]
    load: Callable[[str], np.ndarray]  # a path of an utterance to its wave [samples] at 16 kHz
    lists: list[NamedTrials]
    submitted: TrialList | None = None  # trials whose answers a publisher may keep back


def recordings(store: CryStore, changed: Sequence[str]) -> pd.DataFrame:
    """One row a recording, in the order of the store.

    Those whose category begins with one of ``changed`` are left out: their infant is known not to
    sound as it does.
    """
    table = store.table.drop_duplicates("clip_id")
    known = table[~is_changed(table, changed)].reset_index(drop=True)
    if not (known["split"] == "test").any():
        raise TableError(f"{store.folder}: part test holds no cry of a known infant: add infants")
    return known


def at_most(known: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """The rows of ``known``, of each infant ``count`` at most, in their order.

    Two recordings of a session are taken, then two of the next, by chance: there are pairs of both
    kinds then.
    """
    drawn = known.iloc[np.random.default_rng(seed).permutation(len(known))]
    # Without a session a recording is alone.
    names = drawn["infant_id"] + "/" + drawn["session_id"].fillna(drawn["clip_id"])
    place = names.map({name: number for number, name in enumerate(names.unique())})
    turn = drawn.groupby(names).cumcount() // OF_SESSION
    ordered = drawn.assign(turn=turn, place=place).sort_values(["turn", "place"], kind="stable")
    first = ordered[ordered.groupby("infant_id").cumcount() < count].index
    return known.loc[sorted(first)].reset_index(drop=True)


def session_protocol(
    store: CryStore,
    known: pd.DataFrame,
    config: TrialConfig,
    seed: int,
    phone: Sequence[Any] = (),
) -> Protocol:
    """Pairs of recordings of the validation and test parts, over all corpora and within each.

    With ``phone``, the steps of a channel, the pairs across sessions once more, one of the two
    heard through a phone that is drawn for its recording.
    """
    lists = []
    for part in ("val", "test"):
        here = known[known["split"] == part]
        scopes = {POOLED: here} | {str(corpus): rows for corpus, rows in here.groupby("corpus")}
        for scope, rows in scopes.items():
            both = session_trials(rows, config, seed)
            for protocol, trials in ((WITHIN, both.within), (ACROSS, both.across)):
                lists.append(NamedTrials(protocol, scope, part, trials))
                if phone and protocol == ACROSS and scope == POOLED:
                    second = np.char.add(trials.second, _HEARD) if len(trials) else trials.second
                    heard = replace(trials, second=second)
                    lists.append(NamedTrials(PHONE, scope, part, heard))
    needed = set[str]().union(*(set(n) for t in lists for n in (t.trials.first, t.trials.second)))
    needed |= set(known.loc[known["split"] == "test", "clip_id"])  # the picture shows them
    device = channels.channel(PHONE, {PHONE: list(phone)})

    def load(path: str) -> np.ndarray:
        row, _, heard = path.partition("@")
        wave = store.wave(int(row))
        # By its recording: all its cries go through one device.
        return channels.apply(device, wave, store.clip_ids[int(row)]) if heard else wave

    return Protocol(
        utterances=[
            # A cry's row number is its path.
            Utterance(
                name, row.infant_id, tuple(f"{cry}{after}" for cry in store.rows(row.clip_id))
            )
            for row in known.itertuples()
            for after in ("", _HEARD)
            if (name := f"{row.clip_id}{after}") in needed
        ],
        load=load,
        lists=lists,
    )


def cryceleb_protocol(folder: Path, known: pd.DataFrame) -> Protocol:
    """The official pairs: all cries of one baby at birth against all of another at discharge.

    ``known`` are the recordings that networks were trained on, among others (column ``split``); a
    baby of the pairs among those of part train is a TableError.
    """
    utterances, lists, submitted = [], [], None
    trained = set(known.loc[known["split"] == "train", "infant_id"])
    for official, part in OFFICIAL.items():
        trials = cryceleb_trials(read_pairs(folder, official))
        for baby in sorted({*trials.first_infant.tolist(), *trials.second_infant.tolist()}):
            if f"{CRYCELEB}/{baby}" in trained:
                raise TableError(
                    f"{folder}: baby {baby} of the {official} pairs is in part train of the "
                    "cries: a network that has heard it cannot be measured on it"
                )
        utterances += cryceleb_utterances(folder, official)
        if trials.same is not None:
            lists.append(NamedTrials(CRYCELEB, CRYCELEB, part, trials))
        submitted = trials  # of the last one, test

    @cache
    def samples(path: str) -> np.ndarray:  # [samples] int16: every network hears it
        decoded = decode(folder / path)
        wave = resample(decoded.wave, decoded.rate_hz, RATE_HZ)
        peak = float(np.abs(wave).max(initial=0.0))
        return to_int16(wave / peak if peak else wave)  # as the stage cries does

    return Protocol(
        utterances=utterances,
        load=lambda path: samples(path).astype(np.float32) / 32768,
        lists=lists,
        submitted=submitted,
    )

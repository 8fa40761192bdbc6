"""The slices that a challenger is compared with the champion on: the same rows, paired by group.

Main scope and corpora of both classes are ranked per second (`metrics.paired`). All else is what
each model detects by its own decision: a rate with a numerator and a denominator a recording, of
which whole groups are drawn with replacement, the same for both. Recordings that were made of
clips are groups of their own, as in `calibrate`: their intervals are rather too narrow.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from crywatch.audio.mixer import Soundscape
from crywatch.data.selection import MADE
from crywatch.data.truth import CRY
from crywatch.detection.calibrate.listening import Recording, known_seconds
from crywatch.metrics.bootstrap import bootstrap, group_numbers, percentiles
from crywatch.metrics.paired import PairedDifference, paired_differences
from crywatch.operations.register.config import POOLED, RegisterConfig
from crywatch.operations.register.listening import Detections

MAIN = "main"
Pair = tuple[Detections, Detections]  # of the champion and of the challenger, in one recording
LESS_IS_BETTER = ("called", "confuser", "false_alarms")


@dataclass(frozen=True)
class Slice:
    """Two models on the same rows; a gain above 0 is for the challenger."""

    name: str  # pooled, corpus esc50, confuser rooster, noise 0 to 10 dB
    kind: str  # MAIN or of `config.KINDS`
    measure: str  # in words, with its unit
    champion: float
    challenger: float
    gain: float
    low: float | None  # of its 95 % interval; None where nothing could be drawn
    high: float | None
    p: float | None  # of no difference, of ranked slices
    rows: int
    unit: str  # what a row is
    groups: int  # of the class that has fewer

    @property
    def digits(self) -> int:
        """To print of its numbers."""
        return 1 if self.kind == "false_alarms" else 3

    def interval(self, head: str = "") -> str:
        """The gain's interval as text after ``head``; "" without one."""
        if self.low is None or self.high is None:
            return ""
        return f"{head}{self.low:+.{self.digits}f} to {self.high:+.{self.digits}f}"


@dataclass(frozen=True)
class Count:
    """A share or a rate of one recording."""

    group: str
    first: float  # numerator of the champion
    second: float
    of: float  # denominator
    rows: int = 1


def slices(
    pairs: Sequence[Pair],
    clips: pd.DataFrame,
    plans: Sequence[Soundscape],
    config: RegisterConfig,
    seed: int,
) -> list[Slice]:
    """All slices that there are rows for, the main one first.

    ``clips`` (table "split_clips") tell the classes of other sounds, ``plans`` the ratios.
    """
    corpus_pairs = [pair for pair in pairs if pair[0].recording.corpus not in MADE]
    category = dict(zip(clips["clip_id"], clips["category"], strict=True))
    label = dict(zip(clips["clip_id"], clips["label"], strict=True))
    results: list[Slice | None] = [
        ranked(
            config.main.scope,
            MAIN,
            corpus_pairs if config.main.scope == POOLED else pairs,
            config,
            seed,
        )
    ]
    for corpus in sorted({first.recording.corpus for first, _ in corpus_pairs}):
        inside = [pair for pair in corpus_pairs if pair[0].recording.corpus == corpus]
        results += _of_corpus(corpus, inside, label, config, seed)
    other_sounds = [pair for pair in corpus_pairs if label[pair[0].recording.clip_id] != CRY]
    results.append(rate("other sounds", "called", _alarmed(other_sounds), "clips", seed))
    by_class: dict[str, list[Pair]] = {}
    for pair in other_sounds:
        by_class.setdefault(category[pair[0].recording.clip_id], []).append(pair)
    results += [
        rate(f"confuser {name}", "confuser", _alarmed(inside), "clips", seed)
        for name, inside in sorted(by_class.items())
    ]
    results.append(rate("all cries", "found", _found(pairs), "cries", seed))
    results += _by_noise(pairs, plans, config.noise_bands_db, seed)
    results.append(
        rate("sound without a cry", "false_alarms", _per_hour(pairs), "recordings", seed)
    )
    return [each for each in results if each is not None]


def _of_corpus(
    corpus: str,
    pairs: Sequence[Pair],
    label: Mapping[str, str],
    config: RegisterConfig,
    seed: int,
) -> Iterator[Slice | None]:
    """Ranked where it has both classes, else by the detections in the one that it has."""
    name = f"corpus {corpus}"
    both = ranked(name, "ranked", pairs, config, seed)
    if both is not None:
        yield both
    elif any(label[first.recording.clip_id] == CRY for first, _ in pairs):
        yield rate(name, "found", _found(pairs), "cries", seed)
    else:
        yield rate(name, "called", _alarmed(pairs), "clips", seed)


def ranked(
    name: str,
    kind: str,
    pairs: Sequence[Pair],
    config: RegisterConfig,
    seed: int,
) -> Slice | None:
    """By the scores of seconds; None unless there are both classes."""
    if not pairs:
        return None
    first, second = (known_seconds([pair[side].recording for pair in pairs]) for side in (0, 1))
    if first.labels.all() or not first.labels.any():
        return None
    metric = config.main.metric if kind == MAIN else "auc"
    paired: PairedDifference = paired_differences(
        first.labels, first.scores, second.scores, first.groups, seed
    )[metric]
    return Slice(
        name=name,
        kind=kind,
        measure=f"{'AUC' if metric == 'auc' else 'average precision'} per second",
        champion=paired.first,
        challenger=paired.second,
        gain=paired.difference,
        low=paired.low,
        high=paired.high,
        p=paired.p,
        rows=paired.n,
        unit="seconds",
        groups=min(paired.cry_groups, paired.other_groups),
    )


MEASURES = {
    "called": "share called a cry",
    "confuser": "share called a cry",
    "found": "share of cries found",
    "noise": "share of cries found",
    "false_alarms": "false alarms an hour",
}


def rate(name: str, kind: str, counts: Sequence[Count], unit: str, seed: int) -> Slice | None:
    """By what the models detect; None where there is nothing to detect."""
    total = sum(count.of for count in counts)
    if not total:
        return None
    sign = -1.0 if kind in LESS_IS_BETTER else 1.0
    first, second = (sum(getattr(c, side) for c in counts) / total for side in ("first", "second"))
    group, n_groups = group_numbers([count.group for count in counts])
    low = high = None
    if n_groups > 1:
        gain_of_group = np.bincount(group, [count.second - count.first for count in counts])
        size = np.bincount(group, [count.of for count in counts])

        def gain(times: np.ndarray) -> np.ndarray:
            size_drawn = times @ size
            share = np.divide(
                times @ gain_of_group,
                size_drawn,
                out=np.full(len(times), np.nan),
                where=size_drawn > 0,
            )
            return (sign * share + 0.0)[:, None]

        ends = percentiles(bootstrap(gain, n_groups, seed=seed, multinomial=True))
        low, high = (None, None) if ends is None else ends[:, 0].tolist()
    return Slice(
        name=name,
        kind=kind,
        measure=MEASURES[kind],
        champion=first,
        challenger=second,
        gain=sign * (second - first) + 0.0,  # no -0.0
        low=low,
        high=high,
        p=None,
        rows=sum(count.rows for count in counts),
        unit=unit,
        groups=n_groups,
    )


def _group(recording: Recording) -> str:
    return recording.clip_id if recording.corpus in MADE else recording.group_id


def _alarmed(pairs: Sequence[Pair]) -> list[Count]:
    """Clips of other sounds with an alarm."""
    return [
        Count(_group(a.recording), float(a.alarms > 0), float(b.alarms > 0), 1.0) for a, b in pairs
    ]


def _found(pairs: Sequence[Pair]) -> list[Count]:
    """Cries that are found; a weakly labelled clip is one."""
    return [
        Count(_group(a.recording), len(a.found), len(b.found), n, n)
        for a, b in pairs
        if (n := a.recording.n_cries)
    ]


def _per_hour(pairs: Sequence[Pair]) -> list[Count]:
    return [
        Count(_group(a.recording), a.alarms, b.alarms, a.recording.quiet_s / 3600)
        for a, b in pairs
        if a.recording.quiet_s
    ]


def _by_noise(
    pairs: Sequence[Pair],
    plans: Sequence[Soundscape],
    borders_db: Sequence[float],
    seed: int,
) -> Iterator[Slice | None]:
    """The cries of soundscapes, each at its own ratio."""
    by_clip = {a.recording.clip_id: (a, b) for a, b in pairs}
    counts: dict[str, list[Count]] = {name: [] for name in bands(borders_db)}
    for plan in plans:
        if plan.clip_id not in by_clip:
            continue
        for cry in (each for each in plan.foregrounds if each.label == CRY):
            first, second = (
                any(side.covers(event.onset_s, event.offset_s) for event in cry.events())
                for side in by_clip[plan.clip_id]
            )
            count = Count(plan.clip_id, float(first), float(second), 1.0)
            counts[band(cry.snr_db, borders_db)].append(count)
    for name, inside in counts.items():
        yield rate(f"noise {name}", "noise", inside, "cries", seed)


def band(snr_db: float, borders_db: Sequence[float]) -> str:
    """The name of the band between two of the rising borders that holds the ratio."""
    return bands(borders_db)[bisect_right(borders_db, snr_db)]


def bands(borders_db: Sequence[float]) -> list[str]:
    """All names, from loud noise to little."""
    if not borders_db:
        return ["all"]
    inner = [f"{low:g} to {high:g} dB" for low, high in pairwise(borders_db)]
    return [f"below {borders_db[0]:g} dB", *inner, f"{borders_db[-1]:g} dB and more"]

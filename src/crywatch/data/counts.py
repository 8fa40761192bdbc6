"""What there is of a corpus: clips, seconds, labels, groups, what was refused, duplicates.

Counted from a folder in the publisher's layout, or from the tables of ``clean`` and ``split``; and
what of it came at all, from what ``download`` and ``clean`` say.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crywatch.core import paths
from crywatch.core.atomic import read_json
from crywatch.corpora.shared.base import ClipEntry, Corpus, Refused
from crywatch.corpora.shared.ledger import FILE as LEDGER
from crywatch.corpora.shared.ledger import n_failed, read_ledger

if TYPE_CHECKING:
    import pandas as pd

OTHER = "other"  # label of what does not cry, and its kind where no class of conf/kinds.yaml fits
# A measured value in a reason; digits that belong to a name or a word stay.
_NUMBER = re.compile(r"(?<![\w/.-])-?\d+(\.\d+)?(?![\w/.])")


@dataclass(frozen=True)
class Counts:
    """Counts of one corpus."""

    clips: int
    seconds: float | None  # None before the sound was decoded
    labels: dict[str, int]  # clips by label, and so on
    categories: dict[str, int]
    licences: dict[str, int]
    recordings: int
    infants: int
    sessions: int
    events: dict[str, int]  # strong events by label
    quarantined: dict[str, int]  # by kind of reason, see `reason_kind`


@dataclass(frozen=True)
class Duplicates:
    """Clips of a corpus that hold the same sound as another clip."""

    within: int  # as another clip of the corpus
    across: int  # as a clip of another corpus
    clusters: int
    corpora: dict[str, int]  # other corpus -> clips of this one that it holds too


@dataclass(frozen=True)
class SplitCounts:
    """What the split says of a corpus."""

    parts: dict[str, int]  # clips by part
    labels: dict[str, dict[str, int]]  # label -> clips by part
    kinds: dict[str, int]  # clips of other sounds by their kind
    unnamed: dict[str, int]  # those of kind other by the publisher's class
    duplicates: Duplicates


@dataclass(frozen=True)
class Arrival:
    """What of a corpus came, and why the rest did not."""

    corpus: Corpus
    clips: int | None  # None before it was cleaned
    hours: float | None
    refused: int  # files that ``clean`` could not use
    gone: dict[str, int]  # clips that their host does not give, by reason
    failed: int  # clips that may come another time
    missing: str  # why nothing came; "" where something did

    @property
    def came(self) -> str:
        """All of it, a part or nothing; files that were refused have come."""
        if self.missing:
            return "nothing"
        return "in part" if self.gone or self.failed else "all"

    @property
    def remedies(self) -> list[str]:
        """What is missing, why, and what to do."""
        name = self.corpus.name
        lines = []
        if self.missing:
            again = f"; then `dvc repro -f -s download@{name}` and `crywatch repro`"
            lines.append(self.missing + (again if self.corpus.remotes else ""))
        if self.gone:
            reasons = ", ".join(f"{reason} {count}" for reason, count in self.gone.items())
            lines.append(f"gone for good: {reasons}")
        if self.failed:
            lines.append(f"{self.failed} failed: `dvc repro -f -s download@{name}` asks again")
        if self.refused:
            table = paths.clean(name) / "quarantine.parquet"
            lines.append(f"{self.refused} files refused: {table.as_posix()} says why")
        return lines


def arrival(corpus: Corpus, raw: Path, clean: Path) -> Arrival:
    """Of a downloaded corpus, by the notes in its folder ``raw`` and the summary in ``clean``."""
    file = clean / "summary.json"
    summary = read_json(file) if file.is_file() else None
    why = paths.missing_note(raw).removeprefix(f"{corpus.name} could not be had: ")
    return Arrival(
        corpus=corpus,
        clips=None if summary is None else summary["n_clips"],
        hours=None if summary is None else summary["seconds"] / 3600,
        refused=0 if summary is None else summary["n_quarantined"],
        gone=_sorted(Counter(gone.reason for gone in read_ledger(raw / LEDGER).values())),
        failed=n_failed(raw),
        missing=why,
    )


def reason_kind(reason: str) -> str:
    """``reason`` without its measured values: equal for files refused on the same ground."""
    return _NUMBER.sub("N", reason)


def count_entries(entries: Iterable[ClipEntry | Refused]) -> Counts:
    """Of a folder that was indexed and not cleaned yet: nothing is decoded."""
    labels, categories, licences = Counter[str](), Counter[str](), Counter[str]()
    events, refused = Counter[str](), Counter[str]()
    recordings, infants, sessions = set(), set(), set()
    for entry in entries:
        if isinstance(entry, Refused):
            refused[reason_kind(entry.reason)] += 1
            continue
        labels[entry.label] += 1
        categories[entry.category] += 1
        licences[entry.licence] += 1
        events.update(event.label for event in entry.events)
        recordings.add(entry.recording_id)
        infants.add(entry.infant_id)
        sessions.add(entry.session_id)
    return Counts(
        clips=sum(labels.values()),
        seconds=None,
        labels=_sorted(labels),
        categories=_sorted(categories),
        licences=_sorted(licences),
        recordings=len(recordings),
        infants=len(infants - {None}),
        sessions=len(sessions - {None}),
        events=_sorted(events),
        quarantined=_sorted(refused),
    )


def count_tables(clips: pd.DataFrame, events: pd.DataFrame, quarantine: pd.DataFrame) -> Counts:
    """Of a cleaned corpus: tables ``clips``, ``events`` and ``quarantine``."""
    return Counts(
        clips=len(clips),
        seconds=float(clips["duration_s"].sum()),
        labels=_sorted(Counter(clips["label"])),
        categories=_sorted(Counter(clips["category"])),
        licences=_sorted(Counter(clips["licence"])),
        recordings=clips["recording_id"].nunique(),
        infants=clips["infant_id"].nunique(),
        sessions=clips["session_id"].nunique(),
        events=_sorted(Counter(events["label"])),
        quarantined=_sorted(Counter(map(reason_kind, quarantine["reason"]))),
    )


def count_split(clips: pd.DataFrame, split_dir: Path, infants_dir: Path) -> SplitCounts | None:
    """Parts and duplicates of the cleaned ``clips``; None where the split does not cover them.

    It covers them if its table holds exactly these clips of the corpus, sample by sample. Of a
    corpus that only the half hears that knows infants, ``infants_dir`` holds those of infants.
    """
    from crywatch.data.tables import PARTS, read_table
    from crywatch.data.tables.clips import DUPLICATES

    duplicates = split_dir / "duplicates.parquet"
    if clips.empty or not duplicates.is_file():
        return None
    own = _covered(clips, split_dir / "clips.parquet")
    if own is None:
        own = _covered(clips[clips["infant_id"].notna()], infants_dir / "clips.parquet")
    if own is None:
        return None

    def by_part(members: pd.DataFrame) -> dict[str, int]:
        counts = Counter(members["split"])
        return {part: counts[part] for part in PARTS}

    others = own[own["label"] == OTHER]
    return SplitCounts(
        parts=by_part(own),
        labels={
            label: by_part(own[own["label"] == label]) for label in sorted(clips["label"].unique())
        },
        kinds=_sorted(Counter(others["kind"])),
        unnamed=_sorted(Counter(others.loc[others["kind"] == OTHER, "category"])),
        duplicates=_duplicates(read_table(duplicates, DUPLICATES), set(own["clip_id"])),
    )


def _covered(clips: pd.DataFrame, table: Path) -> pd.DataFrame | None:
    """The rows of ``table`` of the same corpus, if they are of exactly these ``clips``."""
    from crywatch.data.tables import read_table
    from crywatch.data.tables.clips import SPLIT_CLIPS

    if clips.empty or not table.is_file():
        return None
    every = read_table(table, SPLIT_CLIPS)
    own = every[every["corpus"] == clips["corpus"].iloc[0]]
    same = set(zip(own["clip_id"], own["sha256"], strict=True)) == set(
        zip(clips["clip_id"], clips["sha256"], strict=True)
    )
    return own if same else None


def _duplicates(clusters: pd.DataFrame, own: set[str]) -> Duplicates:
    within, across, clusters_here = 0, 0, 0
    others: Counter[str] = Counter()
    for _, members in clusters.groupby("cluster_id")["clip_id"]:
        mine = [clip_id for clip_id in members if clip_id in own]
        if not mine:
            continue
        clusters_here += 1
        within += len(mine) if len(mine) > 1 else 0
        elsewhere = {clip_id.split("/")[0] for clip_id in members if clip_id not in own}
        across += len(mine) if elsewhere else 0
        others.update({corpus: len(mine) for corpus in elsewhere})
    return Duplicates(within, across, clusters_here, _sorted(others))


def _sorted(counts: Counter[str]) -> dict[str, int]:
    """Largest first, then by name."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

"""Stage ``split``: duplicates by content, groups, parts by group and by infant, and weak clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from crywatch.core.atomic import atomic_dir, write_json
from crywatch.core.errors import ConfigError, TableError
from crywatch.data.selection import weak_cries
from crywatch.data.split.duplicates import Comparison, Pair, find_pairs
from crywatch.data.split.groups import assign_parts, group_ids
from crywatch.data.split.infants import InfantPartsConfig, infant_parts, official_parts
from crywatch.data.split.kinds import KindsConfig, kinds_of
from crywatch.data.split.weak import weak_rows
from crywatch.data.tables import PARTS, conform, empty, read_table, write_table
from crywatch.data.tables.clips import CLIPS, DUPLICATES, EVENTS, OVERLAPS, SPLIT_CLIPS


@dataclass(frozen=True)
class SplitConfig:
    """Section ``split``."""

    ratios: dict[str, float]  # by part
    similarity: float  # from which two clips that share sound are duplicates
    evidence: float  # nats, from which two clips share sound
    weak_over_s: float = 10.0  # own recordings that are longer are weak clips
    infants: InfantPartsConfig = field(default_factory=InfantPartsConfig)


@dataclass(frozen=True)
class SplitSummary:
    """What the split found, and the table that the issue of leakage is judged by."""

    n_clips: int
    n_groups: int
    n_clusters: int
    n_cross_corpus_clusters: int
    n_duplicates: int  # clips that are not canonical
    n_overlaps: int  # pairs that share a section only
    n_cross_corpus_overlaps: int
    n_weak: int  # clips labelled as a whole
    table: pd.DataFrame  # clips, groups, seconds by corpus, label and part
    infants: dict[str, int]  # by part

    def as_metrics(self) -> dict[str, float]:
        """For the tracking store."""
        return {
            "clips": self.n_clips,
            "groups": self.n_groups,
            "clusters": self.n_clusters,
            "clusters_across_corpora": self.n_cross_corpus_clusters,
            "duplicates": self.n_duplicates,
            "overlaps": self.n_overlaps,
            "overlaps_across_corpora": self.n_cross_corpus_overlaps,
            "weak_clips": self.n_weak,
        }

    def infants_as_metrics(self) -> dict[str, float]:
        """The same of the parts by infant."""
        return {f"infants_{part}": self.infants.get(part, 0) for part in PARTS}


def run(
    folders: Sequence[Path],
    config: SplitConfig,
    seed: int,
    out_dir: Path,
    infants_dir: Path,
    kinds: KindsConfig | None = None,
) -> SplitSummary:
    """Split all clips of the cleaned corpora at ``folders``.

    Writes clips, duplicates, overlaps, split.csv, metrics.json and the strong labels as one table
    ``events`` to ``out_dir``: what the detector hears. ``infants_dir`` gets clips.parquet of the
    known infants of all corpora, with parts of their own (see `infants`). ``kinds`` are the kinds
    of sound that the publishers' classes are; without it every other sound is of kind other.
    """
    if set(config.ratios) != set(PARTS) or min(config.ratios.values()) <= 0:
        raise ConfigError(f"split.ratios: needs a positive share for each of {', '.join(PARTS)}")
    if not 0 < config.similarity <= 1:
        raise ConfigError(f"split.similarity: {config.similarity:g} is not above 0 and at most 1")
    if not config.evidence > 0:
        raise ConfigError(f"split.evidence: {config.evidence:g} nats, needs more than 0")
    if not config.weak_over_s >= 0:
        raise ConfigError(f"split.weak_over_s: {config.weak_over_s:g} s is below 0")
    tables = [read_table(folder / "clips.parquet", CLIPS) for folder in folders]
    clips = pd.concat(tables, ignore_index=True)
    if clips.empty:
        raise TableError("split: no clips at all; every corpus is empty or missing")
    if clips["clip_id"].duplicated().any():
        twice = clips.loc[clips["clip_id"].duplicated(), "clip_id"].iloc[0]
        raise TableError(f"split: clip_id {twice!r} stands twice")
    events = pd.concat([read_table(folder / "events.parquet", EVENTS) for folder in folders])
    clips["weak"] = weak_rows(clips, events, folders, config.weak_over_s)
    pairs = list(find_pairs(clips, config.similarity, config.evidence))
    copies = [pair for pair in pairs if pair.duplicate]
    clusters = duplicate_clusters(clips, copies, Comparison(clips))
    overlaps = overlap_table(clips, pairs)
    clips = clips.merge(clusters[["clip_id", "cluster_id", "canonical"]], how="left", on="clip_id")
    clips["canonical"] = clips["canonical"].map(lambda value: value is not False)
    clips["group_id"] = group_ids(clips, [(pair.first, pair.second) for pair in pairs])
    clips["kind"] = kinds_of(clips, kinds or {})
    unknown = sorted(set(config.infants.only) - {folder.name for folder in folders})
    if unknown:
        raise ConfigError(f"split.infants.only: {unknown[0]!r} is not among the corpora")
    # Each part has cries whose seconds are known, and weak ones to learn from.
    strata = clips["corpus"] + "/" + clips["label"].mask(weak_cries(clips), "weak cry")
    clips["split"] = PARTS[0]
    heard = ~clips["corpus"].isin(config.infants.only)
    clips.loc[heard, "split"] = assign_parts(
        clips.loc[heard, "group_id"].tolist(), strata[heard].tolist(), config.ratios, seed
    )
    infants = infant_parts(clips, official_parts(folders), config.infants)
    clips = clips[heard]
    table = split_table(clips)
    summary = SplitSummary(
        n_clips=len(clips),
        n_groups=clips["group_id"].nunique(),
        n_clusters=clusters["cluster_id"].nunique(),
        n_cross_corpus_clusters=_cross_corpus(clusters),
        n_duplicates=int((~clips["canonical"]).sum()),
        n_overlaps=len(overlaps),
        n_cross_corpus_overlaps=_cross_corpus_pairs(overlaps),
        n_weak=int(clips["weak"].sum()),
        table=table,
        infants=infants.groupby("split")["infant_id"].nunique().to_dict(),
    )
    with atomic_dir(infants_dir) as temp:
        write_table(infants, temp / "clips.parquet", SPLIT_CLIPS)
        write_json(temp / "metrics.json", summary.infants_as_metrics())
    with atomic_dir(out_dir) as temp:
        write_table(clips, temp / "clips.parquet", SPLIT_CLIPS)
        write_table(
            events[events["clip_id"].isin(clips["clip_id"])], temp / "events.parquet", EVENTS
        )
        write_table(clusters, temp / "duplicates.parquet", DUPLICATES)
        write_table(overlaps, temp / "overlaps.parquet", OVERLAPS)
        table.to_csv(temp / "split.csv", index=False, lineterminator="\n")
        write_json(temp / "metrics.json", summary.as_metrics())
    return summary


def duplicate_clusters(
    clips: pd.DataFrame, pairs: Sequence[Pair], compare: Callable[[int, int], float]
) -> pd.DataFrame:
    """Table ``duplicates``: the members of each cluster, the canonical one first.

    Canonical is a labelled member before one of unknown label (training reads canonical clips
    only, and must not lose a label to an unlabelled copy) and before a weak one, among those the
    one with the widest band (the least processed copy), then the first row. ``compare`` gives the
    similarity of two rows that are in one cluster through others only.
    """
    if not pairs:
        return empty(DUPLICATES)
    rows = sorted({row for pair in pairs for row in (pair.first, pair.second)})
    members = clips.iloc[rows].reset_index(drop=True)
    local = {row: number for number, row in enumerate(rows)}
    links = [(local[pair.first], local[pair.second]) for pair in pairs]
    nameless = members.assign(recording_id=None, infant_id=None)
    members["cluster_id"] = group_ids(nameless, links)
    best: dict[tuple[int, int], float] = {}
    for pair, (own, other) in zip(pairs, links, strict=True):
        for link in ((own, other), (other, own)):
            best[link] = max(pair.similarity, best.get(link, 0.0))
    table_rows = []
    for cluster_id, cluster in members.groupby("cluster_id", sort=True):
        rank = pd.DataFrame(
            {
                "known": cluster["label"] != "unknown",
                "exact": ~cluster["weak"],
                "band_hz": cluster["bandwidth_hz"].round(-2),
            }
        )
        order = rank.sort_values(list(rank), ascending=False, kind="stable").index
        first = order[0]
        for row in order:
            alike = 1.0 if row == first else best.get((first, row))
            if alike is None:
                alike = compare(rows[first], rows[row])
            table_rows.append(
                {
                    "cluster_id": cluster_id,
                    "clip_id": members.at[row, "clip_id"],
                    "similarity": alike,
                    "canonical": row == first,
                }
            )
    return conform(pd.DataFrame(table_rows), DUPLICATES)


def overlap_table(clips: pd.DataFrame, pairs: Sequence[Pair]) -> pd.DataFrame:
    """Table ``overlaps``: the pairs that are no duplicates, in the order of the clips."""
    clip_ids, durations_s = clips["clip_id"].tolist(), clips["duration_s"].tolist()
    rows = []
    for pair in sorted(pairs, key=lambda pair: (pair.first, pair.second)):
        if pair.duplicate:
            continue
        shorter_s = min(durations_s[pair.first], durations_s[pair.second])
        rows.append(
            {
                "first_clip_id": clip_ids[pair.first],
                "second_clip_id": clip_ids[pair.second],
                "offset_s": pair.offset_s,
                "shared_s": pair.shared_s,
                "share": min(pair.shared_s / shorter_s, 1.0),
                "evidence": pair.evidence,
            }
        )
    return conform(pd.DataFrame(rows), OVERLAPS) if rows else empty(OVERLAPS)


def _cross_corpus_pairs(overlaps: pd.DataFrame) -> int:
    corpora = [overlaps[f"{which}_clip_id"].str.split("/").str[0] for which in ("first", "second")]
    return int((corpora[0] != corpora[1]).sum()) if len(overlaps) else 0


def _cross_corpus(clusters: pd.DataFrame) -> int:
    if clusters.empty:
        return 0
    corpora = clusters["clip_id"].str.split("/").str[0]
    return int((corpora.groupby(clusters["cluster_id"]).nunique() > 1).sum())


def split_table(clips: pd.DataFrame) -> pd.DataFrame:
    """Clips, canonical clips, groups and seconds by corpus, label and part."""
    grouped = clips.groupby(["corpus", "label", "split"], sort=True)
    table = grouped.agg(
        clips=("clip_id", "size"),
        canonical=("canonical", "sum"),
        groups=("group_id", "nunique"),
        seconds=("duration_s", "sum"),
    ).reset_index()
    table["split"] = pd.Categorical(table["split"], PARTS, ordered=True)
    return table.sort_values(["corpus", "label", "split"]).round({"seconds": 1})

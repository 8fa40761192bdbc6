"""Soundscapes: cries and other sounds over a background, strongly labelled.

Made as the synthetic part of ICSD (Q. Liu et al., arXiv 2408.10561) and as Scaper makes
its soundscapes (J. Salamon et al., WASPAA 2017): foregrounds at random onsets and signal-to-noise
ratios over a looped background. All that goes into one comes from clips of one part of the split.
An event is a stretch that sounds: a longer pause within a cry clip is no cry.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.audio.extents import Stretch, merged
from crywatch.audio.mixer import Soundscape, render
from crywatch.core.atomic import atomic_dir
from crywatch.core.errors import ConfigError
from crywatch.core.progress import progress
from crywatch.data.mixtures.draw import KindConfig, SoundscapesConfig, Sources, draw
from crywatch.data.mixtures.recordings import (
    RecordingsSummary,
    RecordingWriter,
    check_per_part,
    check_share,
)
from crywatch.data.selection import labelled
from crywatch.data.tables import PARTS, read_table
from crywatch.data.tables.clips import EVENTS

CORPUS = "soundscapes"
ANNOTATIONS = "annotations.jsonl"
TEN_S = 10.0
ICSD_CRY = "Infantcry"  # cry's name in the tables of ICSD
FOLDERS = {"train": "train", "val": "validation", "test": "test"}  # of those tables
EVENT_COLUMNS = ("filename", "onset", "offset", "event_label")


@dataclass(frozen=True)
class SoundscapesSummary(RecordingsSummary):
    """What was made."""

    cry_events: int
    other_events: int
    generated_backgrounds: float  # share of mixtures
    in_rooms: float  # share of mixtures
    mean_snr_db: float | None  # of the foregrounds; None where there is none


@dataclass(frozen=True)
class _Kind:
    """One of the two kinds of mixtures."""

    section: str
    category: str  # in the clips table
    prefix: str  # of the number in the name


KINDS = (_Kind("ten_s", "10s", ""), _Kind("untrimmed", "untrimmed", "u"))


def run(
    split_clips: Path, split_events: Path, config: SoundscapesConfig, seed: int, out_dir: Path
) -> SoundscapesSummary:
    """Build the mixtures of every part.

    Writes audio/, clips, events, annotations.jsonl and metadata/ (tables in the form of ICSD).
    ``split_events`` are the strong labels of the clips that have some. A mixture depends on the
    seed, its part, kind and number only.
    """
    _check(config)
    clips = labelled(split_clips)
    clips = clips[clips["duration_s"] <= config.max_clip_s]
    own = read_table(split_events, EVENTS)
    plans: list[Soundscape] = []
    with atomic_dir(out_dir) as temp:
        writer = RecordingWriter(temp, out_dir)
        with open(temp / ANNOTATIONS, "w", encoding="utf-8") as annotations:
            for sources, plan in _planned(clips, own, config, seed):
                mixture = render(plan, sources.read)
                path = writer.add(
                    plan.clip_id,
                    plan.part,
                    plan.category,
                    mixture.wave,
                    sources.clips.loc[plan.clip_ids()],
                    labelled_events(plan, config.extents.min_gap_s),
                )
                record = mixture.annotation(plan, path)
                annotations.write(json.dumps(record, allow_nan=False) + "\n")
                plans.append(plan)
        writer.write_tables()
        _write_metadata(writer)
    return _summary(plans, writer)


def _check(config: SoundscapesConfig) -> None:
    for kind in KINDS:
        section: KindConfig = getattr(config, kind.section)
        check_per_part(f"mixtures.soundscapes.{kind.section}.per_part", section.per_part)
        if section.max_cries < 1 or section.max_confusers < 0:
            raise ConfigError(
                f"mixtures.soundscapes.{kind.section}: needs max_cries of at least 1 and "
                f"max_confusers of at least 0, not {section.max_cries} and {section.max_confusers}"
            )
    check_share("mixtures.soundscapes.cry_share", config.cry_share)
    check_share("mixtures.soundscapes.rooms.share", config.rooms.share)
    extents = config.extents
    # A cut that is longer than any pause within a stretch holds some of its sound.
    shortest_s = max(extents.min_length_s, extents.min_gap_s)
    config.untrimmed_s.check("mixtures.soundscapes.untrimmed_s", above=shortest_s)
    config.foreground_s.check("mixtures.soundscapes.foreground_s", above=shortest_s)
    config.snr_db.check("mixtures.soundscapes.snr_db")
    config.background_dbfs.check("mixtures.soundscapes.background_dbfs")
    config.rooms.rt60_s.check("mixtures.soundscapes.rooms.rt60_s", above=0)
    config.rooms.direct_db.check("mixtures.soundscapes.rooms.direct_db")
    if config.max_dynamics_db < 0:
        raise ConfigError(
            f"mixtures.soundscapes.max_dynamics_db: {config.max_dynamics_db:g} is below 0"
        )
    if not 0 <= extents.on_below_peak_db <= extents.off_below_peak_db:
        raise ConfigError(
            "mixtures.soundscapes.extents: needs 0 <= on_below_peak_db <= off_below_peak_db, not "
            f"{extents.on_below_peak_db:g} and {extents.off_below_peak_db:g}"
        )
    if extents.min_gap_s < 0 or extents.min_length_s <= 0:
        raise ConfigError(
            "mixtures.soundscapes.extents: needs 0 <= min_gap_s and 0 < min_length_s, not "
            f"{extents.min_gap_s:g} and {extents.min_length_s:g}"
        )


def _planned(
    clips: pd.DataFrame, own: pd.DataFrame, config: SoundscapesConfig, seed: int
) -> Iterator[tuple[Sources, Soundscape]]:
    """The plans of all mixtures, each with the clips of its part."""
    for part_number, part in enumerate(PARTS):
        sources = Sources(part, clips[clips["split"] == part], own, config)
        for kind_number, kind in enumerate(KINDS):
            section: KindConfig = getattr(config, kind.section)
            what = f"soundscapes {part} {kind.category}"
            for index in progress(range(section.per_part[part]), what):
                rng = np.random.default_rng([seed, part_number, kind_number, index])
                duration_s = TEN_S if kind is KINDS[0] else config.untrimmed_s.draw(rng, 3)
                yield (
                    sources,
                    draw(
                        sources,
                        f"{CORPUS}/{part}-{kind.prefix}{index:05d}",
                        kind.category,
                        duration_s,
                        section,
                        _has_cry(index, config.cry_share),
                        rng,
                    ),
                )


def _has_cry(index: int, share: float) -> bool:
    """Spread evenly: any first mixtures have the share, and more of them change none."""
    before, after = (np.ceil(round(count * share, 9)) for count in (index, index + 1))
    return bool(after > before)


def labelled_events(plan: Soundscape, min_gap_s: float) -> list[tuple]:
    """Rows of table ``events``; what overlaps under one label is one event."""
    by_label: dict[str, list[Stretch]] = {}
    for foreground in plan.foregrounds:
        by_label.setdefault(foreground.label, []).extend(foreground.events())
    return sorted(
        (plan.clip_id, event.onset_s, event.offset_s, label)
        for label, stretches in by_label.items()
        for event in merged(stretches, min_gap_s)
    )


def _write_metadata(writer: RecordingWriter) -> None:
    """A table of events and one of durations for each part, as ICSD and DESED have them."""
    strong = pd.DataFrame(
        [
            (writer.path(clip_id).name, onset_s, offset_s, ICSD_CRY if label == "cry" else label)
            for clip_id, onset_s, offset_s, label in writer.events
        ],
        columns=list(EVENT_COLUMNS),
    )
    durations = pd.DataFrame(
        [(writer.path(row["clip_id"]).name, row["duration_s"]) for row in writer.rows],
        columns=["filename", "duration"],
    )
    part_of = {writer.path(row["clip_id"]).name: row["split"] for row in writer.rows}
    for part, name in FOLDERS.items():
        folder = writer.folder / "metadata" / name
        folder.mkdir(parents=True)
        for table, stem in ((strong, CORPUS), (durations, f"{CORPUS}_durations")):
            rows = table[table["filename"].map(part_of) == part]
            rows.to_csv(folder / f"{stem}.tsv", sep="\t", index=False, lineterminator="\n")


def _summary(plans: Sequence[Soundscape], writer: RecordingWriter) -> SoundscapesSummary:
    cry_events = sum(label == "cry" for *_, label in writer.events)
    snrs_db = [foreground.snr_db for plan in plans for foreground in plan.foregrounds]
    count = max(len(plans), 1)
    return SoundscapesSummary(
        **vars(writer.summary()),
        cry_events=cry_events,
        other_events=len(writer.events) - cry_events,
        generated_backgrounds=sum(plan.background.clip_id is None for plan in plans) / count,
        in_rooms=sum(plan.rt60_s is not None for plan in plans) / count,
        mean_snr_db=round(float(np.mean(snrs_db)), 2) if snrs_db else None,
    )

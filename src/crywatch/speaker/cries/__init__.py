"""Stage ``cries``, stage 0 of the slides: a recording as its cries, peak-normalised.

A cry is an expiration. Where a publisher has cut or annotated the crying that is taken; elsewhere
the detector of the first half says which seconds hold any. Inside of that a cry begins and ends
where the level says so, and short ones are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.audio.extents import ExtentConfig, Stretch, merged, sounding
from crywatch.audio.waves.cleaned import read_clean
from crywatch.audio.waves.levels import level_dbfs
from crywatch.core.errors import ConfigError, TableError
from crywatch.core.progress import progress
from crywatch.core.threads import one_thread
from crywatch.corpora.shared.details import FILE, read_details
from crywatch.data.tables import read_table
from crywatch.data.tables.clips import EVENTS, SPLIT_CLIPS
from crywatch.speaker.cries.store import CryRow, write_cries

ANNOTATION, DETECTOR = "annotation", "detector"
CUT = "cry"  # kind of a clip that its publisher has cut to one expiration

Scores = Callable[[np.ndarray], np.ndarray]  # wave [samples] at 16 kHz to [plain seconds] in 0..1


@dataclass(frozen=True)
class CriesConfig:
    """Section ``cries``."""

    detector: str  # folder of a model of the first half
    threshold: float  # of a second's score
    min_cry_s: float  # shorter ones are dropped
    extents: ExtentConfig
    pictures: int  # recordings whose steps are drawn

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1 or self.min_cry_s <= 0 or self.pictures < 0:
            raise ConfigError(
                f"cries: threshold {self.threshold:g} must be above 0 and at most 1, min_cry_s "
                f"{self.min_cry_s:g} above 0, pictures {self.pictures} not below 0"
            )


@dataclass(frozen=True)
class Annotation:
    """What a publisher says of where a clip's crying is."""

    stretches: tuple[Stretch, ...] = ()
    cut: bool = False  # the whole clip is one expiration


@dataclass(frozen=True)
class CutRecording:
    """A recording and its cries."""

    wave: np.ndarray  # [samples] float32 at 16 kHz, its peak at 1
    peak_dbfs: float  # before
    cries: tuple[Stretch, ...]  # in the order of time
    crying: tuple[Stretch, ...]  # where they were looked for
    found_by: str


@dataclass
class CriesSummary:
    """What was found."""

    recordings: int = 0
    cries: int = 0
    cry_s: float = 0.0
    infants: int = 0
    without: dict[str, int] = field(default_factory=dict)  # recordings without a cry, by reason

    def as_metrics(self) -> dict[str, float]:
        """For the tracking store."""
        values = asdict(self)
        reasons = values.pop("without")
        return values | {f"without_{reason}": count for reason, count in reasons.items()}


@one_thread()
def run(
    clips_table: Path,
    events_tables: Sequence[Path],
    details: Sequence[Path],
    config: CriesConfig,
    out_dir: Path,
) -> CriesSummary:
    """Cut every canonical recording of a known infant that may hold a cry.

    ``details`` are the cleaned corpora's tables of that name, those that there are. Writes
    cries.parquet, waves.npy and summary.json.
    """
    clips, known = annotated_recordings(clips_table, events_tables, details)
    scores = load_scores(config)
    summary = CriesSummary(without={"crying": 0, "long_cries": 0})

    def rows() -> Iterator[CryRow]:
        shown = progress(clips.to_dict("records"), "cut cries", unit="recording")
        infants = set()
        for clip in shown:
            annotation = known.get(clip["clip_id"])
            cut = cut_recording(read_clean(clip["path"]), scores, config, annotation)
            if not cut.cries:
                summary.without["long_cries" if cut.crying else "crying"] += 1
                continue
            infants.add(clip["infant_id"])
            summary.recordings, summary.infants = summary.recordings + 1, len(infants)
            for cry in cut.cries:
                summary.cries += 1
                summary.cry_s = round(summary.cry_s + cry.length_s, 3)
                wave = cut.wave[cry.samples()]
                yield CryRow(clip, cry.onset_s, cry.offset_s, cut.found_by, cut.peak_dbfs, wave)
        if not summary.cries:  # raised before anything stands under the store's name
            raise TableError(
                f"{clips_table}: no cry was found in {len(clips)} recordings of known infants: "
                "lower cries.threshold, or give corpora with infants"
            )

    write_cries(out_dir, rows(), lambda: asdict(summary))
    return summary


def annotated_recordings(
    clips_table: Path, events_tables: Sequence[Path], details: Sequence[Path]
) -> tuple[pd.DataFrame, Mapping[str, Annotation]]:
    """The rows of all recordings that are cut, and what their publishers say, by clip_id."""
    cut = cut_clips(details)
    clips = recordings_of_infants(read_table(clips_table, SPLIT_CLIPS), cut)
    return clips, publisher_annotations(clips["clip_id"], events_tables, cut)


def load_scores(config: CriesConfig) -> Scores:
    """How the detector of ``config`` scores a recording."""
    from crywatch.detection.detectors import load_detector

    return load_detector(Path(config.detector)).score


def recordings_of_infants(clips: pd.DataFrame, cut: Set[str]) -> pd.DataFrame:
    """Canonical clips that may hold a cry, infant by infant in the order of time.

    Of a recording that its publisher gives whole and ``cut`` to cries, the cries: taken twice, it
    would count twice in a baseline.
    """
    chosen = clips["canonical"] & (clips["label"] != "other") & clips["infant_id"].notna()
    is_cut = clips["clip_id"].isin(cut)
    chosen &= is_cut | ~clips["recording_id"].isin(clips.loc[is_cut, "recording_id"])
    by = ["infant_id", "recorded_at", "clip_id"]
    return clips[chosen].sort_values(by, na_position="last").reset_index(drop=True)


def cut_clips(details: Sequence[Path]) -> frozenset[str]:
    """clip_ids of what publishers have cut to one expiration."""
    tables = map(read_details, details)
    return frozenset(
        clip_id for table in tables for clip_id in table["clip_id"][table["kind"] == CUT]
    )


def publisher_annotations(
    clip_ids: Sequence[str], events_tables: Sequence[Path], cut: Set[str]
) -> Mapping[str, Annotation]:
    """What the publishers say, by clip_id."""
    wanted = set(clip_ids)
    by_clip: dict[str, Annotation] = {}
    for path in events_tables:
        events = read_table(path, EVENTS)
        events = events[events["clip_id"].isin(wanted) & (events["label"] == "cry")]
        for clip_id, rows in events.groupby("clip_id", sort=True):
            stretches = map(Stretch, rows["onset_s"], rows["offset_s"])
            by_clip[str(clip_id)] = Annotation(tuple(merged(stretches, 0.0)))
    return by_clip | {clip_id: Annotation(cut=True) for clip_id in sorted(wanted & cut)}


def detail_tables(folders: Sequence[Path]) -> list[Path]:
    """The tables of details of cleaned corpora, where there are any."""
    return [folder / FILE for folder in folders if (folder / FILE).is_file()]


def cut_recording(
    wave: np.ndarray, scores: Scores, config: CriesConfig, annotation: Annotation | None = None
) -> CutRecording:
    """The cries of ``wave`` [samples] at 16 kHz."""
    peak = float(np.abs(wave).max(initial=0.0))
    wave = (wave / peak if peak else wave).astype(np.float32)
    whole = Stretch(0.0, len(wave) // 16 / 1000)
    if annotation is not None and annotation.cut:
        crying, cries = [whole], [whole]
    else:
        known = annotation.stretches if annotation else _called(wave, scores, config.threshold)
        crying = [stretch.within(0.0, whole.offset_s) for stretch in known]
        cries = [
            cry.moved(stretch.onset_s)
            for stretch in crying
            for cry in sounding(wave[stretch.samples()], config.extents)
        ]
    return CutRecording(
        wave=wave,
        peak_dbfs=level_dbfs(peak),
        cries=tuple(cry for cry in cries if cry.length_s >= config.min_cry_s),
        crying=tuple(crying),
        found_by=DETECTOR if annotation is None else ANNOTATION,
    )


def _called(wave: np.ndarray, scores: Scores, threshold: float) -> Sequence[Stretch]:
    """The seconds at or above the threshold, neighbours as one."""
    if not len(wave):
        return ()
    seconds = np.flatnonzero(np.asarray(scores(wave)) >= threshold).tolist()
    return merged((Stretch(float(s), float(s + 1)) for s in seconds), 0.0)

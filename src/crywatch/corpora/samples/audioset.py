"""Generated sounds in AudioSet's layout: tables, strong labels, audio, a ledger and features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np

from crywatch.corpora import audioset
from crywatch.corpora.generate import synthesis
from crywatch.corpora.generate.config import GeneratorConfig
from crywatch.corpora.generate.files import write_sound, write_table
from crywatch.corpora.generate.synthesis import RATE_HZ
from crywatch.corpora.shared.audioset_selection import FILE as SELECTION
from crywatch.corpora.shared.audioset_selection import (
    AudioSetConfig,
    Chosen,
    choose,
    write_selection,
)
from crywatch.corpora.shared.audioset_tables import (
    CLASS_COLUMNS,
    CLASSES,
    SEGMENTS,
    STRONG,
    STRONG_COLUMNS,
    segment_id,
)
from crywatch.corpora.shared.ledger import FILE as LEDGER
from crywatch.corpora.shared.ledger import Gone, write_ledger
from crywatch.corpora.shared.tfrecords import SequenceExample, write_records

SECONDS = 10.0
EVENTS_S, EVENT_S = (0.5, 5.0), 3.0  # onsets of the first class, and its length, where labelled
SPEECH, MUSIC = "/m/09x0r", "/m/04rlf"
NAMES = {
    SPEECH: "Speech",
    audioset.CRYING: "Crying, sobbing",
    audioset.BABY_CRY: "Baby cry, infant cry",
    "/t/dd00001": "Baby laughter",
    "/m/01yrx": "Cat",
    MUSIC: "Music",
}
# What each clip of a part is labelled, and whether it has strong labels. The last is gone.
CLIPS: tuple[tuple[tuple[str, ...], bool], ...] = (
    ((audioset.BABY_CRY,), True),
    ((audioset.CRYING, audioset.BABY_CRY), False),
    ((audioset.CRYING,), False),
    ((SPEECH, "/t/dd00001"), True),
    (("/m/01yrx",), False),
    ((MUSIC,), False),
    ((SPEECH, MUSIC), True),
    ((audioset.BABY_CRY, SPEECH), False),
)
CONFIG = AudioSetConfig(
    folder="",
    parts=list(SEGMENTS),
    seed=1,
    cry=audioset.DEFAULT_CLASSES.cry,
    ambiguous=audioset.DEFAULT_CLASSES.ambiguous,
    confusers=audioset.DEFAULT_CLASSES.confusers,
    others_per_cry=1.0,
    confusers_per_cry="all",
    ambiguous_per_cry=1.0,
    max_clips=0,
    features=True,
)


@dataclass(frozen=True)
class _Clip:
    ytid: str
    start_s: float
    mids: tuple[str, ...]
    strong: bool
    gone: bool

    @property
    def name(self) -> str:
        return segment_id(self.ytid, self.start_s)


def write(folder: Path, config: GeneratorConfig) -> None:
    """Eight clips in each part (unbalanced: twice as many with three infants or more)."""
    seed = config.seed
    folder.mkdir(parents=True, exist_ok=True)
    parts = {
        part: _clips(seed, number, 2 if part == "unbalanced" and config.other_infants > 2 else 1)
        for number, part in enumerate(SEGMENTS)
    }
    for part, clips in parts.items():
        _segments(folder / SEGMENTS[part], clips)
    eval_clips = parts["eval"]
    train_clips = [clip for part, clips in parts.items() if part != "eval" for clip in clips]
    for table, clips in zip(STRONG, (train_clips, eval_clips), strict=True):
        rows = [row for clip in clips if clip.strong for row in _strong(clip)]
        write_table(folder / table, STRONG_COLUMNS, rows, "\t")
    names = [(index, mid, name) for index, (mid, name) in enumerate(NAMES.items())]
    write_table(folder / CLASSES, CLASS_COLUMNS, names, ",")
    chosen = choose(folder, CONFIG)
    write_selection(folder / SELECTION, chosen)
    clips = train_clips + eval_clips
    gone = {clip.name for clip in clips if clip.gone}
    _audio(folder, chosen, gone, {clip.name for clip in clips if clip.strong}, seed)
    _features(folder / audioset.FEATURES / "bal_train" / "-0.tfrecord", parts["balanced"], seed)


def _clips(seed: int, part: int, repeats: int) -> list[_Clip]:
    rng = np.random.default_rng([seed, 10, part])
    letters = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))
    clips = []
    for number, (mids, strong) in enumerate(CLIPS * repeats):
        ytid = "".join(letters[rng.integers(len(letters), size=11)])
        start_s = float(rng.integers(0, 30)) * 10
        clips.append(_Clip(ytid, start_s, mids, strong, number == len(CLIPS) - 1))
    return clips


def _segments(path: Path, clips: Sequence[_Clip]) -> None:
    lines = [
        "# Segments csv, generated",
        f"# num_ytids={len(clips)}, num_segs={len(clips)}, num_unique_labels={len(NAMES)}",
        "# YTID, start_seconds, end_seconds, positive_labels",
    ]
    for clip in clips:
        labels = ",".join(clip.mids)
        end_s = clip.start_s + SECONDS
        lines.append(f'{clip.ytid}, {clip.start_s:.3f}, {end_s:.3f}, "{labels}"')
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _strong(clip: _Clip) -> list[tuple]:
    """Two events of the first class of a clip, one over all of it of the others."""
    first, *others = clip.mids
    rows = [(clip.name, f"{at:.3f}", f"{at + EVENT_S:.3f}", first) for at in EVENTS_S]
    return rows + [(clip.name, "0.000", f"{SECONDS:.3f}", mid) for mid in others]


def crying_second(segment: str) -> int:
    """In which an infant cries in a clip of that name whose label is weak, and in no other."""
    return crc32(segment.encode()) % int(SECONDS)


def _crying(segment: str, strong: bool, time_s: np.ndarray) -> np.ndarray:
    """[times] bool: an infant cries then, of a clip of a crying class."""
    events = [(at, at + EVENT_S) for at in EVENTS_S]
    if not strong:
        events = [(crying_second(segment), crying_second(segment) + 1)]
    return np.any([(on <= time_s) & (time_s < off) for on, off in events], axis=0)


def _audio(
    folder: Path, chosen: Sequence[Chosen], gone: set[str], strong: set[str], seed: int
) -> None:
    (folder / audioset.AUDIO).mkdir(exist_ok=True)
    ledger = []
    for number, row in enumerate(chosen):
        name = row.segment.segment_id
        if name in gone:
            ledger.append(Gone(name, "private", "Private video (generated)", "2026-01-31"))
            continue
        rng = np.random.default_rng([seed, 11, number])
        if row.what.kind in ("cry", "ambiguous"):
            wave = synthesis.varied_cry(SECONDS, synthesis.infant_voice(rng), rng)
            if name not in strong:  # in its loudest second it does not pause
                loudest = np.argmax(np.square(wave.reshape(int(SECONDS), RATE_HZ)).sum(axis=1))
                wave = np.roll(wave, (crying_second(name) - int(loudest)) * RATE_HZ)
            wave *= _crying(name, name in strong, np.arange(len(wave)) / RATE_HZ)
        elif row.what.name == "baby_laughter":
            wave = synthesis.laugh(SECONDS, synthesis.infant_voice(rng), rng)
        elif row.what.name == "cat":
            wave = synthesis.meow(SECONDS, rng)
        else:
            wave = (synthesis.siren, synthesis.toddler, synthesis.hum)[number % 3](SECONDS, rng)
        path = folder / audioset.AUDIO / f"{name}.flac"
        write_sound(path, synthesis.scene(wave, rng), RATE_HZ)
    write_ledger(folder / LEDGER, ledger)


def _features(path: Path, clips: Sequence[_Clip], seed: int) -> None:
    """A shard as published: ten vectors of 128 bytes a clip, higher where an infant cries."""
    seconds = np.arange(int(SECONDS))
    index = {mid: number for number, mid in enumerate(NAMES)}
    records = []
    for number, clip in enumerate(clips):
        rng = np.random.default_rng([seed, 12, number])
        rows = rng.integers(0, 200, (len(seconds), 128))
        if audioset.BABY_CRY in clip.mids:
            rows += 50 * _crying(clip.name, clip.strong, seconds)[:, None]
        context = {
            "video_id": (clip.ytid.encode(),),
            "start_time_seconds": (clip.start_s,),
            "end_time_seconds": (clip.start_s + SECONDS,),
            "labels": tuple(index[mid] for mid in clip.mids),
        }
        vectors = tuple((row.astype(np.uint8).tobytes(),) for row in rows)
        records.append(SequenceExample(context, {"audio_embedding": vectors}))
    write_records(path, records)

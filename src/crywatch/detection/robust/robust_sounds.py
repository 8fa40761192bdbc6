"""Stage ``robust_sounds``: the clips at 8 kHz for the robust trainings, made once for all of them.

Each clip of the training and validation parts, unlabelled ones too, as it is, through codecs drawn
by its name, and through the one fixed channel that recipes are compared on; a teacher's scores,
where one is at hand. Nothing of the test part is read.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crywatch.audio.activity import FRAME, RATE_HZ, frame
from crywatch.audio.channels import apply, channel, codecs
from crywatch.audio.segments import RATE_HZ as CLEAN_RATE_HZ
from crywatch.audio.segments import n_segments
from crywatch.audio.waves.cleaned import read_clean
from crywatch.audio.waves.resampling import resample
from crywatch.core.atomic import atomic_dir
from crywatch.core.code import code_sha256
from crywatch.core.digest import value_sha256
from crywatch.core.errors import ConfigError, CrywatchError, ModelError
from crywatch.core.threads import one_thread
from crywatch.data.features import FeatureWriter, StoreInfo
from crywatch.data.tables import read_table
from crywatch.data.tables.clips import SPLIT_CLIPS
from crywatch.detection.embedders.base import EmbedderConfig
from crywatch.detection.robust.sounds import CLEAN, CODEC, TEACHER, TEACHER_HOP_S
from crywatch.detection.robust.spans import Span

if TYPE_CHECKING:
    from crywatch.detection.embedders.yamnet import YamnetFile, YamnetHub

PARTS = ("train", "val")
MAX_COPIES = 10
N_CLASSES = 521  # of AudioSet, in YAMNet
THREADS = 2  # a store each; their number changes nothing but the time
LOUDEST = 60_000.0  # float16 ends at 65,504


@dataclass(frozen=True)
class RobustSoundsConfig:
    """Section ``robust_sounds``."""

    copies: int  # of a clip, each through a codec of its own
    codecs: list[str]
    peak_dbfs: Span  # of a clip before its codec
    channel: str  # of section channels, that recipes are compared on

    def check(self) -> None:
        """ConfigError for what cannot be."""
        if not 0 <= self.copies <= min(MAX_COPIES, len(self.codecs)):
            raise ConfigError(
                f"robust_sounds.copies is {self.copies}: set it from 0 to the number of "
                f"robust_sounds.codecs, {len(self.codecs)}, and {MAX_COPIES} at most"
            )
        self.peak_dbfs.check("robust_sounds.peak_dbfs")
        if self.channel in (CLEAN, TEACHER) or self.channel.startswith(CODEC):
            raise ConfigError(
                f"robust_sounds.channel is {self.channel!r}: that is the name of a copy that is "
                "trained on; give the channel another one in section channels"
            )


@dataclass(frozen=True)
class SoundsSummary:
    """What was made."""

    n_clips: int
    n_seconds: int
    n_copies: int  # of each clip
    n_taught: int  # clips with a teacher's scores


@one_thread()
def run(
    clips_table: Path,
    config: RobustSoundsConfig,
    channels: Mapping[str, Any],
    yamnet: str,
    out_dir: Path,
    work_dir: Path,
) -> SoundsSummary:
    """Make all copies of the clips, duplicates too; ``yamnet`` is its handle, or "".

    A killed run goes on with the clip where it was.

    Raises
    ------
    ConfigError
        A codec or a channel that cannot be had.
    ModelError
        The teacher's weights cannot be read.
    """
    config.check()
    clips = read_table(clips_table, SPLIT_CLIPS)
    clips = clips[clips["split"].isin(PARTS)].reset_index(drop=True)
    key = [clips[["clip_id", "sha256"]].values.tolist(), code_sha256(__name__)]
    fixed = channel(config.channel, channels)

    def clean(row: Any) -> np.ndarray:
        return resample(read_clean(row.path), CLEAN_RATE_HZ, RATE_HZ)

    def as_it_is(row: Any) -> np.ndarray:
        return _frames(clean(row))

    def coded(number: int) -> Callable[[Any], np.ndarray]:
        return lambda row: _frames(apply_codec(clean(row), row.clip_id, number, config))

    def measured(row: Any) -> np.ndarray:
        through = apply(fixed, read_clean(row.path), row.clip_id)
        return _frames(resample(through, CLEAN_RATE_HZ, RATE_HZ))

    makers: dict[str, Callable[[Any], np.ndarray]]
    makers = {CLEAN: as_it_is, config.channel: measured}
    makers |= {f"{CODEC}{number}": coded(number) for number in range(config.copies)}
    sources = {CLEAN: None, config.channel: channels[config.channel]}
    stopped = Event()

    def write(name: str) -> FeatureWriter:
        def make(row: Any) -> np.ndarray:
            if stopped.is_set():
                raise CrywatchError(f"robust_sounds: {name} was stopped with another store")
            return makers[name](row)

        info = StoreInfo(
            f"robust sounds, {name}",
            FRAME,
            value_sha256([*key, sources.get(name, asdict(config))]),
            "<f2",
            FRAME / RATE_HZ,
        )
        return _write_clips(clips, info, make, work_dir / name)

    with ThreadPoolExecutor(THREADS) as pool:  # encoders let go of the interpreter
        try:
            written = dict(zip(makers, pool.map(write, makers), strict=True))
        except BaseException:  # an interrupt too: no thread goes on to the last clip
            stopped.set()
            raise
    teacher_clips = clips[clips["canonical"]] if yamnet else clips[:0]
    if yamnet:
        written[TEACHER] = _write_teacher(teacher_clips, key, yamnet, work_dir / TEACHER)
    # Only now: a store that is finished leaves nothing to go on from.
    with atomic_dir(out_dir) as temp:
        for name, writer in written.items():
            store_clips = teacher_clips if name == TEACHER else clips
            writer.finish(sorted(store_clips["corpus"].unique()), temp / name)
    seconds = sum(n_segments(round(d * CLEAN_RATE_HZ)) for d in clips["duration_s"])
    return SoundsSummary(len(clips), seconds, len(makers), len(teacher_clips))


def _write_clips(
    clips: pd.DataFrame, info: StoreInfo, make: Callable[[Any], np.ndarray], work_dir: Path
) -> FeatureWriter:
    """What ``make`` gives of each clip, [rows, dim], ready to be finished."""
    writer = FeatureWriter(info, work_dir, value_sha256(asdict(info)))
    writer.write_clips(clips, make, info.name)
    return writer


def _frames(wave: np.ndarray) -> np.ndarray:
    return np.clip(frame(wave), -LOUDEST, LOUDEST).astype(np.float16)


def apply_codec(
    wave: np.ndarray, clip_id: str, number: int, config: RobustSoundsConfig
) -> np.ndarray:
    """Copy ``number`` of a clip [samples] at 8 kHz: its level and codec go by the clip's name.

    The copies of a clip differ in codec.
    """
    digest = hashlib.sha256(clip_id.encode()).digest()
    rng = np.random.default_rng([int.from_bytes(digest[:8], "big")])
    names = [config.codecs[index] for index in rng.permutation(len(config.codecs))]
    levels_db = config.peak_dbfs.draw(rng, len(names))
    codec = codecs.random_codec(np.random.default_rng([number, *digest[:8]]), [names[number]])
    peak = max(float(np.abs(wave).max(initial=0.0)), 1e-9)
    scaled = wave * np.float32(10 ** (levels_db[number] / 20) / peak)
    return codecs.through(scaled, RATE_HZ, codec)


def _write_teacher(clips: pd.DataFrame, key: list, handle: str, work_dir: Path) -> FeatureWriter:
    """YAMNet's scores of all classes every quarter of a second, a window of a second each."""
    teacher = _open_yamnet(handle)
    hop, length = round(TEACHER_HOP_S * CLEAN_RATE_HZ), CLEAN_RATE_HZ
    info = StoreInfo(
        "robust sounds, teacher",
        teacher.config.dim,
        value_sha256([*key, teacher.digest]),
        "<f2",
        TEACHER_HOP_S,
    )

    def scores(row: Any) -> np.ndarray:
        wave = read_clean(row.path)
        # As far as a second can be drawn: half of it lies beyond the end.
        count = max(1, math.ceil((len(wave) - length / 2) / hop))
        padded = np.pad(wave, (0, max(0, (count - 1) * hop + length - len(wave))))
        windows = np.lib.stride_tricks.sliding_window_view(padded, length)[::hop][:count]
        return teacher.class_scores(windows)

    return _write_clips(clips, info, scores, work_dir)


def _open_yamnet(handle: str) -> YamnetHub | YamnetFile:
    from crywatch.detection.embedders import yamnet

    try:
        return yamnet.build(EmbedderConfig("yamnet", N_CLASSES, handle))
    except ModelError as error:
        raise ModelError(str(error).replace("embedder.handle", "yamnet.handle")) from error

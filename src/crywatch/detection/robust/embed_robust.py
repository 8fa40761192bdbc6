"""Stage ``embed_robust``: the frozen robust network's 224 numbers for every plain second."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crywatch.audio.decode import read_clean
from crywatch.core.code import code_sha256
from crywatch.core.digest import files_sha256, value_sha256
from crywatch.core.errors import ConfigError
from crywatch.core.models import DESCRIPTION, WEIGHTS
from crywatch.core.progress import progress
from crywatch.core.threads import one_thread
from crywatch.data.features import ClipFeatures, FeatureStore, FeatureWriter, StoreInfo
from crywatch.data.selection import sounds
from crywatch.detection.blazenet.network import FEATURES
from crywatch.detection.detectors import FeatureDetector, load_detector

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class EmbedRobustConfig:
    """Section ``embed_robust``."""

    backbones: list[str]  # variants of train_robust


@dataclass(frozen=True)
class EmbedRobustSummary:
    """What was embedded."""

    n_seconds: int


@one_thread()
def run(
    model_dir: Path, clips_tables: Sequence[Path], out_dir: Path, work_dir: Path
) -> EmbedRobustSummary:
    """Embed every second of all clips labelled cry or other of the tables."""
    detector = load_detector(model_dir)
    if not isinstance(detector, FeatureDetector):
        raise ConfigError(
            f"embed_robust.backbones: {model_dir} has no numbers for a second: name a variant of "
            "train_robust"
        )
    clips = sounds(clips_tables)
    digest = files_sha256([model_dir / DESCRIPTION, model_dir / WEIGHTS])
    info = StoreInfo(f"robust {model_dir.name}", FEATURES, digest)
    key = value_sha256(
        [vars(info), clips[["clip_id", "sha256"]].values.tolist(), code_sha256(__name__)]
    )
    writer = FeatureWriter(info, work_dir, key)
    corpora = sorted(clips["corpus"].unique())
    for corpus in corpora:
        rows = clips[clips["corpus"] == corpus]
        left = rows[~rows["clip_id"].isin(set(writer.done(corpus)))]
        writer.write(corpus, _embedded(left, detector, corpus))
    writer.finish(corpora, out_dir)
    return EmbedRobustSummary(FeatureStore(out_dir).n_rows)


def _embedded(clips: pd.DataFrame, detector: FeatureDetector, what: str) -> Iterator[ClipFeatures]:
    rows = zip(clips["clip_id"], clips["path"], strict=True)
    for clip_id, path in progress(rows, f"embed {what}", len(clips), "clip"):
        yield ClipFeatures(clip_id, detector.features(read_clean(path)))

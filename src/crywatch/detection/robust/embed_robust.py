"""Stage ``embed_robust``: the frozen robust network's 224 numbers for every plain second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crywatch.audio.decode import read_clean
from crywatch.core.code import code_sha256
from crywatch.core.digest import files_sha256, value_sha256
from crywatch.core.errors import ConfigError
from crywatch.core.models import DESCRIPTION, WEIGHTS
from crywatch.core.threads import one_thread
from crywatch.data.features import FeatureStore, FeatureWriter, StoreInfo
from crywatch.data.selection import sounds
from crywatch.detection.blazenet.network import FEATURES
from crywatch.detection.detectors import FeatureDetector, load_detector


@dataclass(frozen=True)
class EmbedRobustConfig:
    """Section ``embed_robust``."""

    backbones: list[str]  # variants of train_robust


@one_thread()
def run(model_dir: Path, clips_tables: Sequence[Path], out_dir: Path, work_dir: Path) -> int:
    """Embed every second of all clips labelled cry or other; returns the number of seconds."""
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
    writer.write_clips(clips, lambda clip: detector.features(read_clean(clip.path)), "embed")
    writer.finish(sorted(clips["corpus"].unique()), out_dir)
    return FeatureStore(out_dir).n_rows

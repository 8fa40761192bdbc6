"""The trained network's 224 numbers for every plain second, which an anomaly head sits on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from crywatch.audio.waves.cleaned import read_clean
from crywatch.core.code import code_sha256
from crywatch.core.digest import files_sha256, value_sha256
from crywatch.core.models import DESCRIPTION, WEIGHTS, load
from crywatch.data.features import FeatureWriter, StoreInfo
from crywatch.data.selection import sounds
from crywatch.detection.blazenet.network import FEATURES
from crywatch.detection.robust.detector import RobustDetector


def write_embeddings(
    model_dir: Path, clips_tables: Sequence[Path], out_dir: Path, work_dir: Path
) -> None:
    """A feature store of every second of all clips labelled cry or other.

    An interrupted run goes on from what lies in ``work_dir``.
    """
    detector = RobustDetector(load(model_dir))
    clips = sounds(clips_tables)
    digest = files_sha256([model_dir / DESCRIPTION, model_dir / WEIGHTS])
    info = StoreInfo(f"robust {detector.name}", FEATURES, digest)
    key = value_sha256(
        [vars(info), clips[["clip_id", "sha256"]].values.tolist(), code_sha256(__name__)]
    )
    writer = FeatureWriter(info, work_dir, key)
    writer.write_clips(clips, lambda clip: detector.features(read_clean(clip.path)), "embed")
    writer.finish(sorted(clips["corpus"].unique()), out_dir)

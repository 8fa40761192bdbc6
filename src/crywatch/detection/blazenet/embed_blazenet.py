"""Stage ``embed_blazenet``: the frozen network's 224 numbers for every plain second."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crywatch.core.code import code_sha256
from crywatch.core.digest import file_sha256, value_sha256
from crywatch.core.errors import ConfigError
from crywatch.core.models import WEIGHTS, load
from crywatch.core.progress import progress
from crywatch.core.threads import one_thread
from crywatch.data.features import FeatureStore, FeatureWriter, StoreInfo
from crywatch.detection.blazenet.forward import forward
from crywatch.detection.blazenet.network import FEATURES, BlazeNet


@dataclass(frozen=True)
class EmbedBlazenetConfig:
    """Section ``embed_blazenet``."""

    batch_size: int  # seconds
    backbones: list[str]  # variants of train_blazenet


@one_thread()
def run(
    model_dir: Path,
    pictures_dir: Path,
    config: EmbedBlazenetConfig,
    out_dir: Path,
    work_dir: Path,
) -> int:
    """Embed every second of the pictures at ``pictures_dir`` with the network at ``model_dir``.

    Returns the number of seconds.
    """
    model = load(model_dir)
    if model.setting("segment_s") != 1.0:
        raise ConfigError(
            f"embed_blazenet.backbones: {model_dir.name} has a front end of "
            f"{model.description['segment_s']:g} s; a number a second needs one of 1 s"
        )
    network = BlazeNet()
    model.fill(network, "backbone")
    network.eval()
    pictures = FeatureStore(pictures_dir)
    digest = file_sha256(model_dir / WEIGHTS)
    info = StoreInfo(f"blazenet {model_dir.name}", FEATURES, digest)
    key = value_sha256([vars(info), pictures.info.digest, list(pictures), code_sha256(__name__)])
    writer = FeatureWriter(info, work_dir, key)
    for corpus in pictures.corpora:
        finished = set(writer.done(corpus))
        left = [
            clip_id
            for clip_id in pictures
            if pictures.rows(clip_id).corpus == corpus and clip_id not in finished
        ]
        shown = progress(left, f"embed {corpus}", unit="clip")
        writer.write(corpus, forward(pictures, shown, network.features, config.batch_size))
    writer.finish(pictures.corpora, out_dir)
    return FeatureStore(out_dir).n_rows

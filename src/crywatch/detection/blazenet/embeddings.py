"""The trained network's 224 numbers for every plain second, which an anomaly head sits on."""

from __future__ import annotations

from pathlib import Path

from crywatch.core.code import code_sha256
from crywatch.core.digest import file_sha256, value_sha256
from crywatch.core.models import WEIGHTS, load
from crywatch.core.progress import progress
from crywatch.data.features import FeatureStore, FeatureWriter, StoreInfo
from crywatch.detection.blazenet.forward import forward
from crywatch.detection.blazenet.network import FEATURES, BlazeNet

BATCH = 256  # seconds


def write_embeddings(
    model_dir: Path, pictures_dir: Path, out_dir: Path, work_dir: Path, batch_size: int = BATCH
) -> None:
    """A feature store of every second of the pictures at ``pictures_dir``, of 1 s.

    An interrupted run goes on from what lies in ``work_dir``.
    """
    model = load(model_dir)
    network = BlazeNet()
    model.fill(network, "backbone")
    network.eval()
    pictures = FeatureStore(pictures_dir)
    digest = file_sha256(model_dir / WEIGHTS)
    info = StoreInfo(f"blazenet {model.setting('name')}", FEATURES, digest)
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
        writer.write(corpus, forward(pictures, shown, network.features, batch_size))
    writer.finish(pictures.corpora, out_dir)

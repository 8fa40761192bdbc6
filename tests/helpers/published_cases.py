"""Published features and PCA parameters for the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crywatch.corpora.shared.tfrecords import SequenceExample, frame, serialised


def example(ytid="00000000001", start_s=30.0, labels=(0,), rows=None, **context) -> bytes:
    """A serialised record; ``rows`` [seconds, 128] bytes. A context value of None leaves it out."""
    rows = np.zeros((10, 128), np.uint8) if rows is None else rows
    told = {
        "video_id": (ytid.encode(),),
        "start_time_seconds": (start_s,),
        "end_time_seconds": (start_s + 10,),
        "labels": labels,
    } | context
    told = {name: values for name, values in told.items() if values is not None}
    lists = {"audio_embedding": tuple((row.tobytes(),) for row in rows)}
    return serialised(SequenceExample(told, lists))


def write_shard(path: Path, *records: bytes) -> Path:
    """A TFRecord file of serialised ``records``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(map(frame, records)))
    return path


def write_pca(path: Path, seed=0) -> Path:
    """A rotation and means, in the form of vggish_pca_params.npz."""
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.standard_normal((128, 128)))
    means = rng.standard_normal((128, 1)) / 10
    np.savez(
        path,
        pca_eigen_vectors=rotation.astype(np.float32),
        pca_means=means.astype(np.float32),
    )
    return path

"""VGGish's postprocessing (Hershey et al., 2017): PCA, clipping, 8 bits, as for AudioSet."""

from __future__ import annotations

import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crywatch.core.atomic import write_bytes
from crywatch.core.digest import file_sha256, value_sha256
from crywatch.core.errors import ModelError
from crywatch.core.paths import WORK

DIM = 128
TIMEOUT_S = 30.0  # without a byte
_URL = re.compile(r"https?://")
LIMIT = 2.0  # of the whitened numbers, on both sides
LEVELS = 255
ARRAYS = {"pca_eigen_vectors": (DIM, DIM), "pca_means": (DIM, 1)}
# What NumPy raises on a file that was cut off or damaged, is no archive, or holds other arrays.
_UNREADABLE = (
    OSError,
    EOFError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    zipfile.BadZipFile,
    zlib.error,
)


def quantise(whitened: np.ndarray) -> np.ndarray:
    """Whitened numbers to bytes, as the publisher does: clipped, and rounded down."""
    clipped = np.clip(whitened, -LIMIT, LIMIT)
    return ((clipped + LIMIT) * (LEVELS / (2 * LIMIT))).astype(np.uint8)


def dequantise(levels: np.ndarray) -> np.ndarray:
    """Bytes to float32 in [-2, 2]."""
    return (levels.astype(np.float32) / LEVELS * (2 * LIMIT) - LIMIT).astype(np.float32)


def _fetched(url: str) -> Path:
    """The file of ``url``, which is small, kept by its address."""
    import requests

    path = WORK / "weights" / value_sha256(url)[:16] / url.rpartition("/")[2]
    if not path.is_file():
        try:
            reply = requests.get(url, timeout=TIMEOUT_S)
            reply.raise_for_status()
        except requests.RequestException as error:
            raise ModelError(
                f"embedder.pca: {url} cannot be fetched ({error}); set embedder.pca to a copy of it"
            ) from error
        write_bytes(path, reply.content)
    return path


@dataclass(frozen=True)
class Pca:
    """The parameters in ``vggish_pca_params.npz``."""

    eigen_vectors: np.ndarray  # [128, 128]
    means: np.ndarray  # [128, 1]
    digest: str  # SHA-256 of the file

    @classmethod
    def load(cls, path: Path | str) -> Pca:
        """Read the file, fetched once where ``path`` is a URL.

        ModelError where it is missing, cannot be had or holds something else.
        """
        path = _fetched(str(path)) if _URL.match(str(path)) else Path(path).expanduser()
        if not path.is_file():
            raise ModelError(f"embedder.pca: {path}: no such file")
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name].astype(np.float64) for name in ARRAYS}
        except _UNREADABLE as error:
            raise ModelError(
                f"embedder.pca: {path}: not vggish_pca_params.npz with {' and '.join(ARRAYS)} "
                f"({error})"
            ) from error
        for name, shape in ARRAYS.items():
            if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
                raise ModelError(
                    f"embedder.pca: {path}: {name} has shape {arrays[name].shape} or holds what is "
                    f"no number; expected {shape}"
                )
        return cls(arrays["pca_eigen_vectors"], arrays["pca_means"], file_sha256(path))

    def levels(self, vectors: np.ndarray) -> np.ndarray:
        """Live embeddings [n, 128] to the bytes [n, 128] that would be published."""
        centred = vectors.astype(np.float64) - self.means[:, 0]
        # Not a matrix product: BLAS rounds a row by how many there are, and a level could flip.
        return quantise(np.einsum("ij,nj->ni", self.eigen_vectors, centred))

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """Live embeddings [n, 128] to the space of the published ones, float32 [n, 128]."""
        return dequantise(self.levels(vectors))

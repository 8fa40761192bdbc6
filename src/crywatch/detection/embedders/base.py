"""The contract of an embedder: numbers for every plain second of a recording."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crywatch.audio.segments import cut
from crywatch.core.errors import ConfigError, ModelError

TITLES = {"logmel": "log-mel stand-in", "vggish": "VGGish", "yamnet": "YAMNet"}


@dataclass(frozen=True)
class EmbedderConfig:
    """Section ``embedder``."""

    name: str  # logmel, vggish, yamnet
    dim: int  # numbers a second
    handle: str  # URL or path of the weights, "" where none are needed
    pca: str = ""  # vggish: path or URL of vggish_pca_params.npz, "" for the numbers before PCA

    @property
    def title(self) -> str:
        """What ran, for a reader: the paper's VGGish, or what stands in for it."""
        return title(self.name)


def title(name: str) -> str:
    """An embedder's name for a reader; one without a title keeps its name."""
    return TITLES.get(name, name)


class Embedder(ABC):
    """Turns plain seconds at 16 kHz into vectors."""

    def __init__(self, config: EmbedderConfig):
        self.config = config

    @property
    @abstractmethod
    def digest(self) -> str:
        """Of the weights, or of what stands for them."""

    @abstractmethod
    def embed_seconds(self, seconds: np.ndarray) -> np.ndarray:
        """[n, 16000] float32 to [n, dim] float32; the rows do not depend on each other."""

    def embed(self, wave: np.ndarray) -> np.ndarray:
        """``wave`` [samples] at 16 kHz to [plain seconds, dim] float32."""
        return self.embed_batch([wave])[0]

    def embed_batch(self, waves: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Several recordings at once; the same numbers as one by one."""
        parts = [cut(wave) for wave in waves]
        if not any(len(part) for part in parts):
            return [np.empty((0, self.config.dim), dtype=np.float32) for _ in parts]
        vectors = np.asarray(self.embed_seconds(np.concatenate(parts)), dtype=np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.config.dim:
            raise ConfigError(
                f"embedder.dim is {self.config.dim}, but {self.config.name} gives "
                f"{vectors.shape[-1]} numbers a second: set embedder.dim to that"
            )
        return np.split(vectors, np.cumsum([len(part) for part in parts])[:-1])


def load_hub(config: EmbedderConfig):
    """The SavedModel that ``config.handle`` names, through TF-Hub."""
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow_hub as hub

    # A URL is left as it is: only a path that is there has its "~" expanded.
    local = Path(config.handle).expanduser()
    try:
        return hub.load(str(local) if config.handle and local.exists() else config.handle)
    except Exception as error:  # TF-Hub raises whatever the resolver beneath it does
        raise ModelError(
            f"embedder.handle {config.handle!r} cannot be loaded ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else ''}); set embedder.handle to a "
            "SavedModel folder or a TF-Hub URL that can be reached"
        ) from error


def handle_digest(handle: str) -> str:
    """SHA-256 of a local model's files; for a URL, of the URL, which names a fixed version."""
    from crywatch.core.digest import files_sha256, value_sha256

    path = Path(handle).expanduser()
    return files_sha256([path]) if path.exists() else value_sha256(handle)

"""YAMNet: the 1,024-d embedding from TF-Hub, or the 521 class scores of the quantised file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crywatch.core.digest import file_sha256
from crywatch.core.errors import ModelError
from crywatch.detection.embedders.base import Embedder, EmbedderConfig, handle_digest, load_hub
from crywatch.detection.runtimes import LiteRtNetwork

WINDOW = 15_600  # samples: 0.975 s
CRY_CLASSES = (19, 20)  # Crying, sobbing; Baby cry, infant cry


def build(config: EmbedderConfig) -> YamnetHub | YamnetFile:
    """The quantised network where the handle ends with ``.tflite``, otherwise the SavedModel."""
    return YamnetFile(config) if config.handle.endswith(".tflite") else YamnetHub(config)


class YamnetHub(Embedder):
    """``hub.load(handle)``: float32 [samples] to scores, embeddings [frames, 1024], spectrogram."""

    def __init__(self, config: EmbedderConfig):
        super().__init__(config)
        self._model = load_hub(config)

    @property
    def digest(self) -> str:
        """Of the SavedModel's files, or of the URL."""
        return handle_digest(self.config.handle)

    def embed_seconds(self, seconds: np.ndarray) -> np.ndarray:
        """[n, 16000] to [n, 1024]: the mean over the frames of a second (hop 0.48 s)."""
        return np.stack([self._model(second)[1].numpy().mean(axis=0) for second in seconds])

    def class_scores(self, seconds: np.ndarray) -> np.ndarray:
        """[n, 16000] to [n, 521] in 0..1: the highest of the frames of a second (hop 0.48 s)."""
        return np.stack([self._model(second)[0].numpy().max(axis=0) for second in seconds])


class YamnetFile(Embedder):
    """The quantised file on LiteRT, one core: 15,600 samples to 521 class scores."""

    def __init__(self, config: EmbedderConfig, threads: int = 1):
        super().__init__(config)
        self._path = Path(config.handle).expanduser()
        if not self._path.is_file():
            raise ModelError(f"embedder.handle: {config.handle}: no such file")
        try:
            self._network = LiteRtNetwork(self._path, threads)
        except ModelError as error:
            raise ModelError(f"embedder.handle: {error}") from error
        # [samples] or [1, samples], as it was exported.
        self._shape = next(iter(self._network.inputs.values()))
        if np.prod(self._shape) != WINDOW:
            raise ModelError(
                f"embedder.handle: {config.handle}: takes an input of shape {self._shape}; "
                f"YAMNet takes {WINDOW} samples"
            )

    @property
    def digest(self) -> str:
        """Of the file."""
        return file_sha256(self._path)

    def embed_seconds(self, seconds: np.ndarray) -> np.ndarray:
        """[n, 16000] to [n, 521] from the first 0.975 s of each second."""
        windows = (second[:WINDOW].reshape(self._shape) for second in seconds)
        return np.stack([self._network(window).reshape(-1) for window in windows])

    def class_scores(self, seconds: np.ndarray) -> np.ndarray:
        """The same: its scores are all that the file gives."""
        return self.embed_seconds(seconds)

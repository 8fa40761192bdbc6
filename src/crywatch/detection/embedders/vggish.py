"""VGGish from TF-Hub: 128 numbers a second (Hershey et al., 2017).

As the model gives them, or after PCA and quantisation, where they are in one space with the
features that AudioSet publishes.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from crywatch.core.digest import value_sha256
from crywatch.core.errors import ModelError
from crywatch.detection.embedders.base import Embedder, EmbedderConfig, handle_digest, load_hub
from crywatch.detection.embedders.pca import DIM, Pca


class VGGish(Embedder):
    """``hub.load(handle)``: called with float32 [samples] at 16 kHz, returns [frames, 128].

    The model cuts its input into frames of 0.96 s without overlap, so a plain second gives one
    frame; seconds are given one at a time, inside one traced loop, because frames of a longer
    recording would not start at whole seconds.
    """

    def __init__(self, config: EmbedderConfig):
        super().__init__(config)
        self._pca = Pca.load(config.pca) if config.pca else None
        self._model = load_hub(config)

    @property
    def digest(self) -> str:
        """Of the SavedModel's files, or of the URL; and of the PCA, where there is one."""
        digest = handle_digest(self.config.handle)
        return digest if self._pca is None else value_sha256([digest, self._pca.digest])

    @cached_property
    def _loop(self):
        import tensorflow as tf

        def one(second):
            return self._model(second)[:1]

        @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32)])
        def loop(seconds):
            shape = tf.TensorSpec([None, None], tf.float32)  # the base class checks the dim
            return tf.map_fn(one, seconds, fn_output_signature=shape)

        return loop

    def embed_seconds(self, seconds: np.ndarray) -> np.ndarray:
        """[n, 16000] to [n, 128]."""
        vectors = self._loop(seconds).numpy()
        if vectors.ndim != 3 or vectors.shape[1] != 1:
            raise ModelError(
                f"{self.config.handle}: gave {vectors.shape[1]} frames for a second of sound; a "
                "model of VGGish's signature gives one"
            )
        # Another width is told by the base class.
        if self._pca is None or vectors.shape[2] != DIM:
            return vectors[:, 0]
        return self._pca.apply(vectors[:, 0])

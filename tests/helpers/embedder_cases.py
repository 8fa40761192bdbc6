"""Stand-ins with the signatures of TF-Hub's VGGish and YAMNet, saved as SavedModels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

FRAME = 15_360  # samples: 0.96 s
YAMNET_WINDOW = 15_600  # samples: 0.975 s, a frame and the rest of its last STFT window
YAMNET_HOP = 7_680  # samples: 0.48 s


def vggish_reference(wave: np.ndarray, dim: int = 128) -> np.ndarray:
    """What the stand-in gives for ``wave`` [samples]: [whole frames of 0.96 s, dim]."""
    count = len(wave) // FRAME
    return wave[: count * FRAME].reshape(count, dim, FRAME // dim).mean(axis=2)


def yamnet_reference(wave: np.ndarray) -> np.ndarray:
    """What the stand-in gives as embeddings for ``wave`` [samples]: [frames, 1024], hop 0.48 s."""
    count = 1 + -(-max(0, len(wave) - YAMNET_WINDOW) // YAMNET_HOP)
    padded = np.pad(wave, (0, FRAME + (count - 1) * YAMNET_HOP))
    starts = np.arange(count) * YAMNET_HOP
    return np.stack([padded[at : at + FRAME].reshape(1024, -1).mean(axis=1) for at in starts])


def save_vggish(folder: Path, dim: int = 128) -> Path:
    """A SavedModel: float32 [samples] to [whole frames of 0.96 s, dim], none under 0.96 s."""
    import tensorflow as tf

    class StandIn(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def __call__(self, wave):
            count = tf.shape(wave)[0] // FRAME
            frames = tf.reshape(wave[: count * FRAME], [count, dim, FRAME // dim])
            return tf.reduce_mean(frames, axis=2)

    tf.saved_model.save(StandIn(), str(folder))
    return folder


def save_yamnet(folder: Path) -> Path:
    """A SavedModel: float32 [samples] to scores, embeddings [frames, 1024] and a spectrogram."""
    import tensorflow as tf

    class StandIn(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def __call__(self, wave):
            beyond = tf.maximum(0, tf.shape(wave)[0] - YAMNET_WINDOW)
            count = 1 + (beyond + YAMNET_HOP - 1) // YAMNET_HOP
            padded = tf.pad(wave, [[0, FRAME + (count - 1) * YAMNET_HOP]])
            frames = tf.signal.frame(padded, FRAME, YAMNET_HOP)[:count]
            embeddings = tf.reduce_mean(tf.reshape(frames, [count, 1024, FRAME // 1024]), axis=2)
            return tf.zeros([count, 521]), embeddings, tf.zeros([96 + 48 * (count - 1), 64])

    tf.saved_model.save(StandIn(), str(folder))
    return folder


def save_yamnet_file(path: Path) -> Path:
    """A .tflite file: float32 [15600] to scores [1, 521], those of crying by the second's level."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([YAMNET_WINDOW], tf.float32)])
    def scores(wave):
        level = tf.minimum(1.0, 4 * tf.reduce_mean(tf.abs(wave)))
        return tf.reshape(level, [1, 1]) * tf.one_hot([20], 521)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([scores.get_concrete_function()])
    path.write_bytes(converter.convert())
    return path

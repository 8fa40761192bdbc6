"""``window.tflite`` and ``network_int8.tflite``, the network built anew in TensorFlow.

Channels are last there, so the classifier's weights are put into that order. The whole-number
network hears pictures, not samples: on a device `frontend.c` makes them in float.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import nn

from crywatch.detection.blazenet.frontend import AMIN, FRAMES, LEAST_RMS, FrontEndConfig
from crywatch.detection.blazenet.network import BlazeNet, margins
from crywatch.detection.blazenet.runtime import PIXELS, margin_classifier, taps, values
from crywatch.detection.devices.spectrum import Picture, picture_of


class TensorFlowOps:
    """`runtime.Ops` of TensorFlow, channels last."""

    def __init__(self) -> None:
        import os

        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import tensorflow

        self.tf = tensorflow

    def convolve(self, x: Any, layer: nn.Conv2d, kernel: np.ndarray) -> Any:
        before, behind = margins(layer)
        size, stride = int(layer.kernel_size[0]), int(layer.stride[0])
        # TensorFlow's SAME has as many zeros where the stride is 1, or the layer is made like it.
        zeros = size - stride
        padding = "SAME" if (before, behind) == (zeros // 2, zeros - zeros // 2) else "VALID"
        if padding == "VALID" and (before or behind):
            x = self.tf.pad(x, [[0, 0], [before, behind], [before, behind], [0, 0]])
        if layer.groups > 1:  # depthwise: [h, w, in, 1]
            kernel, strides = kernel.transpose(2, 3, 0, 1), [1, stride, stride, 1]
            x = self.tf.nn.depthwise_conv2d(x, kernel, strides, padding)
        else:
            x = self.tf.nn.conv2d(x, kernel.transpose(2, 3, 1, 0), stride, padding)
        assert layer.bias is not None
        return self.tf.nn.bias_add(x, values(layer.bias))

    def halve(self, x: Any) -> Any:
        return self.tf.nn.max_pool2d(x, 2, 2, "VALID")

    def grow(self, x: Any, channels: int) -> Any:
        return self.tf.pad(x, [[0, 0], [0, 0], [0, 0], [0, channels]])

    def add(self, x: Any, y: Any) -> Any:
        return x + y

    def relu(self, x: Any) -> Any:
        return self.tf.nn.relu(x)

    def standardise(self, x: Any, means: np.ndarray, deviations: np.ndarray) -> Any:
        return (x - means) / deviations


def _logit(ops: TensorFlowOps, network: BlazeNet, images: Any) -> Any:
    """[n, 64, 64, 1] to [n, 1]."""
    tf = ops.tf
    weight, bias = margin_classifier(network)
    flat, orders, first = [], [], 0
    for part in taps(network, ops, images):
        _, height, width, channels = part.shape
        count = height * width * channels
        numbers = np.arange(first, first + count).reshape(channels, height, width)
        orders.append(numbers.transpose(1, 2, 0).ravel())
        flat.append(tf.reshape(part, [-1, count]))
        first += count
    weight = weight[np.concatenate(orders)]
    return tf.matmul(tf.concat(flat, axis=1), weight[:, None]) + np.float32(bias)


def _images(ops: TensorFlowOps, wave: Any, picture: Picture) -> Any:
    """[n, samples] to the level-free pictures [n, 64, 64, 1], as `frontend.pictures` makes them."""
    tf = ops.tf
    power = tf.reduce_mean(wave * wave, axis=1, keepdims=True)
    wave = wave / tf.maximum(tf.sqrt(power), LEAST_RMS)
    kernel = picture.kernel.T[None, :, None, :]  # [1, n_fft, 1, 2 bins]
    both = tf.nn.conv2d(wave[:, None, :, None], kernel, [1, 1, picture.hop, 1], "VALID")
    square = tf.square(both[:, 0, :FRAMES])
    cosines, sines = tf.split(square, 2, axis=2)
    mel = tf.matmul(cosines + sines, picture.filters.T)  # [n, frames, bands]
    level = tf.math.log(tf.maximum(mel, AMIN)) * np.float32(10 / np.log(10))
    peak = tf.reduce_max(level, axis=[1, 2], keepdims=True)
    level = tf.maximum(level, peak - picture.top_db)
    level = level - tf.reduce_mean(level, axis=[1, 2], keepdims=True)
    return tf.transpose(level / picture.scale_db, [0, 2, 1])[..., None]


def window_model(network: BlazeNet, front_end: FrontEndConfig) -> bytes:
    """[n, samples] float32 to the logit [n, 1], as a file."""
    ops, picture = TensorFlowOps(), picture_of(front_end)
    spec = ops.tf.TensorSpec([None, picture.rate_hz], ops.tf.float32, "wave")
    return _convert(ops, lambda wave: _logit(ops, network, _images(ops, wave, picture)), spec)


def int8_model(network: BlazeNet, pictures: np.ndarray) -> bytes:
    """[1, 64, 64, 1] to [1, 1], whole numbers throughout, as a file.

    ``pictures`` [n, 64, 64] are heard for the ranges of what lies between the layers.
    """
    ops = TensorFlowOps()
    spec = ops.tf.TensorSpec([1, PIXELS, PIXELS, 1], ops.tf.float32, "picture")

    def examples() -> Iterator[list[np.ndarray]]:
        for picture in pictures:
            yield [picture[None, :, :, None].astype(np.float32)]

    return _convert(ops, lambda images: _logit(ops, network, images), spec, examples)


def _convert(ops: TensorFlowOps, function: Any, spec: Any, examples: Any = None) -> bytes:
    tf = ops.tf
    module = tf.Module()
    module.function = tf.function(function, input_signature=[spec])
    concrete = module.function.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    if examples is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = examples
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()

"""A trained BlazeNet that only listens: on OpenVINO where extra ``fast`` is installed.

The graph is made from the weights as they are loaded, in float32: no file is exported. Its logits
are those of torch within 1e-4, but not their bytes: stages keep to torch.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from crywatch.detection.blazenet.network import CHUNK, BlazeNet, margins

WORTH_LOADING = 1024  # pictures: they win back the third of a second that it takes
PIXELS = 64  # of a picture's side
Forward = Callable[[Tensor], Tensor]  # [n, 64, 64] pictures to [n, 2] logits


class Fastest:
    """``network`` on the fastest runtime at hand, with as many threads as torch has."""

    def __init__(self, network: BlazeNet):
        self._network = network
        self._forward: Forward | None = None if find_spec("openvino") else network
        self._seen = 0

    def __call__(self, pictures: Tensor) -> Tensor:
        """[n, 64, 64] to logits [n, 2]."""
        self._seen += len(pictures)
        if self._forward is None and self._seen >= WORTH_LOADING:
            self._forward = OpenVinoBlazeNet(self._network)
        return (self._forward or self._network)(pictures)


class OpenVinoBlazeNet:
    """The network's weights of now, compiled for batches of one size."""

    def __init__(self, network: BlazeNet):
        import openvino

        settings = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",  # not the bfloat16 that some processors prefer
        }
        compiled = openvino.Core().compile_model(_graph(network), "CPU", settings)
        self._request = compiled.create_infer_request()

    def __call__(self, pictures: Tensor) -> Tensor:
        """[n, 64, 64] to logits [n, 2]."""
        images = np.ascontiguousarray(pictures.numpy())
        logits = np.zeros((len(images), 2), dtype=np.float32)
        for start in range(0, len(images), CHUNK):
            batch = images[start : start + CHUNK]
            full = np.pad(batch, ((0, CHUNK - len(batch)), (0, 0), (0, 0)))
            (out,) = self._request.infer([full]).values()
            logits[start : start + CHUNK] = out[: len(batch)]
        return torch.from_numpy(logits)


def _graph(network: BlazeNet) -> Any:
    import openvino
    from openvino import opset13 as ops

    def values(weights: Tensor) -> np.ndarray:
        return np.ascontiguousarray(weights.detach().numpy())

    def convolve(x: Any, layer: nn.Conv2d, weight: Tensor | None = None) -> Any:
        kernel = values(layer.weight if weight is None else weight)
        grouped = layer.groups > 1
        operation = ops.group_convolution if grouped else ops.convolution
        before, behind = margins(layer)
        # Grouped kernels are [groups, outputs, inputs, height, width].
        out = operation(
            x,
            ops.constant(kernel[:, None] if grouped else kernel),
            list(layer.stride),
            [before, before],
            [behind, behind],
            [1, 1],
        )
        assert layer.bias is not None
        return ops.add(out, ops.constant(values(layer.bias).reshape(1, -1, 1, 1)))

    def block(x: Any, layer: Any) -> Any:  # a BlazeBlock
        out = convolve(convolve(x, layer.depthwise), layer.pointwise)
        if layer.stride == 2:
            x = ops.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0)
        if layer.grow:
            none, channels = ops.constant([0, 0, 0, 0]), ops.constant([0, layer.grow, 0, 0])
            x = ops.pad(x, none, channels, "constant", ops.constant(np.float32(0)))
        return ops.relu(ops.add(out, x))

    def flat(x: Any, layer: nn.Conv2d) -> Any:
        return ops.reshape(convolve(x, layer), ops.constant([0, -1]), True)

    pictures = ops.parameter([CHUNK, PIXELS, PIXELS], np.float32)
    x = ops.unsqueeze(pictures, ops.constant([1]))
    weight = network.stem.weight
    if network.config.channels == "imagenet":
        x = ops.subtract(x, ops.constant(values(network.means)))
        x = ops.divide(x, ops.constant(values(network.deviations)))
    else:
        weight = weight.sum(dim=1, keepdim=True)
    x = ops.relu(convolve(x, network.stem, weight))
    for layer in network.first:
        x = block(x, layer)
    middle = x
    for layer in network.second:
        x = block(x, layer)
    features = ops.concat([flat(middle, network.tap1), flat(x, network.tap2)], 1)
    weight = ops.constant(values(network.classifier.weight))
    logits = ops.matmul(features, weight, False, True)
    logits = ops.add(logits, ops.constant(values(network.classifier.bias).reshape(1, -1)))
    return openvino.Model([logits], [pictures])

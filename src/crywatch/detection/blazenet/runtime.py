"""A trained BlazeNet that only listens: on OpenVINO where extra ``fast`` is installed.

The graph is made from the weights as they are loaded, in float32: no file is exported. Its logits
are those of torch within 1e-4, but not their bytes: stages keep to torch. `taps` walks the layers
for whatever else builds a graph of them.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from crywatch.detection.blazenet.network import CHUNK, BlazeNet, margins

WORTH_LOADING = 1024  # pictures: they win back the third of a second that it takes
PIXELS = 64  # of a picture's side
Forward = Callable[[Tensor], Tensor]  # [n, 64, 64] pictures to [n, 2] logits
X = TypeVar("X")  # a tensor as the other library has it


class Ops(Protocol[X]):
    """What the other library must do; images have torch's meaning, not need its order of axes."""

    def convolve(self, x: X, layer: nn.Conv2d, kernel: np.ndarray) -> X:
        """``layer``'s margins, stride, groups and bias; its weights [out, in / groups, h, w]."""

    def halve(self, x: X) -> X:
        """The highest of 2 x 2."""

    def grow(self, x: X, channels: int) -> X:
        """So many channels of zeros behind those of ``x``."""

    def add(self, x: X, y: X) -> X:
        """The sum of equal shapes."""

    def relu(self, x: X) -> X:
        """Nothing below 0."""

    def standardise(self, x: X, means: np.ndarray, deviations: np.ndarray) -> X:
        """One channel to three, each less its mean and over its deviation [3]."""


def taps(network: BlazeNet, ops: Ops[X], pictures: X) -> tuple[X, X]:
    """[n, 1, 64, 64] to what the classifier hears: [n, 2, 8, 8] and [n, 6, 4, 4]."""
    kernel = values(network.stem.weight)
    if network.config.channels == "imagenet":
        ends = (values(network.means).ravel(), values(network.deviations).ravel())
        x = ops.convolve(ops.standardise(pictures, *ends), network.stem, kernel)
    else:
        x = ops.convolve(pictures, network.stem, kernel.sum(axis=1, keepdims=True))
    x = ops.relu(x)
    for block in network.first:
        x = _block(block, ops, x)
    middle = x
    for block in network.second:
        x = _block(block, ops, x)
    first = ops.convolve(middle, network.tap1, values(network.tap1.weight))
    return first, ops.convolve(x, network.tap2, values(network.tap2.weight))


def _block(block: nn.Module, ops: Ops[X], x: X) -> X:  # a BlazeBlock
    out = x
    for layer in (block.depthwise, block.pointwise):
        assert isinstance(layer, nn.Conv2d)
        out = ops.convolve(out, layer, values(layer.weight))
    if block.stride == 2:
        x = ops.halve(x)
    if isinstance(block.grow, int) and block.grow:
        x = ops.grow(x, block.grow)
    return ops.relu(ops.add(out, x))


def values(weights: Tensor) -> np.ndarray:
    """As NumPy has them, in torch's order."""
    return np.ascontiguousarray(weights.detach().numpy())


def margin_classifier(network: BlazeNet) -> tuple[np.ndarray, float]:
    """Weights [224] and bias of the logit of a cry: what is said for it less what is against."""
    weight, bias = values(network.classifier.weight), values(network.classifier.bias)
    return weight[1] - weight[0], float(bias[1] - bias[0])


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


class _OpenVinoOps:
    """`Ops` of OpenVINO, channels first."""

    def __init__(self) -> None:
        from openvino import opset13

        self.ops = opset13

    def convolve(self, x: Any, layer: nn.Conv2d, kernel: np.ndarray) -> Any:
        grouped = layer.groups > 1
        operation = self.ops.group_convolution if grouped else self.ops.convolution
        before, behind = margins(layer)
        # Grouped kernels are [groups, outputs, inputs, height, width].
        out = operation(
            x,
            self.ops.constant(kernel[:, None] if grouped else kernel),
            list(layer.stride),
            [before, before],
            [behind, behind],
            [1, 1],
        )
        assert layer.bias is not None
        return self.ops.add(out, self.ops.constant(values(layer.bias).reshape(1, -1, 1, 1)))

    def halve(self, x: Any) -> Any:
        return self.ops.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0)

    def grow(self, x: Any, channels: int) -> Any:
        none, behind = self.ops.constant([0, 0, 0, 0]), self.ops.constant([0, channels, 0, 0])
        return self.ops.pad(x, none, behind, "constant", self.ops.constant(np.float32(0)))

    def add(self, x: Any, y: Any) -> Any:
        return self.ops.add(x, y)

    def relu(self, x: Any) -> Any:
        return self.ops.relu(x)

    def standardise(self, x: Any, means: np.ndarray, deviations: np.ndarray) -> Any:
        x = self.ops.subtract(x, self.ops.constant(means.reshape(1, 3, 1, 1)))
        return self.ops.divide(x, self.ops.constant(deviations.reshape(1, 3, 1, 1)))


def _graph(network: BlazeNet) -> Any:
    import openvino

    build = _OpenVinoOps()
    ops = build.ops
    pictures = ops.parameter([CHUNK, PIXELS, PIXELS], np.float32)
    parts = taps(network, build, ops.unsqueeze(pictures, ops.constant([1])))
    features = ops.concat([ops.reshape(x, ops.constant([0, -1]), True) for x in parts], 1)
    weight = ops.constant(values(network.classifier.weight))
    logits = ops.matmul(features, weight, False, True)
    logits = ops.add(logits, ops.constant(values(network.classifier.bias).reshape(1, -1)))
    return openvino.Model([logits], [pictures])

"""``window.onnx``: the samples of a second in, the logit of a cry out; equal models, equal bytes.

The graph is made node by node, with the spectrum as one strided convolution, so that any runtime of
ONNX takes it and nothing of the exporting library is in it. The convolution's kernel, which would
be two thirds of the file, is an expression of constants: runtimes work it out once, when they open
the file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from crywatch.detection.blazenet.frontend import AMIN, FRAMES, LEAST_RMS, FrontEndConfig
from crywatch.detection.blazenet.network import BlazeNet, margins
from crywatch.detection.blazenet.runtime import margin_classifier, taps, values
from crywatch.detection.devices.spectrum import Picture, picture_of

OPSET, IR = 17, 9  # of ONNX 1.14: runtimes of 2023 read it
WAVE, PICTURE, LOGIT = "wave", "picture", "logit"  # names in the file


class OnnxOps:
    """`runtime.Ops` of ONNX, channels first; tensors are names."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add a node; the name of its output."""
        from onnx import helper

        name = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name, **attributes))
        return name

    def constant(self, value: Any, kind: type = np.float32) -> str:
        """Add a constant; its name."""
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        array: np.ndarray = np.ascontiguousarray(value, dtype=kind)
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def convolve(self, x: str, layer: nn.Conv2d, kernel: np.ndarray) -> str:
        before, behind = margins(layer)
        assert layer.bias is not None
        return self.node(
            "Conv",
            x,
            self.constant(kernel),
            self.constant(values(layer.bias)),
            kernel_shape=list(layer.kernel_size),
            strides=list(layer.stride),
            pads=[before, before, behind, behind],
            group=layer.groups,
        )

    def halve(self, x: str) -> str:
        return self.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])

    def grow(self, x: str, channels: int) -> str:
        ends = self.constant([0, 0, 0, 0, 0, channels, 0, 0], np.int64)
        return self.node("Pad", x, ends, self.constant(0.0))

    def add(self, x: str, y: str) -> str:
        return self.node("Add", x, y)

    def relu(self, x: str) -> str:
        return self.node("Relu", x)

    def standardise(self, x: str, means: np.ndarray, deviations: np.ndarray) -> str:
        x = self.node("Sub", x, self.constant(means.reshape(1, 3, 1, 1)))
        return self.node("Div", x, self.constant(deviations.reshape(1, 3, 1, 1)))


def window_model(network: BlazeNet, front_end: FrontEndConfig) -> bytes:
    """[n, samples] to the picture [n, 64, 64] and the logit [n], as a file."""
    from onnx import TensorProto, checker, helper

    ops = OnnxOps()
    picture = _picture(ops, picture_of(front_end))
    parts = taps(network, ops, ops.node("Unsqueeze", picture, ops.constant([1], np.int64)))
    flat = [ops.node("Flatten", part, axis=1) for part in parts]
    weight, bias = margin_classifier(network)
    features = ops.node("Concat", *flat, axis=1)
    column = ops.node("MatMul", features, ops.constant(weight[:, None]))
    column = ops.node("Add", column, ops.constant(bias))
    ops.node("Squeeze", column, ops.constant([1], np.int64), name=LOGIT)
    wave: list[str | int | None] = ["n", front_end.rate_hz]
    images: list[str | int | None] = ["n", front_end.n_mels, FRAMES]
    graph = helper.make_graph(
        ops.nodes,
        "crywatch",
        [helper.make_tensor_value_info(WAVE, TensorProto.FLOAT, wave)],
        [
            helper.make_tensor_value_info(LOGIT, TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info(PICTURE, TensorProto.FLOAT, images),
        ],
        ops.constants,
    )
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR, producer_name="crywatch")
    checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def _picture(ops: OnnxOps, picture: Picture) -> str:
    """The level-free picture of ``WAVE``, as `frontend.pictures` makes it."""
    power = ops.node("ReduceMean", ops.node("Mul", WAVE, WAVE), axes=[1], keepdims=1)
    rms = ops.node("Max", ops.node("Sqrt", power), ops.constant(LEAST_RMS))
    wave = ops.node("Unsqueeze", ops.node("Div", WAVE, rms), ops.constant([1], np.int64))
    both = ops.node(
        "Conv", wave, _kernel(ops, picture), kernel_shape=[picture.n_fft], strides=[picture.hop]
    )
    both = ops.node("Slice", both, *(ops.constant([n], np.int64) for n in (0, FRAMES, 2)))
    bins = picture.n_fft // 2 + 1
    square = ops.node("Mul", both, both)
    square = ops.node("Reshape", square, ops.constant([-1, 2, bins, FRAMES], np.int64))
    power = ops.node("ReduceSum", square, ops.constant([1], np.int64), keepdims=0)
    mel = ops.node("MatMul", ops.constant(picture.filters), power)
    logs = ops.node("Log", ops.node("Max", mel, ops.constant(AMIN)))
    level = ops.node("Mul", logs, ops.constant(10 / np.log(10)))
    peak = ops.node("ReduceMax", level, axes=[1, 2], keepdims=1)
    level = ops.node("Max", level, ops.node("Sub", peak, ops.constant(picture.top_db)))
    mean = ops.node("ReduceMean", level, axes=[1, 2], keepdims=1)
    less = ops.node("Sub", level, mean)
    return ops.node("Div", less, ops.constant(picture.scale_db), name=PICTURE)


def _kernel(ops: OnnxOps, picture: Picture) -> str:
    """`Picture.kernel` as [2 bins, 1, n_fft], of one turn of a cosine and a sine and the window."""
    bins, samples = np.arange(picture.n_fft // 2 + 1)[:, None], np.arange(picture.n_fft)
    place = ops.node("Mul", ops.constant(bins, np.int64), ops.constant(samples, np.int64))
    place = ops.node("Mod", place, ops.constant(picture.n_fft, np.int64))
    angles = 2 * np.pi * samples / picture.n_fft
    turns = [ops.constant(wave) for wave in (np.cos(angles), np.sin(angles))]
    waves = ops.node("Concat", *(ops.node("Gather", turn, place) for turn in turns), axis=0)
    kernel = ops.node("Mul", waves, ops.constant(picture.window))
    return ops.node("Unsqueeze", kernel, ops.constant([1], np.int64))

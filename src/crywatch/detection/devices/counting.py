"""Multiplications of one window: what a device pays for the spectrum and for the network."""

from __future__ import annotations

import numpy as np
from torch import nn

from crywatch.detection.blazenet.frontend import FRAMES
from crywatch.detection.blazenet.network import FEATURES, BlazeNet
from crywatch.detection.blazenet.runtime import PIXELS, taps
from crywatch.detection.devices.spectrum import Picture

Shape = tuple[int, int]  # channels, side


class _CountingOps:
    """`runtime.Ops` of shapes."""

    def __init__(self) -> None:
        self.products = 0

    def convolve(self, x: Shape, layer: nn.Conv2d, kernel: np.ndarray) -> Shape:
        side = x[1] // int(layer.stride[0])
        self.products += kernel.size * side * side
        return len(kernel), side

    def halve(self, x: Shape) -> Shape:
        return x[0], x[1] // 2

    def grow(self, x: Shape, channels: int) -> Shape:
        return x[0] + channels, x[1]

    def add(self, x: Shape, y: Shape) -> Shape:
        return x

    def relu(self, x: Shape) -> Shape:
        return x

    def standardise(self, x: Shape, means: np.ndarray, deviations: np.ndarray) -> Shape:
        return len(means), x[1]


def network_products(network: BlazeNet) -> int:
    """Multiply-adds of one picture."""
    ops = _CountingOps()
    taps(network, ops, (1, PIXELS))
    return ops.products + FEATURES


def picture_products(picture: Picture) -> int:
    """Multiply-adds of one picture in a graph, whose spectrum is a convolution."""
    return FRAMES * (picture.kernel.size + picture.filters.size)

"""What BlazeNet is compared with: the same network written down plainly."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from crywatch.detection.blazenet import network


class PlainBlock(nn.Module):
    """A BlazeBlock as in the paper's figure."""

    def __init__(self, inside: int, outside: int, stride: int):
        super().__init__()
        self.grow = outside - inside
        self.pool = nn.MaxPool2d(2) if stride == 2 else nn.Identity()
        self.depthwise = nn.Conv2d(inside, inside, 3, stride, padding=1, groups=inside)
        self.pointwise = nn.Conv2d(inside, outside, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[n, inside, h, w] to [n, outside, h / stride, w / stride]."""
        skip = functional.pad(self.pool(x), (0, 0, 0, 0, 0, self.grow))
        return functional.relu(self.pointwise(self.depthwise(x)) + skip)


class PlainBlazeNet(nn.Module):
    """Eager and contiguous, the picture repeated over three channels as in the paper."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 5, stride=2, padding=2)
        self.first = nn.Sequential(*_blocks(network.BlazeNet().first))
        self.second = nn.Sequential(*_blocks(network.BlazeNet().second))
        self.tap1 = nn.Conv2d(88, 2, 1)
        self.tap2 = nn.Conv2d(96, 6, 1)
        self.classifier = nn.Linear(network.FEATURES, 2)

    def forward(self, pictures: Tensor) -> Tensor:
        """[n, 64, 64] to logits [n, 2]."""
        x = pictures.unsqueeze(1).repeat(1, 3, 1, 1)
        middle = self.first(functional.relu(self.stem(x)))
        last = self.second(middle)
        taps = [self.tap1(middle).flatten(1), self.tap2(last).flatten(1)]
        return self.classifier(torch.cat(taps, dim=1))


def _blocks(blocks: nn.Sequential) -> list[PlainBlock]:
    shapes = [(block.pointwise, block.depthwise.stride[0]) for block in blocks]
    return [PlainBlock(conv.in_channels, conv.out_channels, stride) for conv, stride in shapes]


def plain_copy(source: network.BlazeNet) -> PlainBlazeNet:
    """The same weights in the plain network, so that both give the same numbers."""
    plain = PlainBlazeNet()
    weights = {name: value.contiguous() for name, value in source.state_dict().items()}
    plain.load_state_dict(weights)
    return plain

"""BlazeNet (Table 1 of the paper): sixteen BlazeBlocks, two feature taps, 89,680 parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

FEATURES = 224
N_PARAMETERS = 89_680
CHUNK = 32  # pictures at a time without gradients: what lies between two layers fits the cache
_FIRST = [(24, 24, 1), (24, 28, 1), (28, 32, 2), (32, 36, 1), (36, 42, 1), (42, 48, 2)]
_FIRST += [(48, 56, 1), (56, 64, 1), (64, 72, 1), (72, 80, 1), (80, 88, 1)]
_SECOND = [(88, 96, 2), (96, 96, 1), (96, 96, 1), (96, 96, 1), (96, 96, 1)]


class BlazeBlock(nn.Module):
    """Depthwise 3x3, 1x1, and a residual: max-pooled where strided, zero-padded where it grows."""

    def __init__(self, inside: int, outside: int, stride: int):
        super().__init__()
        self.stride = stride
        self.grow = outside - inside
        self.depthwise = nn.Conv2d(inside, inside, 3, stride, padding=1, groups=inside)
        self.pointwise = nn.Conv2d(inside, outside, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[n, inside, h, w] to [n, outside, h / stride, w / stride]."""
        out = self.pointwise(self.depthwise(x))
        skip = functional.max_pool2d(x, 2) if self.stride == 2 else x
        return _AddRelu.apply(out, skip) if torch.is_grad_enabled() else _add_relu_(out, skip)


def _add_relu_(out: Tensor, skip: Tensor) -> Tensor:
    """``relu(out + skip)`` in the place of ``out``; ``skip`` counts as padded with zeros."""
    out[:, : skip.shape[1]].add_(skip)
    return out.relu_()


class _AddRelu(torch.autograd.Function):
    """`_add_relu_` with its gradient: autograd's own makes copies of the padding and the sum."""

    @staticmethod
    def forward(ctx: Any, out: Tensor, skip: Tensor) -> Tensor:
        ctx.mark_dirty(out)
        ctx.channels = skip.shape[1]
        ctx.save_for_backward(_add_relu_(out, skip))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        (out,) = ctx.saved_tensors
        gradient = torch.ops.aten.threshold_backward(gradient, out, 0)
        return gradient, gradient[:, : ctx.channels]


class BlazeNet(nn.Module):
    """[n, 64, 64] log-mel pictures to [n, 2] logits (other, cry).

    The paper repeats the picture over three channels. Since they are equal, the first convolution
    is done once with its weights summed over the input channels: same numbers, same gradients.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 5, stride=2, padding=2)
        self.first = nn.Sequential(*(BlazeBlock(*shape) for shape in _FIRST))
        self.second = nn.Sequential(*(BlazeBlock(*shape) for shape in _SECOND))
        self.tap1 = nn.Conv2d(88, 2, 1)  # FC1: 8 x 8 x 2 = 128 numbers
        self.tap2 = nn.Conv2d(96, 6, 1)  # FC2: 4 x 4 x 6 = 96 numbers
        self.classifier = nn.Linear(FEATURES, 2)
        # Depthwise convolutions are several times faster on a CPU with channels last.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, pictures: Tensor) -> Tensor:
        """[n, 64, 64] to the 224 numbers [n, 224] that the anomaly head is given."""
        if torch.is_grad_enabled() or len(pictures) <= CHUNK:
            return self._features(pictures)
        return torch.cat([self._features(part) for part in pictures.split(CHUNK)])

    def _features(self, pictures: Tensor) -> Tensor:
        weight = self.stem.weight.sum(dim=1, keepdim=True)
        # By its strides: `contiguous` leaves a single channel as it is, and all that follows is
        # then computed with channels first.
        x = pictures.contiguous().unsqueeze(-1).permute(0, 3, 1, 2)
        x = functional.conv2d(x, weight, self.stem.bias, stride=2, padding=2).relu_()
        middle = self.first(x)
        last = self.second(middle)
        return torch.cat([self.tap1(middle).flatten(1), self.tap2(last).flatten(1)], dim=1)

    def forward(self, pictures: Tensor) -> Tensor:
        """[n, 64, 64] to logits [n, 2]."""
        return self.classifier(self.features(pictures))


def cry_probability(logits: Tensor) -> Tensor:
    """[n, 2] logits to [n] probabilities of a cry."""
    return logits.softmax(dim=1)[:, 1]

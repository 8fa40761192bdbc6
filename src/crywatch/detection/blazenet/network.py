"""BlazeNet (Table 1 of the paper): sixteen BlazeBlocks, two feature taps, 89,680 parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from crywatch.core.models import ModelFolder

FEATURES = 224
N_PARAMETERS = 89_680
CHUNK = 32  # pictures at a time without gradients: what lies between two layers fits the cache
_FIRST = [(24, 24, 1), (24, 28, 1), (28, 32, 2), (32, 36, 1), (36, 42, 1), (42, 48, 2)]
_FIRST += [(48, 56, 1), (56, 64, 1), (64, 72, 1), (72, 80, 1), (80, 88, 1)]
_SECOND = [(88, 96, 2), (96, 96, 1), (96, 96, 1), (96, 96, 1), (96, 96, 1)]
PADDINGS = ("symmetric", "same")
# Of the red, green and blue of an image in 0..1, on that corpus.
IMAGENET_MEANS, IMAGENET_DEVIATIONS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CHANNELS = ("equal", "imagenet")


@dataclass(frozen=True)
class NetworkConfig:
    """What the paper's Table 1 leaves open; the weights have the same shapes either way."""

    padding: str = "symmetric"  # of layers with a stride; same: as TensorFlow (Lite) pads
    channels: str = "equal"  # the picture three times; imagenet: with ImageNet's means and scales

    def check(self, key: str) -> None:
        """ValueError, naming ``key``, for what there is not."""
        for name, known in (("padding", PADDINGS), ("channels", CHANNELS)):
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"{key}{name} is {value!r}; there are {', '.join(known)}")


def same_margins(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and behind ``size`` as TensorFlow's SAME: of an odd number more behind."""
    zeros = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return zeros // 2, zeros - zeros // 2


class SameConv2d(nn.Conv2d):
    """A convolution of an input that its stride divides, padded as TensorFlow's SAME."""

    @property
    def margins(self) -> tuple[int, int]:
        """Zeros before and behind, in both directions."""
        return same_margins(self.stride[0], self.kernel_size[0], self.stride[0])

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        before, behind = self.margins
        padded = functional.pad(input, (before, behind, before, behind))
        return super()._conv_forward(padded, weight, bias)


def margins(layer: nn.Conv2d) -> tuple[int, int]:
    """Zeros that ``layer`` has before and behind its input, in both directions."""
    if isinstance(layer, SameConv2d):
        return layer.margins
    before = int(layer.padding[0])
    return before, before


def _strided(padding: str, inside: int, outside: int, kernel: int, groups: int = 1) -> nn.Conv2d:
    if padding == "same":
        return SameConv2d(inside, outside, kernel, 2, groups=groups)
    return nn.Conv2d(inside, outside, kernel, 2, padding=kernel // 2, groups=groups)


class BlazeBlock(nn.Module):
    """Depthwise 3x3, 1x1, and a residual: max-pooled where strided, zero-padded where it grows."""

    def __init__(self, inside: int, outside: int, stride: int, padding: str = "symmetric"):
        super().__init__()
        self.stride = stride
        self.grow = outside - inside
        if stride == 2:
            self.depthwise = _strided(padding, inside, inside, 3, groups=inside)
        else:
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

    The paper repeats the picture over three channels. Where they are equal, the first convolution
    is done once with its weights summed over the input channels: same numbers, same gradients.
    """

    means: Tensor  # [1, 3, 1, 1]
    deviations: Tensor

    def __init__(self, config: NetworkConfig = NetworkConfig()) -> None:
        super().__init__()
        config.check("network.")
        self.config = config
        self.stem = _strided(config.padding, 3, 24, 5)
        self.first = nn.Sequential(*(BlazeBlock(*shape, config.padding) for shape in _FIRST))
        self.second = nn.Sequential(*(BlazeBlock(*shape, config.padding) for shape in _SECOND))
        self.tap1 = nn.Conv2d(88, 2, 1)  # FC1: 8 x 8 x 2 = 128 numbers
        self.tap2 = nn.Conv2d(96, 6, 1)  # FC2: 4 x 4 x 6 = 96 numbers
        self.classifier = nn.Linear(FEATURES, 2)
        for name, values in (("means", IMAGENET_MEANS), ("deviations", IMAGENET_DEVIATIONS)):
            self.register_buffer(name, torch.tensor(values).reshape(1, 3, 1, 1), persistent=False)
        # Depthwise convolutions are several times faster on a CPU with channels last.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, pictures: Tensor) -> Tensor:
        """[n, 64, 64] to the 224 numbers [n, 224] that the anomaly head is given."""
        if torch.is_grad_enabled() or len(pictures) <= CHUNK:
            return self._features(pictures)
        return torch.cat([self._features(part) for part in pictures.split(CHUNK)])

    def _features(self, pictures: Tensor) -> Tensor:
        middle = self.first(self._stem(pictures).relu_())
        last = self.second(middle)
        return torch.cat([self.tap1(middle).flatten(1), self.tap2(last).flatten(1)], dim=1)

    def _stem(self, pictures: Tensor) -> Tensor:
        # By its strides: `contiguous` leaves a single channel as it is, and all that follows is
        # then computed with channels first.
        x = pictures.contiguous().unsqueeze(-1).permute(0, 3, 1, 2)
        if self.config.channels == "imagenet":
            x = (x - self.means) / self.deviations
            return self.stem(x.contiguous(memory_format=torch.channels_last))
        return self.stem._conv_forward(x, self.stem.weight.sum(dim=1, keepdim=True), self.stem.bias)

    def forward(self, pictures: Tensor) -> Tensor:
        """[n, 64, 64] to logits [n, 2]."""
        return self.classifier(self.features(pictures))


def network_of(model: ModelFolder) -> BlazeNet:
    """The backbone in a model folder, as it listens; ModelError where the weights do not fit."""
    network = BlazeNet(NetworkConfig(**model.description.get("network", {})))
    model.fill(network, "backbone")
    return network.eval()


def cry_probability(logits: Tensor) -> Tensor:
    """[n, 2] logits to [n] probabilities of a cry."""
    return logits.softmax(dim=1)[:, 1]

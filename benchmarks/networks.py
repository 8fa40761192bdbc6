"""BlazeNet beside the networks that the cry detection paper found too large: size and speed.

`python -m benchmarks.networks`: parameters, multiply-adds and time of one picture, on one thread.
MobileNet (Howard et al., 2017), ShuffleNet (Zhang et al., 2018, three groups) and SqueezeNet 1.1
(Iandola et al., 2016) have their published widths, two classes, and the 3 x 64 x 64 picture of a
second in place of 224 x 224 pixels. Batch norms count as parameters; in running they are part of
the convolution before them, which is how they are timed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.machine import Machine, machine, positive
from benchmarks.rounds import Case, Comparison, measure

SIDE = 64  # of a picture
PICTURES = 64  # that one call works through, alone or at once
CLASSES = 2
BLAZENET = "BlazeNet"
# MobileNet, Table 1: channels out and stride of each depthwise separable block.
MOBILENET = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5]
MOBILENET += [(1024, 2), (1024, 1)]
# ShuffleNet, Table 1, three groups: channels and units of each stage.
SHUFFLENET = [(240, 4), (480, 8), (960, 4)]
GROUPS = 3
# SqueezeNet 1.1: squeezed and expanded channels of each fire module, 0 for a pooling.
SQUEEZENET = [0, (16, 64), (16, 64), 0, (32, 128), (32, 128), 0]
SQUEEZENET += [(48, 192), (48, 192), (64, 256), (64, 256)]


def convolution(inside: int, outside: int, kernel: int, stride: int = 1, groups: int = 1):
    """Without a bias, and batch norm."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outside),
    )


class ShuffleUnit(nn.Module):
    """Two grouped 1x1 convolutions, a channel shuffle and a depthwise 3x3, beside a residual."""

    def __init__(self, inside: int, outside: int, stride: int, groups: int):
        super().__init__()
        self.stride, middle = stride, outside // 4
        self.first = convolution(inside, middle, 1, groups=groups)
        self.depthwise = convolution(middle, middle, 3, stride, groups=middle)
        left = outside - inside if stride == 2 else outside
        self.last = convolution(middle, left, 1, groups=GROUPS)

    def forward(self, x: Tensor) -> Tensor:
        out = self.first(x).relu()
        n, channels, height, width = out.shape
        out = out.view(n, GROUPS, channels // GROUPS, height, width).transpose(1, 2)
        out = self.last(self.depthwise(out.reshape(n, channels, height, width)))
        if self.stride == 1:
            return (out + x).relu()
        return torch.cat([functional.avg_pool2d(x, 3, 2, 1), out], dim=1).relu()


class Fire(nn.Module):
    """A 1x1 convolution that squeezes, and 1x1 and 3x3 ones side by side that expand."""

    def __init__(self, inside: int, squeezed: int, expanded: int):
        super().__init__()
        self.squeeze = nn.Conv2d(inside, squeezed, 1)
        self.one = nn.Conv2d(squeezed, expanded, 1)
        self.three = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x).relu()
        return torch.cat([self.one(x), self.three(x)], dim=1).relu()


def mobilenet(classes: int = CLASSES) -> nn.Sequential:
    """MobileNet V1, width 1.0."""
    layers: list[nn.Module] = [convolution(3, 32, 3, 2), nn.ReLU()]
    inside = 32
    for outside, stride in MOBILENET:
        layers += [convolution(inside, inside, 3, stride, groups=inside), nn.ReLU()]
        layers += [convolution(inside, outside, 1), nn.ReLU()]
        inside = outside
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, classes)]
    return nn.Sequential(*layers, *head)


def shufflenet(classes: int = CLASSES) -> nn.Sequential:
    """ShuffleNet V1, width 1.0, three groups."""
    layers: list[nn.Module] = [convolution(3, 24, 3, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    inside = 24
    for outside, units in SHUFFLENET:
        for unit in range(units):
            # The first 1x1 of all has too few channels to be grouped.
            groups = 1 if inside == 24 else GROUPS
            layers.append(ShuffleUnit(inside, outside, 2 if unit == 0 else 1, groups))
            inside = outside
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, classes)]
    return nn.Sequential(*layers, *head)


def squeezenet(classes: int = CLASSES) -> nn.Sequential:
    """SqueezeNet 1.1."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, 2), nn.ReLU()]
    inside = 64
    for fire in SQUEEZENET:
        if isinstance(fire, int):
            layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
        else:
            layers.append(Fire(inside, *fire))
            inside = 2 * fire[1]
    head = [nn.Conv2d(inside, classes, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, *head)


def blazenet() -> nn.Module:
    """This project's, of Table 1 of the paper."""
    from crywatch.detection.blazenet.network import BlazeNet

    return BlazeNet()


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    BLAZENET: blazenet,
    "SqueezeNet 1.1": squeezenet,
    "ShuffleNet, 3 groups": shufflenet,
    "MobileNet": mobilenet,
}


@dataclass(frozen=True)
class NetworkRow:
    """A line of the table."""

    name: str
    parameters: int
    multiply_adds: int  # of the convolutions and linear layers, a picture
    ms: float  # a picture, alone
    ms_of_64: float  # a picture, of 64 at a time


@dataclass(frozen=True)
class NetworksReport:
    """All of one run."""

    machine: Machine
    rounds: int
    rows: list[NetworkRow]


def picture(name: str, n: int) -> Tensor:
    """``n`` pictures as a network takes them: BlazeNet repeats one channel itself."""
    return torch.rand(n, SIDE, SIDE) if name == BLAZENET else torch.rand(n, 3, SIDE, SIDE)


def n_parameters(network: nn.Module) -> int:
    """All that is trained."""
    return sum(parameter.numel() for parameter in network.parameters())


@torch.inference_mode()
def multiply_adds(network: nn.Module, pictures: Tensor) -> int:
    """Of every convolution and linear layer, by the shapes that pass, for ``pictures`` [1, ...].

    BlazeNet's first layer is counted as Table 1 has it, over three channels.
    """
    counts: list[int] = []

    def count(module: nn.Module, _: object, output: Tensor) -> None:
        counts.append(module.weight[0].numel() * output.numel())  # type: ignore[operator, index]

    hooks = [
        module.register_forward_hook(count)
        for module in network.modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    network.eval()(pictures)
    for hook in hooks:
        hook.remove()
    if stem := getattr(network, "stem", None):  # called by its weights, not as a module
        counts.append(stem.weight[0].numel() * stem.out_channels * (SIDE // 2) ** 2)
    return sum(counts)


def fused(network: nn.Module) -> nn.Module:
    """Batch norms as part of their convolutions, channels last: as it would be run."""
    for name, child in network.named_children():
        setattr(network, name, fused(child))
    if isinstance(network, nn.Sequential) and len(network) == 2:
        first, second = network
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
            return nn.utils.fuse_conv_bn_eval(first.eval(), second.eval())
    return network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def compare(rounds: int) -> NetworksReport:
    """Every network, in alternating rounds on one thread."""
    torch.set_num_threads(1)
    torch.manual_seed(1)
    networks = {name: make() for name, make in NETWORKS.items()}
    sizes = {
        name: (n_parameters(network), multiply_adds(network, picture(name, 1)))
        for name, network in networks.items()
    }
    ms = {}
    for n in (1, PICTURES):
        cases = []
        for name, network in networks.items():
            pictures = picture(name, PICTURES)
            if name != BLAZENET:
                pictures = pictures.contiguous(memory_format=torch.channels_last)
            cases.append(Case(name, float(PICTURES), _forward(fused(network), pictures, n)))
        result = measure(Comparison(f"{n} at a time", tuple(cases), BLAZENET, 1), rounds)
        ms[n] = {timing.name: timing.ms for timing in result.timings}
    rows = [NetworkRow(name, *sizes[name], ms[1][name], ms[64][name]) for name in networks]
    return NetworksReport(machine(), rounds, rows)


def _forward(network: nn.Module, pictures: Tensor, n: int) -> Callable[[], object]:
    def call() -> object:
        with torch.inference_mode():
            return [network(part) for part in pictures.split(n)]

    return call


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=positive, default=15, help="medians are over these")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    options = parser.parse_args(arguments)
    threads = torch.get_num_threads()
    try:
        report = compare(options.rounds)
    finally:
        torch.set_num_threads(threads)
    print(f"{'':<22}{'parameters':>12}{'M mult-adds':>13}{'ms':>8}{'ms of 64':>10}")
    for row in report.rows:
        print(
            f"{row.name:<22}{row.parameters:>12,}{row.multiply_adds / 1e6:>13.1f}"
            f"{row.ms:>8.2f}{row.ms_of_64:>10.2f}"
        )
    if options.json:
        from crywatch.core.atomic import write_json

        write_json(options.json, asdict(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())

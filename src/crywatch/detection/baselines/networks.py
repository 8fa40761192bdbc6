"""The case study's networks: two dense layers on averaged features, and CNNs on MFCC pictures.

The study gives no sizes. The dense network has one hidden layer and one of classes. The CNN has the
form of the TensorFlow tutorial's that the study refers to ("Simple audio recognition", model
``conv``, after Sainath and Parada, 2015): filters of 20 x 8, halved by max-pooling, filters of
10 x 4, one dense layer, dropout of 0.5 after either convolution. The tutorial has 64 filters and
GPUs; with 16 the network has about as many parameters as BlazeNet and is trained on a CPU.

The app's network is known by its outside (github.com/netguru/baby-monitor-client-android): 4 s of
samples in, 40 MFCC made in the graph (398 frames), two classes out, 18,030 numbers; its first
versions were named after the tutorial's ``tiny_conv``. Neither that (64,330 numbers at this size)
nor ``conv`` has so few, with any number of filters. Layers as ``tiny_conv``'s one after another do:
filters of 10 x 8, a stride of 2 x 2, padded at the edges, dropout, with as many filters as it has,
8, in the first, then 16, then 4, and a dense layer: 648 + 10,256 + 5,124 + 2,002. Of all such rows
of up to three layers of up to 64 filters only 4, 4, 20 and 13, 11, 4 give the same sum. Filters of
other shapes can, too: what the app's file holds inside was not at hand.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from crywatch.detection.baselines.mfcc import N_COEFFICIENTS, frames
from crywatch.detection.blazenet.network import same_margins

DROPOUT = 0.5  # of the tutorial
CNN_S, APP_S = 1.0, 4.0  # of a picture
APP_FILTERS = (8, 16, 4)
APP_KERNEL, APP_STRIDE = (10, 8), 2  # of the tutorial's ``tiny_conv``


class Standardise(nn.Module):
    """Takes the mean and the deviation of the training windows off; neither is trained."""

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def fit(self, rows: Tensor) -> None:
        """From ``rows`` [..., width]."""
        flat = rows.reshape(-1, rows.shape[-1]).double()
        self.mean = flat.mean(dim=0).float()
        self.scale = flat.std(dim=0, correction=0).clamp_min(1e-6).float()

    def forward(self, rows: Tensor) -> Tensor:
        """[..., width] to the same shape."""
        return (rows - self.mean) / self.scale


class DenseNetwork(nn.Module):
    """[n, features] to logits [n, classes]."""

    def __init__(self, n_features: int, hidden: int, n_classes: int):
        super().__init__()
        self.standard = Standardise(n_features)
        self.hidden = nn.Linear(n_features, hidden)
        self.out = nn.Linear(hidden, n_classes)

    def forward(self, rows: Tensor) -> Tensor:
        """[n, features] to logits [n, classes]."""
        return self.out(self.hidden(self.standard(rows)).relu())


class CnnNetwork(nn.Module):
    """MFCC pictures [n, 98, 40] to logits [n, classes]."""

    def __init__(self, filters: int, n_classes: int):
        super().__init__()
        self.standard = Standardise(N_COEFFICIENTS)
        self.first = nn.Conv2d(1, filters, (20, 8))
        self.second = nn.Conv2d(filters, filters, (10, 4))
        self.dropout = nn.Dropout(DROPOUT)
        self.out = nn.Linear(filters * (frames(CNN_S) // 2) * (N_COEFFICIENTS // 2), n_classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """[n, 98, 40] to logits [n, classes]."""
        # Padded as the tutorial does, so that nothing but the pooling shrinks the picture.
        x = functional.pad(self.standard(pictures)[:, None], (3, 4, 9, 10))
        x = functional.max_pool2d(self.dropout(self.first(x).relu()), 2)
        x = functional.pad(x, (1, 2, 4, 5))
        x = self.dropout(self.second(x).relu())
        return self.out(x.flatten(1))


class AppNetwork(nn.Module):
    """MFCC pictures of 4 s [n, 398, 40] to logits [n, classes]."""

    def __init__(self, n_classes: int):
        super().__init__()
        self.standard = Standardise(N_COEFFICIENTS)
        widths = zip((1, *APP_FILTERS[:-1]), APP_FILTERS, strict=True)
        self.layers = nn.ModuleList(nn.Conv2d(*each, APP_KERNEL, APP_STRIDE) for each in widths)
        self.dropout = nn.Dropout(DROPOUT)
        height, width = frames(APP_S), N_COEFFICIENTS
        for _ in self.layers:
            height, width = -(-height // APP_STRIDE), -(-width // APP_STRIDE)
        self.out = nn.Linear(APP_FILTERS[-1] * height * width, n_classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """[n, 398, 40] to logits [n, classes]."""
        x = self.standard(pictures)[:, None]
        for layer in self.layers:
            sizes = zip(x.shape[2:], APP_KERNEL, strict=True)
            height, width = (same_margins(*each, APP_STRIDE) for each in sizes)
            x = self.dropout(layer(functional.pad(x, (*width, *height))).relu())
        return self.out(x.flatten(1))

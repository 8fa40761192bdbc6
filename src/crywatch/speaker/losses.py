"""Losses on batches of several cries of several infants, and their weighted sum.

GE2E: Wan et al., ICASSP 2018. NT-Xent with several positives: Chen et al., ICML 2020. AAM-softmax:
Xiang et al., APSIPA 2019 (SpeechBrain's margin), with label smoothing. All are means, over cries or
over pairs, so that weights do not depend on the size of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from crywatch.core.errors import ConfigError
from crywatch.speaker import torchaudio_cpu

MIN_W = 1e-3  # below which GE2E's w cannot fall


@dataclass
class Ge2eConfig:
    """Where w and b of ``w cos + b`` start."""

    weight: float = 1.0
    w: float = 10.0
    b: float = -5.0


@dataclass
class NtXentConfig:
    """NT-Xent."""

    weight: float = 1.0
    temperature: float = 0.1


@dataclass
class AamConfig:
    """AAM-softmax; the class weights are learnt and thrown away."""

    weight: float = 1.0
    margin: float = 0.2  # radians
    scale: float = 30.0
    label_smoothing: float = 0.1


@dataclass
class LogMelConfig:
    """No loss, but statistics (`speaker.logmel`)."""

    recordings: int = 200  # of the training part that set their units, at most


@dataclass
class SpeakerLossConfig:
    """Config group ``speaker_loss``: the sum of all that are not null.

    With ``views`` the labels are recordings, of each of which a batch has two augmented crops, as
    in SimCLR (Chen et al., ICML 2020); without, they are infants.
    """

    ge2e_softmax: Ge2eConfig | None = None
    ge2e_contrast: Ge2eConfig | None = None
    ntxent: NtXentConfig | None = None
    aam: AamConfig | None = None
    views: bool = False
    logmel: LogMelConfig | None = None  # alone: nothing is trained


@dataclass(frozen=True)
class LossValue:
    """The sum, and what it is made of."""

    total: Tensor  # scalar
    terms: dict[str, Tensor]  # scalars by name, unweighted


class Ge2e(nn.Module):
    """Similarity to the centroids of all infants, in one of the two forms of the paper.

    S_{i,k} = w cos(e_i, c_k) + b; the centroid of a cry's own infant leaves that cry out (Eq. 8
    and 9). Softmax (Eq. 6): -S_{i,own} + logsumexp_k S_{i,k}. Contrast (Eq. 7): 1 -
    sigmoid(S_{i,own}) + max over the others of sigmoid(S_{i,k}).
    """

    def __init__(self, config: Ge2eConfig, contrast: bool):
        super().__init__()
        if not config.w > MIN_W:
            raise ConfigError(f"speaker_loss.ge2e: w is {config.w:g}: set it above {MIN_W:g}")
        self.contrast = contrast
        start = config.w - MIN_W
        # The inverse of softplus; for a large start exp() would overflow.
        self.raw_w = nn.Parameter(torch.tensor(start + math.log(-math.expm1(-start))))
        self.b = nn.Parameter(torch.tensor(float(config.b)))

    @property
    def w(self) -> Tensor:
        """Above zero whatever the optimiser does to ``raw_w``."""
        return MIN_W + functional.softplus(self.raw_w)

    def similarities(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """[batch, infants], and the column of each cry's own infant [batch]."""
        _, own, counts = labels.unique(return_inverse=True, return_counts=True)
        if len(counts) < 2 or counts.min() < 2:
            raise ConfigError(
                "speaker_loss.ge2e: a batch needs two infants or more and two cries or more of "
                "each; "
                f"this one has {counts.tolist()}"
            )
        units = functional.normalize(embeddings, dim=1)
        sums = units.new_zeros(len(counts), units.shape[1]).index_add(0, own, units)
        cosines = units @ functional.normalize(sums, dim=1).T
        rest = functional.normalize(sums[own] - units, dim=1)
        # No clamp: it would take the gradient from every cosine below it.
        cosines = cosines.scatter(1, own[:, None], (units * rest).sum(dim=1, keepdim=True))
        return self.w * cosines + self.b, own

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """A scalar from [batch, dim] and the infants' numbers [batch]."""
        similarities, own = self.similarities(embeddings, labels)
        if not self.contrast:
            return functional.cross_entropy(similarities, own)
        mine = similarities.gather(1, own[:, None])[:, 0].sigmoid()
        others = similarities.scatter(1, own[:, None], -math.inf)
        return (1 - mine + others.amax(dim=1).sigmoid()).mean()


class NtXent(nn.Module):
    """-log exp(s_ip / t) / (exp(s_ip / t) + sum over the others' cries n of exp(s_in / t)).

    A mean over all ordered pairs (i, p) of one infant; two of each give SimCLR's Eq. 1. The
    infant's further cries stay out of the denominator: in it they would be pushed away.
    (pytorch-metric-learning computes the same, but holds a matrix of positive pairs by negative
    pairs, and adds a constant inside the logarithm that ends the gradient at low temperatures.)
    """

    def __init__(self, config: NtXentConfig):
        super().__init__()
        if not config.temperature > 0:
            raise ConfigError(
                f"speaker_loss.ntxent: temperature is {config.temperature:g}: set it above 0"
            )
        self.temperature = config.temperature

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """A scalar from [batch, dim] and the infants' numbers [batch]."""
        units = functional.normalize(embeddings, dim=1)
        logits = units @ units.T / self.temperature
        same = labels[:, None] == labels[None, :]
        positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        if not positive.any() or same.all():
            raise ConfigError(
                "speaker_loss.ntxent: a batch needs two infants or more and two cries or more "
                "of one"
            )
        negatives = logits.masked_fill(same, -math.inf).logsumexp(dim=1, keepdim=True)
        return functional.softplus(negatives - logits)[positive].mean()


class Aam(nn.Module):
    """Cross-entropy of cosines to a weight per infant, its own angle made wider by ``margin``."""

    def __init__(self, config: AamConfig, n_infants: int, dim: int):
        super().__init__()
        torchaudio_cpu.prepare_speechbrain()
        from speechbrain.nnet.losses import AdditiveAngularMargin

        if n_infants < 2:
            raise ConfigError(f"speaker_loss.aam: needs two infants or more, there is {n_infants}")
        if not 0 <= config.margin < math.pi or not 0 <= config.label_smoothing < 1:
            raise ConfigError(
                f"speaker_loss.aam: margin is {config.margin:g} and label_smoothing "
                f"{config.label_smoothing:g}: set them within [0, pi) and [0, 1)"
            )
        self.margin = AdditiveAngularMargin(config.margin, config.scale)
        self.label_smoothing = config.label_smoothing
        self.weight = nn.Parameter(torch.empty(n_infants, dim))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """A scalar from [batch, dim] and the infants' numbers [batch], in 0..n_infants - 1."""
        cosines = functional.linear(
            functional.normalize(embeddings, dim=1), functional.normalize(self.weight, dim=1)
        )
        own = functional.one_hot(labels, len(self.weight)).to(cosines.dtype)
        return functional.cross_entropy(
            self.margin(cosines, own), labels, label_smoothing=self.label_smoothing
        )


class SpeakerLoss(nn.Module):
    """The weighted sum of the terms that a config names."""

    def __init__(self, config: SpeakerLossConfig, n_infants: int, dim: int):
        super().__init__()
        make: dict[str, Callable[[Any], nn.Module]] = {
            "ge2e_softmax": lambda term: Ge2e(term, contrast=False),
            "ge2e_contrast": lambda term: Ge2e(term, contrast=True),
            "ntxent": NtXent,
            "aam": lambda term: Aam(term, n_infants, dim),
        }
        chosen = {name: term for name in make if (term := getattr(config, name)) is not None}
        if not chosen:
            raise ConfigError(f"loss: no term is set; there are {', '.join(make)}")
        for name, term in chosen.items():
            if not term.weight > 0:
                raise ConfigError(
                    f"speaker_loss.{name}.weight is {term.weight:g}: set it above 0, or the term "
                    "to null"
                )
        self.weights = {name: term.weight for name, term in chosen.items()}
        self.terms = nn.ModuleDict({name: make[name](term) for name, term in chosen.items()})

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossValue:
        """From [batch, dim] and the infants' numbers [batch] int64."""
        terms = {name: term(embeddings, labels) for name, term in self.terms.items()}
        total = torch.stack([self.weights[name] * value for name, value in terms.items()]).sum()
        return LossValue(total, {name: value.detach() for name, value in terms.items()})

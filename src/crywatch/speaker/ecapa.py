"""ECAPA-TDNN (Desplanques et al., Interspeech 2020): a cry as a point on the sphere in 192-d.

Network, filterbank and normalisation are SpeechBrain's, set as in spkrec-ecapa-voxceleb: 80 mel
bands over 0 to 8 kHz, window 25 ms, hop 10 ms, the mean over the cry taken off each band.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from crywatch.audio.segments import RATE_HZ
from crywatch.core.errors import AudioError, ConfigError, ModelError
from crywatch.core.models import REMAKE, ModelFolder, require_finite
from crywatch.speaker import torchaudio_cpu

KIND = "ecapa"
RANDOM = "random"
PUBLISHED = "speechbrain/spkrec-ecapa-voxceleb"
CHECKPOINT = "embedding_model.ckpt"  # in the publisher's layout
MELS, DIM, HOP = 80, 192, 160  # HOP in samples
MIN_SAMPLES = 4 * HOP  # the widest dilation reflects four frames at each edge
BATCH_SAMPLES = 32 * 5 * RATE_HZ  # embedded at a time
_PART = "ecapa"  # of the weights in a model folder
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass
class EcapaConfig:
    """Where the weights come from and which of them learn.

    Layers by name: ``blocks.0`` (the first convolution), ``blocks.1`` to ``blocks.3`` (the SE-Res2
    blocks), ``mfa``, ``asp`` and ``asp_bn`` (the pooling), ``fc``; deeper names work too.
    """

    source: str  # "random", a folder in the publisher's layout, or OWNER/NAME on the hub
    channels: int  # of random weights; a checkpoint has its own
    frozen: list[str]  # layers that stay as they are, batch norm included
    revision: str = ""  # of the hub's repository; "" for the newest


@dataclass(frozen=True)
class EcapaShape:
    """Widths of the layers."""

    channels: int  # of the first convolution and of the SE-Res2 blocks; a multiple of 8
    pooled: int  # channels that are pooled
    attention: int = 128
    squeeze: int = 128


class Ecapa(nn.Module):
    """Waves at 16 kHz to unit vectors; layers that start with a name in ``frozen`` never change."""

    is_averaged = True  # over crops

    def __init__(self, shape: EcapaShape, frozen: Sequence[str] = ()):
        super().__init__()
        torchaudio_cpu.prepare_speechbrain()
        from speechbrain.lobes.features import Fbank
        from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN
        from speechbrain.processing.features import InputNormalization

        if shape.channels < 8 or shape.channels % 8:
            raise ConfigError(f"ecapa.channels is {shape.channels}: set it to a multiple of 8")
        self.shape = shape
        self.filterbank = Fbank(sample_rate=RATE_HZ, n_mels=MELS)
        self.normalisation = InputNormalization(norm_type="sentence", std_norm=False)
        self.network = ECAPA_TDNN(
            MELS,
            lin_neurons=DIM,
            channels=[shape.channels] * 4 + [shape.pooled],
            kernel_sizes=[5, 3, 3, 3, 1],
            dilations=[1, 2, 3, 4, 1],
            attention_channels=shape.attention,
            se_channels=shape.squeeze,
            groups=[1] * 5,
        )
        self.frozen = tuple(frozen)
        names = [name for name, _ in self.network.named_parameters()]
        for prefix in self.frozen:
            if not any(_below(name, prefix) for name in names):
                raise ConfigError(
                    f"ecapa.frozen: there is no layer {prefix!r}; there are "
                    f"{', '.join(sorted({_layer(name) for name in names}))}"
                )
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(not self._is_frozen(name))
        self.train(self.training)

    def forward(self, waves: Tensor, n_samples: Tensor | None = None) -> Tensor:
        """``waves`` [batch, samples] to [batch, 192] of length 1.

        ``n_samples`` [batch] says how long each is, where shorter ones are padded at their end. The
        statistics leave the padding out, and the bands are silent there; the convolutions at a
        cry's last frames reflect it, so that a padded cry is near to what it is alone, not equal
        (`embed` pads nothing).
        """
        if waves.shape[1] < MIN_SAMPLES:
            raise AudioError(
                f"a cry of {waves.shape[1]} samples is too short for ECAPA-TDNN: "
                f"{MIN_SAMPLES} ({1000 * MIN_SAMPLES // RATE_HZ} ms) or more are needed"
            )
        with torch.no_grad():
            bands = self.filterbank(waves)  # [batch, frames, 80] dB
            if n_samples is None:
                share, bands = None, self.normalisation(bands)
            else:
                # Frames below this border are the cry's; no frame lies on it, where rounding would
                # decide.
                border = n_samples // HOP + 0.5
                share = border / bands.shape[1]
                inside = torch.arange(bands.shape[1]) < border[:, None]
                # SpeechBrain leaves the padding tens of dB below the mean, and the Res2 blocks
                # carry that 60 frames into the cry.
                bands = self.normalisation(bands, share) * inside[:, :, None]
        return functional.normalize(self.network(bands, share)[:, 0], dim=1)

    def train(self, mode: bool = True) -> Ecapa:
        """As usual, but frozen layers stay in evaluation: their batch norm keeps its statistics."""
        super().train(mode)
        for name, module in self.network.named_modules():
            if self._is_frozen(name):
                module.eval()
        return self

    @torch.inference_mode()
    def embed(self, waves: Sequence[np.ndarray]) -> np.ndarray:
        """Waves [samples] at 16 kHz to [waves, 192] float32; no row depends on another wave."""
        was_training = self.training
        self.eval()
        out = np.empty((len(waves), DIM), dtype=np.float32)
        by_length: dict[int, list[int]] = {}
        for row, wave in enumerate(waves):
            by_length.setdefault(len(wave), []).append(row)
        try:
            for length, rows in by_length.items():
                size = max(1, BATCH_SAMPLES // max(length, 1))
                for start in range(0, len(rows), size):
                    chunk = rows[start : start + size]
                    batch = np.stack([waves[row] for row in chunk]).astype(np.float32)
                    out[chunk] = self(torch.from_numpy(batch)).numpy()
        finally:
            self.train(was_training)
        return out

    def _is_frozen(self, name: str) -> bool:
        return any(_below(name, prefix) for prefix in self.frozen)


def _below(name: str, prefix: str) -> bool:
    """By whole parts: ``blocks.1`` is no prefix of ``blocks.10``."""
    return name == prefix or name.startswith(f"{prefix}.")


def _layer(name: str) -> str:
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "blocks" else parts[0]


def build(config: EcapaConfig, seed: int) -> Ecapa:
    """The network that ``config`` names; ``seed`` draws random weights.

    Raises
    ------
    ConfigError
        A layer in ``frozen`` is not there, or would be frozen with random weights.
    ModelError
        The source cannot be had, holds more than weights, or is no ECAPA-TDNN of 80 bands.
    """
    if config.source == RANDOM:
        if config.frozen:
            raise ConfigError(
                f"ecapa.frozen is {list(config.frozen)}, but ecapa.source is {RANDOM!r}: random "
                "layers that never learn are of no use; set ecapa.frozen to []"
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Ecapa(EcapaShape(config.channels, 3 * config.channels))
    path = _checkpoint(config)
    weights = _read(path)
    ecapa = Ecapa(_shape(weights, path), config.frozen)
    # One message for whatever does not fit.
    ModelFolder({}, {f"{_PART}.{k}": v for k, v in weights.items()}, path).fill(
        ecapa.network, _PART
    )
    return ecapa


def _checkpoint(config: EcapaConfig) -> Path:
    """The file of weights, fetched from the hub where the source is no folder."""
    folder = Path(config.source).expanduser()
    if folder.is_dir():
        if not (folder / CHECKPOINT).is_file():
            raise ModelError(f"ecapa.source: {folder} has no {CHECKPOINT}")
        return folder / CHECKPOINT
    if not _HUB_NAME.fullmatch(config.source):
        raise ModelError(
            f"ecapa.source: {config.source!r} is neither {RANDOM!r}, nor a folder that is there, "
            f"nor a repository of the hub such as {PUBLISHED}"
        )
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(config.source, CHECKPOINT, revision=config.revision or None))
    except Exception as error:  # the hub's client raises whatever its transport does
        lines = str(error).splitlines()
        raise ModelError(
            f"ecapa.source: no folder {config.source!r}, and the hub did not give {CHECKPOINT} "
            f"({type(error).__name__}: {lines[0] if lines else ''}); set ecapa.source to a folder "
            f"that holds it, or to {RANDOM!r}"
        ) from error


def _read(path: Path) -> dict[str, Tensor]:
    """The state dict of a checkpoint; nothing in the file is executed."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises whatever a damaged file leads it to
        lines = str(error).splitlines()
        raise ModelError(
            f"{path}: not a file of weights alone ({lines[0] if lines else type(error).__name__})"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ModelError(f"{path}: not a state dict: names and tensors are expected")
    require_finite(state, path, "fetch it again")
    return dict(state)


def _shape(weights: Mapping[str, Tensor], where: Path) -> EcapaShape:
    """The widths that the tensors tell."""

    def size(name: str, axis: int) -> int:
        if name not in weights or weights[name].ndim != 3:
            raise ModelError(f"{where}: not an ECAPA-TDNN of SpeechBrain: {name} is missing")
        return weights[name].shape[axis]

    first = "blocks.0.conv.conv.weight"
    bands, dim = size(first, 1), size("fc.conv.weight", 0)
    if (bands, dim) != (MELS, DIM):
        raise ModelError(
            f"{where}: takes {bands} bands and gives {dim} numbers; {MELS} and {DIM} are needed"
        )
    return EcapaShape(
        channels=size(first, 0),
        pooled=size("mfa.conv.conv.weight", 0),
        attention=size("asp.tdnn.conv.conv.weight", 0),
        squeeze=size("blocks.1.se_block.conv1.conv.weight", 0),
    )


def to_model(ecapa: Ecapa, name: str, settings: Mapping[str, Any] | None = None) -> ModelFolder:
    """``ecapa`` for `models.save`; ``settings`` join the description (corpora, loss)."""
    description = {
        "kind": KIND,
        "name": name,
        "rate_hz": RATE_HZ,
        "dim": DIM,
        "shape": asdict(ecapa.shape),
        "frozen": list(ecapa.frozen),
    }
    weights = {f"{_PART}.{k}": v.detach() for k, v in ecapa.network.state_dict().items()}
    return ModelFolder(description | dict(settings or {}), weights)


def from_model(model: ModelFolder) -> Ecapa:
    """The network of a model folder, in evaluation mode; ModelError if it is of another kind."""
    kind = model.setting("kind")
    if kind != KIND:
        raise ModelError(f"{model.folder}: a model of kind {kind!r}; {KIND!r} is needed")
    try:
        ecapa = Ecapa(EcapaShape(**model.setting("shape")), model.setting("frozen"))
    except (ArithmeticError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"{model.folder}: shape: {error}: {REMAKE}") from error
    model.fill(ecapa.network, _PART)
    return ecapa.eval()

"""Stage ``train_baselines``: the case study's SVC, dense network and CNN, and its app's network.

The study's four classes are those of baby_cry_detection: crying, silence, noise and laugh. A clip
labelled cry is crying; any other clip is of the class that lists its category, or else noise. The
app's network has crying and noise alone, as the study's clips of AudioSet. A window of a strongly
labelled clip with no second of crying in it is noise. The classes of the study are of equal size;
here they are not, and each counts the same by its weight.

The study gives neither hyper-parameters nor a schedule. C and gamma of the SVC come from a grid,
the epoch of a network from its loss, both on the validation part; Adam at Keras's rate trains the
networks. ``channel`` is the study's last step, "we just recorded the whole dataset on phone": every
training and validation clip goes through that channel first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from crywatch.audio.channels import Channel, apply
from crywatch.audio.segments import RATE_HZ, n_segments
from crywatch.audio.waves.cleaned import read_clean
from crywatch.core.errors import ConfigError, TableError, named
from crywatch.core.models import ModelFolder
from crywatch.core.progress import progress
from crywatch.core.threads import one_thread
from crywatch.data.selection import Source, labelled, strong_labels
from crywatch.data.sources import heard
from crywatch.data.truth import Truth
from crywatch.detection.baselines import CRYING
from crywatch.detection.baselines.averaged import NAMES, averages
from crywatch.detection.baselines.fitting import (
    Data,
    FittedBaseline,
    Network,
    NetworkSchedule,
    fit_network,
    fit_svc,
)
from crywatch.detection.baselines.mfcc import Mfcc
from crywatch.detection.baselines.networks import (
    APP_S,
    CNN_S,
    AppNetwork,
    CnnNetwork,
    DenseNetwork,
)
from crywatch.detection.baselines.windows import windows
from crywatch.detection.training import write_trained

NOISE = "noise"
CLIP_S = 5.0  # of the study's first data


@dataclass(frozen=True)
class _Kind:
    """What a kind of system is given."""

    window_s: float
    inputs: Callable[[np.ndarray], np.ndarray]  # of a window [samples]
    all_classes: bool = True  # the study's four; else crying and noise


def _picture(wave: np.ndarray) -> np.ndarray:
    """[samples] to [frames, 40]."""
    return _mfcc()(torch.from_numpy(wave)[None])[0].numpy()


_mfcc = cache(Mfcc)
KINDS = {
    "svc": _Kind(CLIP_S, averages),
    "dense": _Kind(CLIP_S, averages),
    "cnn": _Kind(CNN_S, _picture),
    "app": _Kind(APP_S, _picture, all_classes=False),
}


@dataclass
class SvcConfig:
    """The grid of the SVC."""

    c: list[float]
    gamma: list[float]


@dataclass
class NetworkConfig:
    """A network's schedule; epochs are those of the full one."""

    lr: float
    batch_size: int
    epochs: int
    patience_epochs: int

    def scaled(self, scale: float) -> NetworkSchedule:
        """With ``scale`` times the epochs, at least one."""
        epochs = (max(1, round(n * scale)) for n in (self.epochs, self.patience_epochs))
        return NetworkSchedule(self.lr, self.batch_size, *epochs)


@dataclass
class SizedNetworkConfig(NetworkConfig):
    """And its size."""

    width: int  # hidden units of the dense network, filters of the CNN


@dataclass
class BaselineConfig:
    """One model."""

    kind: str  # svc, dense, cnn, app
    seed: int = 1
    channel: str = "as_is"  # of section channels, through which its training clips go
    leave_out: str = ""  # corpora and kinds of sound, as in train_robust
    row: str = ""  # of tables, where models differ by their seed


@dataclass(frozen=True)
class TrainBaselinesConfig:
    """Section ``train_baselines``."""

    classes: dict[str, list[str]]  # categories of the classes beside crying and noise
    svc: SvcConfig
    dense: SizedNetworkConfig
    cnn: SizedNetworkConfig
    app: NetworkConfig
    models: dict[str, BaselineConfig] = field(default_factory=dict)

    def model(self, name: str) -> BaselineConfig:
        """By name; ConfigError if there is none or its kind is unknown."""
        model = named(self.models, name, "train_baselines.models")
        if model.kind not in KINDS:
            raise ConfigError(
                f"train_baselines.models.{name}.kind: {model.kind!r} is unknown; there are "
                f"{', '.join(KINDS)}"
            )
        return model


@dataclass(frozen=True)
class BaselineSummary:
    """How the training went."""

    name: str
    classes: tuple[str, ...]
    corpora: tuple[str, ...]
    n_train: int  # windows
    n_val: int
    fitted: FittedBaseline

    def as_metrics(self) -> dict[str, float]:
        """For the tracking store."""
        counts = {"train_windows": self.n_train, "val_windows": self.n_val}
        return counts | {"classes": len(self.classes)} | self.fitted.metrics


@dataclass(frozen=True)
class _PartWindows:
    """Windows of one part."""

    inputs: np.ndarray  # [windows, ...]
    classes: np.ndarray  # [windows] str


@one_thread()
def run(
    name: str,
    config: TrainBaselinesConfig,
    channel: Channel,
    split: Source,
    scale: float,
    out_dir: Path,
    on_epoch: Callable[[dict], None] | None = None,
) -> BaselineSummary:
    """Train ``name``; writes model.json, model.safetensors, metrics.json and history.csv."""
    model = config.model(name)
    kind = KINDS[model.kind]
    by_category = config.classes if kind.all_classes else {}
    clips = labelled(split.clips, model.leave_out)
    clips = clips[clips["split"].isin(("train", "val"))]
    truth = Truth(clips, strong_labels([split.events]))
    parts = {
        part: _read_windows(clips[clips["split"] == part], by_category, kind, truth, channel)
        for part in ("train", "val")
    }
    present = set(parts["train"].classes)
    classes = tuple(c for c in (CRYING, *by_category, NOISE) if c in present)
    for part, windows_of_part in parts.items():
        if CRYING not in windows_of_part.classes or len(set(windows_of_part.classes) & present) < 2:
            raise TableError(f"model {name}: the {part} part lacks cries or other sounds")
    train, val = (_data(parts[part], classes) for part in ("train", "val"))
    fitted = _fit(model, config, train, val, len(classes), scale, on_epoch)
    corpora = heard((split.clips,), set(clips["clip_id"]))
    summary = BaselineSummary(name, classes, corpora, len(train.labels), len(val.labels), fitted)
    sizes = {
        "svc": {},
        "dense": {"hidden": config.dense.width},
        "cnn": {"filters": config.cnn.width},
        "app": {},
    }
    _write(summary, model, sizes[model.kind], out_dir)
    return summary


def class_of(label: str, category: str, classes: Mapping[str, list[str]]) -> str:
    """The class of a clip by its ``label`` and its publisher's ``category``."""
    if label == "cry":
        return CRYING
    names = (name for name, categories in classes.items() if category in categories)
    return next(names, NOISE)


def _read_windows(
    clips: pd.DataFrame,
    classes: Mapping[str, list[str]],
    kind: _Kind,
    truth: Truth,
    channel: Channel,
) -> _PartWindows:
    """Inputs and classes of all windows of ``clips``."""
    silence = kind.inputs(np.zeros(round(kind.window_s * RATE_HZ), dtype=np.float32))
    inputs, window_classes = [np.zeros((0, *silence.shape), dtype=np.float32)], []
    columns = (clips[name] for name in ("clip_id", "path", "label", "category"))
    rows = list(zip(*columns, strict=True))
    for clip_id, path, label, category in progress(rows, "windows", unit="clip"):
        wave = apply(channel, read_clean(path), clip_id)
        clip_class = class_of(label, category, classes)
        for window, has_cry in _windows(wave, clip_id, kind.window_s, truth):
            inputs.append(kind.inputs(window)[None])
            window_classes.append(NOISE if clip_class == CRYING and not has_cry else clip_class)
    return _PartWindows(np.concatenate(inputs), np.array(window_classes, dtype=str))


def _windows(
    wave: np.ndarray, clip_id: str, length_s: float, truth: Truth
) -> Iterator[tuple[np.ndarray, bool]]:
    """Windows [samples] of a clip, and whether any second of them is crying."""
    crying = truth.segments(clip_id, n_segments(len(wave)))
    for window in windows([wave], length_s):
        first = int(window.start_s)
        yield window.wave, bool(crying[first : first + round(length_s)].any())


def _data(part: _PartWindows, classes: tuple[str, ...]) -> Data:
    """Without windows of a class that the training part lacks."""
    number = {name: index for index, name in enumerate(classes)}
    known = np.isin(part.classes, classes)
    labels = np.array([number[name] for name in part.classes[known]], dtype=np.int64)
    return Data(part.inputs[known], labels)


def _fit(
    model: BaselineConfig,
    config: TrainBaselinesConfig,
    train: Data,
    val: Data,
    n_classes: int,
    scale: float,
    on_epoch: Callable[[dict], None] | None,
) -> FittedBaseline:
    if model.kind == "svc":
        return fit_svc(train, val, config.svc.c, config.svc.gamma)
    settings: dict[str, NetworkConfig] = {
        "dense": config.dense,
        "cnn": config.cnn,
        "app": config.app,
    }
    networks: dict[str, Callable[[], Network]] = {
        "dense": lambda: DenseNetwork(len(NAMES), config.dense.width, n_classes),
        "cnn": lambda: CnnNetwork(config.cnn.width, n_classes),
        "app": lambda: AppNetwork(n_classes),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(model.seed)
        network = networks[model.kind]()
        schedule = settings[model.kind].scaled(scale)
        return fit_network(network, train, val, schedule, model.seed, on_epoch)


def _write(
    summary: BaselineSummary, model: BaselineConfig, sizes: dict[str, int], out_dir: Path
) -> None:
    description = {
        "kind": model.kind,
        "name": summary.name,
        "segment_s": 1.0,  # that a score is of
        "window_s": KINDS[model.kind].window_s,
        "classes": list(summary.classes),
        "parameters": summary.fitted.n_parameters,
        "corpora": list(summary.corpora),
        "trained_on": asdict(model) | {"windows_n": summary.n_train},
    } | sizes
    model_folder = ModelFolder(description, summary.fitted.weights)
    write_trained(out_dir, model_folder, summary.as_metrics(), summary.fitted.history)

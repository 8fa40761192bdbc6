"""Stage ``export`` and `crywatch export`: one model as a folder that runs without torch.

``window.onnx`` and ``window.tflite`` hear one second's samples and give the logit of a cry; the
features are inside the graph. ``network_int8.tflite`` hears the picture that ``frontend.c`` makes.
Silence, context, calibration and rules are in ``sidecar.json`` and ``crywatch.h``; ``golden.npz``
holds generated seconds with their pictures and logits. Each graph is compared with torch before the
folder has its name (`parity`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crywatch.audio.waves.cleaned import read_clean
from crywatch.audio.waves.levels import level_dbfs
from crywatch.core.atomic import atomic_dir, write_json
from crywatch.core.digest import file_sha256
from crywatch.core.errors import ConfigError, ModelError, TableError
from crywatch.core.models import DESCRIPTION, WEIGHTS, ModelFolder, load
from crywatch.core.progress import progress
from crywatch.core.threads import one_thread
from crywatch.data.selection import Source, sounds
from crywatch.detection.blazenet.frontend import pictures
from crywatch.detection.calibrate.listening import known_clips
from crywatch.detection.decisions import KEY as DECISION
from crywatch.detection.decisions import Calibration
from crywatch.detection.detectors import SIDECAR, load_on_torch
from crywatch.detection.devices.c import Quantised, write_device
from crywatch.detection.devices.counting import network_products, picture_products
from crywatch.detection.devices.detector import FORMAT, ONNX, TFLITE, ExportedDetector
from crywatch.detection.devices.golden import FILE as GOLDEN
from crywatch.detection.devices.golden import write_golden
from crywatch.detection.devices.parity import (
    PLAIN,
    ParityLimits,
    ParityRow,
    golden_rows,
    part_rows,
)
from crywatch.detection.devices.quantised import Int8Detector
from crywatch.detection.devices.spectrum import picture_of
from crywatch.detection.robust.context import SILENT_DBFS, SILENT_LOGIT, windows
from crywatch.detection.robust.detector import RobustDetector
from crywatch.detection.robust.windowed import WindowedDetector

INT8 = "network_int8.tflite"
FILES = {"onnx": ONNX, "tflite": TFLITE, "int8": INT8}  # by format
PARITY = "parity.json"
NEEDS = {  # by format: modules, and what brings them
    "onnx": (("onnx",), "train"),
    "tflite": (("tensorflow", "ai_edge_litert"), "export"),
    "int8": (("tensorflow", "ai_edge_litert"), "export"),
}


@dataclass(frozen=True)
class ExportConfig:
    """Section ``export``."""

    model: str  # folder of the stage's model; `crywatch export` is given one
    formats: list[str]  # of FILES
    int8_pictures: int  # of the training part: they set the ranges of whole numbers
    test_s: float  # of the test part that is heard, evenly chosen
    limits: ParityLimits

    def check(self) -> None:
        """ConfigError for a format that there is not, or that cannot be made here."""
        for name in self.formats:
            if name not in FILES:
                raise ConfigError(f"export.formats: no {name!r}; there are {', '.join(FILES)}")
            modules, extra = NEEDS[name]
            for module in modules:
                if find_spec(module) is None:
                    raise ConfigError(
                        f"export.formats: {name} needs {module}, which is not installed: "
                        f'pip install "crywatch[{extra}]"'
                    )
        if not {"onnx", "tflite"} & set(self.formats):
            raise ConfigError("export.formats: name onnx, tflite or both: one must hear samples")


@dataclass(frozen=True)
class ExportSummary:
    """What was written."""

    about: dict[str, Any]  # the sidecar
    rows: list[ParityRow]

    def as_metrics(self) -> dict[str, float]:
        """For the tracking store."""
        values: dict[str, float] = dict(self.about["products"])
        for name, size in self.about["bytes"].items():
            values[f"{name}.bytes"] = size
        if self.about["int8"] and self.about["int8"]["arena_bytes"]:
            values["int8.arena_bytes"] = self.about["int8"]["arena_bytes"]
        for row in self.rows:
            values |= row.as_metrics()
        return values


@one_thread()
def run(
    model_dir: Path,
    config: ExportConfig,
    sources: Sequence[Source],
    out_dir: Path,
    terms: Mapping[str, Any] | None = None,
) -> ExportSummary:
    """Write the model at ``model_dir`` as ``out_dir``; without ``sources`` no sound is heard.

    ``terms`` go into the sidecar: what the loaders of the model's corpora say, which no stage asks.

    Raises
    ------
    ModelError
        The model is of another kind or hears other pictures, or an export differs from torch.
    """
    config.check()
    model = load(model_dir)
    detector = load_on_torch(model_dir)
    if not isinstance(detector, RobustDetector):
        raise ModelError(
            f"{model_dir}: a model of kind {model.description['kind']!r} is not exported; robust "
            "networks are, of train_robust or calibrated"
        )
    if "int8" in config.formats and not sources:
        raise ConfigError(
            "export.formats: int8 takes its ranges from training sound: run this in a project "
            "after `dvc repro split`, or leave int8 out"
        )
    with atomic_dir(out_dir) as temp:
        files = _write_graphs(temp, detector, config, sources)
        whole = Int8Detector(temp / INT8, detector) if "int8" in config.formats else None
        quantised = whole.quantised(temp / INT8) if whole else None
        files += write_golden(temp, detector)
        files += _write_device(temp, detector, quantised)
        about = _sidecar(model, detector, config, quantised, temp, files)
        about["licences"] = _licences(about["corpora"], sources)
        about |= terms or {}
        write_json(temp / SIDECAR, about)
        others: dict[str, WindowedDetector] = {
            name: ExportedDetector(temp, FILES[name]) for name in config.formats if name != "int8"
        }
        if whole is not None:
            others["int8"] = whole
        waves = np.load(temp / GOLDEN)["waves"]
        rows = golden_rows(detector, others, waves)
        if sources:
            rows += part_rows(detector, others, sources, config.test_s)
        for row in rows:
            config.limits.check(row)
        write_json(temp / PARITY, [row.as_dict() for row in rows])
    return ExportSummary(about, rows)


def _write_graphs(
    folder: Path, detector: RobustDetector, config: ExportConfig, sources: Sequence[Source]
) -> list[str]:
    if "onnx" in config.formats:
        from crywatch.detection.devices import onnx_graph

        (folder / ONNX).write_bytes(onnx_graph.window_model(detector.network, detector.front_end))
    if "tflite" in config.formats or "int8" in config.formats:
        from crywatch.detection.devices import tflite_graph

        if "tflite" in config.formats:
            graph = tflite_graph.window_model(detector.network, detector.front_end)
            (folder / TFLITE).write_bytes(graph)
        if "int8" in config.formats:
            heard = _training_pictures(detector, sources, config.int8_pictures)
            (folder / INT8).write_bytes(tflite_graph.int8_model(detector.network, heard))
    return [FILES[name] for name in config.formats]


def _training_pictures(
    detector: RobustDetector, sources: Sequence[Source], count: int
) -> np.ndarray:
    """[at most ``count``, 64, 64]: of as many clips, evenly chosen, their loudest seconds."""
    clips = known_clips(sources, "train")
    places = np.unique(np.linspace(0, len(clips) - 1, min(count, len(clips))).astype(int))
    loudest = []
    for path in progress(clips["path"].iloc[places], "export int8", len(places), "clip"):
        seconds = windows(detector.low(read_clean(path)), detector.rate_hz, 1)
        level = np.sqrt(np.square(seconds).mean(axis=1))
        if len(level) and level_dbfs(float(level.max())) >= SILENT_DBFS:
            loudest.append(seconds[level.argmax()])
    if not loudest:
        raise TableError("export: the train part has no sound that sets the ranges of int8")
    with torch.inference_mode():
        return pictures(torch.from_numpy(np.stack(loudest)), detector.front_end).numpy()


def _write_device(folder: Path, detector: RobustDetector, quantised: Quantised | None) -> list[str]:
    calibration, rule = Calibration("temperature"), PLAIN  # as they are
    if detector.decision is not None:
        calibration, rule = detector.decision.calibration, detector.decision.rated().rule
    picture = picture_of(detector.front_end)
    return write_device(folder, picture, detector.context, calibration, rule, quantised)


def _licences(corpora: Sequence[str], sources: Sequence[Source]) -> dict[str, list[str]]:
    """Of the clips of each of ``corpora`` that are there."""
    if not sources:
        return {}
    clips = sounds(source.clips for source in sources)
    of_corpus = clips[clips["corpus"].isin(corpora)].groupby("corpus")["licence"].unique()
    return {str(corpus): sorted(licences) for corpus, licences in of_corpus.items()}


def _sidecar(
    model: ModelFolder,
    detector: RobustDetector,
    config: ExportConfig,
    quantised: Quantised | None,
    folder: Path,
    files: list[str],
) -> dict[str, Any]:
    picture = picture_of(detector.front_end)
    assert model.folder is not None
    return {
        "format": FORMAT,
        "name": detector.name,
        "model": {name: file_sha256(model.folder / name) for name in (DESCRIPTION, WEIGHTS)},
        "files": {name: file_sha256(folder / name) for name in files},
        "bytes": {name: (folder / FILES[name]).stat().st_size for name in config.formats},
        "rate_hz": detector.rate_hz,
        "window_s": detector.front_end.segment_s,
        "hop_s": detector.context.hop_s,
        "frontend": detector.front_end.as_dict(),
        "context": detector.context.as_dict(),
        "silence": {"dbfs": SILENT_DBFS, "logit": SILENT_LOGIT},
        DECISION: model.description.get(DECISION),
        "int8": asdict(quantised) if quantised else None,
        "parameters": detector.n_parameters,
        "products": {
            "network_products": network_products(detector.network),
            "picture_products": picture_products(picture),
        },
        "corpora": model.setting("corpora"),
    }

"""A model that `crywatch export` wrote, on ONNX Runtime or LiteRT: torch need not be installed.

The graph has one window's samples as input and the logit of a cry as output. Silence, context,
calibration and rules are those of the sidecar, and the same code as beside torch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from crywatch.core.digest import file_sha256
from crywatch.core.errors import ModelError
from crywatch.detection.decisions import decision_of
from crywatch.detection.detectors import SIDECAR
from crywatch.detection.robust.context import ContextConfig
from crywatch.detection.robust.windowed import WindowedDetector
from crywatch.detection.runtimes import Network, has_runtime, in_a_line, open_network

FORMAT = 1  # of the sidecar
ONNX, TFLITE = "window.onnx", "window.tflite"
AGAIN = "write it again with `crywatch export`"
BATCH = 32  # windows at a time: what lies between two layers fits the cache
Map = Callable[[Network, Iterable[np.ndarray]], Iterable[np.ndarray]]


class ExportedDetector(WindowedDetector):
    """``window.onnx`` or ``window.tflite`` of a folder; the first whose runtime is installed."""

    def __init__(self, folder: Path, file: str = ""):
        about = read_sidecar(folder)
        file = file or _playable(folder, about)
        path = folder / file
        if not path.is_file() or file_sha256(path) != about["files"].get(file):
            raise ModelError(f"{path}: not what was written with {SIDECAR}: {AGAIN}")
        try:
            self._network = open_network(path)
            context = ContextConfig(**about["context"])
            super().__init__(about["name"], about["parameters"], about["rate_hz"], context)
        except (ModelError, LookupError, TypeError) as error:
            raise ModelError(f"{path}: {in_a_line(error)}: {AGAIN}") from error
        self.decision = decision_of(about, str(folder))
        self._map: Map = map

    def speed_up(self) -> None:
        if self._network.concurrent and (cores := _cores()) > 1:
            self._map = ThreadPoolExecutor(cores, "hear").map

    def hear(self, windows: np.ndarray) -> np.ndarray:
        starts = range(0, len(windows), BATCH)
        batches = (windows[start : start + BATCH] for start in starts)
        return np.concatenate([part.ravel() for part in self._map(self._network, batches)])


def read_sidecar(folder: Path) -> dict[str, Any]:
    """What is said beside the graphs; ModelError where that cannot be read."""
    path = folder / SIDECAR
    try:
        about = json.loads(path.read_bytes())
        if about["format"] != FORMAT:
            raise ValueError(f"format {about['format']!r} is not {FORMAT}")
        about["files"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: {type(error).__name__}: {error}: {AGAIN}") from error
    return about


def _playable(folder: Path, about: dict[str, Any]) -> str:
    there = [file for file in (ONNX, TFLITE) if file in about["files"]]
    if not there:
        raise ModelError(f"{folder}: neither {ONNX} nor {TFLITE} is in it: {AGAIN}")
    return next(filter(has_runtime, there), there[0])


def _cores() -> int:
    """That this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

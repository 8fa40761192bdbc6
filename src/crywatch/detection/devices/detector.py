"""A model that `crywatch export` wrote, on ONNX Runtime or LiteRT: torch need not be installed.

The graph has one window's samples as input and the logit of a cry as output. Silence, context,
calibration and rules are those of the sidecar, and the same code as beside torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from crywatch.core.digest import file_sha256
from crywatch.core.errors import ModelError
from crywatch.detection.decisions import decision_of
from crywatch.detection.detectors import SIDECAR
from crywatch.detection.robust.context import ContextConfig, Hearing
from crywatch.detection.robust.windowed import WindowedDetector

FORMAT = 1  # of the sidecar
ONNX, TFLITE = "window.onnx", "window.tflite"
AGAIN = "write it again with `crywatch export`"
BATCH = 32  # windows at a time: what lies between two layers fits the cache


class ExportedDetector(WindowedDetector):
    """``window.onnx`` or ``window.tflite`` of a folder; the first whose runtime is installed."""

    def __init__(self, folder: Path, file: str = ""):
        about = read_sidecar(folder)
        file = file or _playable(folder, about)
        path = folder / file
        if not path.is_file() or file_sha256(path) != about["files"].get(file):
            raise ModelError(f"{path}: not what was written with {SIDECAR}: {AGAIN}")
        try:
            self._hear = RUNTIMES[file](path)
            context = ContextConfig(**about["context"])
            super().__init__(about["name"], about["parameters"], about["rate_hz"], context)
        except ModuleNotFoundError:
            raise
        except Exception as error:  # of the runtimes' own kinds
            raise ModelError(f"{path}: {type(error).__name__}: {error}: {AGAIN}") from error
        self.decision = decision_of(about, str(folder))

    def hear(self, windows: np.ndarray) -> np.ndarray:
        return self._hear(windows)


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
    modules = {ONNX: "onnxruntime", TFLITE: "ai_edge_litert"}
    there = [file for file in modules if file in about["files"]]
    if not there:
        raise ModelError(f"{folder}: neither {ONNX} nor {TFLITE} is in it: {AGAIN}")
    return next((file for file in there if find_spec(modules[file])), there[0])


def _onnx(path: Path) -> Hearing:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    return _in_batches(lambda windows: session.run(["logit"], {"wave": windows})[0])


def _tflite(path: Path) -> Hearing:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    given = interpreter.get_input_details()[0]["index"]
    output = interpreter.get_output_details()[0]["index"]
    size = 0

    def hear(windows: np.ndarray) -> np.ndarray:
        nonlocal size
        if len(windows) != size:
            interpreter.resize_tensor_input(given, windows.shape)
            interpreter.allocate_tensors()
            size = len(windows)
        interpreter.set_tensor(given, windows)
        interpreter.invoke()
        return interpreter.get_tensor(output)[:, 0]

    return _in_batches(hear)


def _in_batches(hear: Hearing) -> Hearing:
    def batches(windows: np.ndarray) -> np.ndarray:
        starts = range(0, len(windows), BATCH)
        return np.concatenate([hear(windows[start : start + BATCH]) for start in starts])

    return batches


RUNTIMES: dict[str, Callable[[Path], Hearing]] = {ONNX: _onnx, TFLITE: _tflite}

"""An exported model beside YAMNet: processor time of one second of sound, in alternating rounds.

`python -m benchmarks.exported EXPORTED MODEL YAMNET.tflite`: a folder of `crywatch export` with all
formats, and the model it was made of. YAMNet hears 0.975 s at once and is given one such window a
second; the others hear one window of a second. Whole numbers are timed on LiteRT's fast kernels and
without the picture, which C makes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.machine import positive
from benchmarks.rounds import Case, Comparison, Result, measure

YAMNET = "YAMNet, .tflite"
SECONDS = 8  # that one call works through, one by one


def compare(exported: Path, model: Path, yamnet: Path, rounds: int) -> Result:
    """Milliseconds a second, and how many times as fast as YAMNet."""
    import torch

    from crywatch.core.errors import ModelError
    from crywatch.detection.detectors import load_on_torch
    from crywatch.detection.devices.detector import ONNX, TFLITE, ExportedDetector
    from crywatch.detection.devices.export import INT8
    from crywatch.detection.embedders.yamnet import WINDOW

    torch.set_num_threads(1)
    detector = load_on_torch(model)
    if not hasattr(detector, "hear"):
        raise ModelError(f"{model}: not a model that hears windows")
    waves = 0.1 * np.random.default_rng(0).standard_normal((SECONDS, 1, detector.rate_hz))
    windows = list(waves.astype(np.float32))
    hears: dict[str, Callable[[np.ndarray], object]] = {"torch": detector.hear}
    for name in (ONNX, TFLITE):
        hears[name] = ExportedDetector(exported, name).hear
    cases = [Case(name, SECONDS, partial(_each, hear, windows)) for name, hear in hears.items()]
    for name, path in ((INT8, exported / INT8), (YAMNET, yamnet)):
        cases.append(Case(name, SECONDS, _invoke(path, WINDOW if name == YAMNET else None)))
    compared = Comparison("a second of sound", tuple(cases), YAMNET, 1, time.process_time)
    return measure(compared, rounds)


def _each(hear: Callable[[np.ndarray], object], windows: list[np.ndarray]) -> None:
    for window in windows:
        hear(window)


def _invoke(path: Path, samples: int | None) -> Callable[[], object]:
    from crywatch.detection.runtimes import LiteRtNetwork

    network = LiteRtNetwork(path)
    (shape,) = network.inputs.values()
    assert samples is None or np.prod(shape) == samples
    kind = np.float32 if samples else np.int8
    values = np.random.default_rng(0).standard_normal(shape).astype(kind)

    def call() -> None:
        for _ in range(SECONDS):
            network(values)

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("exported", "model", "yamnet"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--rounds", type=positive, default=15)
    given = parser.parse_args()
    result = compare(given.exported, given.model, given.yamnet, given.rounds)
    print("| runtime | ms of a core a second | times as fast as YAMNet |\n|---|---|---|")
    for timing in result.timings:
        print(f"| {timing.name} | {timing.ms:.2f} | {timing.ratio or 1:.1f} |")


if __name__ == "__main__":
    main()

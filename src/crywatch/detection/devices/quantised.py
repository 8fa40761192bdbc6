"""``network_int8.tflite`` on a microcontroller's kernels, and the memory it needs there."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from crywatch.detection.blazenet.frontend import pictures
from crywatch.detection.devices.c import Quantised
from crywatch.detection.robust.detector import RobustDetector
from crywatch.detection.robust.windowed import WindowedDetector
from crywatch.detection.runtimes import LiteRtNetwork

ARENA_BYTES = 1 << 20  # more than the network needs: it says how much less
# In a process of its own: the allocator writes its account to the standard error of the process.
_ACCOUNT = """
import sys
from tflite_micro import runtime
runtime.Interpreter.from_file(sys.argv[1], arena_size=int(sys.argv[2])).print_allocations()
"""


class Int8Detector(WindowedDetector):
    """Torch's pictures in whole numbers, on LiteRT's reference kernels: those of tflite-micro."""

    def __init__(self, path: Path, detector: RobustDetector):
        name, context = f"{detector.name} int8", detector.context
        super().__init__(name, detector.n_parameters, detector.rate_hz, context)
        self.decision = detector.decision
        self._front_end = detector.front_end
        self._network = network = LiteRtNetwork(path, reference=True)
        self._input, self._output = (
            network.scales[name] for name in (*network.inputs, *network.outputs)
        )

    def quantised(self, path: Path) -> Quantised:
        """The scales, and the memory of the network in ``path``."""
        (scale, zero), (out_scale, out_zero) = self._input, self._output
        return Quantised(
            float(scale), int(zero), float(out_scale), int(out_zero), arena_bytes(path)
        )

    @torch.inference_mode()
    def hear(self, windows: np.ndarray) -> np.ndarray:
        images = pictures(torch.from_numpy(windows), self._front_end).numpy()
        return np.array([self.logit(whole) for whole in self.whole(images)], dtype=np.float32)

    def whole(self, images: np.ndarray) -> np.ndarray:
        """[n, 64, 64] pictures as whole numbers."""
        scale, zero = self._input
        return np.clip(np.rint(images / np.float32(scale)) + zero, -128, 127).astype(np.int8)

    def logit(self, whole: np.ndarray) -> float:
        """[64, 64] int8 to nats."""
        scale, zero = self._output
        return float(scale) * (int(self._network(whole[None, :, :, None])[0, 0]) - zero)


def arena_bytes(path: Path) -> int | None:
    """What tflite-micro allocates for a network on this machine; None where it is not installed.

    On a machine of 32 bits it is less: pointers are half as long.
    """
    if find_spec("tflite_micro") is None:
        return None
    command = [sys.executable, "-c", _ACCOUNT, str(path), str(ARENA_BYTES)]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    total = re.search(r"Arena allocation total (\d+)", said.stdout + said.stderr)
    return int(total[1]) if total else None

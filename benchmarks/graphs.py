"""The released model's graph beside its weights on torch: ``python -m benchmarks.graphs``.

The whole command `crywatch detect`, from its start to the last event, on recordings of several
lengths (generated noise, in which all windows are heard), in alternating rounds: on ONNX Runtime,
on torch, and on OpenVINO, which takes over from torch in long recordings.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import sounds
from benchmarks.machine import positive
from benchmarks.rounds import Case, Comparison, measure

LENGTHS_S = (5, 60, 1800)
RATE_HZ = 16_000
TORCH = "torch"
WITHOUT = "import sys; sys.modules['openvino'] = None; "
RUN = "from crywatch.cli.main import main; main()"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table."""
    import soundfile

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--seconds", type=positive, nargs="*", default=LENGTHS_S)
    options = parser.parse_args(arguments)
    print("| a recording of | runtime | seconds | times torch |\n|---|---|---:|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="crywatch-graphs-") as name:
        weights = _weights(Path(name) / "weights")
        for length in options.seconds:
            path = Path(name) / "sound.wav"
            noise = np.random.default_rng(sounds.SEED).normal(0, 0.05, length * RATE_HZ)
            soundfile.write(path, noise, RATE_HZ)
            calls = {
                "ONNX Runtime": partial(_detect, RUN, path, Path("released")),
                TORCH: partial(_detect, WITHOUT + RUN, path, weights),
                "torch, OpenVINO": partial(_detect, RUN, path, weights),
            }
            cases = tuple(Case(kind, 1.0, call) for kind, call in calls.items())
            for timing in measure(Comparison("", cases, TORCH, 0), options.rounds).timings:
                spread = f"{timing.ratio:.2f} ({timing.low_ratio:.2f} to {timing.high_ratio:.2f})"
                print(f"| {length} s | {timing.name} | {timing.ms / 1e3:.2f} | {spread} |")


def _weights(folder: Path) -> Path:
    """The released model without its graph."""
    from crywatch.core.models import DESCRIPTION, WEIGHTS
    from crywatch.detection.released import FOLDER

    folder.mkdir()
    for name in (DESCRIPTION, WEIGHTS):
        shutil.copyfile(FOLDER / name, folder / name)
    return folder


def _detect(code: str, path: Path, model: Path) -> None:
    command = [sys.executable, "-c", code, "detect", str(path), "--model", str(model)]
    subprocess.run(command, cwd=path.parent, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()

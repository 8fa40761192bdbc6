"""Generated seconds with their pictures and logits: what any other runtime is compared with."""

from __future__ import annotations

import wave as wave_files
from pathlib import Path

import numpy as np
import torch

from crywatch.audio.waves.cleaned import to_int16
from crywatch.detection.blazenet.frontend import pictures
from crywatch.detection.robust.detector import RobustDetector

FILE = "golden.npz"  # names [n], waves [n, samples], pictures [n, 64, 64], logits [n]
FOLDER = "golden"  # the waves as NAME.wav, 16 bits
SEED = 18
QUIET = 10 ** (-60 / 20)  # above what counts as silence


def waves(rate_hz: int) -> dict[str, np.ndarray]:
    """[samples of a second] float32 by name, each exact in 16 bits."""
    rng = np.random.default_rng(SEED)
    time = np.arange(rate_hz) / rate_hz
    contour_hz = 450 + 120 * np.sin(np.pi * time)  # of a wail that rises and falls
    wail = _harmonics(contour_hz, rate_hz) * np.minimum(1, 4 * np.sin(np.pi * time))
    ticks = np.zeros(rate_hz)
    ticks[:: rate_hz // 7] = 1
    sounds = {
        "wail": wail,
        "wail_clipped": np.clip(8 * wail, -1, 1),
        "wail_quiet": QUIET * wail,
        "wail_in_noise": 0.3 * wail + 0.1 * rng.standard_normal(rate_hz),
        "voice": _harmonics(120 + 20 * np.sin(8 * np.pi * time), rate_hz),
        "siren": _harmonics(700 + 400 * np.sin(4 * np.pi * time), rate_hz),
        "hum": _harmonics(np.full(rate_hz, 50.0), rate_hz),
        "noise": 0.2 * rng.standard_normal(rate_hz),
        "ticks": ticks + 1e-3 * rng.standard_normal(rate_hz),
    }
    return {n: to_int16(s).astype(np.float32) / np.float32(32768) for n, s in sounds.items()}


def _harmonics(pitch_hz: np.ndarray, rate_hz: int) -> np.ndarray:
    """A voice's overtones below the Nyquist frequency, loudest near 1 and 3 kHz; peak 0.8."""
    turns = np.cumsum(pitch_hz) / rate_hz
    sound = np.zeros(len(pitch_hz))
    for number in range(1, int(rate_hz / 2 / pitch_hz.max()) + 1):
        at_hz = number * pitch_hz
        gain = 1 / (1 + ((at_hz - 1050) / 180) ** 2) + 0.7 / (1 + ((at_hz - 3000) / 300) ** 2)
        sound += (gain + 0.02) * np.sin(2 * np.pi * number * turns)
    return 0.8 * sound / np.abs(sound).max()


@torch.inference_mode()
def write_golden(folder: Path, detector: RobustDetector) -> list[str]:
    """Write the files below ``folder``; their names."""
    named = waves(detector.rate_hz)
    stack = np.stack(list(named.values()))
    np.savez(
        folder / FILE,
        names=np.array(list(named)),
        waves=stack,
        pictures=pictures(torch.from_numpy(stack), detector.front_end).numpy(),
        logits=detector.hear(stack),
    )
    (folder / FOLDER).mkdir()
    for name, wave in named.items():
        with wave_files.open(str(folder / FOLDER / f"{name}.wav"), "wb") as file:
            file.setparams((1, 2, detector.rate_hz, 0, "NONE", ""))
            file.writeframes(to_int16(wave).astype("<i2").tobytes())
    return [FILE, *(f"{FOLDER}/{name}.wav" for name in named)]

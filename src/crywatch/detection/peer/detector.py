"""The robust network and YAMNet on the same windows: a weighted mean of their logits (late fusion).

What one of the two takes for a cry of a kind of sound that it does not know, the other rarely does:
`docs/experiments.md` has what that is worth on kinds left out. For machines that can afford 3.7
million parameters more; a model folder of kind ``fused`` holds YAMNet's file too.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.resampling import resample
from crywatch.core.digest import file_sha256
from crywatch.core.errors import ConfigError, ModelError
from crywatch.core.models import REMAKE, ModelFolder
from crywatch.detection.peer.zero_shot import YamnetConfig, YamnetDetector
from crywatch.detection.robust.detector import RobustDetector
from crywatch.detection.robust.windowed import WindowedDetector

KIND = "fused"
FILE = "yamnet.tflite"  # in a model folder
KEY = "yamnet"  # of its description
LEAST, MOST = 1e-8, 0.999  # of YAMNet's scores, which are 0 and 1 too


class FusedDetector(WindowedDetector):
    """Each window is heard by both networks; a second listens to the windows around it."""

    def __init__(self, robust: RobustDetector, yamnet: YamnetDetector, weight: float):
        self._robust, self._yamnet, self._weight = robust, yamnet, weight
        n_parameters = robust.n_parameters + yamnet.n_parameters
        super().__init__(f"{robust.name}+yamnet", n_parameters, RATE_HZ, robust.context)

    def speed_up(self) -> None:
        self._robust.speed_up()

    def hear(self, windows: np.ndarray) -> np.ndarray:
        """[n, 16000] to [n]. Each window is resampled by itself: 0.001 of a logit, in the mean."""
        low = np.stack([resample(window, RATE_HZ, self._robust.rate_hz) for window in windows])
        scores = np.clip(self._yamnet.score_seconds(windows), LEAST, MOST)
        theirs = np.log(scores / (1 - scores))
        return (1 - self._weight) * self._robust.hear(low) + self._weight * theirs


def open_model(model: ModelFolder) -> FusedDetector:
    """The detector of a model folder of kind ``fused``; ModelError where YAMNet is another."""
    assert model.folder is not None
    path, stored = model.folder / FILE, model.setting(KEY)
    if not path.is_file() or file_sha256(path) != stored["sha256"]:
        raise ModelError(f"{path}: not the YAMNet that this model was made with: {REMAKE}")
    yamnet = YamnetDetector("yamnet", str(path))
    return FusedDetector(RobustDetector(model), yamnet, stored["weight"])


def fuse(model: ModelFolder, yamnet: YamnetConfig) -> FusedDetector:
    """The detector of a robust ``model`` and YAMNet; ConfigError where these cannot be one."""
    yamnet.check()
    if model.setting("kind") != "robust":
        raise ConfigError(f"{model.folder}: of kind {model.setting('kind')}, not robust")
    peer = YamnetDetector("yamnet", yamnet.handle)
    return FusedDetector(RobustDetector(model), peer, yamnet.weight)


def describe(yamnet: YamnetConfig) -> dict[str, Any]:
    """What the description of a fused model has beside that of the robust one."""
    return {"kind": KIND, KEY: {"sha256": file_sha256(_file(yamnet)), "weight": yamnet.weight}}


def put_yamnet(yamnet: YamnetConfig, folder: Path) -> None:
    """YAMNet's file into a model ``folder``."""
    shutil.copyfile(_file(yamnet), folder / FILE)


def _file(yamnet: YamnetConfig) -> Path:
    path = Path(yamnet.handle).expanduser()
    if path.suffix != ".tflite":
        raise ConfigError(
            f"yamnet.handle: {yamnet.handle}: a model that holds YAMNet needs its .tflite file"
        )
    return path

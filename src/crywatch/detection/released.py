"""The model that the package brings: what decides where no rebuild has made one.

`python -m crywatch.operations.release` puts it here; ``lineage.json`` says what it came from,
``CARD.md`` what it heard and what it can do.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from crywatch.core import params
from crywatch.core.errors import CrywatchError
from crywatch.core.project import root, say
from crywatch.detection import detectors
from crywatch.detection.detect import DetectConfig
from crywatch.detection.detectors import Detector

if TYPE_CHECKING:
    from crywatch.detection.devices.export import ExportConfig

NAME = "released"
FOLDER = Path(__file__).resolve().parents[1] / NAME
CARD = FOLDER / "CARD.md"
LINEAGE = FOLDER / "lineage.json"


def configuration() -> DetectConfig:
    """Section ``detect`` of the project around here; without a project the released model's."""
    try:
        here = root()
    except CrywatchError:
        return DetectConfig(model=NAME, threshold=None, min_event_s=1.0, max_gap_s=1.0)
    return params.section("detect", DetectConfig, here / params.PARAMS_FILE)


def export_configuration(project: Path | None) -> ExportConfig:
    """Section ``export`` of ``project``; without one its defaults, and the released model."""
    from crywatch.detection.devices.export import ExportConfig
    from crywatch.detection.devices.parity import ParityLimits

    if project is not None:
        return params.section("export", ExportConfig, project / params.PARAMS_FILE)
    limits = ParityLimits(logit=1e-4, auc=0.004, decisions=0.015)
    return ExportConfig(NAME, ["onnx"], int8_pictures=512, test_s=1800.0, limits=limits)


def folder_of(model: Path) -> Path:
    """``model``, a default that is on disk; else the released one, with a line on it."""
    if model.name == NAME:
        return FOLDER
    if model.is_dir():
        return model
    say(f"the released model decides: no rebuild (`dvc repro`) has made {model} yet")
    return FOLDER


def load_detector(folder: Path | str | None = None) -> Detector:
    """The detector in a model folder; ModelError if there is none or it does not fit.

    Without a folder it is the one that section ``detect`` of params.yaml names, in the project
    around the current folder, on the fastest runtime at hand, and it decides as that section says.
    Where no rebuild has made that one, or there is no project, it is the released one.
    """
    if folder is not None:
        return detectors.load_detector(FOLDER if str(folder) == NAME else folder)
    config = configuration()
    model = folder_of(Path(NAME) if config.model == NAME else root() / config.model)
    detector = detectors.load_detector(model)
    config.rule(detector.decision)  # a decision that the model does not have is refused here
    detector.config = config
    detector.speed_up()
    return detector

"""A robust model folder with random weights, for the tests of what is built on one."""

from __future__ import annotations

from pathlib import Path

import torch

from crywatch.core.models import ModelFolder, save
from crywatch.detection.blazenet.frontend import FrontEndConfig
from crywatch.detection.blazenet.network import BlazeNet
from crywatch.detection.robust.context import ContextConfig

FRONT_END = FrontEndConfig(
    scale="mean",
    rate_hz=8000,
    n_mels=64,
    window_s=0.064,
    hop_s=0.01475,
    fmin_hz=50.0,
    fmax_hz=4000.0,
    top_db=60.0,
    band_share=0.0,
)
CONTEXT = ContextConfig(
    hop_s=0.5, own_reach_s=0.0, before_s=1.0, after_s=1.0, own_weight=0.5, pooling="mean"
)


def write_robust(folder: Path, **told) -> Path:
    """The folder, of kind "robust"; ``told`` goes into its description."""
    torch.manual_seed(5)
    weights = {f"backbone.{name}": value for name, value in BlazeNet().state_dict().items()}
    description = {
        "kind": "robust",
        "name": folder.name,
        "segment_s": 1.0,
        "frontend": FRONT_END.as_dict(),
        "context": CONTEXT.as_dict(),
        "corpora": ["a"],
        "trained_on": {"leave_out": ""},
    }
    save(folder, ModelFolder(description | told, weights))
    return folder

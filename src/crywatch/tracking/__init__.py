"""The one module that talks to MLflow."""

from __future__ import annotations

from crywatch.tracking.stage import StageRun, stage_run
from crywatch.tracking.store import ui

__all__ = ["StageRun", "stage_run", "ui"]

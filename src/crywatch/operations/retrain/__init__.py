"""`crywatch retrain`: look, decide, rebuild, register, tell; unattended, and safe to repeat."""

from __future__ import annotations

from crywatch.operations.retrain.config import RetrainConfig
from crywatch.operations.retrain.lock import Held
from crywatch.operations.retrain.record import Line, Record
from crywatch.operations.retrain.unattended import run

__all__ = ["Held", "Line", "Record", "RetrainConfig", "run"]

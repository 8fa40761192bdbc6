"""`crywatch retrain`: look, decide, rebuild, register, tell; unattended, and safe to repeat."""

from __future__ import annotations

from crywatch.retrain.config import RetrainConfig
from crywatch.retrain.lock import Held
from crywatch.retrain.record import Line, Record
from crywatch.retrain.unattended import run

__all__ = ["Held", "Line", "Record", "RetrainConfig", "run"]

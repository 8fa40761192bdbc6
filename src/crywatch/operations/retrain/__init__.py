"""`crywatch retrain`: look, decide, rebuild, register, notify; unattended, and safe to repeat.

Its face is `run` with its `RetrainConfig` and `Record`. ``unattended`` leads through a run;
``look`` is what DVC and publishers say now, which ``decide`` compares; ``rebuild`` has the steps,
``record`` what is left; ``champion`` looks for drift.
"""

from __future__ import annotations

from crywatch.operations.retrain.config import RetrainConfig
from crywatch.operations.retrain.lock import AlreadyRunning
from crywatch.operations.retrain.record import Line, Record
from crywatch.operations.retrain.unattended import run

__all__ = ["AlreadyRunning", "Line", "Record", "RetrainConfig", "run"]

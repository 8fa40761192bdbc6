"""What was heard in the last nights: minutes and events, no sound.

``store`` is a small SQLite file that survives restarts, ``recorder`` the sink that fills it.
"""

from __future__ import annotations

from crywatch.listening.history.recorder import HistoryRecorder
from crywatch.listening.history.store import History, InfantScore, Minute, PastEvent

__all__ = ["History", "HistoryRecorder", "InfantScore", "Minute", "PastEvent"]

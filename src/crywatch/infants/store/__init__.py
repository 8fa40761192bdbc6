"""The embedded store of a user's infants: SQLite for the records, safetensors for the models.

``records`` is what is kept, ``schema`` the database, ``files`` what lies beside it, ``store`` the
transactions over both, ``forgetting`` what takes an infant or a part of it out, and the proof.
"""

from crywatch.infants.store.forgetting import Erasure, RemovalReport, forget, rename
from crywatch.infants.store.records import (
    BASELINE,
    NEW,
    InfantEntry,
    InfantHistory,
    KeptVersion,
    Provenance,
    StoredRecording,
    WrittenPage,
)
from crywatch.infants.store.store import InfantStore

__all__ = [
    "BASELINE",
    "NEW",
    "Erasure",
    "RemovalReport",
    "InfantHistory",
    "InfantEntry",
    "KeptVersion",
    "WrittenPage",
    "Provenance",
    "StoredRecording",
    "InfantStore",
    "forget",
    "rename",
]

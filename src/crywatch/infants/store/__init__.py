"""The embedded store of a user's infants: SQLite for the records, safetensors for the models.

``schema`` is the database, ``files`` what lies beside it, ``store`` the transactions over both,
``forgetting`` the removal of an infant and its proof.
"""

from crywatch.infants.store.forgetting import RemovalReport, forget
from crywatch.infants.store.store import (
    BASELINE,
    NEW,
    InfantEntry,
    InfantHistory,
    InfantStore,
    Provenance,
    StoredRecording,
)

__all__ = [
    "BASELINE",
    "NEW",
    "RemovalReport",
    "InfantHistory",
    "InfantEntry",
    "Provenance",
    "StoredRecording",
    "InfantStore",
    "forget",
]

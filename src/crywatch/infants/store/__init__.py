"""The embedded store of a user's infants: SQLite for the records, safetensors for the models.

``schema`` is the database, ``files`` what lies beside it, ``store`` the transactions over both,
``forgetting`` the removal of an infant and its proof.
"""

from crywatch.infants.store.forgetting import Forgotten, forget
from crywatch.infants.store.store import BASELINE, NEW, Kept, Listed, Making, Record, Store

__all__ = [
    "BASELINE",
    "NEW",
    "Forgotten",
    "Kept",
    "Listed",
    "Making",
    "Record",
    "Store",
    "forget",
]

"""Stage ``embed_cries``: every recording of a known infant as one vector."""

from __future__ import annotations

from crywatch.embedded_cries import EmbeddedCries, EmbeddingInfo, write_embedded

__all__ = ["EmbeddedCries", "EmbeddingInfo", "write_embedded"]

"""Embedders by name: a config group ``embedder``."""

from __future__ import annotations

from crywatch.embedders.base import Embedder, EmbedderConfig
from crywatch.errors import ConfigError

__all__ = ["NAMES", "Embedder", "EmbedderConfig", "build"]

NAMES = ("logmel", "vggish", "yamnet")


def build(config: EmbedderConfig) -> Embedder:
    """The embedder that ``config`` names; its libraries are imported only now."""
    if config.pca and config.name != "vggish":
        raise ConfigError(f"embedder.pca: only vggish has a PCA, not {config.name}")
    if config.name == "logmel":
        from crywatch.embedders.logmel import LogMel

        return LogMel(config)
    if config.name == "vggish":
        from crywatch.embedders.vggish import VGGish

        return VGGish(config)
    if config.name == "yamnet":
        from crywatch.embedders import yamnet

        return yamnet.build(config)
    raise ConfigError(f"embedder.name: {config.name!r} is unknown; there are {', '.join(NAMES)}")

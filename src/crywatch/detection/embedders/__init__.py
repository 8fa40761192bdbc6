"""Embedders by name: a config group ``embedder``."""

from __future__ import annotations

from crywatch.core.errors import ConfigError
from crywatch.detection.embedders.base import Embedder, EmbedderConfig

__all__ = ["NAMES", "Embedder", "EmbedderConfig", "build"]

NAMES = ("logmel", "vggish", "yamnet")


def build(config: EmbedderConfig) -> Embedder:
    """The embedder that ``config`` names; its libraries are imported only now."""
    if config.pca and config.name != "vggish":
        raise ConfigError(f"embedder.pca: only vggish has a PCA, not {config.name}")
    if config.name == "logmel":
        from crywatch.detection.embedders.logmel import LogMel

        return LogMel(config)
    if config.name == "vggish":
        from crywatch.detection.embedders.vggish import VGGish

        return VGGish(config)
    if config.name == "yamnet":
        from crywatch.detection.embedders import yamnet

        return yamnet.build(config)
    raise ConfigError(f"embedder.name: {config.name!r} is unknown; there are {', '.join(NAMES)}")

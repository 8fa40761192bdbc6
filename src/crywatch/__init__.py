"""crywatch: infant cry detection and per-infant baselines as one DVC pipeline."""

__version__ = "0.1.0"

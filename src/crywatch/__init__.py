"""crywatch: infant cry detection and per-infant baselines as one DVC pipeline."""

import os

__version__ = "0.1.0"

# Before torch is loaded: OpenMP threads that wait sleep. Where others use the machine too, spinning
# made a training step on two threads ten times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

"""Generated sounds in the publishers' own layouts, for the demo profile and the tests.

The corpora themselves are in `crywatch.corpora.samples`, a module each; here is what they are made
with. The loaders, cleaners and stages that follow cannot tell them from real corpora; every report
says that they are generated.

Face: `GeneratorConfig`, `generate`; `synthesis` for the sounds themselves.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from crywatch.corpora.generate.config import GeneratorConfig

WRITE = "crywatch.corpora.samples.*:write"  # the module of the corpus' name


def generate(corpus: str, folder: Path, config: GeneratorConfig) -> None:
    """Write corpus ``corpus`` below ``folder``; the same configuration gives the same bytes."""
    name, _, function = WRITE.partition(":")
    getattr(importlib.import_module(name.replace("*", corpus)), function)(folder, config)

"""Small generated corpora, in their publishers' layouts."""

from __future__ import annotations

from pathlib import Path

from crywatch.corpora.generate import GeneratorConfig, generate


def generated(corpus: str, folder: Path, seed: int = 3, infants: int = 2) -> None:
    """Write ``corpus`` to ``folder``, with so many infants."""
    generate(corpus, folder, GeneratorConfig(seed, 1, 1, 1, 1, other_infants=infants))

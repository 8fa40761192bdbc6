"""What may be done with a model: the terms of all corpora that it was trained or validated on.

A corpus whose terms forbid commercial use, or name none, marks every model that heard it. The
model folder keeps the corpora's names; what they mean is read here, so that terms can be corrected
without training again. A miner that chose seconds for another model does not count: no sound of
its corpora is in that model.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from crywatch import corpora
from crywatch.core.errors import ModelError

KEY = "corpora"  # of a model's description


@dataclass(frozen=True)
class Terms:
    """Of a model."""

    corpora: tuple[str, ...]
    commercial_use: bool
    licences: tuple[str, ...]  # one a corpus, in the same order

    def as_tags(self) -> dict[str, str]:
        """For the tracking store: text, "yes" or "no"."""
        pairs = zip(self.corpora, self.licences, strict=True)
        return {
            "corpora": ", ".join(self.corpora),
            "commercial_use": "yes" if self.commercial_use else "no",
            "licences": "; ".join(f"{name}: {licence}" for name, licence in pairs),
        }

    def as_metadata(self) -> dict[str, Any]:
        """For a file that travels with the model."""
        return asdict(self) | {"corpora": list(self.corpora), "licences": list(self.licences)}


def terms_of(names: Iterable[str]) -> Terms:
    """The terms of what was made of these corpora; ConfigError where one is unknown."""
    loaders = [corpora.get(name) for name in sorted(set(names))]
    return Terms(
        corpora=tuple(loader.name for loader in loaders),
        commercial_use=all(loader.commercial_use for loader in loaders),
        licences=tuple(loader.licence for loader in loaders),
    )


def terms_of_model(description: dict[str, Any]) -> Terms:
    """The terms of a model by its description; ModelError where that names no corpus."""
    # Of no corpus nothing is forbidden: a model that does not tell must not pass for free.
    if not description.get(KEY):
        raise ModelError(
            f"model {description.get('name', '')!r} does not say which corpora it heard: make it "
            "again with `dvc repro`"
        )
    return terms_of(description[KEY])

"""A model into the registry, and to `champion` only through the gates."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Gate:
    """One thing that a challenger must keep."""

    name: str  # better_on_main, no_worse, infants; of a first model floor; comparable
    slice: str  # pooled, corpus esc50, confuser rooster, noise 0 to 10 dB
    passed: bool
    said: str  # with the numbers


@dataclass(frozen=True)
class Registration:
    """What `crywatch register` did; `--json FILE` writes it."""

    version: int
    promoted: bool
    already: bool  # this very model was registered before: nothing was done
    gates: tuple[Gate, ...]
    why: str  # one sentence

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

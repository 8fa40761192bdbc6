"""A model into the registry, and to `champion` only through the gates.

``run`` has `run` and `rollback`; ``challenge`` scores the challenger and the champion on the same
recordings, ``slices`` compares them there and ``gates`` decides; ``card`` describes the version;
``models`` brings registered models back to disk, ``devices`` has the files for devices that go
along. `Registration` is what a call returns.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class PromotionGate:
    """A condition that a challenger must meet."""

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
    gates: tuple[PromotionGate, ...]
    why: str  # one sentence
    no_devices: str = ""  # why no files for devices are registered with it
    no_infants: str = ""  # why no gate of infants judged it

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

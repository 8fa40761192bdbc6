"""Section ``data.generator``: how much is generated."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class NurseryConfig:
    """Section ``data.generator.nursery``."""

    long_infants: int = 3  # with long histories
    short_infants: int = 4
    sessions: int = 6  # of a long history, two days apart
    changed_sessions: int = 2  # the last ones, where a change is planted
    recordings: int = 2  # of a session
    seconds: float = 2.5


@dataclass
class GeneratorConfig:
    """Section ``data.generator`` of params.yaml."""

    seed: int
    esc50_clips_per_class: int
    baby_cry_detection_clips_per_class: int
    donateacry_infants: int
    donateacry_sessions: int  # of an infant
    other_infants: int = 4  # of each other corpus, about
    nursery: NurseryConfig = field(default_factory=NurseryConfig)

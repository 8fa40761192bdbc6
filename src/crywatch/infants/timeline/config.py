"""Section ``timeline``: following infants, and every part of stage 4."""

from __future__ import annotations

from dataclasses import dataclass

from crywatch.core.errors import ConfigError
from crywatch.infants.follow import FollowConfig


def _check(section: str, *rules: tuple[bool, str]) -> None:
    for holds, rule in rules:
        if not holds:
            raise ConfigError(f"timeline.{section}: {rule}")


@dataclass
class EwmaConfig:
    """The smoothed line."""

    half_life_days: float
    width: float  # of the limit, in standard deviations of the smoothed value

    def __post_init__(self) -> None:
        _check(
            "ewma",
            (self.half_life_days > 0, f"half_life_days {self.half_life_days:g} must be above 0"),
            (self.width > 0, f"width {self.width:g} must be above 0"),
        )


@dataclass
class CusumConfig:
    """The evidence of a lasting change, and how often it may be wrong."""

    reference: float  # standard deviations; what a session is above it adds up
    run_sessions: int
    share: float  # of unchanged infants that pass the limit within ``run_sessions``
    draws: int  # simulated infants, for each size of baseline

    def __post_init__(self) -> None:
        _check(
            "cusum",
            (self.reference >= 0, f"reference {self.reference:g} must not be negative"),
            (self.run_sessions >= 1, f"run_sessions {self.run_sessions} must be at least 1"),
            (0 < self.share < 1, f"share {self.share:g} must be between 0 and 1"),
            (
                self.draws * self.share >= 20,
                f"draws {self.draws} are too few for a share of {self.share:g}",
            ),
        )


@dataclass
class ChangesConfig:
    """Change points."""

    min_sessions: int
    min_size: int  # sessions between two change points
    penalty: float  # times log(sessions), for noise of standard deviation 1
    most_sessions: int

    def __post_init__(self) -> None:
        least = self.min_sessions
        _check(
            "changes",
            (self.min_size >= 2, f"min_size {self.min_size} must be at least 2"),
            (least >= 2 * self.min_size, f"min_sessions {least} must be at least twice min_size"),
            (self.penalty > 0, f"penalty {self.penalty:g} must be above 0"),
            (
                self.most_sessions >= least,
                f"most_sessions {self.most_sessions} must be at least min_sessions",
            ),
        )


@dataclass
class EpisodesConfig:
    """Stretches of unusual sessions that are no lasting change."""

    join_sessions: int
    level: float  # of the combined p

    def __post_init__(self) -> None:
        _check(
            "episodes",
            (self.join_sessions >= 0, f"join_sessions {self.join_sessions} must not be negative"),
            (0 < self.level < 1, f"level {self.level:g} must be between 0 and 1"),
        )


@dataclass
class PageConfig:
    """What the page holds."""

    max_infants: int
    unusual_pictures: int  # of an infant
    normal_pictures: int
    picture_s: float
    listed: int  # marked recordings of an infant

    def __post_init__(self) -> None:
        pictures = self.unusual_pictures, self.normal_pictures
        _check(
            "page",
            (self.max_infants >= 1, f"max_infants {self.max_infants} must be at least 1"),
            (min(pictures) >= 0, f"pictures {pictures} must not be negative"),
            (self.picture_s > 0, f"picture_s {self.picture_s:g} must be above 0"),
            (self.listed >= 1, f"listed {self.listed} must be at least 1"),
        )


@dataclass(frozen=True)
class TimelineConfig:
    """The whole section; the sections inside are not frozen, because OmegaConf merges into them."""

    follow: FollowConfig
    gap_days: float  # without a recording
    ewma: EwmaConfig
    cusum: CusumConfig
    changes: ChangesConfig
    episodes: EpisodesConfig
    page: PageConfig

    def __post_init__(self) -> None:
        _check("gap_days", (self.gap_days > 0, f"{self.gap_days:g} must be above 0"))

"""Section ``retrain`` of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass, field

from crywatch.core import gate
from crywatch.core.errors import ConfigError

REASONS = ("commit", "params", "data", "drift")
OUTCOMES = ("promoted", "refused", "failed", "drift", "nothing")


@dataclass
class NotifyConfig:
    """Who is told, and how."""

    outcomes: list[str] = field(default_factory=lambda: list(OUTCOMES[:4]))
    command: list[str] = field(default_factory=list)  # given the record on standard input
    webhook_env: str = ""  # name of the environment variable that holds the address
    timeout_s: float = 10.0  # of each try
    retries: int = 3
    backoff_s: float = 2.0  # before the first retry; doubles each time


@dataclass(frozen=True)
class RetrainConfig:
    """Section ``retrain``."""

    ref: str = "HEAD"
    params: str = "project"  # whose params.yaml: project, commit
    targets: list[str] = field(default_factory=list)  # stages; none: all
    reasons: list[str] = field(default_factory=lambda: list(REASONS[:3]))
    folder: str = "retraining"  # in the project
    recordings: str = ""  # a folder that is watched for drift
    check_publishers: bool = False
    heartbeat_s: float = 20.0
    keep_records: int = 400
    notify: NotifyConfig = field(default_factory=NotifyConfig)

    def __post_init__(self) -> None:
        try:
            gate.below(self.folder, "retrain.folder")
        except gate.GateError as error:
            raise ConfigError(f"{error}: name one in the project, such as retraining") from error
        for key, words, known in (
            ("reasons", self.reasons, REASONS),
            ("notify.outcomes", self.notify.outcomes, OUTCOMES),
            ("params", [self.params], ("project", "commit")),
        ):
            for word in words:
                if word not in known:
                    raise ConfigError(
                        f"retrain.{key}: {word!r} is unknown; there are {', '.join(known)}"
                    )
        if "://" in self.notify.webhook_env:
            raise ConfigError(
                "retrain.notify.webhook_env: the name of an environment variable, not an address: "
                "an address may hold a secret, and params.yaml is kept with every run"
            )
        if self.heartbeat_s <= 0 or self.keep_records < 1:
            raise ConfigError("retrain: heartbeat_s and keep_records must be above 0")

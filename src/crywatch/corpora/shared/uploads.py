"""Names of the files that parents uploaded to Donate-a-cry: other corpora took them over."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

REASONS = {
    "hu": "hungry",
    "bu": "burping",
    "bp": "belly_pain",
    "dc": "discomfort",
    "ti": "tired",
    "lo": "lonely",
    "ch": "cold_hot",
    "sc": "scared",
    "dk": "unknown_reason",
}

_NAME = re.compile(
    r"^(?P<instance>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"
    r"-(?P<epoch>\d{10}|\d{13})-(?P<version>[\d.]+)-(?P<gender>[mf])-(?P<age>\w+)-(?P<reason>\w+)$"
)


@dataclass(frozen=True)
class Upload:
    """What a file name says: app instance, time (s on iOS, ms on Android) and the tagged reason."""

    path: str
    instance: str  # lower case; a stand-in for an infant
    recorded_at: datetime
    reason: str

    @property
    def infant_id(self) -> str:
        """The same in every corpus that took the upload over."""
        return f"donateacry/{self.instance}"

    @property
    def recording_id(self) -> str:
        """The same for the raw upload and the cleaned clip."""
        return f"donateacry/{self.instance}/{int(self.recorded_at.timestamp())}"


def parse(path: str) -> Upload | None:
    """The upload that a file name describes, or None if it is not in the corpus' form."""
    match = _NAME.match(Path(path).stem)
    if match is None:
        return None
    epoch = int(match["epoch"]) / (1000 if len(match["epoch"]) == 13 else 1)
    return Upload(
        path=path,
        instance=match["instance"].lower(),
        recorded_at=datetime.fromtimestamp(epoch, tz=UTC),
        reason=REASONS.get(match["reason"], match["reason"]),
    )

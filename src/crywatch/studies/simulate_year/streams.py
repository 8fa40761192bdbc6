"""What reaches an infant's baseline over the year: its own cries, a change, or a hostile stream.

All streams share their days; what is hostile comes within the infant's own sessions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from crywatch.core.errors import ConfigError
from crywatch.infants.models.contract import Baseline
from crywatch.infants.updating import Observation
from crywatch.studies.simulate_year.voices import NOISE, OWN, SILENCE, YearRecording

INFANTS, SOUNDS, REPEATS, DRIP = "infants", "sounds", "repeats", "drip"
HOSTILE = (INFANTS, SOUNDS, REPEATS, DRIP)
START = datetime(2024, 1, 1, 20, tzinfo=UTC)

Vectors = Mapping[YearRecording, np.ndarray]  # [dim] each


@dataclass
class Calendar:
    """Section ``calendar``: when recordings are made, and when something happens."""

    infants: int
    weeks: int
    sessions: int  # of a week
    recordings: int  # of a session
    baseline_weeks: int
    event_week: int  # in which a change or an attack begins
    change_weeks: int  # that a change is listened to
    attack_weeks: int
    after_weeks: int  # that are listened to when an attack is over

    def __post_init__(self) -> None:
        last = self.event_week + max(self.change_weeks, self.attack_weeks + self.after_weeks)
        if not 0 < self.baseline_weeks < self.event_week or last > self.weeks:
            raise ConfigError(
                f"simulate_year: baseline_weeks {self.baseline_weeks} must be below event_week "
                f"{self.event_week}, and what happens then must end by week {self.weeks}, not "
                f"{last}"
            )
        if min(self.infants - 1, self.sessions, self.recordings) < 1:
            raise ConfigError(
                "simulate_year: infants must be at least 2, sessions and recordings at least 1"
            )

    def own(self, infant: int, first: int, last: int, kind: str = OWN) -> list[YearRecording]:
        """Recordings of the weeks from ``first`` to before ``last``."""
        return [
            YearRecording(infant, week, session, recording, kind)
            for week in range(first, last)
            for session in range(self.sessions)
            for recording in range(self.recordings)
        ]

    def needed(self, changes: Sequence[str], hostile: Sequence[str]) -> list[YearRecording]:
        """Every recording that has to be made."""
        event = self.event_week
        needed: list[YearRecording] = []
        for infant in range(self.infants):
            needed += self.own(infant, 0, self.weeks)
            for change in changes:
                needed += self.own(infant, event, event + self.change_weeks, change)
            if SOUNDS in hostile:
                for week in range(event, event + self.attack_weeks):
                    for session in range(self.sessions):
                        needed += self._hostile(infant, week, session, SOUNDS)
        return needed

    def baseline(self, infant: int, vectors: Vectors) -> Baseline:
        """The first weeks."""
        recordings = self.own(infant, 0, self.baseline_weeks)
        return Baseline(
            name_of(infant),
            np.stack([vectors[recording] for recording in recordings]),
            np.array([_session(recording) for recording in recordings]),
        )

    def stream(self, own: Sequence[YearRecording], vectors: Vectors) -> list[Observation]:
        """As observations."""
        return [self._observe(one, vectors[one], one.recording) for one in own]

    def attacked(self, infant: int, kind: str, vectors: Vectors) -> list[Observation]:
        """The weeks of the attack: the infant's own recordings, and hostile ones in between."""
        out: list[Observation] = []
        for week in range(self.event_week, self.event_week + self.attack_weeks):
            for session in range(self.sessions):
                place = YearRecording(infant, week, session, 0, kind)
                own = [replace(place, recording=n, kind=OWN) for n in range(self.recordings)]
                out += self.stream(own, vectors)
                sources = self._hostile(infant, week, session, kind)
                out += [
                    self._observe(place, vectors[source], number)
                    for number, source in enumerate(sources, self.recordings)
                ]
        return out

    def _hostile(self, infant: int, week: int, session: int, kind: str) -> Iterator[YearRecording]:
        if kind == SOUNDS:
            yield YearRecording(infant, week, session, 0, NOISE)
            yield YearRecording(infant, week, session, 0, SILENCE)
        elif kind == REPEATS:
            # The same own recording, heard before the attack, again and again.
            for _ in range(self.recordings):
                yield YearRecording(infant, self.event_week - 1, 0, 0, OWN)
        elif kind == INFANTS:
            for number in range(self.recordings):
                turn = (week * self.sessions + session) * self.recordings + number
                other = (infant + 1 + turn % (self.infants - 1)) % self.infants
                yield YearRecording(other, week, session, number, OWN)
        elif kind == DRIP:
            if (week * self.sessions + session) % 2 == 0:
                yield YearRecording((infant + 1) % self.infants, week, session, 0, OWN)
        else:
            raise ConfigError(
                f"simulate_year.hostile has no {kind!r}; there are {', '.join(HOSTILE)}"
            )

    def _observe(self, recording: YearRecording, vector: np.ndarray, number: int) -> Observation:
        week, session = recording.week, recording.session
        day = 7 * week + 7 * session / self.sessions
        return Observation(
            clip_id=f"{name_of(recording.infant)}/{week}/{session}/{number} {recording.kind}",
            session_id=_session(recording),
            recorded_at=START + timedelta(days=day, minutes=7 * number),
            vector=vector,
        )


def name_of(infant: int) -> str:
    """The infant's id."""
    return f"generated {infant + 1:02d}"


def day_of(observed_at: datetime) -> float:
    """Days since the year began."""
    return (observed_at - START) / timedelta(days=1)


def _session(recording: YearRecording) -> str:
    return f"{recording.week:02d}.{recording.session}"

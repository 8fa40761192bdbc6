"""The sink that keeps the sound around events.

Sound is held for as long as an event may still begin in it, and no longer; a clip is written when
its event has ended and what follows it is heard, or when it is as long as a clip may be.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from crywatch.audio.segments import RATE_HZ
from crywatch.core.errors import ConfigError
from crywatch.listening.background import Background
from crywatch.listening.clips.folder import ClipFolder, path_of
from crywatch.listening.events import CryEvent, SecondScore, Sound, SourceState, State

DECISION_S = 30.0  # that an event's beginning may lie behind the sound that has come
PRUNE_S = 3600.0  # between looks at the age of clips


@dataclass
class ClipsConfig:
    """Section ``listen.clips``."""

    before_s: float = 5.0  # of an event's onset
    after_s: float = 5.0  # of its end
    longest_s: float = 120.0  # of a clip: the beginning of a longer event
    most_mb: float = 1000.0  # of all clips; the oldest go
    most_days: float = 30.0

    def __post_init__(self) -> None:
        if min(self.before_s, self.after_s) < 0 or self.longest_s <= self.before_s:
            raise ConfigError(
                "clips: before_s and after_s must be 0 or more, longest_s more than before_s"
            )
        if self.most_mb <= 0 or self.most_days <= 0:
            raise ConfigError("clips: most_mb and most_days must be above 0")


@dataclass
class _Pending:
    """An event whose clip is not written yet; seconds by the source's clock."""

    event: CryEvent
    start_s: float
    stop_s: float


class _Track:
    """The latest sound of a source."""

    def __init__(self) -> None:
        self.pieces: deque[Sound] = deque()
        self.pending: dict[str, _Pending] = {}

    @property
    def end_s(self) -> float:
        last = self.pieces[-1]
        return last.start_s + len(last.samples) / RATE_HZ

    def forget(self, before_s: float) -> None:
        while self.pieces:
            first = self.pieces[0]
            if first.start_s + len(first.samples) / RATE_HZ > before_s:
                return
            self.pieces.popleft()

    def cut(self, start_s: float, stop_s: float) -> tuple[np.ndarray, datetime]:
        """Samples from ``start_s`` on and the time of the first; what did not come is silence."""
        inside = [p for p in self.pieces if p.start_s < stop_s]
        first = inside[0]
        start_s = max(start_s, first.start_s)
        at = first.at + timedelta(seconds=start_s - first.start_s)
        wave = np.zeros(max(0, round((stop_s - start_s) * RATE_HZ)), dtype=np.float32)
        heard = 0
        for piece in inside:
            place = round((piece.start_s - start_s) * RATE_HZ)
            part = piece.samples[max(0, -place) : len(wave) - place]
            place = max(0, place)
            wave[place : place + len(part)] = part
            heard = max(heard, place + len(part))
        return wave[:heard], at


class ClipRecorder:
    """Writes a clip of each event into ``clips``; ``infants`` are the infants by source."""

    def __init__(
        self,
        clips: ClipFolder,
        config: ClipsConfig,
        say: Callable[[str], None],
        infants: Mapping[str, str] | None = None,
        written: Callable[[CryEvent, str, datetime], None] | None = None,
    ):
        self.clips, self.config, self.infants = clips, config, infants or {}
        self._written = written  # called with the event, the clip's path and its beginning
        self._tracks: dict[str, _Track] = {}
        self._work = Background("clips", say)
        self._pruned_s = float("-inf")

    def sound(self, sound: Sound) -> None:
        """Keep it for a while; write what is complete now."""
        self._hold(sound)
        if time.monotonic() - self._pruned_s > PRUNE_S:
            self._pruned_s = time.monotonic()
            self._work.do(self._prune)

    def _hold(self, sound: Sound) -> None:
        track = self._tracks.setdefault(sound.source, _Track())
        if track.pieces and sound.start_s < track.end_s - 1 / RATE_HZ:
            self._finish(track)  # the source's clock began anew
            track.pieces.clear()
        track.pieces.append(sound)
        for pending in list(track.pending.values()):
            if track.end_s >= pending.stop_s:
                self._write(track, pending)
        needed = [pending.start_s for pending in track.pending.values()]
        track.forget(min([track.end_s - self.config.before_s - DECISION_S, *needed]))

    def second(self, second: SecondScore) -> None:
        """Nothing of it is kept."""

    def event(self, event: CryEvent) -> None:
        """Its clip is written when what follows its end has come."""
        config, track = self.config, self._tracks.setdefault(event.source, _Track())
        pending = track.pending.get(event.id)
        if pending is None:
            if event.end_s is not None:  # its clip is written, it was a long one
                return
            start_s = event.onset_s - config.before_s
            pending = _Pending(event, start_s, start_s + config.longest_s)
            track.pending[event.id] = pending
        pending.event = event
        if event.end_s is not None:
            pending.stop_s = min(pending.stop_s, event.end_s + config.after_s)
            if track.pieces and track.end_s >= pending.stop_s:
                self._write(track, pending)

    def state(self, state: SourceState) -> None:
        """What is open when a source ends is written as far as it came."""
        if state.state is State.ENDED and state.source in self._tracks:
            self._finish(self._tracks.pop(state.source))

    def close(self) -> None:
        """Write what is open."""
        for track in self._tracks.values():
            self._finish(track)
        self._work.close()

    def _finish(self, track: _Track) -> None:
        for pending in list(track.pending.values()):
            self._write(track, pending)

    def _write(self, track: _Track, pending: _Pending) -> None:
        del track.pending[pending.event.id]
        if not any(piece.start_s < pending.stop_s for piece in track.pieces):
            return
        wave, at = track.cut(pending.start_s, pending.stop_s)
        self._work.do(self._store, pending.event, wave, at)

    def _store(self, event: CryEvent, wave: np.ndarray, at: datetime) -> None:
        path = path_of(event.source, event.id)
        self.clips.write(path, wave, at, self.infants.get(event.source, ""))
        self._prune()
        if self._written is not None:
            self._written(event, path, at)

    def _prune(self) -> None:
        self.clips.prune(self.config.most_mb, self.config.most_days, datetime.now(UTC))

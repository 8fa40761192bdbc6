"""Where in a recording its decoded frames lie, by the time stamps of its file."""

from __future__ import annotations

from collections.abc import Iterator

from crywatch.audio.decode.container import Track
from crywatch.audio.decode.frames import Frame, Frames

TOLERANCE_S = 0.1  # priming and rounding: by so much a stamp may be off
MAX_GAP_S = 12 * 3600.0  # a longer one is a damaged stamp


class Placement:
    """Frames of ``track`` and the silence before each: iterate for (samples at ``rate_hz``, frame).

    Stamps that go back, as where recordings were joined, go on from what there is: no sound is
    dropped. One that the next frame's stamp does not agree with is damaged.
    """

    def __init__(self, track: Track, rate_hz: int):
        self.at = 0.0  # samples at rate_hz so far
        self.damaged = 0  # of them, silence for what did not decode
        self.gaps = 0  # of them, silence where stamps leave time, and before the first
        self.ends_damaged = False  # nothing decodes behind the last frame, though there is more
        self._track = track
        self._rate_hz = rate_hz
        self._shift = 0.0  # of stamps, in samples

    def __iter__(self) -> Iterator[tuple[int, Frame]]:
        frames = Frames(self._track)
        leaping: Frame | None = None
        for frame in frames:
            if leaping is not None:
                yield self._placed(leaping, self._agree(leaping, frame))
                leaping = None
            stamped = self._stamped(frame)
            if stamped is not None and self._is_far(stamped - self.at):
                leaping = frame
            else:
                yield self._placed(frame, True)
        if leaping is not None:
            yield self._placed(leaping, True)
        self.ends_damaged = frames.lost_s is not None

    def _stamped(self, frame: Frame) -> float | None:
        """The sample at which a frame begins by its stamp; None where that says nothing."""
        track = self._track
        if frame.stamp is None or track.is_bare or not track.tick_s:
            return None
        if frame.rate_hz != track.rate_hz and track.counts_samples:
            return None
        return (frame.stamp * track.tick_s - track.origin_s) * self._rate_hz + self._shift

    def _is_far(self, samples: float) -> bool:
        return abs(samples) > TOLERANCE_S * self._rate_hz

    def _length(self, frame: Frame) -> float:
        return frame.count * self._rate_hz / frame.rate_hz

    def _agree(self, frame: Frame, following: Frame) -> bool:
        ours, theirs = self._stamped(frame), self._stamped(following)
        if ours is None or theirs is None:
            return True
        return not self._is_far(theirs - ours - self._length(frame))

    def _placed(self, frame: Frame, believed: bool) -> tuple[int, Frame]:
        silence = self._silence(frame, believed)
        if frame.lost_s is not None:
            self.damaged += silence
        else:
            self.gaps += silence
        self.at += silence + self._length(frame)
        return silence, frame

    def _silence(self, frame: Frame, believed: bool) -> int:
        """Samples before ``frame``."""
        stamped = self._stamped(frame)
        if stamped is None or not believed:
            return round((frame.lost_s or 0.0) * self._rate_hz)
        lead = stamped - self.at
        if self._is_far(lead) and not 0 < lead <= MAX_GAP_S * self._rate_hz:
            self._shift -= lead
            return 0
        return max(0, round(lead)) if self._is_far(lead) or frame.lost_s is not None else 0

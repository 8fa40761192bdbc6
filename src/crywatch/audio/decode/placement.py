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
        self._tolerance = TOLERANCE_S * rate_hz
        self._per_tick = track.tick_s * rate_hz  # samples
        self._shift = -track.origin_s * rate_hz  # of stamps, in samples
        self._is_stamped = not track.is_bare and track.tick_s > 0

    def __iter__(self) -> Iterator[tuple[int, Frame]]:
        frames = Frames(self._track)
        leaping: Frame | None = None
        for frame in frames:
            if leaping is not None:
                yield self._placed(leaping, self._agree(leaping, frame)), leaping
                leaping = None
            stamped = self._stamped(frame)
            is_far = stamped is not None and abs(stamped - self.at) > self._tolerance
            if is_far:
                leaping = frame
            elif frame.lost_s is None:
                self.at += frame.length * self._rate_hz / frame.kind.rate_hz
                yield 0, frame
            else:
                yield self._placed(frame, True), frame
        if leaping is not None:
            yield self._placed(leaping, True), leaping
        self.ends_damaged = frames.lost_s is not None

    def _stamped(self, frame: Frame) -> float | None:
        """The sample at which a frame begins by its stamp; None where that says nothing."""
        if frame.stamp is None or not self._is_stamped:
            return None
        if self._track.counts_samples and frame.kind.rate_hz != self._track.rate_hz:
            return None
        return frame.stamp * self._per_tick + self._shift

    def _length(self, frame: Frame) -> float:
        return frame.length * self._rate_hz / frame.kind.rate_hz

    def _agree(self, frame: Frame, following: Frame) -> bool:
        """Whether the stamp of the frame after it is where ``frame`` ends by its own."""
        ours, theirs = self._stamped(frame), self._stamped(following)
        if ours is None or theirs is None:
            return True
        return abs(theirs - ours - self._length(frame)) <= self._tolerance

    def _placed(self, frame: Frame, believed: bool) -> int:
        """Samples of silence before ``frame``, which comes next."""
        silence = self._silence(frame, believed)
        if frame.lost_s is not None:
            self.damaged += silence
        else:
            self.gaps += silence
        self.at += silence + self._length(frame)
        return silence

    def _silence(self, frame: Frame, believed: bool) -> int:
        stamped, lost = self._stamped(frame), round((frame.lost_s or 0.0) * self._rate_hz)
        if stamped is None or not believed:
            return lost
        ahead = stamped - self.at
        is_far = abs(ahead) > self._tolerance
        if is_far and not 0 < ahead <= MAX_GAP_S * self._rate_hz:
            self._shift += lost - ahead
            return lost
        return max(0, round(ahead)) if is_far or frame.lost_s is not None else 0

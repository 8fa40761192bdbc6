"""A year of generated recordings: voices that develop, voices that change, and what is no infant's.

Recordings go the way of real ones: made, heard in a room of their session, cut to cries and
embedded. Every draw is a function of the seed and the recording's place in the year alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from crywatch.audio.extents import ExtentConfig, sounding
from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.resampling import resample
from crywatch.core.progress import progress
from crywatch.core.threads import one_thread
from crywatch.corpora.generate import synthesis
from crywatch.corpora.generate.synthesis import Voice
from crywatch.corpora.samples.recordings import Place, changed, on_a_day
from crywatch.speaker.batches import AveragingConfig, Embed, embed_cries
from crywatch.speaker.logmel import open_network

OWN, NOISE, SILENCE = "own", "noise", "silence"
_CHUNK = 24  # recordings that a process takes at a time


@dataclass(frozen=True)
class YearRecording:
    """One recording of the year."""

    infant: int
    week: int
    session: int  # of the week
    recording: int  # of the session
    kind: str  # own; a change such as "pitch +20 %"; noise; silence


@dataclass
class VoicesConfig:
    """Section ``voices``."""

    seconds: float  # of a recording
    pitch_fall: float  # share of the pitch that is lost over the year
    formant_fall: float


@dataclass(frozen=True)
class HearingSettings:
    """How the project hears recordings, from the sections of other stages."""

    averaging: AveragingConfig
    extents: ExtentConfig
    min_cry_s: float


@dataclass(frozen=True)
class VoiceYear:
    """How voices are made, heard and embedded."""

    seed: int
    weeks: int
    voices: VoicesConfig
    network_dir: str
    hearing: HearingSettings

    def voice(self, infant: int, week: int) -> Voice:
        """Of one infant, week by week a little lower."""
        voice = synthesis.infant_voice(np.random.default_rng([self.seed, 20, infant]))
        age = week / max(1, self.weeks - 1)
        first, second, third = (1 - self.voices.formant_fall * age) * np.array(voice.formants_hz)
        return replace(
            voice,
            f0_hz=(1 - self.voices.pitch_fall * age) * voice.f0_hz,
            formants_hz=(float(first), float(second), float(third)),
        )

    def wave(self, recording: YearRecording) -> np.ndarray:
        """[samples] at 16 kHz, its peak at 1; silence is a faint room."""
        place = [self.seed, recording.infant, recording.week, recording.session]
        day = np.random.default_rng([*place, 21])
        rng = np.random.default_rng(
            [*place, recording.recording, zlib.crc32(recording.kind.encode())]
        )
        voice = on_a_day(self.voice(recording.infant, recording.week), day)
        room = Place.draw(day)
        if recording.kind == NOISE:
            makers = (synthesis.noise, synthesis.hum, synthesis.ticks, synthesis.speech)
            sound = makers[rng.integers(len(makers))](self.voices.seconds, rng)
        elif recording.kind == SILENCE:
            sound = synthesis.quiet(self.voices.seconds, rng)
        else:
            today = voice if recording.kind == OWN else changed(voice, recording.kind)
            sound = synthesis.cry(self.voices.seconds, today, rng)
        wave = resample(room.hear(sound, rng), synthesis.RATE_HZ, RATE_HZ)
        return (wave / max(float(np.abs(wave).max()), 1e-9)).astype(np.float32)

    def cries(self, recording: YearRecording) -> list[np.ndarray]:
        """The recording cut to cries; as a whole where there are none."""
        wave = self.wave(recording)
        cries = [
            wave[cry.samples()]
            for cry in sounding(wave, self.hearing.extents)
            if cry.length_s >= self.hearing.min_cry_s
        ]
        return cries or [wave]


def embed(
    year: VoiceYear, recordings: Sequence[YearRecording], workers: int
) -> dict[YearRecording, np.ndarray]:
    """The vector [dim] of each recording; the number of processes changes only the time."""
    from joblib import Parallel, delayed

    chunks = [recordings[first : first + _CHUNK] for first in range(0, len(recordings), _CHUNK)]
    parallel = Parallel(n_jobs=min(workers, max(1, len(chunks))), return_as="generator")
    made = parallel(delayed(_embed_some)(year, chunk) for chunk in chunks)
    vectors = [vector for chunk in progress(made, "embed", len(chunks)) for vector in chunk]
    return dict(zip(recordings, vectors, strict=True))


@one_thread()
def _embed_some(year: VoiceYear, recordings: Sequence[YearRecording]) -> list[np.ndarray]:
    network, averaging = _network(year.network_dir), year.hearing.averaging
    vectors = []
    for recording in recordings:
        # The crops are drawn by this spelling of the recording: another one draws others.
        name = (
            f"Heard(infant={recording.infant}, week={recording.week}, session={recording.session}, "
            f"recording={recording.recording}, kind={recording.kind!r})"
        )
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        vector = embed_cries(year.cries(recording), network, averaging, rng)
        vectors.append(vector.astype(np.float32))
    return vectors


@lru_cache(maxsize=1)
def _network(folder: str) -> Embed:
    return open_network(folder).embed

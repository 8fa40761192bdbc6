"""The one module that decodes audio.

PyAV's wheel decodes WAV, Ogg, FLAC, MP3, M4A, 3GP and CAF; the format is probed from the content,
so a wrong extension does no harm. All samples are float32 in [-1, 1], mono by the mean of the
channels.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from crywatch.audio.ffmpeg import force_plain_code
from crywatch.audio.segments import RATE_HZ
from crywatch.core.atomic import atomic_path
from crywatch.core.errors import AudioError

if TYPE_CHECKING:
    from av.container import InputContainer

HEAD_BYTES = 1 << 16  # of a file, in which its header is looked for
FRAMES_AT_ONCE = 16  # of a decoder
GATHER_SAMPLES = 1 << 18  # resampled and written at a time
QUALITY = "VHQ"  # of soxr
SILENCE_DBFS = -200.0  # stands for a level of minus infinity
BANDWIDTH_FRAME = 2048  # samples
BANDWIDTH_FRAMES = 256  # at most, spread over the recording
BANDWIDTH_BELOW_PEAK_DB = 60.0
MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 1_000_000  # of a source; others are damaged headers
# They name other files, which would be read in place of this one.
PLAYLISTS = frozenset({"concat", "concatf", "dash", "hls", "imf"})


@dataclass(frozen=True)
class Decoded:
    """A decoded recording."""

    wave: np.ndarray  # [samples] float32, mono
    rate_hz: int  # as recorded
    channels: int  # as recorded
    codec: str
    truncated: bool  # the file broke off; what came before is here


@dataclass(frozen=True)
class StreamInfo:
    """What is known of a recording before its samples."""

    rate_hz: int
    channels: int
    codec: str


class BlockReader:
    """Decode ``path`` block by block: iterate for mono float32 arrays [samples].

    With ``content``, the bytes of a file, those are decoded; ``path`` then only names them.
    ``info`` is known at once; ``truncated`` and ``n_samples`` when the iteration has ended.

    Raises
    ------
    AudioError
        The file is missing, empty, no audio, holds NaN or infinite samples, or nothing decodes.
    """

    def __init__(self, path: Path | str, content: bytes | None = None):
        import av

        force_plain_code()
        self.path = Path(path)
        self.truncated = False
        self.n_samples = 0
        self._content = content
        if content is None and not self.path.is_file():
            raise AudioError(f"{self.path}: no such file")
        if self._size() == 0:
            raise AudioError(f"{self.path}: the file is empty (0 bytes)")
        try:
            # Without "file:" a name such as "night:1.wav" is taken for a protocol.
            self._container: InputContainer = av.open(
                f"file:{self.path}" if content is None else io.BytesIO(content),
                "r",
                metadata_errors="ignore",
                options={"protocol_whitelist": "file"},
            )
        except (av.error.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise AudioError(f"{self.path}: not a recording that can be read ({reason})") from error
        if PLAYLISTS & set(self._container.format.name.split(",")):
            self._container.close()
            raise AudioError(f"{self.path}: a list of other files, not a recording")
        streams = self._container.streams.audio
        if not streams:
            self._container.close()
            raise AudioError(f"{self.path}: holds no audio stream")
        self._stream = streams[0]
        context = self._stream.codec_context
        if not context.sample_rate:
            self._container.close()
            raise AudioError(f"{self.path}: names no sample rate")
        if not MIN_RATE_HZ <= context.sample_rate <= MAX_RATE_HZ:
            self._container.close()
            raise AudioError(f"{self.path}: names a sample rate of {context.sample_rate} Hz")
        self.info = StreamInfo(context.sample_rate, context.channels, context.name)

    def __iter__(self) -> Iterator[np.ndarray]:
        self.n_samples = 0
        try:
            for block in self._blocks():
                if not np.isfinite(block).all():
                    raise AudioError(f"{self.path}: holds samples that are NaN or infinite")
                if len(block):
                    self.n_samples += len(block)
                    yield block
            if not self.n_samples:
                raise AudioError(f"{self.path}: nothing in it decodes")
            self.truncated = self.truncated or self._is_short(self.n_samples)
        finally:
            self._container.close()

    def _blocks(self) -> Iterator[np.ndarray]:
        """Mono [samples] of some frames at a time: one of PCM is only 1,024 samples."""
        import av

        frames = self._container.decode(self._stream)
        parts: list[np.ndarray] = []
        shape: tuple[bool, int] | None = None  # of those frames: planar or not, channels
        while True:
            try:
                frame = next(frames)
                samples = frame.to_ndarray()
            except StopIteration:
                break
            except (av.error.FFmpegError, OSError, ValueError):
                # What decoded so far is kept; a file of which nothing decodes is refused, and so is
                # one of 64-bit integers, of which PyAV makes no array.
                self.truncated = True
                break
            here = frame.format.is_planar, frame.layout.nb_channels
            if shape is not None and (here != shape or len(parts) == FRAMES_AT_ONCE):
                yield _mono(parts, *shape)
                parts = []
            parts.append(samples)
            shape = here
        if shape is not None:
            yield _mono(parts, *shape)

    def _size(self) -> int:
        return self.path.stat().st_size if self._content is None else len(self._content)

    def _head(self) -> bytes:
        if self._content is not None:
            return self._content[:HEAD_BYTES]
        with open(self.path, "rb") as handle:
            return handle.read(HEAD_BYTES)

    def _is_short(self, n_samples: int) -> bool:
        """Whether the file's own header promises more than the ``n_samples`` that it gave."""
        head, size = self._head(), self._size()
        if head[:4] == b"RIFF" or head[:4] == b"caff":
            # FFmpeg shortens the duration of PCM to what is there: read the chunk's own size.
            return _promised_bytes(head) > size
        if head[:4] == b"OggS" or not self._container.duration:
            return False
        if self.info.codec.startswith("mp3") and not (b"Xing" in head or b"Info" in head):
            return False  # the duration is guessed from the bit rate of the first frames
        promised_s = self._container.duration / 1e6
        return n_samples / self.info.rate_hz < 0.99 * promised_s - 0.1


def _promised_bytes(head: bytes) -> int:
    """Where the data chunk of a WAV or CAF file ends by its header; 0 if that does not say."""
    is_wav = head[:4] == b"RIFF"
    at, sized = (12, 4) if is_wav else (8, 8)
    order: Literal["little", "big"] = "little" if is_wav else "big"
    while at + 4 + sized <= len(head):
        size = int.from_bytes(head[at + 4 : at + 4 + sized], order, signed=not is_wav)
        start = at + 4 + sized
        if head[at : at + 4] == b"data":
            # A writer that could not seek back leaves -1.
            return 0 if size < 0 or size == 0xFFFFFFFF else start + size
        if size < 0:
            return 0
        at = start + size + (size % 2 if is_wav else 0)
    return 0


def _mono(parts: list[np.ndarray], planar: bool, channels: int) -> np.ndarray:
    """The arrays of PyAV's frames as mono float32 [samples] in [-1, 1]."""
    samples = np.concatenate(parts, axis=1)
    kind = samples.dtype
    if kind == np.uint8:
        samples = (samples.astype(np.float32) - 128.0) / 128.0
    elif kind.kind == "i":
        samples = samples.astype(np.float32) / float(2 ** (8 * kind.itemsize - 1))
    else:
        samples = samples.astype(np.float32)
    if not planar:
        samples = samples.reshape(-1, channels).T
    return samples[0] if len(samples) == 1 else samples.mean(axis=0)


def decode(path: Path | str) -> Decoded:
    """Decode a whole file into memory; see `BlockReader` for the errors."""
    return _whole(BlockReader(path))


def decode_bytes(content: bytes, name: str) -> Decoded:
    """Decode a whole file that is in memory; errors, see `BlockReader`, call it ``name``."""
    return _whole(BlockReader(name, content))


def _whole(reader: BlockReader) -> Decoded:
    wave = np.concatenate(list(reader))
    info = reader.info
    return Decoded(wave, info.rate_hz, info.channels, info.codec, reader.truncated)


def excerpt(path: Path | str, start_s: float, end_s: float) -> Decoded:
    """What a file holds from ``start_s`` to ``end_s``; nothing after that is decoded.

    The wave is shorter, or empty, where the file ends before ``end_s``. See `BlockReader` for the
    errors.
    """
    reader = BlockReader(path)
    first, last = (round(second * reader.info.rate_hz) for second in (start_s, end_s))
    parts, at = [np.zeros(0, dtype=np.float32)], 0
    for block in reader:
        parts.append(block[max(0, first - at) : max(0, last - at)])
        at += len(block)
        if at >= last:
            break
    info = reader.info
    return Decoded(np.concatenate(parts), info.rate_hz, info.channels, info.codec, reader.truncated)


def resample(wave: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """``wave`` [samples] at ``from_hz`` as [samples] at ``to_hz``, as `Resampler`."""
    if from_hz == to_hz:
        return np.asarray(wave, dtype=np.float32)
    import soxr

    wave = np.asarray(wave, dtype=np.float64)
    return soxr.resample(wave, from_hz, to_hz, quality=QUALITY).astype(np.float32)


class Resampler:
    """A stream [samples] from one rate to another, in float64 and rounded to float32 once.

    soxr's lower qualities give other samples with each set of instructions of a processor; of this
    one they agree far beyond float32.
    """

    def __init__(self, from_hz: int, to_hz: int):
        import soxr

        self._same = from_hz == to_hz
        self._stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float64", quality=QUALITY)

    def __call__(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        """What comes out after ``block`` [samples]: [samples] float32; ``last`` flushes."""
        if self._same:
            return block
        block = np.ascontiguousarray(block, dtype=np.float64)
        return self._stream.resample_chunk(block, last=last).astype(np.float32)


def gathered(blocks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same samples in blocks of about ``size``: fewer, larger calls."""
    buffer: list[np.ndarray] = []
    count = 0
    for block in blocks:
        buffer.append(block)
        count += len(block)
        if count >= size:
            yield np.concatenate(buffer)
            buffer, count = [], 0
    if buffer:
        yield np.concatenate(buffer)


def at_rate(reader: BlockReader, to_hz: int) -> Iterator[np.ndarray]:
    """The samples of ``reader`` at ``to_hz``, in blocks; AudioError if not one is left."""
    from_hz = reader.info.rate_hz
    resampler = Resampler(from_hz, to_hz)
    n_samples = 0
    for block in gathered(reader, GATHER_SAMPLES):
        block = resampler(block)
        n_samples += len(block)
        yield block
    block = resampler(np.zeros(0, dtype=np.float32), last=True)
    n_samples += len(block)
    yield block
    if not n_samples:
        raise AudioError(f"{reader.path}: too short ({reader.n_samples} sample(s) at {from_hz} Hz)")


def level_dbfs(value: float) -> float:
    """An amplitude in 0..1 as decibels below full scale; silence is ``SILENCE_DBFS``."""
    # Rounded: the last bit of a logarithm is the processor's.
    return round(float(20 * np.log10(value)), 6) if value > 1e-10 else SILENCE_DBFS


class BandwidthMeter:
    """The measured bandwidth of a recording from frames spread over it.

    The bandwidth is the highest frequency at which the mean power spectrum (Hann, 2048 samples,
    over the loudest half of the frames) is within 60 dB of its peak. A narrow-band recording in a
    wide-band container therefore shows its true band. 0 for silence.
    """

    def __init__(self, rate_hz: int):
        self.rate_hz = rate_hz
        self._spectra: list[np.ndarray] = []
        self._every = 1  # of the frames that come by, one in so many is kept
        self._n_seen = 0
        self._window = np.hanning(BANDWIDTH_FRAME).astype(np.float32)

    def add(self, block: np.ndarray) -> None:
        """Take frames of ``block`` [samples]; the number kept is bounded."""
        if len(block) == 0:
            return
        if len(block) < BANDWIDTH_FRAME:
            block = np.pad(block, (0, BANDWIDTH_FRAME - len(block)))
        count = min(len(block) // BANDWIDTH_FRAME, 64)
        starts = np.linspace(0, len(block) - BANDWIDTH_FRAME, count).astype(int)
        starts = starts[(self._n_seen + np.arange(count)) % self._every == 0]
        self._n_seen += count
        if len(starts):
            frames = np.stack([block[start : start + BANDWIDTH_FRAME] for start in starts])
            # Copies: a row that is kept must not keep alive those that are dropped.
            power = np.abs(np.fft.rfft(frames * self._window)) ** 2
            self._spectra.extend(row.copy() for row in power)
        while len(self._spectra) > BANDWIDTH_FRAMES:
            # Half as dense from here on, and so far: they stay spread over the whole.
            self._spectra = self._spectra[::2]
            self._every *= 2

    def result_hz(self) -> float:
        """The bandwidth so far, in Hz."""
        if not self._spectra:
            return 0.0
        spectra = np.stack(self._spectra)
        power = spectra.sum(axis=1)
        mean = spectra[power >= np.median(power)].mean(axis=0)
        peak = mean.max()
        if peak <= 1e-12:
            return 0.0
        floor = peak * 10 ** (-BANDWIDTH_BELOW_PEAK_DB / 10)
        highest = int(np.flatnonzero(mean >= floor)[-1])
        return float(highest * self.rate_hz / BANDWIDTH_FRAME)


def bandwidth_hz(wave: np.ndarray, rate_hz: int) -> float:
    """Measured bandwidth of ``wave`` [samples]; see `BandwidthMeter`."""
    meter = BandwidthMeter(rate_hz)
    meter.add(wave)
    return meter.result_hz()


def to_int16(wave: np.ndarray) -> np.ndarray:
    """Samples [-1, 1] as 16-bit integers, clipped."""
    return np.clip(np.rint(np.asarray(wave) * 32768.0), -32768, 32767).astype(np.int16)


def write_flac(path: Path | str, wave: np.ndarray, rate_hz: int = RATE_HZ) -> None:
    """Write ``wave`` [samples] (float in [-1, 1], or int16) as 16-bit mono FLAC, atomically."""
    import soundfile

    samples = wave if wave.dtype == np.int16 else to_int16(wave)
    with atomic_path(path) as temp:
        try:
            soundfile.write(temp, samples, rate_hz, format="FLAC", subtype="PCM_16")
        except soundfile.LibsndfileError as error:
            raise OSError(f"cannot write {path}: {error}") from error


def read_clean(path: Path | str) -> np.ndarray:
    """A cleaned FLAC as float32 [samples] at 16 kHz; AudioError if it is missing or not one."""
    return np.concatenate([np.zeros(0, np.float32), *clean_blocks(path)])


def clean_blocks(path: Path | str, size: int = -1, overlap: int = 0) -> Iterator[np.ndarray]:
    """A cleaned FLAC in blocks [samples] float32, each ``overlap`` samples into the next one.

    A block begins every ``size`` samples; -1 reads all at once. AudioError if the file is missing
    or not one.
    """
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            if file.samplerate != RATE_HZ or file.channels != 1:
                raise AudioError(
                    f"{path}: {file.samplerate} Hz, expected {RATE_HZ} Hz mono: "
                    "run `dvc repro clean`"
                )
            for start in range(0, file.frames, size if size > 0 else max(file.frames, 1)):
                file.seek(start)
                yield file.read(size + overlap if size > 0 else -1, dtype="float32")
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(f"{path}: not a cleaned clip ({error}): run `dvc repro clean`") from error

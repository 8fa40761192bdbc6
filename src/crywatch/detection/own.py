"""Somebody else's detector: a network in an ONNX or TFLite file, or a callable.

A network is described by a few lines of YAML (`OwnConfig`), a callable by ``module:function``: it
takes [samples] float32 at ``function.rate_hz`` and gives [plain seconds] probabilities. Both are
opened as a `Detector`, whose scores are checked: what is wrong is told in one line.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from crywatch.audio.segments import RATE_HZ, n_segments
from crywatch.audio.waves.resampling import resample
from crywatch.core import params
from crywatch.core.errors import ConfigError, ModelError
from crywatch.detection.decisions import expit
from crywatch.detection.detectors import Detector
from crywatch.detection.runtimes import RUNTIMES, Shape, in_a_line, open_network

DESCRIBED = (".yaml", ".yml")
RATES_HZ = (1_000, 192_000)


@dataclass
class LogMelConfig:
    """What a network is given of a window in place of samples: log(mel + offset), no padding."""

    bands: int
    frame_s: float  # Hann window
    hop_s: float
    n_fft: int = 0  # samples; 0: the next power of two
    low_hz: float = 0.0
    high_hz: float | None = None  # None: half the rate
    htk: bool = False  # HTK's scale and triangles of height one, not Slaney's
    power: float = 2.0  # of the magnitudes
    offset: float = 1e-6
    decibels: bool = False  # 10 log10, not the natural logarithm
    bands_first: bool = False  # [bands, frames], not [frames, bands]

    def features(self, wave: np.ndarray, rate_hz: int) -> np.ndarray:
        """[samples] to [frames, bands] float32, or [bands, frames] where these are first."""
        from crywatch.audio.mel import mel_filters

        length, hop = round(self.frame_s * rate_hz), round(self.hop_s * rate_hz)
        n_fft = self.n_fft or 1 << (length - 1).bit_length()
        frames = np.lib.stride_tricks.sliding_window_view(wave, length)[::hop]
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
        spectrum = np.abs(np.fft.rfft(frames * hann, n_fft, axis=1)) ** self.power
        filters = mel_filters(rate_hz, n_fft, self.bands, self.low_hz, self.high_hz, self.htk)
        logs = np.log(spectrum @ filters.T + self.offset)
        logs = logs * (10 / np.log(10)) if self.decibels else logs
        return (logs.T if self.bands_first else logs).astype(np.float32)


@dataclass
class OwnConfig:
    """The description of a network in a file."""

    model: str  # .onnx or .tflite, beside the description
    rate_hz: int  # of the sound that it takes
    window_s: float  # of sound that it takes at once
    scores: str  # what it gives: probability, logit, or softmax for logits of all classes
    hop_s: float = 1.0  # from window to window
    input: str = ""  # name; the only one, or the first
    shape: list[int] | None = None  # of the input for one window; as the file says
    output: str = ""  # name or number; the first
    classes: list[int] = field(default_factory=list)  # that are cries: the highest counts
    log_mel: LogMelConfig | None = None  # given in place of samples
    parameters: int = 0  # for the table; 0: not known

    def check(self, where: str) -> None:
        """ConfigError that names the key."""
        if not RATES_HZ[0] <= self.rate_hz <= RATES_HZ[1]:
            raise ConfigError(f"{where}: rate_hz: {self.rate_hz} Hz is not in {_range(RATES_HZ)}")
        lengths = {"window_s": self.window_s, "hop_s": self.hop_s}
        if mel := self.log_mel:
            lengths |= {"log_mel.frame_s": mel.frame_s, "log_mel.hop_s": mel.hop_s}
        for key, value in lengths.items():
            if not 1 <= value * self.rate_hz < np.inf:
                raise ConfigError(f"{where}: {key}: {value:g} s is no length at {self.rate_hz} Hz")
        if mel and (mel.frame_s > self.window_s or mel.bands < 1):
            raise ConfigError(f"{where}: log_mel: needs a frame_s within window_s, and bands")
        if self.scores not in SCORES:
            raise ConfigError(f"{where}: scores: {self.scores!r} is none of {', '.join(SCORES)}")
        if min(self.classes, default=0) < 0:
            raise ConfigError(f"{where}: classes: counted from 0")


SCORES: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # a network's output as probabilities
    "probability": lambda values: values,
    "logit": lambda values: expit(np.clip(values, -700, 700)),
    "softmax": lambda values: np.exp(values - values.max()) / np.exp(values - values.max()).sum(),
}


def open_own(name: str, source: str) -> Detector:
    """The detector of ``source``: a description's file, or ``module:function``.

    Raises
    ------
    ConfigError
        A key is missing or wrong, or there is no such callable.
    ModelError
        The file is no such model.
    """
    if Path(source).suffix in DESCRIBED:
        return NetworkDetector(name, Path(source))
    return CallableDetector(name, source)


class OwnDetector(Detector):
    """What `NetworkDetector` and `CallableDetector` share: whole sounds at their own rate."""

    def __init__(self, name: str, source: str, rate_hz: Any, n_parameters: int):
        super().__init__(name, n_parameters)
        if not isinstance(rate_hz, int) or not RATES_HZ[0] <= rate_hz <= RATES_HZ[1]:
            raise ConfigError(f"{source}: rate_hz: {rate_hz!r} is not in {_range(RATES_HZ)}")
        self.source, self.rate_hz = source, rate_hz

    def score_stream(self, chunks: Iterable[np.ndarray]) -> np.ndarray:
        """[plain seconds] in 0..1; ModelError where it gave something else."""
        wave = np.concatenate([np.zeros(0, dtype=np.float32), *chunks])
        count = n_segments(len(wave))
        scores = self._scores(resample(wave, RATE_HZ, self.rate_hz), count)
        try:
            scores = np.asarray(scores, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ModelError(f"{self.source}: gave no numbers ({error})") from error
        if scores.shape != (count,):
            raise ModelError(
                f"{self.source}: gave scores of shape {scores.shape}; a sound of "
                f"{len(wave) / RATE_HZ:g} s needs ({count},), one for each plain second (a "
                "remainder of half a second counts)"
            )
        for second in np.flatnonzero(~((scores >= 0) & (scores <= 1)))[:1]:
            raise ModelError(f"{self.source}: second {second}: {no_probability(scores[second])}")
        return scores

    @abstractmethod
    def _scores(self, wave: np.ndarray, count: int) -> Any:
        """[samples] at its own rate to [count]; not yet checked."""


def no_probability(value: float) -> str:
    """What to say of a score that is none."""
    return f"{value:g} is no probability (0 to 1; logits need a sigmoid, `scores: logit`)"


class CallableDetector(OwnDetector):
    """``module:function`` with an attribute ``rate_hz``."""

    def __init__(self, name: str, source: str):
        module, _, function = source.partition(":")
        if not module or not function:
            raise ConfigError(f"{source}: name module:function, a .yaml or .jsonl file")
        try:
            self._callable = getattr(import_module(module), function)
        except Exception as error:  # whatever the module raises when it is imported
            raise ConfigError(f"{source}: cannot be imported ({in_a_line(error)})") from error
        if not callable(self._callable) or not hasattr(self._callable, "rate_hz"):
            raise ConfigError(f"{source}: takes sound at what rate? set {function}.rate_hz = 16000")
        n_parameters = getattr(self._callable, "n_parameters", 0)
        super().__init__(name, source, self._callable.rate_hz, n_parameters)

    def _scores(self, wave: np.ndarray, count: int) -> Any:
        try:
            return self._callable(wave)
        except Exception as error:
            raise ModelError(f"{self.source}: raised {in_a_line(error)}") from error


class NetworkDetector(OwnDetector):
    """A network on windows; a second has the highest score of those whose middle lies in it."""

    def __init__(self, name: str, path: Path):
        values = params.plain(path=path)
        needed = [each for each in fields(OwnConfig) if each.default is each.default_factory]
        if missing := [each.name for each in needed if each.name not in values]:
            raise ConfigError(f"{path}: {', '.join(missing)} must be set: a network needs it")
        self._about = config = params.typed(values, OwnConfig, str(path))
        config.check(str(path))
        file = path.parent / Path(config.model).expanduser()
        if file.suffix not in RUNTIMES or not file.is_file():
            raise ConfigError(f"{path}: model: {file} is no .onnx or .tflite file that is there")
        self._network = network = open_network(file)
        self._input = _named(list(network.inputs), config.input, "input", file)
        self._output = _named(network.outputs, config.output, "output", file)
        self._shape = tuple(config.shape or _shape(network.inputs[self._input]))
        super().__init__(name, str(path), config.rate_hz, config.parameters)

    def _scores(self, wave: np.ndarray, count: int) -> np.ndarray:
        """Windows begin with the sound, those over a second half a second before their middle."""
        config = self._about
        rate = config.rate_hz
        length, hop = round(config.window_s * rate), round(config.hop_s * rate)
        first = min(0, (rate - length) // 2)
        starts = np.arange(first, count * rate - length / 2, hop, dtype=np.int64)
        padded = np.zeros(max(starts[-1] + length, len(wave)) - first, dtype=np.float32)
        padded[-first : len(wave) - first] = wave
        scores = np.array([self._window(padded[s - first :][:length]) for s in starts])
        middles = (starts + length / 2) / rate
        by_second = []
        for second in range(count):
            inside = scores[np.floor(middles) == second]
            nearest = scores[np.argmin(np.abs(middles - second - 0.5))]
            by_second.append(inside.max(initial=-np.inf) if len(inside) else nearest)
        return np.array(by_second)

    def _window(self, wave: np.ndarray) -> float:
        """[samples] to the score of its classes."""
        config = self._about
        given = config.log_mel.features(wave, config.rate_hz) if config.log_mel else wave
        try:
            output = self._network(given.reshape(self._shape), self._input, self._output)
        except Exception as error:  # whatever the runtime raises
            raise ModelError(
                f"{self.source}: {config.model} does not take a window of shape {given.shape} "
                f"({config.window_s:g} s at {config.rate_hz} Hz): set window_s, rate_hz or shape "
                f"({in_a_line(error)})"
            ) from error
        values = np.squeeze(output)
        highest = max(config.classes, default=0 if values.size == 1 else values.size)
        if values.ndim > 1 or highest >= values.size:
            raise ModelError(
                f"{self.source}: {config.model} gives an output of shape {output.shape}: set "
                "output to one that is a number a class, and classes to those that are cries"
            )
        values = SCORES[config.scores](np.atleast_1d(values).astype(np.float64))
        return float(np.max(values[config.classes or [0]]))


def _shape(shape: Shape) -> Shape:
    """Of one window: the last free length is what is given, others are one."""
    free = [place for place, size in enumerate(shape) if size < 0]
    return tuple(1 if place in free[:-1] else size for place, size in enumerate(shape))


def _named(names: list[str], which: str, key: str, path: Path) -> str:
    """The one of that name or number, the first without one; ConfigError that names all."""
    if which.isdigit() and which not in names:
        which = dict(enumerate(names)).get(int(which), which)
    if which and which not in names:
        raise ConfigError(f"{path}: {key}: no {which!r} in it; there are {', '.join(names)}")
    return which or names[0]


def _range(ends: tuple[int, int]) -> str:
    return f"{ends[0]}..{ends[1]} Hz"

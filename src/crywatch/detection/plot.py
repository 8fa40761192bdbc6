"""`crywatch detect --plot`: waveform, spectrogram, probability and events of a recording as a PNG.

Drawn with Pillow, so that the base install can: a night is drawn by block, never held as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crywatch.audio.guard import GuardedReader
from crywatch.audio.segments import RATE_HZ
from crywatch.core.atomic import atomic_path
from crywatch.core.names import shown
from crywatch.detection.decisions import Rule
from crywatch.detection.detect import DetectConfig, Detection
from crywatch.detection.terminal import clock

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

WIDTH, LEFT, RIGHT = 1200, 110, 20  # pixels
TITLE, AXIS, GAP = 48, 34, 14
PANELS = {"waveform": 120, "kHz": 200, "probability": 150}  # heights
INK, GREY, CRY, WAVE = (38, 42, 48), (150, 156, 164), (200, 50, 45), (60, 96, 150)
SHADE = (250, 226, 222)  # of events
TICKS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
WINDOW = 512  # samples of a spectrum
FLOOR_DB = 70.0  # of the spectrogram, below its loudest
# Dark to light, the colours that many spectrograms have (matplotlib's magma, five of its points).
COLOURS = np.array(
    [(0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191)], dtype=float
)


@dataclass(frozen=True)
class Overview:
    """A recording in as many columns as the picture has."""

    low: np.ndarray  # [columns] least sample
    high: np.ndarray  # [columns] greatest
    levels_db: np.ndarray  # [columns, WINDOW // 2] mean power of each frequency, rising


def overview(chunks: Iterable[np.ndarray], duration_s: float, columns: int) -> Overview:
    """Of a recording at 16 kHz in ``chunks`` [samples], ``duration_s`` long in all."""
    low, high = np.zeros(columns), np.zeros(columns)
    power, counts = np.zeros((columns, WINDOW // 2)), np.zeros(columns)
    per_column = max(duration_s * RATE_HZ / columns, 1.0)
    window = np.hanning(WINDOW)
    for start, frames in _frames(chunks):
        places = start + np.arange(len(frames)) * WINDOW
        at = np.minimum((places / per_column).astype(int), columns - 1)
        np.minimum.at(low, at, frames.min(axis=1))
        np.maximum.at(high, at, frames.max(axis=1))
        spectra = np.abs(np.fft.rfft(frames * window, axis=1)[:, 1:]) ** 2
        np.add.at(power, at, spectra)
        np.add.at(counts, at, 1)
    heard = np.flatnonzero(counts)
    if len(heard):  # of a short recording columns have no spectrum of their own
        nearest = heard[np.abs(np.arange(columns)[:, None] - heard).argmin(axis=1)]
        low, high = low[nearest], high[nearest]
        power = power[nearest] / counts[nearest, None]
    return Overview(low, high, 10 * np.log10(power + 1e-12))


def _frames(chunks: Iterable[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    """First sample, and [frames, WINDOW] side by side; a rest shorter than one is left out."""
    rest, start = np.zeros(0), 0
    for chunk in chunks:
        wave = np.concatenate([rest, chunk])
        whole = len(wave) // WINDOW * WINDOW
        if whole:
            yield start, wave[:whole].reshape(-1, WINDOW)
        rest, start = wave[whole:], start + whole


def plot_file(
    detection: Detection, path: Path, out: Path, config: DetectConfig, rule: Rule
) -> None:
    """Read the file at ``path`` once more and draw what was found in it."""
    from crywatch.audio.waves.resampling import at_rate

    reader = GuardedReader(path, config.decoding)
    draw(detection, at_rate(reader, RATE_HZ), out, rule.on)


def draw(detection: Detection, chunks: Iterable[np.ndarray], path: Path, threshold: float) -> None:
    """Write the picture of ``detection``, of the recording in ``chunks`` [samples] at 16 kHz.

    ``threshold`` is the probability from which a second makes an event.
    """
    from PIL import Image, ImageDraw, ImageFont

    font, small = ImageFont.load_default(17), ImageFont.load_default(13)
    height = TITLE + sum(PANELS.values()) + GAP * (len(PANELS) - 1) + AXIS
    picture = Image.new("RGB", (WIDTH, height), "white")
    pen = ImageDraw.Draw(picture)
    columns = WIDTH - LEFT - RIGHT
    sound = overview(chunks, detection.duration_s, columns)
    scale = columns / max(detection.duration_s, 1e-9)
    found = len(detection.events)
    events = "no cry" if not found else "one event" if found == 1 else f"{found} events"
    name = shown(Path(detection.path).name)
    pen.text((LEFT, 14), f"{name}: {events} in {clock(detection.duration_s)}", INK, font)
    top = TITLE
    for label, panel in PANELS.items():
        for event in detection.events:
            left, right = LEFT + event.onset_s * scale, LEFT + event.offset_s * scale
            pen.rectangle((left, top, right, top + panel), SHADE)
        if label == "waveform":
            _wave(pen, sound, top, panel)
        elif label == "kHz":
            spectrogram = Image.fromarray(_coloured(sound.levels_db)).resize((columns, panel))
            picture.paste(spectrogram, (LEFT, top))
            _scale(pen, small, top, panel, {f"{k}": k / 8 for k in (0, 2, 4, 6, 8)})
        else:
            _scale(pen, small, top, panel, {"0": 0.0, "0.5": 0.5, "1": 1.0})
            _probability(pen, detection, top, panel, scale, threshold)
        pen.rectangle((LEFT, top, LEFT + columns, top + panel), outline=GREY)
        pen.text((8, top + 2), label, INK, small)
        top += panel + GAP
    _times(pen, small, top - GAP, detection.duration_s, scale)
    with atomic_path(path) as temp:
        picture.save(temp, format="PNG")


def _wave(pen: ImageDraw, sound: Overview, top: int, height: int) -> None:
    peak = max(float(np.abs([sound.low, sound.high]).max()), 1e-6)
    middle = top + height / 2
    for column, (low, high) in enumerate(zip(sound.low / peak, sound.high / peak, strict=True)):
        x, half = LEFT + column, 0.47 * height
        pen.line((x, middle - high * half, x, middle - low * half), WAVE)


def _coloured(levels_db: np.ndarray) -> np.ndarray:
    """[columns, frequencies] dB to a picture, [frequencies, columns, RGB], low tones below."""
    loudest = np.quantile(levels_db, 0.999)
    shares = np.clip((levels_db - loudest) / FLOOR_DB + 1, 0, 1).T[::-1]
    places = np.linspace(0, 1, len(COLOURS))
    rgb = [np.interp(shares, places, COLOURS[:, channel]) for channel in range(3)]
    return np.stack(rgb, axis=-1).astype(np.uint8)


def _probability(
    pen: ImageDraw, detection: Detection, top: int, height: int, scale: float, threshold: float
) -> None:
    def y(probability: float) -> float:
        return top + height * (1 - probability)

    for x in range(LEFT, WIDTH - RIGHT, 8):
        pen.line((x, y(threshold), x + 3, y(threshold)), GREY)
    points = []
    for second in detection.seconds:
        end_s = min(second.start_s + 1, detection.duration_s)
        points += [(LEFT + t * scale, y(second.cry)) for t in (second.start_s, end_s)]
    pen.line(points, INK, width=2)
    for event in detection.events:
        left, right = LEFT + event.onset_s * scale, LEFT + event.offset_s * scale
        pen.rectangle((left, top, right, top + 5), CRY)


def _scale(
    pen: ImageDraw,
    font: ImageFont | FreeTypeFont,
    top: int,
    height: int,
    ticks: dict[str, float],
) -> None:
    """Marks at shares of the panel's height, from below."""
    for text, share in ticks.items():
        y = top + height * (1 - share)
        pen.line((LEFT - 5, y, LEFT, y), GREY)
        pen.text((LEFT - 9, min(max(y, top + 7), top + height - 7)), text, INK, font, anchor="rm")


def _times(
    pen: ImageDraw, font: ImageFont | FreeTypeFont, top: int, duration_s: float, scale: float
) -> None:
    step = next((tick for tick in TICKS_S if duration_s / tick <= 12), TICKS_S[-1])
    for time_s in np.arange(0, duration_s + 1e-6, step):
        x = LEFT + time_s * scale
        pen.line((x, top, x, top + 5), GREY)
        pen.text((x, top + 8), clock(time_s), INK, font, anchor="mt")

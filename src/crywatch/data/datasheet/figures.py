"""Histograms and spectrograms of a datasheet, as data URIs that a page can hold."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crywatch.audio.decode import BlockReader
from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.resampling import gathered
from crywatch.core.charts import inline_svg
from crywatch.data.datasheet.measures import Quantity

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

COLOURS = {"cry": "#c2410c", "other": "#1d6f8a", "unknown": "#7a828c"}
BINS = 32
SETTINGS = ("rate_hz", "duration_s")  # often the same for many clips:
FEW = 8  # values of them at most are drawn as bars of their own
SLANTED = 4  # values from which their names need the room
LOWEST_DBFS = -100.0  # silence is drawn here
SHOWN_S = 10.0  # of a clip
N_FFT, HOP = 512, 160  # samples: 32 ms, 10 ms
RANGE_DB = 80.0  # below the clip's peak
PNG_DPI = 110


def histogram(clips: pd.DataFrame, quantity: Quantity) -> str:
    """Share of each label's clips over ``quantity``: classes of any size compare."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.5, 2.1), layout="constrained")
    axes = figure.add_subplot()
    values = clips[quantity.column].to_numpy(dtype=np.float64)
    if quantity.unit == "dBFS":
        values = np.maximum(values, LOWEST_DBFS)
    labels = sorted(set(clips["label"]))
    n_values = len(np.unique(values))
    if n_values == 1 or (n_values <= FEW and quantity.column in SETTINGS):
        _bars(axes, values, clips["label"].to_numpy(), labels)
    else:
        edges = np.histogram_bin_edges(values, BINS).tolist()
        axes.locator_params(axis="x", nbins=5)
        for label in labels:
            own = values[(clips["label"] == label).to_numpy()]
            weights = np.full(len(own), 100 / len(own))
            style = {"color": COLOURS[label], "label": label}
            axes.hist(own, edges, weights=weights, histtype="stepfilled", alpha=0.25, **style)
            axes.hist(own, edges, weights=weights, histtype="step", linewidth=1.3, **style)
    axes.set_xlabel(f"{quantity.title}, {quantity.unit}", fontsize=8)
    axes.set_ylabel("% of the label's clips", fontsize=8)
    axes.tick_params(labelsize=7.5)
    axes.spines[["top", "right"]].set_visible(False)
    return inline_svg(figure)


def _bars(axes: Axes, values: np.ndarray, labels: np.ndarray, names: list[str]) -> None:
    levels = np.unique(values)
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        own = values[labels == name]
        share = [100 * float(np.mean(own == value)) for value in levels]
        axes.bar(np.arange(len(levels)) + number * width, share, width, color=COLOURS[name])
    centre = width * (len(names) - 1) / 2
    axes.set_xticks(np.arange(len(levels)) + centre, [f"{value:,.6g}" for value in levels])
    if len(levels) >= SLANTED:
        axes.tick_params(axis="x", labelrotation=30)
    if len(levels) == 1:
        axes.set_xlim(centre - 1.5, centre + 1.5)


def spectrogram(path: Path, bandwidth_hz: float) -> str:
    """The first 10 s of a cleaned clip, 0 to 8 kHz, dB below its peak; the band's end dashed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.5, 1.9), layout="constrained")
    axes = figure.add_subplot()
    show_spectrum(axes, head(path))
    if 0 < bandwidth_hz < RATE_HZ / 2:
        axes.axhline(bandwidth_hz / 1000, color="white", linewidth=0.8, linestyle="--", alpha=0.8)
    axes.set_xlabel("s", fontsize=7.5, labelpad=1)
    axes.set_ylabel("kHz", fontsize=7.5)
    axes.tick_params(labelsize=7)
    buffer = io.BytesIO()
    # Without the library's version the same clip gives the same bytes.
    figure.savefig(buffer, format="png", dpi=PNG_DPI, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def head(path: Path) -> np.ndarray:
    """The first `SHOWN_S` of a cleaned clip, float32 [samples]; the rest is not read."""
    n_samples = round(SHOWN_S * RATE_HZ)
    return next(gathered(BlockReader(path), n_samples))[:n_samples]


def show_spectrum(axes: Axes, wave: np.ndarray, start_s: float = 0.0) -> float:
    """Draw a sound at 16 kHz, 0 to 8 kHz in dB below its peak, from ``start_s``; its end in s."""
    level_db = spectrum_db(wave)
    end_s = start_s + level_db.shape[1] * HOP / RATE_HZ
    axes.imshow(
        level_db,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=-RANGE_DB,
        vmax=0,
        extent=(start_s, end_s, 0, RATE_HZ / 2000),
    )
    return end_s


def spectrum_db(wave: np.ndarray) -> np.ndarray:
    """[N_FFT / 2 + 1, frames] dB below the highest value, at least ``-RANGE_DB``."""
    if len(wave) < N_FFT:
        wave = np.pad(wave, (0, N_FFT - len(wave)))
    frames = np.lib.stride_tricks.sliding_window_view(wave, N_FFT)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(N_FFT).astype(np.float32), axis=1)) ** 2
    peak = max(float(power.max()), 1e-12)
    return 10 * np.log10(np.maximum(power.T / peak, 10 ** (-RANGE_DB / 10)))

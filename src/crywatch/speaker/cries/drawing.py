"""The steps of stage ``cries`` for a few recordings: raw, normalised, segmented, spectrogram."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.cleaned import read_clean
from crywatch.speaker.cries import (
    CriesConfig,
    CutRecording,
    annotated_recordings,
    cut_recording,
    load_scores,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LONGEST_S = 30.0  # that is drawn


def step_figures(
    clips_table: Path,
    events_tables: Sequence[Path],
    details: Sequence[Path],
    config: CriesConfig,
) -> Iterator[tuple[str, Figure]]:
    """Names and figures of ``config.pictures`` recordings, spread over the infants."""
    clips, known = annotated_recordings(clips_table, events_tables, details)
    chosen = np.unique(np.linspace(0, len(clips) - 1, config.pictures).astype(int))
    clips = clips.iloc[chosen if config.pictures else []]
    scores = load_scores(config)
    for number, clip in enumerate(clips.to_dict("records")):
        raw = read_clean(clip["path"])[: round(_LONGEST_S * RATE_HZ)]
        cut = cut_recording(raw, scores, config, known.get(clip["clip_id"]))
        yield f"steps_{number + 1}", draw(clip["clip_id"], raw, cut)


def draw(title: str, raw: np.ndarray, cut: CutRecording) -> Figure:
    """Four panels over one axis of time in seconds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 8), layout="constrained")
    axes = figure.subplots(4, 1, sharex=True)
    time_s = np.arange(len(raw)) / RATE_HZ
    for axis, wave in zip(axes, (raw, cut.wave, cut.wave), strict=False):
        axis.plot(time_s, wave, linewidth=0.4, color="#30638e")
        axis.set_ylim(-1.05, 1.05)
        axis.set_ylabel("amplitude")
    axes[0].set_title(f"raw, peak {cut.peak_dbfs:.1f} dBFS", loc="left", fontsize=10)
    axes[1].set_title("divided by its peak", loc="left", fontsize=10)
    axes[2].set_title(
        f"crying (grey, by {cut.found_by}) and {len(cut.cries)} cries (orange)",
        loc="left",
        fontsize=10,
    )
    for stretch in cut.crying:
        axes[2].axvspan(stretch.onset_s, stretch.offset_s, color="0.9", zorder=0)
    for cry in cut.cries:
        axes[2].axvspan(cry.onset_s, cry.offset_s, color="#edae49", alpha=0.5, zorder=1)
    with np.errstate(divide="ignore"):  # digital silence has no level
        axes[3].specgram(cut.wave, NFFT=512, noverlap=384, Fs=RATE_HZ, vmin=-140, cmap="magma")
    axes[3].set_facecolor("black")  # so that it is drawn as silence, not as a hole
    axes[3].set_title("spectrogram of what was normalised", loc="left", fontsize=10)
    axes[3].set_ylabel("Hz")
    axes[3].set_xlabel("seconds")
    figure.suptitle(title, fontsize=11)
    return figure

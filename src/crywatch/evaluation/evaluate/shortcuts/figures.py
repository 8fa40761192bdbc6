"""Figures of the audit: AUC by channel and system, and what a probe tells of the corpus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crywatch.evaluation.evaluate.shortcuts.probe import ALL

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def channels_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """A heat map of AUC per second, pooled; ``rows`` of `ChannelRow`, means over seeds."""
    from matplotlib.figure import Figure

    wanted = [row for row in rows if (row["scope"], row["unit"]) == ("pooled", "second")]
    names, channels = (
        list(dict.fromkeys(row[key] for row in wanted)) for key in ("row", "channel")
    )
    table = pd.DataFrame(np.nan, index=names, columns=channels)
    for row in wanted:
        table.loc[row["row"], row["channel"]] = np.nan if row["auc"] is None else row["auc"]
    figure = Figure(
        figsize=(2.6 + 0.9 * len(table.columns), 1.6 + 0.34 * len(table)), layout="constrained"
    )
    axes = figure.add_subplot()
    image = axes.imshow(table, cmap="RdYlGn", vmin=0.4, vmax=1.0, aspect="auto")
    axes.set_xticks(range(len(table.columns)), table.columns, rotation=30, ha="right", fontsize=8)
    axes.set_yticks(range(len(table)), table.index, fontsize=8)
    for (y, x), value in np.ndenumerate(table.to_numpy()):
        if np.isfinite(value):
            axes.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=8)
    if table.size:
        figure.colorbar(image, ax=axes, label="AUC; 0.5 is chance")
    axes.set_title("AUC per second, test part, all corpora pooled", fontsize=9)
    return figure


def probe_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Bars of balanced accuracy; ``rows`` of `ProbeRow`, means over seeds."""
    from matplotlib.figure import Figure

    columns = ["row", "label", "balanced_accuracy", "chance", "permuted_high"]
    table = pd.DataFrame([row for row in rows if row["parts"] == ALL], columns=columns)
    names, labels = (list(dict.fromkeys(table[key])) for key in ("row", "label"))
    figure = Figure(figsize=(9.5, 1.4 + 0.3 * len(names)), layout="constrained")
    for number, label in enumerate(labels, 1):
        axes = figure.add_subplot(1, len(labels), number)
        means = table[table["label"] == label].set_index("row").reindex(names)
        places = np.arange(len(names))
        axes.barh(places, means["balanced_accuracy"], color="#1b6ca8", height=0.6)
        drawn = "names drawn anew, highest"
        axes.plot(means["permuted_high"], places, "|", color="black", ms=10, label=drawn)
        axes.axvline(means["chance"].mean(), color="#c4542b", ls=":", label="chance")
        shown = names if number == 1 else [""] * len(names)
        axes.set_yticks(places, shown, fontsize=8)
        axes.invert_yaxis()
        axes.set(xlim=(0, 1), xlabel="balanced accuracy")
        axes.set_title(f"which corpus? {label} seconds alone", fontsize=9)
        if number == 1:
            axes.legend(fontsize=7, loc="lower right")
    return figure

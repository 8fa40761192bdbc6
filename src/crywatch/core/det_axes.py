"""The axes of a plot of the detection error trade-off (DET).

Source: Martin et al., "The DET curve in assessment of detection task performance" (1997): both
error rates on normal deviates, so that normally distributed scores give straight lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
LOWEST = 0.005


def draw(axes: Axes, false_alarm: ArrayLike, miss: ArrayLike, **style: Any) -> None:
    """A curve of rates (each [points])."""
    from scipy.stats import norm

    x, y = (norm.ppf(np.clip(rates, 1e-6, 1 - 1e-6)) for rates in (false_alarm, miss))
    axes.plot(x, y, **style)


def finish(axes: Axes, highest: float, false_alarms_of: str, misses_of: str) -> None:
    """Rates from `LOWEST` to ``highest`` at the ticks, what they are % of, and the line of EER."""
    from scipy.stats import norm

    low, high = norm.ppf((LOWEST, highest))
    axes.plot([low, high], [low, high], color="0.8", linewidth=0.8, zorder=0)
    labels = [f"{100 * tick:g}" for tick in TICKS]
    axes.set_xticks(norm.ppf(TICKS), labels)
    axes.set_yticks(norm.ppf(TICKS), labels)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.set(xlabel=f"false alarms, % of {false_alarms_of}", ylabel=f"misses, % of {misses_of}")
    axes.grid(alpha=0.3)

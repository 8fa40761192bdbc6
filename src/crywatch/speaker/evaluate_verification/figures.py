"""The DET curves, and a picture in which recordings that a network finds alike lie together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from crywatch.core import det_axes
from crywatch.speaker.verification import DetCurve, det_curve, equal_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVE_POINTS = 160  # of a curve, at most
DET = ["model", "network", "protocol", "false_alarm", "miss"]
MAP = ["clip_id", "infant_id", "session_id", "x", "y"]
DET_HIGHEST = 0.85
DASHES: dict[str, Literal["-", ":", "--"]] = {"across": "-", "within": ":", "cryceleb": "--"}
SESSIONS = {
    "across": "across sessions",
    "within": "within a session",
    "cryceleb": "CryCeleb's trials",
}
MARKERS = "os^DvP"
NAME_LENGTH = 24  # characters of an infant beside the picture


@dataclass(frozen=True)
class ScoredTrials:
    """Trials of one network."""

    network: str
    protocol: str
    same: np.ndarray  # [trials] bool
    scores: np.ndarray  # [trials]


def det_points(scored: Sequence[ScoredTrials]) -> pd.DataFrame:
    """Operating points of each, columns `DET`; ``model`` names network and protocol."""
    frames = [pd.DataFrame(columns=DET)]
    for trials in scored:
        if trials.same.any() and not trials.same.all():
            curve = det_curve(trials.same, trials.scores)
            rows = thinned(curve)
            head = {"model": f"{trials.network}, {trials.protocol}", "network": trials.network}
            rates = {"false_alarm": curve.false_alarm[rows], "miss": curve.miss[rows]}
            frames.append(pd.DataFrame(head | {"protocol": trials.protocol} | rates))
    return pd.concat(frames[1:] or frames, ignore_index=True)[DET].round(6)


def thinned(curve: DetCurve) -> np.ndarray:
    """Rows of at most `CURVE_POINTS` points, evenly spaced on the axes of a DET plot."""
    from scipy.stats import norm

    # Half of them by either rate: a curve is flat in one where it is steep in the other.
    grid = norm.cdf(np.linspace(-3.2, 3.2, CURVE_POINTS // 2 - 2))
    by_false_alarm = np.searchsorted(curve.false_alarm, grid)
    by_hit = np.searchsorted(1 - curve.miss, grid)
    last = len(curve.miss) - 1
    # The ends, and the two points that the equal error rate lies between.
    crossing = int(np.argmax(curve.false_alarm >= curve.miss))
    rows = np.concatenate([by_false_alarm, by_hit, [0, crossing - 1, crossing, last]])
    return np.unique(np.clip(rows, 0, last))


def det_figure(points: pd.DataFrame) -> Figure:
    """DET curves: a colour a network, dashes by protocol; a dot at the equal error rate."""
    from matplotlib import color_sequences
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from scipy.stats import norm

    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.add_subplot()
    colours = dict(zip(points["network"].unique(), color_sequences["tab10"] * 3, strict=False))
    dashes = [name for name in DASHES if name in set(points["protocol"])]
    for (network, protocol), frame in points.groupby(["network", "protocol"], sort=False):
        thresholds = -np.arange(len(frame), dtype=float)  # not kept; only their order counts
        curve = DetCurve(
            frame["false_alarm"].to_numpy(float), frame["miss"].to_numpy(float), thresholds
        )
        x, y = (np.clip(rates, -6, 6) for rates in curve.probit())
        axes.plot(x, y, color=colours[network], linestyle=DASHES[protocol], linewidth=1.4)
        at = norm.ppf(np.clip(equal_error(curve).rate, 1e-6, 1 - 1e-6))
        axes.plot(at, at, "o", color=colours[network], markersize=4)
    det_axes.finish(axes, DET_HIGHEST, "pairs of two infants", "pairs of one")
    handles = [Line2D([], [], color=colour, label=name) for name, colour in colours.items()]
    handles += [
        Line2D([], [], color="0.4", linestyle=DASHES[name], label=SESSIONS[name]) for name in dashes
    ]
    if handles:
        figure.legend(handles=handles, loc="outside right upper", fontsize=8)
    return figure


def embedding_map(
    known: pd.DataFrame, vectors: Mapping[str, np.ndarray], infants: int, each: int, seed: int
) -> pd.DataFrame:
    """A t-SNE picture of recordings (columns `MAP`), the same for the same inputs.

    ``known`` has clip_id, infant_id and session_id. Shown are the ``infants`` with the most
    recordings, of each at most ``each``, evenly over its history. Too few to be drawn give no rows.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    counts = known["infant_id"].value_counts()
    order = sorted(counts.index, key=lambda infant: (-counts[infant], infant))[:infants]
    parts = []
    for infant in order:
        own = known[known["infant_id"] == infant]
        rows = np.linspace(0, len(own) - 1, min(each, len(own))).round().astype(int)
        parts.append(own.iloc[rows])
    if sum(map(len, parts)) < 4:
        return pd.DataFrame(columns=MAP)
    shown = pd.concat(parts)[MAP[:3]].reset_index(drop=True)
    points = np.stack([vectors[clip_id] for clip_id in shown["clip_id"]])
    # On the sphere, squared Euclidean distances order as cosines do.
    method = TSNE(
        perplexity=min(30.0, (len(shown) - 1) / 3),
        init="pca",
        random_state=seed,
    )
    with threadpool_limits(1):  # several sum in an order of their own, and the picture differs
        places = method.fit_transform(points.astype(np.float32)).astype(np.float64)
    return shown.assign(x=places[:, 0].round(3), y=places[:, 1].round(3))


def map_figure(points: pd.DataFrame, network: str) -> Figure:
    """The picture of `embedding_map`: a colour and a sign an infant, sessions joined by a line."""
    from matplotlib import color_sequences
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 4.4), layout="constrained")
    axes = figure.add_subplot()
    colours = color_sequences["tab20"]
    for number, (infant, own) in enumerate(points.groupby("infant_id", sort=False)):
        colour, marker = colours[2 * number % 20 + number // 10 % 2], MARKERS[number % len(MARKERS)]
        for _, session in own.groupby("session_id", sort=False):
            axes.plot(session["x"], session["y"], color=colour, linewidth=0.6, alpha=0.6, zorder=1)
        name = infant if len(infant) <= NAME_LENGTH else f"{infant[: NAME_LENGTH - 3]}..."
        axes.scatter(own["x"], own["y"], 16, color=colour, marker=marker, label=name, zorder=2)
    axes.set(xticks=[], yticks=[])
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_title(f"Recordings of the test part, {network}; lines join a session", fontsize=9)
    if len(points):
        figure.legend(loc="outside right upper", fontsize=7)
    return figure

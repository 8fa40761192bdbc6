"""A comparison as one HTML page that needs nothing beside it: tables, and curves of both runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from crywatch.core import det_axes
from crywatch.core.charts import inline_svg
from crywatch.evaluation import scopes
from crywatch.evaluation.evaluate_detection.figures import finish_det
from crywatch.evaluation.evaluate_detection.seconds import PART
from crywatch.metrics.curves import precision_recall, roc
from crywatch.operations.compare import Comparison
from crywatch.operations.compare.rows import Side
from crywatch.operations.compare.tables import decision_table, heading, main_table
from crywatch.report.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLES = ("-", "--")


@dataclass(frozen=True)
class Page:
    """What its template shows."""

    title: str
    heading: list[str]
    tables: list[Table]
    figures: dict[str, str]  # caption to data URI


def render(comparison: Comparison) -> str:
    """The page; the same comparison gives the same bytes."""
    import jinja2

    found = [main_table(comparison)]
    if comparison.decisions:
        found.append(decision_table(comparison))
    figures = {}
    for first, second in comparison.sides:
        drawn = overlay(first, second)
        if drawn is not None:
            named = f"{first.model} of {first.run}"
            other = f"{second.model} of {second.run}"
            figures[f"{named} (solid) and {other} (dashed)"] = inline_svg(drawn)
    loaders = [jinja2.PackageLoader("crywatch", name) for name in ("operations/compare", "report")]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    page = Page(comparison.title, heading(comparison), found, figures)
    return environment.get_template("comparison.html.j2").render(comparison=page)


def overlay(first: Side, second: Side) -> Figure | None:
    """ROC, precision and recall, and DET per second of the pooled test part, a line a side.

    None where neither has both classes.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.6, 4.2), layout="constrained")
    panels = figure.subplots(1, 3)
    drawn = False
    for side, style in zip((first, second), STYLES, strict=True):
        frame = pooled(side.seconds)
        labels, scores = frame["is_cry"].to_numpy(), frame["score"].to_numpy()
        if len(set(labels)) < 2:
            continue
        drawn = True
        name = side.run if first.model == second.model else side.model
        curve, found = roc(labels, scores), precision_recall(labels, scores)
        panels[0].plot(curve.x, curve.y, style, label=name)
        panels[1].plot(found.x, found.y, style, label=name)
        det_axes.draw(panels[2], curve.x, 1 - curve.y, linestyle=style)
    if not drawn:
        return None
    panels[0].set(xlabel="false positive rate", ylabel="true positive rate")
    panels[1].set(xlabel="recall", ylabel="precision")
    for axes in panels[:2]:
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        axes.grid(alpha=0.3)
    finish_det(panels[2])
    panels[0].legend(fontsize=8)
    return figure


def pooled(seconds: pd.DataFrame) -> pd.DataFrame:
    """Of the test part."""
    return scopes.pooled(seconds[seconds["split"] == PART])

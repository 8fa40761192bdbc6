"""A comparison as one HTML page that needs nothing beside it: tables, and curves of both runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crywatch.core import det_axes
from crywatch.core.charts import inline_svg
from crywatch.evaluation import scopes
from crywatch.evaluation.evaluate.detection.figures import finish_det
from crywatch.evaluation.evaluate.detection.seconds import PART
from crywatch.metrics.curves import precision_recall, roc
from crywatch.operations.compare_runs.comparison import RunComparison
from crywatch.operations.compare_runs.differences import RunModel
from crywatch.operations.compare_runs.tables import decision_table, heading, main_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLES = ("-", "--")


def render(comparison: RunComparison) -> str:
    """The page; the same comparison gives the same bytes."""
    import jinja2

    tables = [main_table(comparison)]
    if comparison.decisions:
        tables.append(decision_table(comparison))
    figures = {}
    for first, second in comparison.models:
        figure = overlay(first, second)
        if figure is not None:
            solid, dashed = (f"{each.model} of {each.run}" for each in (first, second))
            figures[f"{solid} (solid) and {dashed} (dashed)"] = inline_svg(figure)
    folders = ("operations/compare_runs", "report")
    loaders = [jinja2.PackageLoader("crywatch", folder) for folder in folders]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("comparison.html.j2").render(
        title=comparison.title, heading=heading(comparison), tables=tables, figures=figures
    )


def overlay(first: RunModel, second: RunModel) -> Figure | None:
    """ROC, precision and recall, and DET per second of the pooled test part, a line a side.

    None where neither has both classes.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.6, 4.2), layout="constrained")
    panels = figure.subplots(1, 3)
    for model, style in zip((first, second), STYLES, strict=True):
        frame = scopes.pooled(model.seconds[model.seconds["split"] == PART])
        labels, scores = frame["is_cry"].to_numpy(), frame["score"].to_numpy()
        if len(set(labels)) < 2:
            continue
        name = model.run if first.model == second.model else model.model
        curve, tradeoff = roc(labels, scores), precision_recall(labels, scores)
        panels[0].plot(curve.x, curve.y, style, label=name)
        panels[1].plot(tradeoff.x, tradeoff.y, style, label=name)
        det_axes.draw(panels[2], curve.x, 1 - curve.y, linestyle=style)
    if not panels[0].lines:
        return None
    panels[0].set(xlabel="false positive rate", ylabel="true positive rate")
    panels[1].set(xlabel="recall", ylabel="precision")
    for axes in panels[:2]:
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        axes.grid(alpha=0.3)
    finish_det(panels[2])
    panels[0].legend(fontsize=8)
    return figure

"""A comparison as one HTML page that needs nothing beside it: what differs, then all the rest.

Open are the lines that can tell runs apart, parameters and clips that differ, and the curves of
models that do; folded are all lines, decisions, and the other curves.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from crywatch.core import det_axes
from crywatch.core.charts import inline_svg
from crywatch.evaluation import scopes
from crywatch.evaluation.evaluate.detection.figures import finish_det
from crywatch.evaluation.evaluate.detection.seconds import PART
from crywatch.metrics.curves import precision_recall, roc
from crywatch.operations.compare_runs.comparison import RunComparison
from crywatch.operations.compare_runs.differences import SAME, RunModel
from crywatch.operations.compare_runs.tables import (
    clip_lines,
    decision_table,
    main_table,
    parameter_table,
    run_lines,
    telling,
)
from crywatch.report.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLES = ("-", "--")


def render(comparison: RunComparison) -> str:
    """The page; the same comparison gives the same bytes."""
    import jinja2

    brief = telling(comparison)
    lines = sorted(brief.lines, key=lambda line: line.verdict == SAME)  # those that differ first
    decided = any(line.verdict != SAME for line in lines)
    differs = _verdict_early(main_table(replace(brief, lines=lines)))
    differs = replace(differs, title="What differs" if decided else "No difference shown")
    apart = {(line.first, line.second, line.model, line.against) for line in lines}
    figures: dict[bool, dict[str, str]] = {True: {}, False: {}}  # of models that differ; others
    for first, second in comparison.models:
        figure = overlay(first, second)
        if figure is not None:
            solid, dashed = (f"{each.model} of {each.run}" for each in (first, second))
            caption = f"{solid} (solid) and {dashed} (dashed)"
            which = (first.run, second.run, first.model, second.model) in apart
            figures[which][caption] = inline_svg(figure)
    folded = [main_table(comparison)]
    if comparison.decisions:
        folded.append(decision_table(comparison))
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
        title=comparison.title,
        heading=run_lines(comparison),
        differs=differs,
        parameters=parameter_table(comparison),
        recorded=all(run.params for pair in comparison.pairs for run in pair),
        data=[*clip_lines(comparison), *comparison.notes],
        folded=folded,
        figures=figures,
    )


def _verdict_early(table: Table) -> Table:
    """The last column after the first: a phone shows few."""
    columns, *rows = ([row[0], row[-1], *row[1:-1]] for row in (table.columns, *table.rows))
    return replace(table, columns=columns, rows=rows)


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

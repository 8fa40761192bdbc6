"""The page on a run, as HTML and as Markdown. It names no recording and no folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from crywatch.operations.drift import DriftQuantity
    from crywatch.operations.retrain.record import Record

TITLES = {
    "nothing": "Nothing was changed",
    "promoted": "A new champion",
    "refused": "The challenger was refused",
    "failed": "The rebuild failed; the champion serves on",
}


def render(record: Record, suffix: str) -> str:
    """The page of ``record``; ``suffix`` is html or md."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader("crywatch", name) for name in ("operations/retrain", "report")]
        ),
        autoescape=suffix == "html",
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    chart = ""
    if suffix == "html" and record.drift is not None and record.drift.quantities:
        from crywatch.core.charts import inline_svg

        chart = inline_svg(drift_figure(record.drift.quantities))
    template = environment.get_template(f"retrain.{suffix}.j2")
    return template.render(record=record, title=TITLES[record.outcome], chart=chart)


def drift_figure(quantities: tuple[DriftQuantity, ...]) -> Figure:
    """Of each scalar quantity the middle 50 and 90 % and the median, training over recent."""
    from matplotlib.figure import Figure

    shown = [
        (quantity, quantity.recent, quantity.reference)
        for quantity in quantities
        if quantity.reference is not None and quantity.recent is not None
    ]
    figure = Figure(figsize=(2.6 * len(shown) + 0.6, 1.5), layout="constrained")
    panels = figure.subplots(1, len(shown), squeeze=False, sharey=True)[0]
    for axes, (quantity, recent, reference) in zip(panels, shown, strict=True):
        recent_colour = "#c2410c" if quantity.drifted else "#2563eb"
        title = f"{quantity.name}, {quantity.unit}" if quantity.unit else quantity.name
        for row, (spread, colour) in enumerate(((recent, recent_colour), (reference, "#55606e"))):
            low, first, middle, third, high = spread.quantiles
            axes.plot([low, high], [row, row], color=colour, linewidth=1)
            axes.plot([first, third], [row, row], color=colour, linewidth=5)
            axes.plot([middle], [row], "|", color="white", markersize=8)
        axes.set(ylim=(-0.6, 1.6), title=title)
        axes.set_yticks([0, 1], ["recent", "training"])
        axes.title.set_fontsize(8)
        axes.tick_params(labelsize=7)
    return figure

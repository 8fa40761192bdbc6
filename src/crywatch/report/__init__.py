"""Stage ``report``: a page on detection, the paper's tables and Figure 3 beside what was measured,
pages on shortcuts and on the comparison of all systems, and a page on infants; HTML and Markdown.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from crywatch.core import charts
from crywatch.core.atomic import atomic_dir, read_json, write_text
from crywatch.data.tables import read_table
from crywatch.data.tables.clips import QUARANTINE, SPLIT_CLIPS
from crywatch.report import tables
from crywatch.report.comparison import build_comparison
from crywatch.report.decision_tables import decision_tables
from crywatch.report.event_tables import event_tables
from crywatch.report.infants import InfantsInputs, build_infants
from crywatch.report.pages import Origin, render
from crywatch.report.recipes import build_recipes
from crywatch.report.shortcuts import build_shortcuts
from crywatch.report.tables import Results, Table

PARTS_TITLE = "Split by group: clips, groups and seconds"


@dataclass(frozen=True)
class ReportConfig:
    """Section ``report``."""

    title: str
    infants_title: str
    shortcuts_title: str
    comparison_title: str
    recipes_title: str


@dataclass(frozen=True)
class Inputs:
    """The files the report is made from."""

    clips: Path  # the split's
    split_table: Path
    quarantines: list[Path]
    untrimmed_clips: Path
    soundscapes_clips: Path
    mine_metrics: Path
    evaluation: Path  # folder
    decisions: list[Path]  # folder of each calibrated model
    shortcuts: Path  # folder
    comparison: Path  # folder
    ablations: Path  # folder of folders
    recipes: list[str]  # in the order of the tables


@dataclass(frozen=True)
class Report:
    """Everything a template needs."""

    title: str
    origin: Origin
    n_clips: int
    n_seconds: float
    n_untrimmed: int
    n_soundscapes: int
    tables: list[Table]
    figures: dict[str, str]  # caption to data URI


@dataclass(frozen=True)
class Page:
    """A page of the report."""

    template: str
    report: object


def run(
    inputs: Inputs, infants: InfantsInputs, config: ReportConfig, origin: Origin, out_dir: Path
) -> None:
    """Write detection, shortcuts, comparison, recipes and infants, as HTML and as Markdown, below
    ``out_dir``."""
    infants_page = build_infants(infants, config.infants_title, origin, out_dir)
    shortcuts_page = build_shortcuts(inputs.shortcuts, config.shortcuts_title, origin)
    comparison_page = build_comparison(inputs.comparison, config.comparison_title, origin)
    recipes_page = build_recipes(inputs.ablations, inputs.recipes, config.recipes_title, origin)
    pages = {
        "detection": Page("detection", build(inputs, config, origin)),
        "shortcuts": Page("sections", shortcuts_page),
        "comparison": Page("sections", comparison_page),
        "recipes": Page("sections", recipes_page),
        "infants": Page("sections", infants_page),
    }
    with atomic_dir(out_dir) as temp:
        for name, page in pages.items():
            for suffix in ("html", "md"):
                write_text(
                    temp / f"{name}.{suffix}", render(f"{page.template}.{suffix}", page.report)
                )


def build(inputs: Inputs, config: ReportConfig, origin: Origin) -> Report:
    """Collect tables and figures."""
    clips = read_table(inputs.clips, SPLIT_CLIPS)
    quarantined: dict[str, int] = {}
    for path in inputs.quarantines:
        for corpus, count in read_table(path, QUARANTINE)["corpus"].value_counts().items():
            quarantined[str(corpus)] = int(count)
    results = Results(read_json(inputs.evaluation / "tables.json"))
    events = read_json(inputs.evaluation / "events.json")
    decisions = [read_json(folder / "tables.json") for folder in inputs.decisions]
    labelled = clips[clips["label"] != "unknown"]
    contents = [
        tables.sources(clips, quarantined),
        _split(inputs.split_table),
        tables.accuracies("Table 3. Miner, accuracy at 0.5 per second", tables.TABLE3, results),
        tables.accuracies("Table 4. BlazeNet, accuracy at 0.5 per second", tables.TABLE4, results),
        tables.accuracies(
            "Table 5. BlazeNet + anomaly, accuracy at 0.5 per second", tables.TABLE5, results
        ),
        tables.best_f1(results),
        tables.with_intervals("Main models per second, test part", tables.main_rows(results)),
        tables.with_intervals("Corpora left out of training", tables.left_out_rows(results)),
        tables.by_scope(results, "average_precision", "second", "Average precision per second"),
        tables.by_scope(results, "average_precision", "clip", "Average precision per clip"),
        tables.by_scope(results, "auc", "second", "AUC per second"),
        tables.by_scope(results, "auc", "clip", "AUC per clip"),
        *event_tables(events),
        *decision_tables(decisions),
        _mining(inputs.mine_metrics),
    ]
    roc = charts.curve_figure(inputs.evaluation / "roc.csv", "fpr", "tpr")
    pr = charts.curve_figure(inputs.evaluation / "pr.csv", "recall", "precision")
    figures = {
        "Figure 3. ROC per second, pooled test part": charts.inline_svg(roc),
        "Precision and recall per second, pooled test part": charts.inline_svg(pr),
    }
    if decisions:
        drawn = charts.inline_svg(charts.reliability_figure(decisions))
        figures["Reliability of the probabilities per second, test part"] = drawn
    return Report(
        title=config.title,
        origin=origin,
        n_clips=len(labelled),
        n_seconds=float(labelled["duration_s"].sum()),
        n_untrimmed=len(read_table(inputs.untrimmed_clips, SPLIT_CLIPS)),
        n_soundscapes=len(read_table(inputs.soundscapes_clips, SPLIT_CLIPS)),
        tables=contents,
        figures=figures,
    )


def _split(path: Path) -> Table:
    frame = pd.read_csv(path)
    return Table(PARTS_TITLE, list(frame.columns), frame.astype(str).values.tolist())


def _mining(path: Path) -> Table:
    metrics = read_json(path)
    rows = [
        ["seconds mined from untrimmed cry recordings that hold a cry"],
        ["the same for seconds taken at random"],
    ]
    rows[0].append(tables.number(metrics.get("untrimmed_precision")))
    rows[1].append(tables.number(metrics.get("untrimmed_chance")))
    note = "Recordings of the validation and test parts; a cry clip counts with its pauses."
    return Table("Mining on untrimmed recordings", ["measure", "share"], rows, note)

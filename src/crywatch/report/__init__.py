"""Stage ``report``: the paper's tables and Figure 3 beside what was measured, HTML and Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from crywatch import charts
from crywatch.atomic import atomic_dir, read_json, write_text
from crywatch.report import tables
from crywatch.report.event_tables import event_tables
from crywatch.report.tables import Results, Table
from crywatch.tables import read_table

PARTS_TITLE = "Split by group: clips, groups and seconds"


@dataclass(frozen=True)
class ReportConfig:
    """Section ``report``."""

    title: str


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


@dataclass(frozen=True)
class Origin:
    """What the numbers come from."""

    profile: str
    source: str  # of the sounds, data.source: generated, mirror, publishers
    commit: str  # empty outside git
    dirty: bool = False  # files differ from the commit


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

    @property
    def generated(self) -> bool:
        """Whether the sounds are generated, whatever the profile is called."""
        return self.origin.source == "generated"

    @property
    def commit(self) -> str:
        """The commit as text."""
        text = self.origin.commit or "n/a"
        return f"{text} with uncommitted changes" if self.origin.dirty else text


def run(inputs: Inputs, config: ReportConfig, origin: Origin, out_dir: Path) -> Report:
    """Write detection.html and detection.md below ``out_dir``."""
    report = build(inputs, config, origin)
    with atomic_dir(out_dir) as temp:
        for name in ("detection.html", "detection.md"):
            write_text(temp / name, render(name, report))
    return report


def build(inputs: Inputs, config: ReportConfig, origin: Origin) -> Report:
    """Collect tables and figures."""
    clips = read_table(inputs.clips, "split_clips")
    quarantined: dict[str, int] = {}
    for path in inputs.quarantines:
        for corpus, count in read_table(path, "quarantine")["corpus"].value_counts().items():
            quarantined[str(corpus)] = int(count)
    results = Results(read_json(inputs.evaluation / "tables.json"))
    events = read_json(inputs.evaluation / "events.json")
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
        _mining(inputs.mine_metrics),
    ]
    roc = charts.curve_figure(inputs.evaluation / "roc.csv", "fpr", "tpr")
    pr = charts.curve_figure(inputs.evaluation / "pr.csv", "recall", "precision")
    return Report(
        title=config.title,
        origin=origin,
        n_clips=len(labelled),
        n_seconds=float(labelled["duration_s"].sum()),
        n_untrimmed=len(read_table(inputs.untrimmed_clips, "split_clips")),
        n_soundscapes=len(read_table(inputs.soundscapes_clips, "split_clips")),
        tables=contents,
        figures={
            "Figure 3. ROC per second, pooled test part": charts.inline_svg(roc),
            "Precision and recall per second, pooled test part": charts.inline_svg(pr),
        },
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


def render(name: str, report: Report) -> str:
    """The page ``name`` (detection.html, detection.md)."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("crywatch", "report"),
        autoescape=name.endswith(".html"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(f"{name}.j2").render(report=report)

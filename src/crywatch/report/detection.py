"""The page on detection: the paper's tables and Figure 3 beside what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.audio.waves.cleaned import read_clean
from crywatch.audio.waves.levels import level_dbfs
from crywatch.core import charts
from crywatch.core.atomic import read_json
from crywatch.corpora.shared.base import Corpus
from crywatch.data.counts import Arrival, arrival
from crywatch.data.tables import read_table
from crywatch.data.tables.clips import SPLIT_CLIPS
from crywatch.detection.embedders.base import title as embedder_title
from crywatch.report.decision_tables import decision_tables, event_tables, read_decisions
from crywatch.report.device_tables import device_tables
from crywatch.report.pages import ReportOrigin, note
from crywatch.report.tables import Columns, Table, cries, groups, interval, num, number, table

PAPER_TABLE2 = {
    "baby_cry_detection": ("5 s", "108 cry, 324 other", "clean"),
    "donateacry": ("7 s", "482 cry", "clean"),
    "esc50": ("5 s", "40 cry, 1960 other", "clean"),
    "audioset": ("untrimmed", "1364 cry, a lot of others", "noisy"),
}
# Lines of the paper's Tables 3 to 5: label, model here, the paper's accuracy (validation, test).
TABLE3 = (
    ("5 s audios", "miner/trimmed", 0.9447, 0.9312),
    ("untrimmed audios", "miner/untrimmed", 0.9370, 0.9223),
)
TABLE4 = (
    ("All 1 s segments, our reading", "blazenet/all_1s", 0.8868, 0.8820),
    ("All 1 s segments, the authors' code", "blazenet/author_1s", 0.8868, 0.8820),
    ("Random two segments", "blazenet/random2_1s", 0.8784, 0.8654),
    ("Mined top-2", "blazenet/mined_both_1s", 0.8609, 0.8542),
    ("Mined positive top-2", "blazenet/mined_pos_1s", 0.8748, 0.8562),
    ("Mined negative top-2", "blazenet/mined_neg_1s", 0.8748, 0.8622),
    ("Mined top-2 from untrimmed", "blazenet/mined_untrimmed_1s", 0.8142, 0.8292),
    ("All and soundscapes", "blazenet/soundscapes_1s", None, None),
    ("All segments, 5 s front end", "blazenet/all_5s", None, None),
)
PUBLISHED = ("Mined top-2 from AudioSet's features", "blazenet/mined_published_1s", None, None)
TABLE5 = (
    ("5 s audios, Table 4 line 1", "rtfm/trimmed", 0.9457, 0.9302),
    ("Untrimmed audios, Table 4 line 1", "rtfm/untrimmed", 0.9141, 0.9020),
    ("Untrimmed audios, Table 4 line 6", "rtfm/untrimmed_mined", 0.8652, 0.8473),
)
# The same of Table 6: the highest F1, and the accuracy at its threshold.
TABLE6 = (
    ("BlazeNet, our reading", "blazenet/all_1s", 0.8873, 0.8836),
    ("BlazeNet, the authors' code", "blazenet/author_1s", 0.8873, 0.8836),
    ("Anomaly, 5 s audios", "rtfm/trimmed", 0.9241, 0.9305),
    ("Anomaly, untrimmed audios", "rtfm/untrimmed", 0.9306, 0.9360),
)
FRAME = 400  # samples, 25 ms
BACKGROUND_CLIPS = 200  # measured of a corpus


@dataclass(frozen=True)
class CorpusInputs:
    """One corpus, for its datasheet and for what came of it."""

    corpus: Corpus
    raw: Path  # folders
    clean: Path
    generated: bool  # its sounds are


@dataclass(frozen=True)
class DetectionInputs:
    """The files the page is made from."""

    clips: Path  # the split's
    split_table: Path
    untrimmed_clips: Path
    soundscapes_clips: Path
    mine: Path  # folder
    evaluation: Path  # folder
    decisions: list[Path]  # folder of each calibrated model
    exported: Path  # folder


@dataclass(frozen=True)
class DetectionPage:
    """Everything its template needs."""

    title: str
    origin: ReportOrigin
    n_clips: int
    n_seconds: float
    n_untrimmed: int
    n_soundscapes: int
    tables: list[Table]
    figures: dict[str, str]  # caption to data URI


def detection_page(
    inputs: DetectionInputs, corpora: Sequence[CorpusInputs], title: str, origin: ReportOrigin
) -> DetectionPage:
    """Collect tables and figures."""
    clips = read_table(inputs.clips, SPLIT_CLIPS)
    arrivals = [arrival(each.corpus, each.raw, each.clean) for each in corpora]
    quarantined = {each.corpus.name: each.refused for each in arrivals}
    results = Results(read_json(inputs.evaluation / "tables.json"))
    miners = miner_names(inputs.mine)
    decisions = read_decisions(inputs.decisions)
    labelled = clips[clips["label"] != "unknown"]
    split = pd.read_csv(inputs.split_table)
    tables = [
        what_came(arrivals),
        sources(clips, quarantined),
        Table(
            "Split by group: clips, groups and seconds",
            list(split.columns),
            split.astype(str).values.tolist(),
        ),
        accuracies(
            "Table 3. Anomaly network on an embedder's features (paper: VGGish)",
            what_ran(TABLE3, inputs.mine),
            results,
        ),
        accuracies("Table 4. BlazeNet", table4(results), results),
        accuracies("Table 5. BlazeNet + anomaly", TABLE5, results),
        best_f1(results),
        with_intervals("Main models per second, test part", main_rows(results)),
        with_intervals("Corpora left out of training", left_out_rows(results)),
        *(
            by_scope(results, metric, unit, f"{name} per {unit}")
            for metric, name in (("average_precision", "Average precision"), ("auc", "AUC"))
            for unit in ("second", "clip")
        ),
        *event_tables(read_json(inputs.evaluation / "events.json")),
        *decision_tables(decisions),
        *device_tables(inputs.exported),
        mining(inputs.mine / "untrimmed" / "metrics.json"),
    ]
    roc = charts.curve_figure(inputs.evaluation / "roc.csv", "fpr", "tpr")
    pr = charts.curve_figure(inputs.evaluation / "pr.csv", "recall", "precision")
    figures = {
        "Figure 3. ROC per second, pooled test part": charts.inline_svg(roc),
        "Precision and recall per second, pooled test part": charts.inline_svg(pr),
    }
    if decisions:
        reliability = charts.inline_svg(charts.reliability_figure(decisions))
        figures["Reliability of the probabilities per second, test part"] = reliability
    return DetectionPage(
        title=title,
        origin=origin,
        n_clips=len(labelled),
        n_seconds=float(labelled["duration_s"].sum()),
        n_untrimmed=len(read_table(inputs.untrimmed_clips, SPLIT_CLIPS)),
        n_soundscapes=len(read_table(inputs.soundscapes_clips, SPLIT_CLIPS)),
        tables=[shown.renamed(miners) for shown in tables],
        figures=figures,
    )


def what_came(arrivals: Sequence[Arrival]) -> Table:
    """A row a corpus: what came, what did not, and why."""
    columns: Columns = {
        "corpus": lambda each: each.corpus.name,
        "came": lambda each: each.came,
        "clips": lambda each: number(each.clips, 0),
        "hours": lambda each: number(each.hours, 2),
        "files refused": lambda each: str(each.refused),
        "clips gone": lambda each: str(sum(each.gone.values())),
        "failed": lambda each: str(each.failed),
        "licence": lambda each: each.corpus.licence,
        "what is missing, and what to do": lambda each: "; ".join(each.remedies) or "nothing",
    }
    return table("Corpora: what came of them", columns, arrivals, note("came"))


def what_ran(lines: tuple, mine: Path) -> tuple:
    """``lines`` of Table 3, each beginning with the name of the embedder under its network."""
    titles = embedder_titles(mine)
    return tuple(
        (f"{titles[line[1]]}, {line[0]}" if line[1] in titles else line[0], *line[1:])
        for line in lines
    )


def miner_names(mine: Path) -> dict[str, str]:
    """What the systems of stage ``mine`` are called: by the embedder that ran, and the data set."""
    return {
        system: f"{title}, {system.partition('/')[2]}"
        for system, title in embedder_titles(mine).items()
    }


def embedder_titles(mine: Path) -> dict[str, str]:
    """The embedder under each network of folder ``mine``, by the name of its system."""
    return {
        f"miner/{path.parent.name}": embedder_title(read_json(path)["embedder"]["name"])
        for path in sorted(mine.glob("*/model.json"))
    }


class Results:
    """Rows of tables.json, looked up by model, scope, unit and part."""

    def __init__(self, rows: list[dict]):
        self.rows = rows
        self._by_key = {(r["model"], r["scope"], r["unit"], r["part"]): r for r in rows}

    def get(
        self, model: str, metric: str, scope: str = "pooled", unit: str = "second", part="test"
    ) -> float | None:
        """A metric, or None where it was not measured."""
        return self._by_key.get((model, scope, unit, part), {}).get(metric)

    def models(self) -> list[str]:
        """In the order they were evaluated."""
        return list(dict.fromkeys(row["model"] for row in self.rows))

    def scopes(self, part: str) -> list[str]:
        """In the order they were measured."""
        return list(dict.fromkeys(row["scope"] for row in self.rows if row["part"] == part))


def background_dbfs(paths: list[str]) -> float:
    """Median over clips of the level of the quietest tenth of their 25 ms frames, dBFS."""
    levels = []
    step = max(1, len(paths) // BACKGROUND_CLIPS)
    for path in paths[::step]:
        wave = read_clean(path)
        frames = wave[: len(wave) // FRAME * FRAME].reshape(-1, FRAME)
        if len(frames):
            rms = np.sqrt(np.mean(np.square(frames, dtype=np.float64), axis=1))
            levels.append(level_dbfs(float(np.quantile(rms, 0.1))))
    return float(np.median(levels)) if levels else float("nan")


def sources(clips: pd.DataFrame, quarantined: dict[str, int]) -> Table:
    """Table 2: sources, lengths, cleaned counts and background, measured."""
    rows = []
    for corpus, frame in clips.groupby("corpus"):
        labelled = frame[frame["label"] != "unknown"]
        counts = labelled["label"].value_counts()
        low, high = labelled["duration_s"].quantile([0.05, 0.95])
        level = background_dbfs(labelled["path"].tolist())
        rows.append(
            {
                "source": corpus,
                "paper": "; ".join(PAPER_TABLE2.get(str(corpus), ("n/a",))),
                "lengths (5 to 95 %)": f"{number(low, 1)} to {number(high, 1)} s",
                "cleaned": f"{counts.get('cry', 0)} cry, {counts.get('other', 0)} other",
                "unlabelled": (frame["label"] == "unknown").sum(),
                "duplicates": (~labelled["canonical"]).sum(),
                "refused": quarantined.get(str(corpus), 0),
                "seconds": number(labelled["duration_s"].sum(), 0),
                "background": f"{number(level, 0)} dBFS",
                "bandwidth": f"{number(labelled['bandwidth_hz'].median() / 1000, 1)} kHz",
            }
        )
    for corpus in PAPER_TABLE2.keys() - set(clips["corpus"]):
        paper = "; ".join(PAPER_TABLE2[corpus])
        rows.append(dict.fromkeys(rows[0], "n/a") | {"source": corpus, "paper": paper})
    rows.sort(key=lambda row: row["source"])
    note = "Background: level of the quietest tenth of 25 ms frames, median over clips."
    return table("Table 2. Sources", {name: name for name in rows[0]}, rows, note)


def accuracies(title: str, lines: tuple, results: Results) -> Table:
    """Tables 3 to 5: accuracy at 0.5 per second, validation and test."""

    def here(metric: str, part: str = "test"):
        return lambda line: number(results.get(line[1], metric, part=part), 4)

    columns: Columns = {
        "data set": lambda line: line[0],
        "paper, val": lambda line: number(line[2], 4),
        "here, val": here("accuracy", "val"),
        "paper, test": lambda line: number(line[3], 4),
        "here, test": here("accuracy"),
        "AUC, test": here("auc"),
        "AP, test": here("average_precision"),
    }
    note = base_rate([line[1] for line in lines], results)
    return table(f"{title}, accuracy at 0.5 per second", columns, lines, note)


def base_rate(models: list[str], results: Results) -> str:
    """What the accuracies of the pooled test part have to be compared with."""
    for model in models:
        n, n_cry = (results.get(model, name) for name in ("n", "n_cry"))
        if n and n_cry is not None:
            always = max(n_cry, n - n_cry) / n
            return (
                f"Test part, pooled: {n} seconds, {n_cry} of them cry. The more frequent of the "
                f"two answers alone has an accuracy of {number(always, 4)}."
            )
    return ""


def best_f1(results: Results) -> Table:
    """Table 6: the highest F1, its threshold, the accuracy there."""

    def here(metric: str):
        return lambda line: number(results.get(line[1], metric), 4)

    columns: Columns = {
        "method": lambda line: line[0],
        "paper, F1-max": lambda line: number(line[2], 4),
        "here, F1-max": here("f1_max"),
        "threshold": here("f1_threshold"),
        "paper, accuracy": lambda line: number(line[3], 4),
        "here, accuracy": here("f1_accuracy"),
    }
    note = "The threshold is that of the highest F1 on the test part itself, as in the paper."
    return table("Table 6. Highest F1 per second", columns, TABLE6, note)


def by_scope(results: Results, metric: str, unit: str, title: str) -> Table:
    """One metric of every model over all scopes of the test part."""
    scopes = results.scopes("test")
    rows = [
        [model, *(number(results.get(model, metric, scope, unit)) for scope in scopes)]
        for model in results.models()
    ]
    return Table(title, ["model", *scopes], rows)


def with_intervals(title: str, rows: list[dict]) -> Table:
    """AUC and average precision of ``rows`` of tables.json with their 95 % intervals."""
    columns: Columns = {
        "model": "model",
        "measured on": "scope",
        "unit": "unit",
        "cries of all": cries,
        "groups, cry / other": groups,
        "AUC": interval("auc"),
        "AP": interval("average_precision"),
        "recall at 1 % false alarms": num("recall_at_1pct"),
    }
    return table(title, columns, rows, note("intervals"))


def table4(results: Results) -> tuple:
    """Its lines, with what was mined of published features where a rebuild has them."""
    has_published = results.get(PUBLISHED[1], "accuracy") is not None
    return (*TABLE4, PUBLISHED) if has_published else TABLE4


def main_rows(results: Results) -> list[dict]:
    """The models of Table 6 per second of the test part, on every scope."""
    names = {model for _, model, _, _ in TABLE6}
    return [
        row
        for row in results.rows
        if row["model"] in names and row["part"] == "test" and row["unit"] == "second"
    ]


def left_out_rows(results: Results) -> list[dict]:
    """Every model on the corpus that it was not trained on."""
    return [row for row in results.rows if row["part"] == "all"]


def mining(path: Path) -> Table:
    """What share of the seconds mined from untrimmed recordings hold a cry, and by chance."""
    metrics = read_json(path)
    keys = {
        "seconds mined from untrimmed cry recordings that hold a cry": "precision",
        "the same for seconds taken at random": "chance",
    }
    rows = [[name, number(metrics.get(key))] for name, key in keys.items()]
    note = "Joined recordings of the validation and test parts; a cry clip counts with its pauses."
    return Table("Mining on untrimmed recordings", ["measure", "share"], rows, note)

"""The report's tables: the paper's figures beside what was measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from crywatch.audio.decode import level_dbfs, read_clean

PAPER_TABLE2 = {
    "baby_cry_detection": ("5 s", "108 cry, 324 other", "clean"),
    "donateacry": ("7 s", "482 cry", "clean"),
    "esc50": ("5 s", "40 cry, 1960 other", "clean"),
}
# Lines of the paper's tables: label, model here, unit of the paper's figures.
TABLE3 = (("5 s audios", "miner/trimmed", 0.9447, 0.9312),)
TABLE3 += (("Untrimmed audios", "miner/untrimmed", 0.9370, 0.9223),)
TABLE4 = (
    ("All 1 s segments", "blazenet/all_1s", 0.8868, 0.8820),
    ("Random two segments", "blazenet/random2_1s", 0.8784, 0.8654),
    ("Mined top-2", "blazenet/mined_both_1s", 0.8609, 0.8542),
    ("Mined positive top-2", "blazenet/mined_pos_1s", 0.8748, 0.8562),
    ("Mined negative top-2", "blazenet/mined_neg_1s", 0.8748, 0.8622),
    ("Mined top-2 from untrimmed", "blazenet/mined_untrimmed_1s", 0.8142, 0.8292),
    ("All and soundscapes", "blazenet/soundscapes_1s", None, None),
    ("All segments, 5 s front end", "blazenet/all_5s", None, None),
)
TABLE5 = (
    ("5 s audios, Table 4 line 1", "rtfm/trimmed", 0.9457, 0.9302),
    ("Untrimmed audios, Table 4 line 1", "rtfm/untrimmed", 0.9141, 0.9020),
    ("Untrimmed audios, Table 4 line 6", "rtfm/untrimmed_mined", 0.8652, 0.8473),
)
TABLE6 = (
    ("BlazeNet", "blazenet/all_1s", 0.8873, 0.8836),
    ("Anomaly, 5 s audios", "rtfm/trimmed", 0.9241, 0.9305),
    ("Anomaly, untrimmed audios", "rtfm/untrimmed", 0.9306, 0.9360),
)
INTERVALS_NOTE = (
    "In brackets: 95 % intervals of the bootstrap over groups (recordings and infants); none where "
    "a class has fewer than two groups. Untrimmed recordings share clips and count as one group, "
    "soundscapes too. Few groups give intervals that are too narrow: one of no width says only "
    "that no draw held an error."
)
FRAME = 400  # samples, 25 ms
BACKGROUND_CLIPS = 200  # measured of a corpus


@dataclass(frozen=True)
class Table:
    """A table ready to print; cells are text."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""


def number(value: float | None, digits: int = 3) -> str:
    """Text of a number; ``n/a`` where there is none."""
    return "n/a" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


def shown_threshold(value: float) -> str:
    """Two digits of it or, just below 1, of what is missing: 1 alone would call nothing."""
    return f"{value:.2g}" if value < 0.995 or value >= 1 else f"1 - {1 - value:.2g}"


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
        paper = PAPER_TABLE2.get(str(corpus), ("n/a",) * 3)
        rows.append(
            [
                str(corpus),
                f"{paper[0]}; {paper[1]}; {paper[2]}",
                f"{number(low, 1)} to {number(high, 1)} s",
                f"{counts.get('cry', 0)} cry, {counts.get('other', 0)} other",
                str(int((frame["label"] == "unknown").sum())),
                str(int((~labelled["canonical"]).sum())),
                str(quarantined.get(str(corpus), 0)),
                number(labelled["duration_s"].sum(), 0),
                f"{number(background_dbfs(labelled['path'].tolist()), 0)} dBFS",
                f"{number(labelled['bandwidth_hz'].median() / 1000, 1)} kHz",
            ]
        )
    columns = ["source", "paper", "lengths (5 to 95 %)", "cleaned", "unlabelled", "duplicates"]
    columns += ["refused", "seconds", "background", "bandwidth"]
    note = "Background: level of the quietest tenth of 25 ms frames, median over clips."
    return Table("Table 2. Sources", columns, rows, note)


def accuracies(title: str, lines: tuple, results: Results) -> Table:
    """Tables 3 to 5: accuracy at 0.5 per second, validation and test."""
    rows = [
        [
            label,
            number(paper_val, 4),
            number(results.get(model, "accuracy", part="val"), 4),
            number(paper_test, 4),
            number(results.get(model, "accuracy"), 4),
            number(results.get(model, "auc"), 4),
            number(results.get(model, "average_precision"), 4),
        ]
        for label, model, paper_val, paper_test in lines
    ]
    columns = ["data set", "paper, val", "here, val", "paper, test", "here, test"]
    columns += ["AUC, test", "AP, test"]
    return Table(title, columns, rows, base_rate([model for _, model, _, _ in lines], results))


def base_rate(models: list[str], results: Results) -> str:
    """What the accuracies of the pooled test part have to be compared with."""
    for model in models:
        n, n_cry = (results.get(model, name) for name in ("n", "n_cry"))
        if n:
            always = max(n_cry, n - n_cry) / n
            return (
                f"Test part, pooled: {n} seconds, {n_cry} of them cry. The more frequent of the "
                f"two answers alone has an accuracy of {number(always, 4)}."
            )
    return ""


def best_f1(results: Results) -> Table:
    """Table 6: the highest F1, its threshold, the accuracy there."""
    rows = [
        [
            label,
            number(paper_f1, 4),
            number(results.get(model, "f1_max"), 4),
            number(results.get(model, "f1_threshold"), 4),
            number(paper_accuracy, 4),
            number(results.get(model, "f1_accuracy"), 4),
        ]
        for label, model, paper_f1, paper_accuracy in TABLE6
    ]
    columns = ["method", "paper, F1-max", "here, F1-max", "threshold", "paper, accuracy"]
    note = "The threshold is that of the highest F1 on the test part itself, as in the paper."
    return Table("Table 6. Highest F1 per second", [*columns, "here, accuracy"], rows, note)


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
    cells = [
        [
            row["model"],
            row["scope"],
            row["unit"],
            f"{row['n_cry']} of {row['n']}",
            " / ".join(number(row.get(name), 0) for name in ("cry_groups", "other_groups")),
            interval(row, "auc"),
            interval(row, "average_precision"),
            number(row["recall_at_1pct"]),
        ]
        for row in rows
    ]
    columns = ["model", "measured on", "unit", "cries of all", "groups, cry / other", "AUC", "AP"]
    return Table(title, [*columns, "recall at 1 % false alarms"], cells, INTERVALS_NOTE)


def interval(row: dict, name: str) -> str:
    """A metric and its interval, where there is one."""
    return bracketed(row[name], row.get(f"{name}_low"), row.get(f"{name}_high"))


def bracketed(value: float | None, low: float | None, high: float | None, digits: int = 3) -> str:
    """A number with its interval in brackets, if it has one."""
    if low is None or high is None:
        return number(value, digits)
    return f"{number(value, digits)} ({number(low, digits)} to {number(high, digits)})"


def main_rows(results: Results) -> list[dict]:
    """The models of Table 6 per second of the test part, on every scope."""
    names = {model for _, model, _, _ in TABLE6}
    return [
        row
        for row in results.rows
        if row["model"] in names and row["part"] == "test" and row["unit"] == "second"
    ]


def left_out_rows(results: Results) -> list[dict]:
    """Every model on the corpus that it never saw."""
    return [row for row in results.rows if row["part"] == "all"]

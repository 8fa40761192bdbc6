"""The page on shortcuts: what is left of a detector where nothing tells the corpora apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from crywatch.core.atomic import read_json
from crywatch.core.errors import TableError
from crywatch.report.pages import Origin
from crywatch.report.sections import PREPARED, Section, SectionsReport, svg_figures
from crywatch.report.tables import Table, bracketed, number

Row = Mapping[str, Any]
MEANS = "means.json"
CAUTION = (
    "Cries and other sounds come from different corpora, with microphones, codecs and levels of "
    "their own: a detector that knows these is right about the pooled clips and knows nothing of "
    "crying. Nothing was chosen on the test part; recall at 1 % false alarms is a point of the "
    "curve of the very seconds that are measured, not a decision. Silent seconds (40 dB under the "
    "clip's loudest second, or under -75 dBFS) count as nothing. Where a row is of several seeds, "
    "it has their mean and, after ±, their standard deviation. In brackets: 95 % intervals of the "
    "bootstrap over groups (of seeds, their mean); few groups give intervals that are too narrow."
)
MEASURES = {
    "auc": "AUC",
    "average_precision": "average precision",
    "recall_at_1pct": "recall at 1 % false alarms",
}
KINDS = {"clip": "clips of background", "pause": "pauses between cries"}
HEARD = {"as recorded": "as recorded", "scaled": "at one level"}
PARTS = {"all": "all", "unseen": "never trained on"}
POOLED = "pooled"


def build_shortcuts(folder: Path, title: str, origin: Origin) -> SectionsReport:
    """Collect tables and figures from the folder of ``audit_shortcuts``."""
    path = folder / MEANS
    if not path.is_file():
        raise TableError(f"{path} is missing: run `dvc repro audit_shortcuts`")
    means = read_json(path)
    scopes = [scope for scope in _values(means["channels"], "scope") if scope != POOLED]
    sections = [
        Section(
            "channels",
            "One channel for all",
            "Every clip of the test part, cries and others alike, goes through one and the same "
            "fixed channel. What a network knew of corpora is gone then; what it knows of crying "
            f"is not. Pooled over corpora, without duplicates. {PREPARED}",
            channel_tables(means["channels"], POOLED),
            svg_figures(folder, {"channels.svg": "AUC per second, as recorded and by channel"}),
        ),
        Section(
            "within",
            "Within each corpus",
            "Cries against others of the same corpus, its duplicates of other corpora included; "
            "and cries of a corpus that has no others, against those of another.",
            [table for scope in scopes for table in channel_tables(means["channels"], scope)],
        ),
        Section(
            "left_out",
            "Corpora left out",
            "All clips of a corpus, as recorded, scored by a system that never heard one of them.",
            [left_out_table(means["left_out"])],
        ),
        Section(
            "probe",
            "Which corpus is it?",
            "Logistic regression on single seconds, cries and others apart, tested on groups that "
            "it was not fitted on. A detector can only use what its front end and its features "
            "hold. Other sounds differ between corpora in what they are, too; cries do so less, "
            "and cries in two corpora that were made of one recording not at all.",
            probe_tables(means["probes"]),
            svg_figures(folder, {"probe.svg": "Balanced accuracy of the corpus probe, all parts"}),
        ),
        Section(
            "factors",
            "One thing at a time",
            "The same seconds of the test part, without duplicates, before and after one thing "
            "about their recording has changed. It is no cry the more or the less for it.",
            factor_tables(means["factors"]),
        ),
        Section(
            "background",
            "Silence and background",
            "Sound of the test part with no cry in it: what a corpus's rooms, phones and codecs "
            "sound like by themselves. A pause may hold a breath or an echo. Here silent seconds "
            "count like all others: also silence must not be called a cry.",
            [background_table(means["background"])],
        ),
    ]
    systems = len(_values(means["channels"], "row"))
    seeds = max((row["seeds"] for row in means["channels"]), default=0)
    facts = f"{systems} systems, up to {seeds} seed(s) of each."
    return SectionsReport(title, origin, facts, CAUTION, sections)


def _values(rows: Sequence[Row], key: str) -> list[str]:
    """In the order in which they come."""
    return list(dict.fromkeys(row[key] for row in rows))


def measured(row: Row, name: str, digits: int = 3) -> str:
    """A mean, its deviation over seeds and its interval, as far as there are any."""
    value, deviation = row[name], row.get(f"{name}_sd")
    text = bracketed(value, row.get(f"{name}_low"), row.get(f"{name}_high"), digits)
    if value is None or deviation is None:
        return text
    shown = number(value, digits)
    return text.replace(shown, f"{shown} ± {number(deviation, digits)}", 1)


def crossed(
    title: str, rows: Sequence[Row], line: Sequence[str], cell: Callable[[Row], str], note: str = ""
) -> Table:
    """A line for every value of the keys ``line``, a column for every channel."""
    channels = _values(rows, "channel")
    lines: dict[tuple, dict[str, str]] = {}
    for row in rows:
        lines.setdefault(tuple(row[key] for key in line), {})[row["channel"]] = cell(row)
    cells = [
        [*map(str, head), *(found.get(channel, "n/a") for channel in channels)]
        for head, found in lines.items()
    ]
    heads = ["system" if key == "row" else key for key in line]
    return Table(title, [*heads, *channels], cells, note)


def channel_tables(rows: Sequence[Row], scope: str) -> list[Table]:
    """A table a measure, of one scope."""
    here = [row for row in rows if row["scope"] == scope]
    counts = {row["unit"]: row for row in here}
    note = "; ".join(
        f"per {unit}: {row['n_cry']} cries of {row['n']}, groups {number(row['cry_groups'], 0)} "
        f"and {number(row['other_groups'], 0)}"
        for unit, row in counts.items()
    )
    return [
        crossed(
            f"{scope}: {name}",
            here,
            ("row", "unit"),
            lambda row, key=key: measured(row, key),
            f"{note}." if note else "",
        )
        for key, name in MEASURES.items()
    ]


def left_out_table(rows: Sequence[Row]) -> Table:
    """Every system on the corpus that it never heard."""
    cells = [
        [
            row["row"],
            row["scope"],
            row["unit"],
            f"{row['n_cry']} of {row['n']}",
            " / ".join(number(row[key], 0) for key in ("cry_groups", "other_groups")),
            *(measured(row, key) for key in MEASURES),
        ]
        for row in rows
    ]
    columns = ["system", "measured on", "unit", "cries of all", "groups, cry / other"]
    return Table("Corpora left out of training", [*columns, *MEASURES.values()], cells)


def probe_tables(rows: Sequence[Row]) -> list[Table]:
    """A table for cries and one for others."""
    columns = ["given", "clips", "seconds", "fewest groups", "balanced accuracy", "chance"]
    columns += ["names drawn anew (highest)", "points over chance"]
    tables = []
    for label in _values(rows, "label"):
        here = [row for row in rows if row["label"] == label]
        cells = [
            [
                row["row"],
                PARTS.get(row["parts"], row["parts"]),
                str(row["n"]),
                str(row["groups"]),
                measured(row, "balanced_accuracy"),
                number(row["chance"]),
                f"{number(row['permuted'])} ({number(row['permuted_high'])})",
                number(100 * (row["balanced_accuracy"] - row["chance"]), 0),
            ]
            for row in here
        ]
        note = (
            f"Corpora: {', '.join(here[0]['corpora'])}. Names drawn anew: the same probe of "
            "recordings whose corpora were shuffled. Networks were trained on a part of all clips."
        )
        tables.append(Table(f"Corpus probe, {label} seconds alone", columns, cells, note))
    return tables


def factor_tables(rows: Sequence[Row]) -> list[Table]:
    """A table a measure, a column a change."""
    factors = [
        f"{factor}: {', '.join(_values([r for r in rows if r['factor'] == factor], 'channel'))}"
        for factor in _values(rows, "factor")
    ]
    note = f"{'; '.join(factors)}." if factors else ""
    titles = {
        "flipped": "Share of decisions that are no longer the same",
        "logit_change_cry": "Mean change of the logit, cries",
        "logit_change_other": "Mean change of the logit, others",
        "auc": "AUC per second after the change, pooled",
    }
    return [
        crossed(title, rows, ("row",), lambda row, key=key: measured(row, key, 2), note)
        for key, title in titles.items()
    ]


def background_table(rows: Sequence[Row]) -> Table:
    """Shares of background that are called a cry."""
    cells = [
        [
            row["row"],
            row["corpus"],
            KINDS.get(row["kind"], row["kind"]),
            HEARD.get(row["heard"], row["heard"]),
            str(row["n"]),
            str(row["clips"]),
            measured(row, "called"),
            measured(row, "called_at_1pct"),
        ]
        for row in rows
    ]
    columns = ["system", "corpus", "what", "heard", "seconds", "clips", "called a cry"]
    note = (
        "Called a cry: share of seconds at the threshold of a decision, and at the one that gives "
        "1 % false alarms on the other sounds of the validation part."
    )
    title = "Background called a cry"
    return Table(title, [*columns, "at 1 % false alarms"], cells, note)

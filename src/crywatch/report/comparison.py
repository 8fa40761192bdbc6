"""The page on the comparison: every system on the same seconds, beside its peer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crywatch.core.atomic import read_json
from crywatch.core.errors import TableError
from crywatch.report.pages import Origin
from crywatch.report.sections import PREPARED, Section, SectionsReport, svg_figures
from crywatch.report.tables import Table, bracketed, number

Row = Mapping[str, Any]
RECORDED = "as recorded"
POOLED = "pooled"
LEFT_OUT = ", left out"
FIGURE = "comparison.svg"
SHORT = {
    "auc": "AUC",
    "average_precision": "AP",
    "recall_at_1pct": "recall at 1 % false alarms",
    "accuracy": "accuracy",
    "f1": "F1",
}
CAUTION = (
    "Same seconds, same split, for every system: recordings and infants of the test part were "
    "never trained on, and nothing was chosen on them. Silent seconds (40 dB under the clip's "
    "loudest second, or under -75 dBFS) count as nothing. Recall at 1 % false alarms is a point of "
    "the curve of the very seconds that are measured, not a decision. After ±: standard deviation "
    "over the seeds of a row. In brackets: 95 % intervals of the bootstrap over groups, of the "
    "mean over seeds; few groups give intervals that are too narrow, and none are given where a "
    "class has fewer than two."
)


@dataclass(frozen=True)
class Measure:
    """A line of the main table."""

    channel: str
    scope: str
    unit: str
    metric: str

    @property
    def title(self) -> str:
        """What it is, for a reader."""
        through = "" if self.channel == RECORDED else f"{self.channel}: "
        return f"{through}{self.scope}, {SHORT[self.metric]} per {self.unit}"


class Comparison:
    """tables.json of ``compare_detectors``, looked up."""

    def __init__(self, folder: Path):
        path = folder / "tables.json"
        if not path.is_file():
            raise TableError(f"{path} is missing: run `dvc repro compare_detectors`")
        content = read_json(path)
        self.rows: list[Row] = content["rows"]
        self.parameters: Mapping[str, int] = {
            one["row"]: one["parameters"] for one in content["parameters"]
        }
        self.peer: str = content["peer"]
        self.shift: str = content["shift"]
        self._by_key = {
            (row["row"], row["channel"], row["scope"], row["unit"]): row for row in self.rows
        }

    @property
    def has_peer(self) -> bool:
        """Whether the peer is among the systems that were measured."""
        return self.peer in self.parameters

    def values(self, key: str, **equal: str) -> list[str]:
        """Different values of ``key`` in the order they come, of rows with those values."""
        rows = [r for r in self.rows if all(r[name] == value for name, value in equal.items())]
        return list(dict.fromkeys(row[key] for row in rows))

    def get(self, name: str, channel: str, scope: str, unit: str) -> Row | None:
        """A row, or None where it was not measured."""
        return self._by_key.get((name, channel, scope, unit))


def build_comparison(folder: Path, title: str, origin: Origin) -> SectionsReport:
    """Collect tables and figures from the folder of ``compare_detectors``."""
    found = Comparison(folder)
    matched = [c for c in found.values("channel") if c not in (RECORDED, found.shift)]
    sections = [
        Section(
            "systems",
            "All systems",
            "Within a corpus, microphone, codec and level are the same for cries and others; "
            "through a matched channel they are the same for all clips. What is pooled as recorded "
            "can be right by the corpus alone.",
            [main_table(found, matched)],
            svg_figures(folder, {FIGURE: "Each system and its 95 % interval, per second"}),
        ),
        Section(
            "recorded",
            "As recorded",
            "The test part.",
            [table for scope in _scopes(found) for table in _pair(found, RECORDED, scope)],
        ),
        Section(
            "matched",
            "Through one channel",
            f"The same clips, all of them through the same channel. {PREPARED}",
            [
                table
                for channel in matched
                for scope in found.values("scope", channel=channel)
                for table in _pair(found, channel, scope)
            ],
        ),
        Section(
            "left_out",
            "Corpora left out",
            "All clips of a corpus for systems that never heard it, or anything that shares a "
            "recording with it.",
            [
                table
                for scope in found.values("scope")
                if LEFT_OUT in scope
                for table in _pair(found, RECORDED, scope)
            ],
        ),
        Section(
            "shift",
            "Moved to a phone",
            "The case study's surprise: a detector meets a phone's microphone, gain control, "
            "noise suppression and codec. The chain is simulated and applied to the test part "
            "only; re-recorded is the same kind of system trained on clips that went through it. "
            f"{PREPARED}",
            [shift_table(found, unit) for unit in ("second", "clip")],
        ),
    ]
    facts = f"{len(found.parameters)} systems, {len(found.rows)} measurements."
    if not found.has_peer:
        facts += f" {found.peer} was not at hand: there are no differences to it."
    return SectionsReport(title, origin, facts, CAUTION, sections)


def main_table(found: Comparison, matched: Sequence[str]) -> Table:
    """A row a measure, a column a system of the test part."""
    names = [name for name in found.parameters if _is_main(found, name)]
    cells = []
    for measure in _measures(found, matched):
        row = [measure.title]
        for name in names:
            one = found.get(name, measure.channel, measure.scope, measure.unit)
            row.append(_mean(one, measure.metric))
        cells.append(row)
    cells.append(["parameters", *(f"{found.parameters[name]:,}" for name in names)])
    note = "An SVC's parameters are the numbers it stores; YAMNet's, if shown, its model card's."
    return Table("Every system on the same seconds", ["measure", *names], cells, note)


def _measures(found: Comparison, matched: Sequence[str]) -> Iterator[Measure]:
    for scope in _scopes(found):
        for metric, unit in (
            ("average_precision", "second"),
            ("average_precision", "clip"),
            ("auc", "second"),
        ):
            yield Measure(RECORDED, scope, unit, metric)
    for channel in matched:
        yield Measure(channel, POOLED, "second", "auc")
        yield Measure(channel, POOLED, "second", "recall_at_1pct")
        for scope in found.values("scope", channel=channel):
            if scope != POOLED:
                yield Measure(channel, scope, "second", "average_precision")
                yield Measure(channel, scope, "clip", "average_precision")


def _pair(found: Comparison, channel: str, scope: str) -> Iterator[Table]:
    """Every system on one scope, by second and by clip."""
    for unit in ("second", "clip"):
        rows = [found.get(name, channel, scope, unit) for name in found.parameters]
        rows = [row for row in rows if row is not None]
        if rows:
            yield scope_table(found, channel, scope, unit, rows)


def scope_table(
    found: Comparison, channel: str, scope: str, unit: str, rows: Sequence[Row]
) -> Table:
    """AUC and AP of ``rows`` with intervals, and the difference to the peer."""
    paired = found.has_peer  # else there is nothing to fill the column with
    cells = [
        [
            row["row"],
            str(row["systems"]),
            _interval(row, "auc"),
            _interval(row, "average_precision"),
            *([_difference(row, "average_precision")] if paired else []),
            _mean(row, "recall_at_1pct"),
        ]
        for row in rows
    ]
    first = rows[0]
    note = (
        f"{first['n_cry']} cries of {first['n']}, in {first['cry_groups']} groups with cries and "
        f"{first['other_groups']} with others."
    )
    difference = [f"AP less that of {found.peer}"] if paired else []
    columns = ["system", "seeds", "AUC", "AP", *difference, SHORT["recall_at_1pct"]]
    where = "" if channel == RECORDED else f", {channel}"
    return Table(f"{scope}{where}, per {unit}", columns, cells, note)


def shift_table(found: Comparison, unit: str) -> Table:
    """Each system before the phone, after it, and trained on it; pooled."""
    metrics = ("accuracy", "f1", "auc")
    cells = []
    for name in found.parameters:
        before = found.get(name, RECORDED, POOLED, unit)
        after = found.get(name, found.shift, POOLED, unit)
        if before is None or after is None:
            continue
        again = found.get(f"{name}_{found.shift}", found.shift, POOLED, unit)
        row = [name]
        for metric in metrics:
            row += [_mean(one, metric) for one in (before, after, again)]
        cells.append(row)
    columns = ["system"]
    for metric in metrics:
        columns += [f"{SHORT[metric]}, {when}" for when in ("before", "after", "re-recorded")]
    note = (
        "Accuracy and F1 at the threshold of the highest F1 on the validation part as recorded, "
        "which the system keeps on the phone."
    )
    return Table(f"Before and after the phone, pooled, per {unit}", columns, cells, note)


def _scopes(found: Comparison) -> list[str]:
    """Of the test part as recorded."""
    return [scope for scope in found.values("scope", channel=RECORDED) if LEFT_OUT not in scope]


def _is_main(found: Comparison, name: str) -> bool:
    return found.get(name, RECORDED, POOLED, "second") is not None


def _mean(row: Row | None, metric: str) -> str:
    if row is None:
        return "n/a"
    one = row["metrics"][metric]
    deviation = "" if one["sd"] is None else f" ± {number(one['sd'])}"
    return f"{number(one['mean'])}{deviation}"


def _interval(row: Row, metric: str) -> str:
    one = row["metrics"][metric]
    deviation = "" if one["sd"] is None else f" ± {number(one['sd'])}"
    return bracketed(one["mean"], one["low"], one["high"]) + deviation


def _difference(row: Row, metric: str) -> str:
    one = row["metrics"][metric]
    return bracketed(one["difference"], one["difference_low"], one["difference_high"])

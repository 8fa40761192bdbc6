"""The page on all systems: every one on the same seconds, beside its peer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crywatch.report.pages import ReportOrigin, SectionsPage, sections_page
from crywatch.report.tables import (
    JsonRow,
    Table,
    bracketed,
    distinct,
    number,
    plus_minus,
    read_output,
    table,
)

RECORDED = "as recorded"
POOLED = "pooled"
LEFT_OUT = ", left out"
UNSEEN_KINDS = "kinds of sound, left out"
HEADLINE = ("robust/robust", "fused/robust")  # without a corpus or kinds they are ROW_no_...
SHORT = {
    "auc": "AUC",
    "average_precision": "AP",
    "recall_at_1pct": "recall at 1 % false alarms",
    "accuracy": "accuracy",
    "f1": "F1",
}


SMALL = "400 clips of 5 s, four classes"
AUDIOSET = "2,000 clips of AudioSet, 10 s, two classes"


@dataclass(frozen=True)
class StudyFigure:
    """A figure of the case study, and the row here that stands for its system."""

    system: str
    accuracy: float  # of its test part
    measured_on: str
    row: str
    channel: str = RECORDED  # that the row is heard through here


CASE_STUDY = (
    StudyFigure("SVC on averaged features", 0.98, SMALL, "baselines/svc"),
    StudyFigure("two dense layers on them", 0.96, SMALL, "baselines/dense"),
    StudyFigure("CNN on MFCC (1.00 in training)", 0.80, SMALL, "baselines/cnn"),
    StudyFigure("CNN on MFCC", 0.80, f"{AUDIOSET}, as downloaded", "baselines/app"),
    StudyFigure(
        "CNN on MFCC, trained on the phone's recordings",
        0.95,
        f"{AUDIOSET}, recorded by the app on a phone",
        "baselines/app_phone_pcm",
        "phone_pcm",
    ),
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


class SystemResults:
    """Its tables.json, looked up."""

    def __init__(self, folder: Path):
        content = read_output(folder / "tables.json", "evaluate")
        self.rows: list[JsonRow] = content["rows"]
        self.parameters: Mapping[str, int] = {
            system["row"]: system["parameters"] for system in content["parameters"]
        }
        self.peer: str = content["peer"]
        self.shifts: list[str] = content["shifts"]
        self.kinds: list[JsonRow] = content["kinds"]
        self.mixes: list[JsonRow] = content["mixes"]
        self.main: list[str] = content["main"]
        self.recall: float = content["recall"]
        self.mix: Mapping[str, float] = content["mix"]
        self._by_key = {
            (row["row"], row["channel"], row["scope"], row["unit"]): row for row in self.rows
        }

    @property
    def has_peer(self) -> bool:
        """Whether the peer is among the systems that were measured."""
        return self.peer in self.parameters

    def scopes(self, channel: str) -> list[str]:
        """The scopes that were measured through ``channel``, in their order."""
        return distinct([row for row in self.rows if row["channel"] == channel], "scope")

    def test_scopes(self) -> list[str]:
        """The scopes of the test part as recorded."""
        return [scope for scope in self.scopes(RECORDED) if LEFT_OUT not in scope]

    @property
    def matched(self) -> list[str]:
        """The channels that all clips go through, whatever they are."""
        return [c for c in distinct(self.rows, "channel") if c not in (RECORDED, *self.shifts)]

    def get(self, name: str, channel: str, scope: str, unit: str) -> JsonRow | None:
        """A row, or None where it was not measured."""
        return self._by_key.get((name, channel, scope, unit))


def systems_page(folder: Path, title: str, origin: ReportOrigin) -> SectionsPage:
    """Collect tables and figures from folder ``systems`` of stage ``evaluate``."""
    results = SystemResults(folder)

    tables = {
        "headline": [headline_table(results)],
        "systems": [main_table(results)],
        "recorded": scope_tables(results, RECORDED, results.test_scopes()),
        "matched": [
            each
            for channel in results.matched
            for each in scope_tables(results, channel, results.scopes(channel))
        ],
        "left_out": left_out_tables(results),
        "kinds": kind_tables(results),
        "shift": [
            shift_table(results, shift, unit)
            for shift in results.shifts
            for unit in ("second", "clip")
        ],
        "case_study": [case_study_table(results)],
    }
    facts = f"{len(results.parameters)} systems, {len(results.rows)} measurements."
    if not results.has_peer:
        facts += f" {results.peer} was not at hand: there are no differences to it."
    return sections_page(
        "comparison",
        title,
        origin,
        facts,
        tables,
        {"systems": folder},
        recall=f"{results.recall:g}",
    )


def headline_table(results: SystemResults) -> Table:
    """The default, alone and with the peer, on what it heard and what it never heard."""
    seen, kinds, corpora, channels = [], [], [], []
    for name in results.parameters:
        if name in HEADLINE:
            seen.append(("seen kinds", name, RECORDED, POOLED))
            channels += [(channel, name, channel, POOLED) for channel in results.matched]
        elif name.startswith(tuple(f"{row}_no_" for row in HEADLINE)):
            scopes = distinct([row for row in results.rows if row["row"] == name], "scope")
            if UNSEEN_KINDS in scopes:
                kinds.append(("unseen kinds", name, RECORDED, UNSEEN_KINDS))
            else:
                corpora += [(f"unseen: {scope}", name, RECORDED, scope) for scope in scopes]
    lines = [*seen, *kinds, *corpora, *channels]
    cells = []
    for title, name, channel, scope in lines:
        for unit in ("second", "clip"):
            row, peer = (results.get(n, channel, scope, unit) for n in (name, results.peer))
            if row is not None:
                metric = "average_precision"
                values = [_interval(row, metric), _mean(peer, metric), _difference(row, metric)]
                values += [_mean(each, "recall_at_1pct") for each in (row, peer)]
                groups = f"{row['cry_groups']} / {row['other_groups']}"
                cells.append([title, name, unit, f"{row['n_cry']} of {row['n']}", groups, *values])
    columns = ["measured on", "system", "per", "cries", "groups, cry / other", "AP"]
    columns += [f"AP of {results.peer}", "difference", SHORT["recall_at_1pct"]]
    return Table("Seen and unseen", [*columns, f"the same of {results.peer}"], cells)


def kind_tables(results: SystemResults) -> list[Table]:
    """False alarms an hour by kind of sound, heard and never heard, and over a nursery's day."""
    test = [row for row in results.kinds if row["part"] == "test"]
    unseen = [row for row in results.kinds if row["part"] == "unseen"]
    shown = [name for name in distinct(test, "row") if name in (results.peer, *results.main)]
    tables = [
        kind_table("test part", test, shown),
        kind_table("kinds that were left out, all parts", unseen, distinct(unseen, "row")),
        day_table(results),
    ]
    return [each for each in tables if each.rows]


def kind_table(part: str, rows: Sequence[JsonRow], names: Sequence[str]) -> Table:
    """A line a kind, a column each of the table's rows ``names``, by the first seed of each."""
    by_key = {(row["row"], row["kind"]): row for row in reversed(rows)}
    first = {row["row"]: row for row in reversed(rows)}
    cells = []
    for kind in sorted(set(distinct(rows, "kind"))):
        of_kind = [by_key.get((name, kind)) for name in names]
        measured = next((row for row in of_kind if row is not None), None)
        if measured is not None:
            head = [kind, number(3600 * measured["hours"], 0), str(measured["sources"])]
            cells.append(head + [_alarms(row) for row in of_kind])
    recalls = [
        f"{name} {number(first[name]['recall_second'], 2)} of seconds, "
        f"{number(first[name]['recall_clip'], 2)} of clips"
        for name in names
    ]
    note = f"Cries of the test part found at the same thresholds: {'; '.join(recalls)}."
    columns = ["kind", "seconds", "sources", *names]
    return Table(f"False alarms an hour by kind, {part}", columns, cells, note)


def day_table(results: SystemResults) -> Table:
    """What the kinds make of a nursery's day."""
    columns: dict[str, str | Callable[[JsonRow], str]] = {
        "system": "row",
        "measured on": "part",
        "false alarms an hour": lambda row: number(row["per_hour"], 1),
        "at most (95 %)": lambda row: number(row["upper_per_hour"], 1),
        "stated": lambda row: "no" if row["missing"] else "yes",
        "never measured on": lambda row: ", ".join(row["missing"]) or "nothing of it",
    }
    day = ", ".join(f"{kind} {hours:g}" for kind, hours in results.mix.items())
    return table("A nursery's day", columns, results.mixes, f"Hours: {day}.")


def _alarms(row: JsonRow | None) -> str:
    if row is None:
        return "n/a"
    return bracketed(row["per_hour"], row["low"], row["high"], 0)


def main_table(results: SystemResults, chosen: Sequence[str] | None = None) -> Table:
    """A row a measure, a column a system of the test part; of the ``chosen`` ones if given."""
    names = [
        name
        for name in (results.parameters if chosen is None else chosen)
        if results.get(name, RECORDED, POOLED, "second")
    ]

    def cell(name: str) -> Callable[[Measure], str]:
        return lambda measure: _mean(
            results.get(name, measure.channel, measure.scope, measure.unit), measure.metric
        )

    columns = {"measure": lambda measure: measure.title, **{name: cell(name) for name in names}}
    note = "An SVC's parameters are the numbers it stores; YAMNet's, if shown, its model card's."
    measures = table("Every system on the same seconds", columns, _measures(results), note)
    measures.rows.append(["parameters", *(_count(results.parameters[name]) for name in names)])
    return measures


def _measures(results: SystemResults) -> Iterator[Measure]:
    for scope in results.test_scopes():
        yield Measure(RECORDED, scope, "second", "average_precision")
        yield Measure(RECORDED, scope, "clip", "average_precision")
        yield Measure(RECORDED, scope, "second", "auc")
    for channel in results.matched:
        yield Measure(channel, POOLED, "second", "auc")
        yield Measure(channel, POOLED, "second", "recall_at_1pct")
        for scope in results.scopes(channel):
            if scope != POOLED:
                yield Measure(channel, scope, "second", "average_precision")
                yield Measure(channel, scope, "clip", "average_precision")


def scope_tables(results: SystemResults, channel: str, scopes: Sequence[str]) -> list[Table]:
    """Every system on each of ``scopes`` through ``channel``."""
    return [each for scope in scopes for each in _by_unit(results, channel, scope)]


def left_out_tables(results: SystemResults) -> list[Table]:
    """Every system on the corpora and kinds that some training did not hear."""
    scopes = [scope for scope in distinct(results.rows, "scope") if LEFT_OUT in scope]
    return scope_tables(results, RECORDED, scopes)


def _by_unit(results: SystemResults, channel: str, scope: str) -> Iterator[Table]:
    """Every system on one scope, by second and by clip, beside the peer where there is one."""
    columns: dict[str, str | Callable[[JsonRow], str]] = {
        "system": "row",
        "seeds": "systems",
        "AUC": lambda row: _interval(row, "auc"),
        "AP": lambda row: _interval(row, "average_precision"),
    }
    if results.has_peer:
        columns[f"AP less that of {results.peer}"] = lambda row: _difference(
            row, "average_precision"
        )
    columns[SHORT["recall_at_1pct"]] = lambda row: _mean(row, "recall_at_1pct")
    through = "" if channel == RECORDED else f", {channel}"
    for unit in ("second", "clip"):
        found = [results.get(name, channel, scope, unit) for name in results.parameters]
        rows = [row for row in found if row is not None]
        if rows:
            note = (
                f"{rows[0]['n_cry']} cries of {rows[0]['n']}, in {rows[0]['cry_groups']} groups "
                f"with cries and {rows[0]['other_groups']} with others."
            )
            yield table(f"{scope}{through}, per {unit}", columns, rows, note)


def shift_table(results: SystemResults, shift: str, unit: str) -> Table:
    """Each system before the phone ``shift``, after it, and trained on it; pooled."""
    metrics = ("accuracy", "f1", "auc")
    cells = []
    for name in results.parameters:
        before = results.get(name, RECORDED, POOLED, unit)
        after = results.get(name, shift, POOLED, unit)
        if before is None or after is None:
            continue
        again = results.get(f"{name}_{shift}", shift, POOLED, unit)
        means = (_mean(row, m) for m in metrics for row in (before, after, again))
        cells.append([name, *means])
    moments = ("before", "after", "re-recorded")
    columns = ["system", *(f"{SHORT[metric]}, {when}" for metric in metrics for when in moments)]
    note = (
        "Accuracy and F1 at the threshold of the highest F1 on the validation part as recorded, "
        "which the system keeps on the phone."
    )
    return Table(f"Before and after channel {shift}, pooled, per {unit}", columns, cells, note)


def case_study_table(results: SystemResults) -> Table:
    """Every figure of the study beside the row that stands for its system."""

    def ours(scope: str, unit: str) -> Callable[[StudyFigure], str]:
        return lambda line: _mean(results.get(line.row, line.channel, scope, unit), "accuracy")

    columns: dict[str, str | Callable[[StudyFigure], str]] = {
        "system of the study": lambda line: line.system,
        "its test accuracy": lambda line: number(line.accuracy, 2),
        "measured on": lambda line: line.measured_on,
        "row here": lambda line: line.row,
        "heard": lambda line: line.channel,
        "accuracy here, pooled, per clip": ours(POOLED, "clip"),
        "per second": ours(POOLED, "second"),
        "within baby_cry_detection, per clip": ours("baby_cry_detection", "clip"),
    }
    return table("The case study's figures", columns, CASE_STUDY)


def _count(parameters: int) -> str:
    return f"{parameters:,}" if parameters else "n/a"


def _mean(row: JsonRow | None, metric: str) -> str:
    if row is None:
        return "n/a"
    values = row["metrics"][metric]
    return plus_minus(values["mean"], values["sd"])


def _interval(row: JsonRow, metric: str) -> str:
    values = row["metrics"][metric]
    text = bracketed(values["mean"], values["low"], values["high"])
    return text + ("" if values["sd"] is None else f" ± {number(values['sd'])}")


def _difference(row: JsonRow, metric: str) -> str:
    values = row["metrics"][metric]
    return bracketed(values["difference"], values["difference_low"], values["difference_high"])

"""The report's tables on events: detections at a threshold, and calibrated decisions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from crywatch.core.paths import missing_note
from crywatch.report.pages import note
from crywatch.report.tables import (
    Columns,
    JsonRow,
    Table,
    bracketed,
    distinct,
    num,
    number,
    read_output,
    seconds,
    table,
    threshold_text,
)

EVENTS: Columns = {
    "model": "model",
    "threshold": lambda row: (
        threshold_text(row["threshold"])
        + (" (val)" if row["threshold_from"] == "validation" else "")
    ),
    "event F1": num("event_f1"),
    "intersection F1": num("intersection_f1"),
    "PSDS1": num("psds1"),
    "PSDS2": num("psds2"),
    "false alarms an hour": num("false_alarms_per_hour", 1),
    "cries found": num("found"),
    "latency, median": seconds("latency_s"),
    "latency, 90 %": seconds("latency_p90_s"),
}


def event_tables(rows: list[JsonRow]) -> list[Table]:
    """Tables from the rows of events.json, all detectors on each strongly labelled scope."""
    tables: list[Table] = []
    for scope in distinct(rows, "scope"):
        scoped = [row for row in rows if row["scope"] == scope]
        title = (
            f"Events: {scope}, test part, {scoped[0]['events']} cries in "
            f"{scoped[0]['recordings']} recordings, {3600 * scoped[0]['hours']:.0f} s together"
        )
        tables.append(table(title, EVENTS, scoped, "" if tables else note("events")))
    return tables


def read_decisions(folders: Sequence[Path]) -> list[dict]:
    """The tables.json of each calibrated model that could be made; TableError where it is not."""
    made = (folder for folder in folders if not missing_note(folder))
    return [read_output(folder / "tables.json", "calibrate") for folder in made]


def decision_tables(models: Sequence[JsonRow]) -> list[Table]:
    """Tables from the tables.json of each calibrated model."""
    if not models:
        return []
    rates = [
        table(
            f"Decisions: {model['model']}, false alarms an hour of non-cry sound, test part",
            _rate_columns(model),
            [row for row in _test_rates(model) if row["scope"] == "all"],
            note("rates") if model is models[0] else "",
        )
        for model in models
    ]
    defaults = [
        {**row, "model": model["model"]}
        for model in models
        for row in _test_rates(model)
        if row["stated"] == model["decision"]["default_per_hour"]
    ]
    scopes = table(
        "Decisions by corpus, at each model's default rate, test part",
        {
            "model": "model",
            "measured on": "scope",
            **ALARMS,
            "cries": "cries",
            "found": num("found"),
            "latency, median": seconds("latency_s"),
        },
        defaults,
    )
    return [*rates, scopes, _calibration(models)]


ALARMS: dict[str, Callable[[JsonRow], str]] = {
    "alarms in hours": lambda row: f"{row['alarms']} in {number(row['hours'], 2)}",
    "seen, an hour": lambda row: bracketed(row["per_hour"], row["low"], row["high"], 1),
    "called": lambda row: "n/a" if row["called"] is None else f"{100 * row['called']:.1f} %",
}


def _test_rates(model: JsonRow) -> list[JsonRow]:
    return [row for row in model["rates"] if row["part"] == "test"]


def _rate_columns(model: JsonRow) -> dict[str, Callable[[JsonRow], str]]:
    """Of one model's rates: what was chosen on the validation part, and what the test part saw."""
    default = model["decision"]["default_per_hour"]
    fitted = {rate["false_alarms_per_hour"]: rate for rate in model["decision"]["rates"]}

    def stated(row: JsonRow) -> str:
        rate = row["stated"]
        return "plain" if rate is None else f"{rate:g}{' (default)' if rate == default else ''}"

    def of_rate(show: Callable[[JsonRow], str]) -> Callable[[JsonRow], str]:
        return lambda row: "n/a" if row["stated"] is None else show(fitted[row["stated"]])

    return {
        "stated, an hour": stated,
        "begins at": lambda row: threshold_text(row["on"]),
        "goes on at": lambda row: threshold_text(row["off"]),
        "shortest": lambda row: "n/a" if row["stated"] is None else f"{row['min_event_s']:g} s",
        "validation: alarms, at most": of_rate(
            lambda rate: f"{rate['alarms']}, {number(rate['upper_per_hour'], 1)} an hour"
        ),
        "promised": of_rate(lambda rate: "yes" if rate["promised"] else "no: too few hours"),
        "test: alarms in hours": ALARMS["alarms in hours"],
        "seen, an hour": ALARMS["seen, an hour"],
        "called": ALARMS["called"],
        "cries found": num("found"),
        "latency, median": seconds("latency_s"),
        "latency, 90 %": seconds("latency_p90_s"),
    }


def _calibration(models: Sequence[JsonRow]) -> Table:
    rows = []
    for model in models:
        by_key = {(row["part"], row["when"]): row for row in model["calibration"]}
        method = model["decision"]["calibration"]["method"]
        for part in distinct(model["calibration"], "part"):
            before, after = by_key[part, "before"], by_key[part, "after"]
            pairs = [number(r[name]) for name in ("ece", "brier", "nll") for r in (before, after)]
            share = f"{100 * before['share']:.0f} %"
            rows.append([model["model"], method, part, str(before["seconds"]), share, *pairs])
    columns = ["model", "method", "part", "seconds", "cries", "ECE, before", "after"]
    columns += ["Brier, before", "after", "loss, before", "after"]
    title = "Calibration: how far probabilities per second can be believed"
    return Table(title, columns, rows, note("calibration"))

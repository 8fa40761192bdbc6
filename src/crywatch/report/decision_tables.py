"""The report's tables on decisions: rates of false alarms stated and seen, and probabilities."""

from __future__ import annotations

from collections.abc import Sequence

from crywatch.report.tables import Table, bracketed, number, shown_threshold

ALL = "all"  # scope of all recordings
RATES_NOTE = (
    "A false alarm is an event that touches no cry, however long it is; hours are those of sound "
    "that is known to be no cry, put end to end: other clips, and what lies between the cries of "
    "soundscapes and untrimmed recordings. Rules were chosen on the validation part. A rate is "
    "promised where the exact Poisson bound (one-sided 95 %) of the alarms there keeps it; where "
    "its hours are too few for that, no alarm was allowed and the threshold lies where the tail of "
    "the highest alarms reaches the rate. In brackets exact 95 % intervals of Poisson counts; made "
    "recordings hold the sounds of the clips again, so that they are too narrow, and the bound of "
    "a promise too low. An event that the end of a clip cuts below the shortest duration counts "
    "for nothing: in clips of 5 s, rules with a shortest event of 2 or 3 s have more false alarms "
    "in sound that goes on than they have here. Called: share of the non-cry sound that lies in "
    "events. Cries: strong labels, and weakly labelled clips as one each. Latency: from a cry's "
    "onset until an event is sure and long enough; anomaly heads hear the whole recording first: "
    "theirs is that of a replay. Plain: scores before calibration, at or above 0.5."
)
CALIBRATION_NOTE = (
    "Seconds of clips, soundscapes and untrimmed recordings; silent seconds of weakly labelled "
    "cries are left out. The method is the simplest of those whose loss on groups left "
    "out of the fit is the lowest, or next to it. A probability is that of a second among these: "
    "where cries are rarer it is lower."
)
COLUMNS = ["stated, an hour", "begins at", "goes on at", "shortest", "validation: alarms, at most"]
COLUMNS += ["promised", "test: alarms in hours", "seen, an hour", "called", "cries found"]
COLUMNS += ["latency, median", "latency, 90 %"]
SCOPE_COLUMNS = ["model", "measured on", "alarms in hours", "seen, an hour", "called"]
SCOPE_COLUMNS += ["cries", "found", "latency, median"]
CALIBRATION_COLUMNS = ["model", "method", "part", "seconds", "cries", "ECE, before", "after"]
CALIBRATION_COLUMNS += ["Brier, before", "after", "loss, before", "after"]


def decision_tables(models: Sequence[dict]) -> list[Table]:
    """Tables from the tables.json of each calibrated model."""
    if not models:
        return []
    rated = [
        Table(
            f"Decisions: {told['model']}, false alarms an hour of non-cry sound, test part",
            COLUMNS,
            _rate_rows(told),
            RATES_NOTE if told is models[0] else "",
        )
        for told in models
    ]
    scopes = Table(
        "Decisions by corpus, at each model's default rate, test part",
        SCOPE_COLUMNS,
        [cells for told in models for cells in _scope_rows(told)],
    )
    calibration = Table(
        "Calibration: how far probabilities per second can be believed",
        CALIBRATION_COLUMNS,
        [cells for told in models for cells in _calibration_rows(told)],
        CALIBRATION_NOTE,
    )
    return [*rated, scopes, calibration]


def _rate_rows(told: dict) -> list[list[str]]:
    default = told["decision"]["default_per_hour"]
    fitted = {rated["false_alarms_per_hour"]: rated for rated in told["decision"]["rates"]}
    rows = []
    for row in _rows(told):
        stated = row["stated"]
        if stated is None:
            head = [
                "plain",
                shown_threshold(row["on"]),
                shown_threshold(row["off"]),
                "n/a",
                "n/a",
                "n/a",
            ]
        else:
            seen = fitted[stated]
            head = [
                f"{stated:g}{' (default)' if stated == default else ''}",
                *_edges(row),
                f"{row['min_event_s']:g} s",
                f"{seen['alarms']}, {number(seen['upper_per_hour'], 1)} an hour",
                "yes" if seen["promised"] else "no: too few hours",
            ]
        rows.append([*head, *_seen(row), number(row["found"]), *_latencies(row)])
    return rows


def _edges(row: dict) -> list[str]:
    return [shown_threshold(row[name]) for name in ("on", "off")]


def _rows(told: dict, scope: str | None = ALL) -> list[dict]:
    return [row for row in told["rates"] if row["part"] == "test" and scope in (row["scope"], None)]


def _scope_rows(told: dict) -> list[list[str]]:
    return [
        [
            told["model"],
            row["scope"],
            *_seen(row),
            str(row["cries"]),
            number(row["found"]),
            _latencies(row)[0],
        ]
        for row in _rows(told, None)
        if row["stated"] == told["decision"]["default_per_hour"]
    ]


def _seen(row: dict) -> list[str]:
    return [
        f"{row['alarms']} in {number(row['hours'], 2)}",
        bracketed(row["per_hour"], row["low"], row["high"], 1),
        "n/a" if row["called"] is None else f"{100 * row['called']:.1f} %",
    ]


def _latencies(row: dict) -> list[str]:
    values = (row["latency_s"], row["latency_p90_s"])
    return [number(value, 1) + ("" if value is None else " s") for value in values]


def _calibration_rows(told: dict) -> list[list[str]]:
    rows = []
    for part in dict.fromkeys(row["part"] for row in told["calibration"]):
        before, after = (
            next(r for r in told["calibration"] if (r["part"], r["when"]) == (part, when))
            for when in ("before", "after")
        )
        pairs = [number(r[name]) for name in ("ece", "brier", "nll") for r in (before, after)]
        share = f"{100 * before['share']:.0f} %"
        method = told["decision"]["calibration"]["method"]
        rows.append([told["model"], method, part, str(before["seconds"]), share, *pairs])
    return rows

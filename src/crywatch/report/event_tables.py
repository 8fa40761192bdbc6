"""The report's event-level tables: one for each strongly labelled scope."""

from __future__ import annotations

from crywatch.report.tables import Table, number, shown_threshold

CHOSEN = "validation"  # in column threshold_from
COLUMNS = ["model", "threshold", "event F1", "intersection F1", "PSDS1", "PSDS2"]
COLUMNS += ["false alarms an hour", "cries found", "latency, median", "latency, 90 %"]
NOTE = (
    "A detection is a run of seconds at or above the threshold: the one that is set, or (val) the "
    "one of the highest intersection F1 on the validation part. Event F1: onset and offset within "
    "0.2 s, the offset within 20 % of the event where that is more; detections begin and end at "
    "whole seconds, which alone misses most collars. Intersection F1: 0.5 / 0.5. PSDS1: 0.7 / 0.7; "
    "PSDS2: 0.1 / 0.1 / 0.3, with other sounds, where they are labelled, as the class of cross "
    "triggers at weight 0.5; both up to 100 false alarms an hour. False alarms: runs that touch no "
    "cry, by the hours without cries. Latency: from the onset of a cry to the end of the first "
    "segment called in it. Miners and anomaly heads see the whole recording before they decide: "
    "theirs is that of a replay."
)


def event_tables(rows: list[dict]) -> list[Table]:
    """Tables from the rows of events.json, all detectors on each scope."""
    found = []
    for scope in dict.fromkeys(row["scope"] for row in rows):
        here = [row for row in rows if row["scope"] == scope]
        title = (
            f"Events: {scope}, test part, {here[0]['events']} cries in {here[0]['recordings']} "
            f"recordings, {3600 * here[0]['hours']:.0f} s together"
        )
        note = "" if found else NOTE  # once
        found.append(Table(title, COLUMNS, [_cells(row) for row in here], note))
    return found


def _cells(row: dict) -> list[str]:
    source = " (val)" if row["threshold_from"] == CHOSEN else ""
    return [
        row["model"],
        f"{shown_threshold(row['threshold'])}{source}",
        *(number(row[name]) for name in ("event_f1", "intersection_f1", "psds1", "psds2")),
        number(row["false_alarms_per_hour"], 1),
        number(row["found"]),
        *(_seconds(row[name]) for name in ("latency_s", "latency_p90_s")),
    ]


def _seconds(value: float | None) -> str:
    return number(value, 1) + ("" if value is None else " s")

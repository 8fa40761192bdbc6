"""The report's tables of stage ``timeline``: infants, and the changes that remarks tell of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median

from crywatch.report.tables import JsonRow, Table, number, read_output, table

SUMMARY = "summary.json"  # of stage timeline, the most unusual infants first
MOST = 60  # infants that are listed
INFANTS: dict[str, Callable[[JsonRow], str]] = {
    "infant": lambda row: row["infant_id"],
    "baseline recordings in sessions": lambda row: (
        f"{row['baseline']['recordings']} in {row['baseline']['sessions']}"
    ),
    "new recordings in sessions": lambda row: f"{row['new']} in {row['new_sessions']}",
    "promised rate": lambda row: f"{row['rate']:g}" if row["promised"] else "none",
    "marked": lambda row: str(row["marked"]) if row["judged"] else "not judged",
    "expected if unchanged": lambda row: number(row["expected"], 1) if row["judged"] else "n/a",
    "kept out by the gate": lambda row: str(row["kept_out"]),
    "lasting changes": lambda row: str(sum(episode["lasting"] for episode in row["episodes"])),
    "change points": lambda row: (
        "too few sessions" if row["changes"]["reason"] else str(len(row["changes"]["points"]))
    ),
    "status": lambda row: row["status_text"],
}


def timeline_tables(folder: Path) -> list[Table]:
    """Tables of `SUMMARY` in the stage's folder; TableError where it is missing."""
    infants = read_output(Path(folder) / SUMMARY, "timeline")
    note = "The most unusual lately come first."
    if len(infants) > MOST:
        note += f" {MOST} of {len(infants)} infants; the page of stage timeline has them all."
    tables = [table("Timelines", INFANTS, infants[:MOST], note)]
    remarks: dict[str, list[JsonRow]] = {}
    for infant in infants:
        for remark in infant["remarks"]:
            remarks.setdefault(remark["remark"], []).append(remark)
    return [*tables, _remarks(remarks)] if remarks else tables


def _remarks(remarks: dict[str, list[JsonRow]]) -> Table:
    rows = []
    for text, places in sorted(remarks.items()):
        recordings = sum(place["judged"] for place in places)
        marked = sum(place["marked"] for place in places)
        delays = [place["passed_after"] for place in places if place["passed_after"]]
        rows.append(
            [
                text,
                str(len(places)),
                number(median(place["sessions"] for place in places), 0),
                number(marked / recordings if recordings else None),
                f"{len(delays)} of {len(places)}",
                number(median(delays), 1) if delays else "n/a",
            ]
        )
    columns = ["remark", "times", "sessions, median", "marked recordings, share"]
    columns += ["evidence passed its limit", "in session, median"]
    note = (
        "A remark tells of a change, such as a planted one. The evidence is the timeline's CUSUM, "
        "with a limit set for unchanged infants; 1 is the first session with the remark."
    )
    return Table("Changes that were remarked, on the timelines", columns, rows, note)

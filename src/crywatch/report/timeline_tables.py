"""The report's tables of stage ``timeline``: infants, and the changes that remarks tell of."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from crywatch.core.atomic import read_json
from crywatch.core.errors import TableError
from crywatch.report.tables import Table, number

SUMMARY = "summary.json"  # of stage timeline, the most unusual infants first
MOST = 60  # infants that are listed


def timeline_tables(folder: Path) -> list[Table]:
    """Tables of `SUMMARY` in the stage's folder; TableError where it is missing."""
    path = Path(folder) / SUMMARY
    if not path.is_file():
        raise TableError(f"{path} is missing: run stage timeline (dvc repro timeline)")
    summaries = read_json(path)
    remarked = any(one["remarks"] for one in summaries)
    return [_infants(summaries), *([_remarks(summaries)] if remarked else [])]


def _infants(summaries: list[dict]) -> Table:
    rows = [
        [
            one["infant_id"],
            f"{one['baseline']['recordings']} in {one['baseline']['sessions']}",
            f"{one['new']} in {one['new_sessions']}",
            f"{one['rate']:g}" if one["promised"] else "none",
            str(one["marked"]) if one["judged"] else "not judged",
            number(one["expected"], 1) if one["judged"] else "n/a",
            str(one["kept_out"]),
            str(sum(episode["lasting"] for episode in one["episodes"])),
            "too few sessions" if one["changes"]["reason"] else str(len(one["changes"]["points"])),
            one["status_text"],
        ]
        for one in summaries[:MOST]
    ]
    columns = ["infant", "baseline recordings in sessions", "new recordings in sessions"]
    columns += ["promised rate", "marked", "expected if unchanged", "kept out by the gate"]
    columns += ["lasting changes", "change points", "status"]
    note = "The most unusual lately come first."
    if len(summaries) > MOST:
        note += f" {MOST} of {len(summaries)} infants; the page of stage timeline has them all."
    return Table("Timelines", columns, rows, note)


def _remarks(summaries: list[dict]) -> Table:
    found: dict[str, list[dict]] = {}
    for one in summaries:
        for remark in one["remarks"]:
            found.setdefault(remark["remark"], []).append(remark)
    rows = []
    for text, those in sorted(found.items()):
        judged = sum(one["judged"] for one in those)
        delays = [one["passed_after"] for one in those if one["passed_after"]]
        rows.append(
            [
                text,
                str(len(those)),
                number(median(one["sessions"] for one in those), 0),
                number(sum(one["marked"] for one in those) / judged if judged else None),
                f"{len(delays)} of {len(those)}",
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

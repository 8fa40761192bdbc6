"""How `crywatch detect` prints what was found in a file; on a terminal see `terminal`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from crywatch.core.names import json_line, shown
from crywatch.detection.detect import Detection


def to_jsonl(detection: Detection) -> str:
    """One line of JSON; a file that could not be decoded has only ``path`` and ``error``."""
    if detection.error is not None:
        return json_line({"path": detection.path, "error": detection.error})
    record = asdict(detection)
    record.pop("error")
    condition = record.pop("condition")
    record |= {key: condition[key] for key in ("damaged_s", "gap_s") if condition[key]}
    return json_line(record)


def to_audacity(detection: Detection) -> str:
    """Audacity's label track: onset, offset, text, separated by tabs. It has no comments."""
    name = shown(Path(detection.path).name)
    return "\n".join(
        f"{event.onset_s:.3f}\t{event.offset_s:.3f}\tcry {event.peak:.3f} {name}"
        for event in detection.events
    )


def to_srt(detection: Detection) -> str:
    """SubRip subtitles, which video editors and players read: an event a caption."""
    return "\n".join(
        f"{number}\n{_srt_time(event.onset_s)} --> {_srt_time(event.offset_s)}\n"
        f"cry {event.peak:.2f}\n"
        for number, event in enumerate(detection.events, start=1)
    )


def _srt_time(time_s: float) -> str:
    milliseconds = round(time_s * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    seconds, thousandths = divmod(rest, 1000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d},{thousandths:03d}"


def to_table(detection: Detection) -> str:
    """A line a file: score, seconds at the threshold as events, path."""
    if detection.error is not None:
        return f"{'-':>5}  {'error':<24}  {shown(detection.error)}"
    spans = ", ".join(f"{e.onset_s:.0f}-{e.offset_s:.0f} s" for e in detection.events) or "none"
    return f"{detection.cry:5.3f}  {spans:<24}  {shown(detection.path)}"


FORMATS: dict[str, Callable[[Detection], str]] = {
    "table": to_table,
    "jsonl": to_jsonl,
    "audacity": to_audacity,
    "srt": to_srt,
}
LABELS = ("audacity", "srt")  # formats of events alone: errors go to standard error
TABLE_HEADER = f"{'cry':>5}  {'events':<24}  path"

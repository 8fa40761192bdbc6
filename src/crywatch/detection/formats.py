"""How `crywatch detect` prints what was found in a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from crywatch.detection.detect import Detection


def to_jsonl(detection: Detection) -> str:
    """One line of JSON; a file that could not be decoded has only ``path`` and ``error``."""
    if detection.error is not None:
        return _json({"path": detection.path, "error": detection.error})
    record = asdict(detection)
    record.pop("error")
    condition = record.pop("condition")
    record |= {key: condition[key] for key in ("damaged_s", "gap_s") if condition[key]}
    return _json(record)


def _json(record: dict) -> str:
    text = json.dumps(record, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        # A file name that is no UTF-8: escaped, a reader gets the very name back.
        return json.dumps(record)
    return text


def to_audacity(detection: Detection) -> str:
    """Audacity's label track: onset, offset, text, separated by tabs. It has no comments."""
    name = Path(detection.path).name
    return "\n".join(
        f"{event.onset_s:.3f}\t{event.offset_s:.3f}\tcry {event.peak:.3f} {name}"
        for event in detection.events
    )


def to_table(detection: Detection) -> str:
    """A line a file: score, seconds at the threshold as events, path."""
    if detection.error is not None:
        return f"{'-':>5}  {'error':<24}  {detection.error}"
    spans = ", ".join(f"{e.onset_s:.0f}-{e.offset_s:.0f} s" for e in detection.events) or "none"
    return f"{detection.cry:5.3f}  {spans:<24}  {detection.path}"


FORMATS: dict[str, Callable[[Detection], str]] = {
    "table": to_table,
    "jsonl": to_jsonl,
    "audacity": to_audacity,
}
TABLE_HEADER = f"{'cry':>5}  {'events':<24}  path"

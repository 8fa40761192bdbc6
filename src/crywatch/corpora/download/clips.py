"""Clips that come one by one: fetched to the working folder, placed, and told by class.

The working folder keeps them, so that neither a kill nor a rebuild asks for a clip again.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from crywatch.core.atomic import atomic_path
from crywatch.corpora.download.youtube import (
    REASONS,
    ClipsConfig,
    ClipsFetched,
    YoutubeDL,
    fetch_clips,
)
from crywatch.corpora.shared.base import WantedClip
from crywatch.corpora.shared.ledger import COLUMNS as COUNTS
from crywatch.corpora.shared.ledger import FILE as LEDGER
from crywatch.corpora.shared.ledger import REPORT, write_ledger

FOLDER = "clips"  # below the working folder
COLUMNS = (*COUNTS, *REASONS)


def bring_clips(
    wanted: Sequence[WantedClip],
    folder: Path,
    work_dir: Path,
    config: ClipsConfig,
    timeout_s: float,
    youtube_dl: YoutubeDL | None = None,
) -> str:
    """Fetch ``wanted`` and place them, the ledger and the report in ``folder``; the report as text.

    See `fetch_clips` for the errors.
    """
    store = work_dir / FOLDER
    fetched = fetch_clips(wanted, store, config, timeout_s, youtube_dl)
    for clip in wanted:
        if (store / clip.source_path).is_file():
            _link(store / clip.source_path, folder / clip.source_path)
    write_ledger(folder / LEDGER, fetched.gone.values())
    rows = report(wanted, fetched)
    with atomic_path(folder / REPORT) as temp, open(temp, "w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    return _text(rows)


def report(wanted: Sequence[WantedClip], fetched: ClipsFetched) -> list[tuple]:
    """Rows of `COLUMNS`: the classes in the order of ``wanted``, then all together."""
    classes = dict.fromkeys(clip.category for clip in wanted)
    rows = []
    for name in (*classes, "all"):
        clips = [clip.clip for clip in wanted if name in (clip.category, "all")]
        reasons = [fetched.gone[clip].reason for clip in clips if clip in fetched.gone]
        n_failed = sum(clip in fetched.failed for clip in clips)
        n_had = len(clips) - len(reasons) - n_failed
        counts = [reasons.count(reason) for reason in REASONS]
        rows.append((name, len(clips), n_had, n_failed, len(reasons), *counts))
    return rows


def _text(rows: Sequence[tuple]) -> str:
    """The report for a terminal; reasons that nobody met are left out."""
    columns = [i for i, name in enumerate(COLUMNS) if name not in REASONS or rows[-1][i]]
    table = [[str(row[i]) for i in columns] for row in (COLUMNS, *rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in table
    )


def _link(source: Path, target: Path) -> None:
    """A second name for a file that is never changed in place, or a copy where that cannot be."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)

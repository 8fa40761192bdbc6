"""`crywatch compare`: compare runs, write the page, record the comparison as a run."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crywatch.core.atomic import write_text
from crywatch.operations.compare_runs.comparison import (
    Options,
    RunComparison,
    compare,
    load,
    resolve,
)
from crywatch.operations.compare_runs.page import render
from crywatch.operations.compare_runs.tables import as_csv, as_json
from crywatch.tracking import runs


@dataclass(frozen=True)
class RecordedComparison:
    """A comparison, and where it was recorded."""

    comparison: RunComparison
    run_id: str  # "" where it was not
    store: str  # its address


def run(
    names: Sequence[str], options: Options, registered: str, page: Path | None, log: bool
) -> RecordedComparison:
    """Compare the runs that ``names`` stand for (`resolve`) in the working directory's project.

    ``registered`` is the name of the model whose versions may be named. ``page`` is an HTML file
    to write. With ``log`` the comparison becomes a run of its own.
    """
    with runs.project_store() as store, tempfile.TemporaryDirectory() as temp:
        folder = Path(temp)
        pairs = resolve(store, names, registered, within=bool(options.against))
        by_id = {each.run_id: each for pair in pairs for each in pair}
        scored = {run_id: load(store, each, folder) for run_id, each in by_id.items()}
        comparison = compare([(scored[a.run_id], scored[b.run_id]) for a, b in pairs], options)
        html = render(comparison) if log or page is not None else ""
        if page is not None:
            write_text(page, html)
        run_id = ""
        if log:
            contents = {"html": html, "csv": as_csv(comparison), "json": as_json(comparison)}
            files = [folder / f"comparison.{suffix}" for suffix in contents]
            for file, text in zip(files, contents.values(), strict=True):
                write_text(file, text)
            name = f"compare {comparison.title}"
            run_id = runs.log_comparison(store, name, pairs, files, comparison.metrics())
        return RecordedComparison(comparison, run_id, store.uri)

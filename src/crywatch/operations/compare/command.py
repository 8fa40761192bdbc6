"""What `crywatch compare` does, from names to a recorded comparison."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crywatch.core.atomic import write_text
from crywatch.operations.compare import Comparison, Wanted, compare, load, resolve
from crywatch.operations.compare.page import render
from crywatch.operations.compare.tables import as_csv, as_json
from crywatch.tracking import runs


@dataclass(frozen=True)
class Done:
    """A comparison, and where it was recorded."""

    comparison: Comparison
    run_id: str  # "" where it was not
    store: str  # its address


def run(
    names: Sequence[str], wanted: Wanted, registered: str, page: Path | None, log: bool
) -> Done:
    """Compare the runs that ``names`` ask for (`resolve`) in the project of the working directory.

    ``registered`` is the name of the model whose versions may be named. ``page`` is an HTML file
    to write. With ``log`` the comparison becomes a run of its own.
    """
    with runs.opened() as store, tempfile.TemporaryDirectory() as temp:
        folder = Path(temp)
        pairs = resolve(store, names, registered, within=bool(wanted.against))
        scored = {}
        for one in [run for pair in pairs for run in pair]:
            if one.run_id not in scored:
                scored[one.run_id] = load(store, one, folder)
        found = compare([(scored[a.run_id], scored[b.run_id]) for a, b in pairs], wanted)
        html = render(found) if log or page is not None else ""
        if page is not None:
            write_text(page, html)
        run_id = ""
        if log:
            contents = {"html": html, "csv": as_csv(found), "json": as_json(found)}
            files = [folder / f"comparison.{suffix}" for suffix in contents]
            for file, text in zip(files, contents.values(), strict=True):
                write_text(file, text)
            name = f"compare {found.title}"
            run_id = runs.log_comparison(store, name, pairs, files, found.metrics())
        return Done(found, run_id, store.uri)

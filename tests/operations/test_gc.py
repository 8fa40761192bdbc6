"""What `crywatch gc` names and removes, and what it leaves alone."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from crywatch import tracking
from crywatch.cli.main import app
from crywatch.listening.clips.folder import ClipFolder
from crywatch.operations import gc, worktree
from crywatch.tracking import entries, journal, parent, registry, store
from tests.helpers.rebuild_cases import new_repository
from tests.helpers.tracking_cases import rebuild, runs

pytest_plugins = ["tests.helpers.tracking_fixtures"]
NOW = gc.Limits(runs=1, days=0.0)


def made(monkeypatch, number: int) -> str:
    """A rebuild of one stage with an artifact; its run id."""
    rebuild(monkeypatch, number)
    with tracking.stage_run("split") as log:
        log.text("x" * 5000, "notes.txt")
    return runs(**{parent.STAGE: "rebuild"})[-1].info.run_id


def found(project: Path, limits: gc.Limits, *clips: Path) -> list[gc.Litter]:
    return list(gc.find(project, limits, clips))


def found_runs(limits: gc.Limits = NOW) -> list[gc.Litter]:
    return [one for one in gc.find(Path.cwd(), limits) if one.kind == "run"]


def aged(folder: Path, days: float) -> None:
    at_s = time.time() - days * gc.DAY_S
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (at_s, at_s), follow_symlinks=False)


def test_old_rebuilds_go_with_their_stages_and_artifacts(project, monkeypatch):
    first, second, third = (made(monkeypatch, number) for number in range(3))
    assert found_runs(gc.Limits(runs=3, days=0.0)) == []
    assert found_runs(gc.Limits(runs=1, days=1.0)) == [], "none is a day old"
    litter = found_runs()
    assert [one.name.partition("[")[2][:8] for one in litter] == [second[:8], first[:8]]
    assert all(one.n_bytes >= 5000 and "1 below it" in one.name for one in litter)
    for one in litter:
        one.remove()
    left = {run.info.run_id for run in runs()} | {run.info.run_name for run in runs()}
    assert third in left and len(runs()) == 2
    folders = {path.name for path in (project / "mlartifacts").iterdir() if path.is_dir()}
    assert not folders & {first, second} and len(folders - {"models"}) == 1
    assert found_runs() == []


def test_a_rebuild_that_is_needed_stays(project, monkeypatch):
    skipped_from, named, third = (made(monkeypatch, number) for number in range(3))
    opened = store.open_store()
    [child] = parent.children(opened, skipped_from)
    parent.note_skipped(opened, third, {"clean": "0"}, 1)
    note = next(run for run in parent.children(opened, third) if parent.SKIPPED in run.data.tags)
    opened.client.set_tag(note.info.run_id, parent.OUTPUTS_FROM, child.info.run_id)
    opened.client.create_registered_model("cry-detector")
    opened.client.create_model_version(
        "cry-detector", "file:///nowhere", tags={registry.REBUILD_RUN: named}
    )
    assert found_runs() == []
    opened.client.delete_registered_model("cry-detector")
    assert [one.name.partition("[")[2][:8] for one in found_runs()] == [named[:8]]


def test_what_was_deleted_in_the_pages_is_removed_for_good(project, monkeypatch):
    first, _ = made(monkeypatch, 1), made(monkeypatch, 2)
    opened = store.open_store()
    for run in [*parent.children(opened, first), opened.run(first)]:
        opened.client.delete_run(run.info.run_id)
    litter = found_runs(gc.Limits(runs=20, days=30.0))
    assert [one.why for one in litter] == ["deleted in MLflow"] * 2
    for one in litter:
        one.remove()
    assert opened.run(first) is None and found_runs() == []


def test_a_copy_goes_once_nobody_works_in_it(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    here = new_repository(tmp_path / "project")
    (here / "params.yaml").write_text(
        "tracking: {uri: 'sqlite:///mlflow.db', artifacts: a, experiment: e}\n"
    )
    monkeypatch.chdir(here)
    copy = worktree.checkout(here, "HEAD", "retrain").folder
    assert found(here, gc.Limits(days=1.0)) == []
    aged(copy, 40)
    monkeypatch.chdir(copy)
    assert list(gc._copies(here, gc.Limits())) == [], "a process works in it"
    monkeypatch.chdir(here)
    [litter] = found(here, gc.Limits())
    assert litter.name == ".dvc/tmp/worktrees/retrain" and litter.n_bytes > 0
    litter.remove()
    assert not copy.exists() and worktree.copies(here) == []
    assert worktree.checkout(here, "HEAD", "retrain").folder == copy, "git has forgotten it too"


def test_clips_that_were_labelled_stay(project, tmp_path):
    folder = ClipFolder(tmp_path / "clips")
    now = datetime.now(UTC)
    for name, days in (("old", 40), ("said", 40), ("new", 1)):
        folder.write(f"room/{name}.flac", np.zeros(16_000), now - timedelta(days=days))
    folder.label("room/said.flac", "cry")
    [litter] = found(project, gc.Limits(), folder.folder)
    assert litter.why.startswith("1 clips that nobody labelled")
    litter.remove()
    assert {clip.path for clip in folder.clips()} == {"room/said.flac", "room/new.flac"}
    assert not folder.file("room/old.flac").exists()


def test_records_that_no_store_took_go_when_they_are_old(project):
    head = {"key": "k", "name": "split", "store": "http://gone:5000"}
    own = journal.create(head)
    own.append("tags", of={})
    notes = project / entries.NOTES
    notes.mkdir(parents=True)
    (notes / "x.json").write_text(json.dumps({}))
    assert found(project, gc.Limits()) == []
    aged(journal.spool_folder(), 40)
    aged(notes, 40)
    kept, note = found(project, gc.Limits())
    assert "http://gone:5000 never took" in kept.why
    kept.remove()
    assert own.folder.exists(), "its stage is still at work"
    own.close()
    aged(journal.spool_folder(), 40)
    for one in (*found(project, gc.Limits()),):
        one.remove()
    assert not own.folder.exists() and not list(notes.iterdir())


def test_the_command_removes_nothing_unasked(project, monkeypatch):
    first, second = made(monkeypatch, 1), made(monkeypatch, 2)
    run = CliRunner().invoke
    said = run(app, ["gc", "--keep", "1", "--days", "0"])
    assert said.exit_code == 0 and first[:8] in said.output and "--yes" in said.output
    assert store.open_store().run(first) is not None
    said = run(app, ["gc", "--keep", "1", "--days", "0", "--yes"])
    assert said.exit_code == 0 and "removed" in said.output
    opened = store.open_store()
    assert opened.run(first) is None and opened.run(second) is not None
    assert "nothing is old enough" in run(app, ["gc"]).output


@pytest.mark.parametrize(
    ("n_bytes", "shown"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (12_345_678, "12.3 MB")]
)
def test_sizes_have_three_digits(n_bytes, shown):
    assert gc.size(n_bytes) == shown

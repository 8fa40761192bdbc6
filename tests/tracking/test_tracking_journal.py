"""Journals, locks and masks by themselves: full disks, kills, forks and power cuts."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import yaml

from crywatch import tracking
from crywatch.core import redact
from crywatch.core.lock import FileLock
from crywatch.tracking import journal, sender, store
from crywatch.tracking.journal import Clock, Journal
from tests.helpers.tracking_cases import (
    PARAMS,
    artifacts,
    caught_up,
    history,
    runs,
    sending,
    stage,
)

pytest_plugins = ["tests.helpers.tracking_fixtures"]

HEAD = {"key": "k1", "name": "split", "store": "sqlite:///x.db"}


def said(made: Journal) -> list[int]:
    return [entry.content["of"] for entry in made.take(1000)]


@pytest.fixture
def made(tmp_path) -> Journal:
    return Journal.create(tmp_path / "spool", "000001-k1", HEAD)


def test_records_come_in_order_and_only_until_they_are_done(made):
    for number in range(5):
        made.append("n", of=number)
    first = made.take(2)
    assert [entry.content["of"] for entry in first] == [0, 1]
    made.done(first)
    assert said(made) == [2, 3, 4] and made.left() == 3
    made.close()
    again = Journal.open(made.folder)
    assert said(again) == [2, 3, 4] and again.head == HEAD
    again.finish()
    assert not made.folder.exists()


def test_a_line_that_is_being_written_waits_and_one_that_is_damaged_is_said(made):
    made.append("n", of=1)
    with open(made.folder / journal.LINES, "ab") as lines:
        lines.write(b"\x00\x00\n")
        lines.write(b'{"do": "n", "of"')
    records = [entry.content for entry in made.take(10)]
    assert [record["do"] for record in records] == ["n", "damaged"]


def test_a_full_disk_is_said_and_records_wait_in_memory_in_order(made, monkeypatch):
    full, told = [False], []
    write = os.write

    def refuse(fd: int, line: bytes) -> int:
        if full[0] and fd == made._fd:
            return write(fd, line[: len(line) // 2])  # half of it, as a disk that fills up does
        return write(fd, line)

    monkeypatch.setattr(os, "write", refuse)
    made.on_full = told.append
    made.append("n", of=0)
    full[0] = True
    made.append("n", of=1)
    made.append("n", of=2)
    assert told and told[0].errno == errno.ENOSPC
    first = made.take(10)
    assert [entry.content["of"] for entry in first] == [0], "the file first"
    made.done(first)
    assert said(made) == [1, 2] and made.left() == 2, "then memory"
    made.done(made.take(1))
    full[0] = False
    made.append("n", of=3)
    assert said(made) == [2, 3]
    assert (made.folder / journal.LINES).read_bytes().count(b"\n") == 3, "no half line"


def test_memory_is_bounded(made, monkeypatch):
    monkeypatch.setattr(journal, "MOST_IN_MEMORY", 10)

    def refuse(fd: int, line: bytes) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "write", refuse)
    for number in range(25):
        made.append("n", of=number)
    assert said(made) == list(range(15, 25)) and made.lost == 15


def test_files_are_kept_as_they_were(made, tmp_path):
    small, large = tmp_path / "small.txt", tmp_path / "large.bin"
    small.write_text("then")
    large.write_bytes(b"x" * (journal.COPIED + 1))
    (tmp_path / "folder" / "sub").mkdir(parents=True)
    (tmp_path / "folder" / "sub" / "a").write_text("a")
    kept = [made.keep(path) for path in (small, large, tmp_path / "folder")]
    small.write_text("now")
    os.replace(small, large)
    assert kept[0].read_text() == "then" and kept[1].stat().st_size == journal.COPIED + 1
    assert (kept[2] / "sub" / "a").read_text() == "a"
    assert [path.name for path in kept] == ["small.txt", "large.bin", "folder"]
    with pytest.raises(FileNotFoundError):
        made.keep(tmp_path / "missing")


def test_a_clock_never_goes_back(monkeypatch):
    clock = Clock()
    first = clock.now_ms()
    monkeypatch.setattr(time, "time", lambda: 5.0)
    assert clock.now_ms() >= first


# Who holds a journal


def test_a_journal_is_its_owners_until_that_is_gone(made):
    code = "import sys; from pathlib import Path; from crywatch.tracking.journal import Journal; "
    code += "print(not Journal.open(Path(sys.argv[1])).is_over())"
    command = [sys.executable, "-c", code, str(made.folder)]
    assert not Journal.open(made.folder).is_over()
    assert subprocess.run(command, capture_output=True, text=True).stdout == "True\n"
    made.close()
    assert subprocess.run(command, capture_output=True, text=True).stdout == "False\n"
    assert Journal.open(made.folder).is_over()


OWNER = """
import os, sys, time
from pathlib import Path
from crywatch.core.lock import FileLock
lock = FileLock(Path(sys.argv[1]))
assert lock.take()
if os.fork() == 0:
    time.sleep(60)
print("held", flush=True)
time.sleep(60)
"""


def test_a_forked_worker_that_outlives_its_stage_does_not_keep_the_lock(tmp_path):
    path = tmp_path / "lock"
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(path)], stdout=-1, text=True, start_new_session=True
    )
    try:
        assert owner.stdout.readline() == "held\n"
        assert not FileLock(path).take()
        owner.kill()
        owner.wait()
        assert FileLock(path).take(5.0)
    finally:
        os.killpg(owner.pid, 9)
        owner.stdout.close()


def test_a_forked_worker_says_nothing_for_its_stage(project):
    with tracking.stage_run("split") as log:
        child = os.fork()
        if child == 0:
            log.metrics({"child": 1.0})
            os._exit(0)
        os.waitpid(child, 0)
        log.metrics({"parent": 1.0})
    assert "child" not in stage("split").data.metrics
    assert stage("split").data.metrics["parent"] == 1.0


# A project that takes no files


def test_a_spool_that_cannot_be_made_is_said_once_and_the_run_is_recorded(project):
    Path("data/work").mkdir(parents=True)
    Path("data/work/tracking").write_text("in the way")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with tracking.stage_run("split") as log:
            log.metrics({"a": 1.0})
            log.text("x", "x.md")
    assert len([w for w in told if "no room to keep records" in str(w.message)]) == 1
    assert stage("split").data.metrics["a"] == 1.0 and artifacts(stage("split")) == {"x.md"}


def test_a_disk_that_fills_up_is_said_once_and_the_run_is_recorded(project, monkeypatch):
    Path("params.txt").write_text("x")
    with warnings.catch_warnings(record=True) as told, monkeypatch.context() as full:
        warnings.simplefilter("always")
        with tracking.stage_run("split") as log:

            def refuse(*args: object) -> None:
                raise OSError(errno.ENOSPC, "No space left on device")

            full.setattr(Journal, "_write", refuse)
            full.setattr(Journal, "_new_file", refuse)
            for step in range(300):
                log.metrics({"loss": float(step)}, step=step)
            log.text("x", "x.md")
            log.artifact("params.txt")
    assert len([w for w in told if "MLflow store" in str(w.message)]) == 1
    run = stage("split")
    assert len(history(run, "loss")) == 300 and artifacts(run) == {"x.md", "params.txt"}
    assert run.info.status == "FINISHED" and journal.journals() == []


def test_a_copy_of_the_project_spools_in_its_original(project, monkeypatch):
    copy = project / ".dvc/tmp/worktrees/x"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    assert journal.spool_folder() == project / "data/work/tracking/spool"


def test_a_journal_whose_head_is_damaged_is_told_and_left(project):
    journal.spool_folder().mkdir(parents=True)
    made = journal.create(HEAD)
    made.append("n", of=1)
    made.close()
    (made.folder / journal.HEAD).write_text("")
    [told] = list(sender.deliver())
    assert told.left == 1 and "damaged" in told.why


def test_what_a_kill_left_of_a_beginning_is_taken_away_after_a_while(project):
    left = journal.spool_folder() / ".tmp-000001-k"
    left.mkdir(parents=True)
    assert list(sender.deliver()) == [] and left.exists()
    os.utime(left, (1, 1))
    assert list(sender.deliver()) == [] and not left.exists()


def test_a_kill_while_a_journal_is_taken_away_leaves_none(project, monkeypatch):
    made = journal.create(HEAD)
    with monkeypatch.context() as killed:
        killed.setattr(
            journal.shutil, "rmtree", lambda path, **_: (Path(path) / journal.HEAD).unlink()
        )
        made.finish()
    assert journal.journals() == [] and list(sender.deliver()) == []
    [left] = journal.spool_folder().iterdir()
    os.utime(left, (1, 1))
    assert list(sender.deliver()) == [] and not left.exists()


def test_what_is_left_of_another_experiment_goes_there(project, monkeypatch):
    with tracking.stage_run("clean") as log:
        log.metrics({"n": 1.0})
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["tracking"]["experiment"] = "later"
    Path("params.yaml").write_text(yaml.safe_dump(values))
    with sending(), tracking.stage_run("split") as log:
        log.metrics({"n": 2.0})
    store.open_store.cache_clear()
    client = store.open_store().client
    names = {one.experiment_id: one.name for one in client.search_experiments()}
    found = {
        (names[run.info.experiment_id], run.data.metrics["n"])
        for run in client.search_runs(list(names))
        if "n" in run.data.metrics
    }
    assert found == {(PARAMS["tracking"]["experiment"], 1.0), ("later", 2.0)}
    assert journal.journals() == []


def test_a_run_that_the_store_refuses_in_part_is_not_held_up(project):
    with (
        pytest.warns(UserWarning, match="not logged"),
        sending(),
        tracking.stage_run("split") as log,
    ):
        log.metrics({"before": 1.0})
        log.metrics({"bad/../name%": 1.0})
        log.metrics({"beside": 1.0})
        assert caught_up()
        log.tags({"after": "yes"})
    run = stage("split")
    assert run.data.tags["after"] == "yes" and len(runs()) == 2
    assert run.data.metrics["before"] == run.data.metrics["beside"] == 1.0


# Masks


def test_credentials_are_masked_in_addresses_and_wherever_they_are_known(monkeypatch):
    monkeypatch.setattr(redact, "_learnt", set())
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "en/vironment")
    assert (
        redact.redacted("see http://u:p@h/x and ftp://t@h") == "see http://***@h/x and ftp://***@h"
    )
    assert redact.redacted("it is en/vironment") == "it is ***"
    redact.learn("postgresql://me:p%40ssword@db/x")
    assert redact.redacted("p@ssword p%40ssword") == "*** ***"
    assert redact.without_credentials("http://u:p@h:1/x") == "http://h:1/x"
    nested = redact.redacted_in({"a": ["http://u:p@h", 1.5, None], "b": {"c": "en/vironment"}})
    assert json.dumps(nested) == '{"a": ["http://***@h", 1.5, null], "b": {"c": "***"}}'

"""Stages that DVC skipped, what it writes into its lock, and its digests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from crywatch import tracking
from crywatch.tracking import entries, lineage, parent, sender, store
from tests.helpers.rebuild_cases import git
from tests.helpers.tracking_cases import (
    dvc_md5,
    made,
    rebuild,
    runs,
    stage,
    write_files,
    write_lock,
)

pytest_plugins = ["tests.helpers.tracking_fixtures"]


# Stages that DVC skipped


def test_upstream_follows_files_in_folders_and_folders_around_them():
    def entry(deps: list[str], outs: list[str]) -> lineage.Entry:
        return lineage.Entry("true", tuple(deps), dict.fromkeys(outs, ""))

    stages = {
        "clean@a": entry(["src/clean.py"], ["data/clean/a"]),
        "clean@b": entry([], ["data/clean/b"]),
        "split": entry(["data/clean"], ["data/split"]),
        "mine": entry(["data/split/clips.parquet"], ["data/mine"]),
        "lookalike": entry([], ["data/split2"]),
        "report": entry(["data/mine"], ["data/reports"]),
    }
    assert lineage.upstream("mine", stages) == ["clean@a", "clean@b", "split"]
    assert lineage.upstream("clean@a", stages) == []
    assert lineage.upstream("unknown", stages) == []


def test_a_skipped_stage_leaves_one_note_that_names_the_run_it_came_from(project, monkeypatch):
    rebuild(monkeypatch, 1)
    clean = made("data/clean/esc50", "one")
    with tracking.stage_run("clean", "esc50"):
        pass
    source = stage("clean@esc50").info.run_id
    write_lock(
        {
            "clean@esc50": ([], clean),
            "split": (["data/clean"], made("data/split", "split")),
            "mine": (["data/split"], made("data/mine", "mine")),
        }
    )
    rebuild(monkeypatch, 2)
    for name in ("split", "split"):
        with tracking.stage_run(name):
            pass
    [note] = runs(**{parent.SKIPPED: "true"})
    tags = note.data.tags
    assert note.info.run_name == "clean@esc50 (skipped)"
    assert note.info.status == "FINISHED"
    assert tags["crywatch.outputs_from"] == source
    assert source in tags["mlflow.note.content"]
    parents = {run.data.tags["mlflow.parentRunId"] for run in runs(**{parent.STAGE: "split"})}
    assert parents == {tags["mlflow.parentRunId"]}
    assert tags["mlflow.parentRunId"] != runs()[0].data.tags.get("mlflow.parentRunId")


def test_a_rebuild_shows_the_numbers_of_a_stage_that_it_skipped(project, monkeypatch):
    rebuild(monkeypatch, 1)
    clean = made("data/clean", "one")
    with tracking.stage_run("clean") as log:
        log.headline({"auc": 0.9})
        log.metrics({"loss": 0.1})
    write_lock({"clean": ([], clean), "split": (["data/clean"], made("data/split", "split"))})
    rebuild(monkeypatch, 2)
    with tracking.stage_run("split"):
        pass
    rebuilds = runs(**{parent.STAGE: "rebuild"})
    first, latest = sorted(rebuilds, key=lambda run: run.data.metrics["n_skipped"])
    assert latest.data.metrics["n_skipped"] == 1
    assert latest.data.metrics["auc"] == first.data.metrics["auc"] == 0.9
    assert "loss" not in latest.data.metrics


def test_a_stage_that_ran_in_this_rebuild_is_no_skip(project, monkeypatch):
    rebuild(monkeypatch, 1)
    write_lock({"clean": ([], made("data/clean", "c")), "split": (["data/clean"], {})})
    for name in ("clean", "split"):
        with tracking.stage_run(name):
            pass
    assert runs(**{parent.SKIPPED: "true"}) == []


def test_the_note_names_the_run_with_the_same_outputs_not_the_last(project, monkeypatch):
    made_by = []
    for number, text in enumerate(("first", "second")):
        rebuild(monkeypatch, number)
        outs = made("data/clean", text)
        with tracking.stage_run("clean"):
            pass
        write_lock({"clean": ([], outs)})
        sender.settle(store.open_store())
        made_by.append((runs(**{parent.STAGE: "clean"})[-1].info.run_id, outs))
    first, outs = made_by[0]
    write_lock({"clean": ([], outs), "split": (["data/clean"], {})})
    rebuild(monkeypatch, 9)
    with tracking.stage_run("split"):
        pass
    [note] = runs(**{parent.SKIPPED: "true"})
    assert note.data.tags["crywatch.outputs_from"] == first


def test_outputs_that_no_run_made_are_said_to_be_unknown(project, monkeypatch):
    write_lock({"clean": ([], {"data/clean": "f" * 32 + ".dir"}), "split": (["data/clean"], {})})
    with tracking.stage_run("split"):
        pass
    [note] = runs(**{parent.SKIPPED: "true"})
    assert note.data.tags["crywatch.outputs_from"] == ""
    assert "not in this store" in note.data.tags["mlflow.note.content"]


def test_the_lock_entry_a_stage_starts_from_is_recorded(project):
    write_lock({"split": ([], {"data/split": "a" * 32})})
    with tracking.stage_run("split"):
        pass
    entry = lineage.lock_stages()["split"]
    assert stage("split").data.tags["dvc.lock.before"] == lineage.entry_digest(entry)


def test_a_new_stage_notes_what_was_skipped_before_it(project, monkeypatch):
    rebuild(monkeypatch, 1)
    lock = {"clean": ([], made("data/clean", "c"))}
    write_lock(lock)
    with tracking.stage_run("split"):
        pass
    write_lock(lock | {"split": (["data/clean"], {})})
    sender.settle(store.open_store())
    assert [run.info.run_name for run in runs(**{parent.SKIPPED: "true"})] == ["clean (skipped)"]


def test_the_note_names_a_run_that_finished(project, monkeypatch):
    rebuild(monkeypatch, 1)
    outs = made("data/clean", "c")
    with tracking.stage_run("clean"):
        pass
    finished = stage("clean").info.run_id
    write_lock({"clean": ([], outs), "split": (["data/clean"], {})})
    with pytest.raises(ValueError, match="later"), tracking.stage_run("clean"):
        raise ValueError("later")
    rebuild(monkeypatch, 2)
    with tracking.stage_run("split"):
        pass
    [note] = runs(**{parent.SKIPPED: "true"})
    assert note.data.tags["crywatch.outputs_from"] == finished


# With DVC itself


def test_a_stage_whose_entry_dvc_never_wrote_gets_none(project, monkeypatch):
    """DVC was killed after the stage had ended; the entry in the lock is an earlier one's."""
    rebuild(monkeypatch, 1)
    write_lock({"clean": ([], made("data/clean", "before"))})
    with tracking.stage_run("clean"):
        pass
    rebuild(monkeypatch, 2)
    with tracking.stage_run("clean"):
        pass
    write_lock({"clean": ([], made("data/clean", "after"))})
    sender.settle(store.open_store())
    killed, again = runs(**{parent.STAGE: "clean"})
    assert entries.ENTRY not in killed.data.tags
    entry = lineage.lock_stages()["clean"]
    assert again.data.tags[entries.ENTRY] == lineage.entry_digest(entry)
    assert list((project / entries.NOTES).iterdir()) == []


def test_a_stage_that_was_repeated_and_gave_the_same_has_the_entry_it_began_with(
    project, monkeypatch
):
    rebuild(monkeypatch, 1)
    lock = {"clean": ([], made("data/clean", "c"))}
    write_lock(lock)
    with tracking.stage_run("clean"):
        pass
    sender.settle(store.open_store())
    assert entries.ENTRY not in stage("clean").data.tags, "DVC has written nothing yet"
    write_lock(lock)
    sender.settle(store.open_store())
    tags = stage("clean").data.tags
    assert tags[entries.ENTRY] == tags["dvc.lock.before"]


def test_a_lock_from_elsewhere_is_no_entry_of_the_stage(project, monkeypatch):
    git(project, "init", "--quiet")
    for name, value in (("name", "a"), ("email", "a@b")):
        git(project, "config", f"user.{name}", value)
    git(project, "commit", "--quiet", "--allow-empty", "-m", "one")
    rebuild(monkeypatch, 1)
    with tracking.stage_run("clean"):
        pass
    git(project, "checkout", "--quiet", "--orphan", "other")
    git(project, "commit", "--quiet", "--allow-empty", "-m", "of another branch")
    write_lock({"clean": ([], made("data/clean", "other"))})
    sender.settle(store.open_store())
    with tracking.stage_run("split"):
        pass
    body = {"cmd": "true", "params": {"params.yaml": {"seed": 4}}}
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": {"split": body}}))
    sender.settle(store.open_store())
    assert not [run for run in runs() if entries.ENTRY in run.data.tags]
    assert list((project / entries.NOTES).iterdir()) == []


def test_a_lock_that_dvc_is_writing_waits(project, monkeypatch):
    rebuild(monkeypatch, 1)
    with tracking.stage_run("clean"):
        pass
    Path("dvc.lock").write_text("schema: '2.0'\nstages:\n  clean:\n    outs: [")
    sender.settle(store.open_store())
    assert entries.ENTRY not in stage("clean").data.tags
    write_lock({"clean": ([], made("data/clean", "c"))})
    sender.settle(store.open_store())
    assert entries.ENTRY in stage("clean").data.tags


def test_a_script_that_dvc_does_not_run_gets_no_entry(project):
    with tracking.stage_run("clean"):
        pass
    write_lock({"clean": ([], made("data/clean", "c"))})
    sender.settle(store.open_store())
    assert entries.ENTRY not in stage("clean").data.tags


PLAN = {
    "clean": {
        "foreach": "${corpora}",
        "do": {
            "cmd": "python stage.py clean ${item}",
            "deps": ["stage.py"],
            "params": ["clean"],
            "outs": ["data/clean/${item}"],
        },
    },
    "split": {
        "cmd": "python stage.py split",
        "deps": ["data/clean"],
        "params": ["split", "tiny"],
        "outs": [{"data/split": {"cache": True}}],
    },
}
SCRIPT = """
import sys
from pathlib import Path
from crywatch import tracking
out = Path("data", *sys.argv[1:])
with tracking.stage_run(*sys.argv[1:]) as log:
    out.mkdir(parents=True)
    (out / "x").write_text("x")
"""


def test_a_rebuild_by_dvc_is_tied_to_its_lock(project):
    values = yaml.safe_load(Path("params.yaml").read_text()) | {"tiny": 1e-07}
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": PLAN}))
    Path("stage.py").write_text(SCRIPT)

    def dvc(*words: str) -> None:
        command = [sys.executable, "-m", "dvc", *words]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    dvc("init", "--quiet", "--no-scm")
    for seconds in (2.0, 3.0):
        values["split"]["near"]["window_s"] = seconds
        Path("params.yaml").write_text(yaml.safe_dump(values))
        dvc("repro")
    sender.settle(store.open_store())
    lock = lineage.lock_stages()
    first, second = runs(**{parent.STAGE: "rebuild"})
    assert first.info.run_name.startswith("tiny, ")
    assert second.info.run_name.startswith("split.near.window_s=3.0, tiny, ")
    old, new = runs(**{parent.STAGE: "split"})
    assert old.data.tags["dvc.lock.before"] == ""
    assert new.data.tags["dvc.lock.before"] == old.data.tags["dvc.lock.entry"]
    assert new.data.tags["dvc.lock.entry"] == lineage.entry_digest(lock["split"])
    assert new.data.tags["dvc.lock.entry"] != old.data.tags["dvc.lock.entry"]
    assert new.data.tags["mlflow.parentRunId"] == second.info.run_id
    [used] = new.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.source_type) == ("data/clean/esc50", "dvc")
    assert used.dataset.digest == lock["clean@esc50"].outs["data/clean/esc50"]
    [note] = runs(**{parent.SKIPPED: "true"})
    assert note.data.tags["mlflow.parentRunId"] == second.info.run_id
    assert note.data.tags["crywatch.outputs_from"] == stage("clean@esc50").info.run_id


# DVC's digests


@pytest.mark.parametrize(
    "names",
    [
        ["one.wav"],
        [],
        ["b.wav", "a.wav", "sub/deep/c.wav", "sub/a.wav", "Sub2/z"],
        ["with space.wav", "bébé.wav", "sub é/ü.wav"],
        ["a.wav", ".hidden", "empty"],
    ],
)
def test_a_folder_has_the_digest_that_dvc_gives_it(tmp_path, names):
    folder = tmp_path / "out"
    folder.mkdir()
    write_files(folder, names)
    assert lineage.dvc_digest(folder) == dvc_md5(folder)


def test_a_file_has_the_digest_that_dvc_gives_it(tmp_path):
    file = tmp_path / "x.npy"
    file.write_bytes(b"\r\n\x00" * (1 << 19))  # more than one chunk
    assert lineage.dvc_digest(file) == dvc_md5(file)


def test_the_digest_of_names_that_differ_by_a_separator(tmp_path):
    write_files(tmp_path / "out", ["a/x", "a-b/x", "a.json"])
    assert lineage.dvc_digest(tmp_path / "out") == dvc_md5(tmp_path / "out")


def test_the_digest_leaves_out_what_dvcignore_names(project):
    write_files(project / "out", ["a"])
    Path(".dvcignore").write_text("# what tools leave\n__pycache__\n*.pyc\n.tmp-*\n/out/top\n")
    before = lineage.dvc_digest(project / "out")
    ignored = [".tmp-1234-a", "sub/.tmp-folder/b", "sub/x.pyc", "__pycache__/y", "top", ".git/z"]
    write_files(project / "out", ignored)
    assert lineage.dvc_digest(project / "out") == before
    assert lineage.dvc_digest(Path("out")) == before
    write_files(project / "out", ["sub/top"])
    assert lineage.dvc_digest(project / "out") != before


def test_an_output_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(OSError, match="nothing"):
        lineage.dvc_digest(tmp_path / "nothing")

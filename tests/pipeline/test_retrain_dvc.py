"""Retraining with git and DVC themselves."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from crywatch.operations.retrain.rebuild import Rebuild, overlay
from tests.helpers.retrain_cases import commit, corpus, git, put, runs, versions
from tests.helpers.retrain_cases import really_retrain as retrain

pytest_plugins = ["tests.helpers.retrain_fixtures"]
pytestmark = pytest.mark.nightly


def test_rebuilds_follow_corpora_and_code_and_the_users_tree_stays(retrained):
    head = git(retrained, "rev-parse", "HEAD")
    first = retrain(retrained)
    assert (first.outcome, first.version) == ("promoted", 1), first.tail
    assert versions(retrained) == ["alice.wavalice.wavbob.wavbob.wav {'lr': 0.1} 1"]
    # The lock is kept in a commit of its own, on no branch.
    assert git(retrained, "rev-parse", "HEAD") == head
    assert git(retrained, "status", "--porcelain") == ""
    assert not (retrained / "dvc.lock").exists() and not (retrained / "data").exists()
    kept = git(retrained, "rev-parse", f"refs/crywatch/retrain/{first.id}")
    assert (kept, git(retrained, "rev-parse", f"{kept}^")) == (first.kept_commit, head)
    lock = yaml.safe_load(git(retrained, "show", f"{kept}:dvc.lock"))
    assert set(lock["stages"]) == {"download@sounds", "train"}
    copy = retrained / ".dvc" / "tmp" / "worktrees" / "retrain"
    assert git(copy, "status", "--porcelain", "--untracked-files=no") == ""

    # Another sound under the same name.
    put(corpus(retrained) / "alice.wav", "another")
    assert retrain(retrained).version == 2
    assert versions(retrained)[1].startswith("alice.wavanother")

    # Only code: the corpus is not what the lock of the commit says, and is not brought back.
    (retrained / "src" / "train" / "__init__.py").write_text("RATE = 2\n")
    commit(retrained)
    third = retrain(retrained)
    assert [step.name for step in third.steps] == ["check", "dvc repro", "keep", "register"]
    assert (
        versions(retrained)[2].startswith("alice.wavanother") and versions(retrained)[2][-1] == "2"
    )
    (retrained / "README.md").write_text("more\n")
    commit(retrained)
    assert retrain(retrained).outcome == "nothing"
    assert (retrained / third.report).is_file()


def test_a_corpus_whose_folder_is_away_stays_as_it_was_copied(retrained):
    retrain(retrained)
    corpus(retrained).rename(retrained.parent / "unplugged")
    (retrained / "src" / "train" / "__init__.py").write_text("RATE = 2\n")
    commit(retrained)
    again = retrain(retrained)
    assert again.version == 2, again.tail
    assert again.notes == ("corpus sounds: its folder is not there",)
    assert versions(retrained)[1] == "alice.wavalice.wavbob.wavbob.wav {'lr': 0.1} 2"
    (retrained.parent / "unplugged").rename(corpus(retrained))
    assert retrain(retrained).outcome == "nothing"


def test_what_a_publisher_changed_is_downloaded_again_and_stays(retrained):
    first = retrain(retrained)
    path = corpus(retrained) / "alice.wav"
    before = path.stat()
    path.write_text("ALICE.wav")  # like a publisher's file, nothing that DVC looks at has changed
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    steps = Rebuild(retrained, first.commit, None, runs(retrained).log("by-hand"))
    model = steps.folder / "data" / "model" / "model"
    for fetch, content in ((False, "alice.wavalice"), (True, "alice.wavALICE")):
        steps.prepare(runs(retrained).dvc_lock)
        if fetch:
            steps.fetch("sounds")
        steps.repro([], False)
        assert model.read_text().startswith(content)
    kept = retrained.parent / "kept.lock"
    kept.write_text(steps.lock())
    steps.prepare(kept)
    steps.repro([], False)
    assert model.read_text().startswith("alice.wavALICE")


def test_no_stage_is_run_on_a_corrupted_object_of_the_cache(retrained):
    first = retrain(retrained)
    lock = yaml.safe_load(git(retrained, "show", f"{first.kept_commit}:dvc.lock"))
    objects = retrained / ".dvc" / "cache" / "files" / "md5"
    digest = lock["stages"]["download@sounds"]["outs"][0]["md5"]
    listing = json.loads((objects / digest[:2] / digest[2:]).read_text())
    bad = objects / listing[0]["md5"][:2] / listing[0]["md5"][2:]
    bad.chmod(0o644)
    bad.write_text("ALICE.wav")
    bad.chmod(0o444)
    shutil.rmtree(retrained / ".dvc" / "tmp" / "worktrees" / "retrain" / "data")
    (retrained / "src" / "train" / "__init__.py").write_text("RATE = 2\n")
    commit(retrained)
    again = retrain(retrained)
    assert again.version == 2, again.tail
    [note] = [note for note in again.notes if "corrupted" in note]
    assert "of download@sounds" in note and bad.parent.name + bad.name in note
    assert versions(retrained)[1] == "alice.wavalice.wavbob.wavbob.wav {'lr': 0.1} 2"


def test_the_corpora_of_a_kept_lock_go_before_those_of_the_commit(tmp_path):
    def lock(name: str, **stages: str) -> Path:
        path = tmp_path / name
        body = {stage.replace("_at_", "@"): {"outs": [md5]} for stage, md5 in stages.items()}
        path.write_text(yaml.safe_dump({"schema": "2.0", "stages": body}))
        return path

    now = lock("now", download_at_a="old", train="old")
    overlay(now, tmp_path / "none")
    overlay(now, lock("kept", download_at_a="new", download_at_b="new", train="new"))
    stages = yaml.safe_load(now.read_text())["stages"]
    assert {name: body["outs"] for name, body in stages.items()} == {
        "download@a": ["new"],
        "download@b": ["new"],
        "train": ["old"],
    }
    overlay(tmp_path / "fresh", tmp_path / "kept")
    assert "train" not in yaml.safe_load((tmp_path / "fresh").read_text())["stages"]

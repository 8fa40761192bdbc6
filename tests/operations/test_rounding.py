"""The last line of a rebuild: what another processor made otherwise."""

from __future__ import annotations

import copy
import subprocess

import yaml

from crywatch.operations import rounding


def entry(
    cmd: str, outs: dict[str, str], deps: dict[str, str] | None = None, seed: int = 1
) -> dict:
    def items(digests):
        return [{"path": path, "md5": md5} for path, md5 in digests.items()]

    return {
        "cmd": cmd,
        "deps": items(deps or {}),
        "params": {"params.yaml": {"seed": seed}},
        "outs": items(outs),
    }


LOCK = {
    "clean@a": entry("clean a", {"data/clean/a": "c1"}, {"src/clean.py": "s1"}),
    "train": entry("train", {"data/train": "t1"}, {"data/clean": "c1", "src/train.py": "s2"}),
    "score": entry("score", {"data/score": "r1"}, {"data/train/model.json": "t1"}),
    "report": entry("report", {"data/report": "p1"}, {"data/score": "r1"}),
}


def changed(**digests: str) -> dict:
    """The lock with other digests: ``train_outs="t2"``."""
    out = copy.deepcopy(LOCK)
    for name, md5 in digests.items():
        stage, what, *number = name.split("__")
        out[stage][what][int(*number or "0")]["md5"] = md5
    return out


def test_stages_that_round_otherwise_and_those_that_read_them():
    now = changed(
        train__outs="t2",
        score__deps="t2",
        score__outs="r2",
        report__deps="r2",
        report__outs="p2",
    )
    assert rounding.differing(LOCK, now) == (["train"], ["score"])
    assert rounding.differing(LOCK, LOCK) == ([], [])
    # The report names its run: it says nothing of a processor.
    assert rounding.differing(LOCK, changed(report__outs="p2")) == ([], [])


def test_what_a_person_changed_is_not_a_processors():
    code = changed(train__deps__1="s3", train__outs="t2", score__deps="t2", score__outs="r2")
    assert rounding.differing(LOCK, code) == ([], [])
    seeded = changed(train__outs="t2", score__deps="t2", score__outs="r2")
    seeded["train"]["params"]["params.yaml"]["seed"] = 2
    assert rounding.differing(LOCK, seeded) == ([], [])
    assert rounding.differing({}, LOCK) == ([], [])


def test_the_line_is_of_the_committed_lock(tmp_path):
    def git(*args):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *args], cwd=tmp_path)

    def write(stages):
        (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}))

    write(LOCK)
    assert rounding.line(tmp_path) == ""  # nothing is committed
    git("init", "-q")
    git("add", "dvc.lock")
    git("commit", "-qm", "lock")
    assert rounding.line(tmp_path) == ""
    write(changed(train__outs="t2", score__deps="t2", score__outs="r2"))
    said = rounding.line(tmp_path)
    assert "\n" not in said and "code, parameters and data: train, and 1 that read" in said
    assert said.endswith("expected")
    write(changed(train__deps__1="s3", train__outs="t2"))
    assert rounding.line(tmp_path) == ""

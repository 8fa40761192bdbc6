"""Every byte of cache and tree is held against dvc.lock; what changed behind DVC is told."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from crywatch.core.errors import CrywatchError
from crywatch.operations import check
from crywatch.operations.check import CACHE, CORPUS, OUTPUT, SOURCE, mend, verify
from crywatch.tracking import lineage
from tests.helpers.dvc_cases import crywatch, dvc, lock

STAGES = {
    "download": {
        "foreach": "${corpora}",
        "do": {
            "cmd": "mkdir -p data/raw && cp -r ${item.folder} data/raw/${key}",
            "deps": ["${item.folder}"],
            "outs": ["data/raw/${key}"],
        },
    },
    "split": {
        "cmd": "cat data/raw/*/* > data/split.csv && echo ran >> log",
        "deps": ["data/raw"],
        "outs": ["data/split.csv"],
    },
}
FILES = {"a/1.txt": "one\n", "a/2.txt": "two\n", "b/1.txt": "three\n"}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A project of two corpora, copied from a folder beside it and rebuilt."""
    folder = tmp_path_factory.mktemp("check") / "project"
    for name, text in FILES.items():
        file = folder.with_name("mirror") / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    folder.mkdir()
    values = {"corpora": {name: {"folder": f"../mirror/{name}"} for name in "ab"}}
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}))
    (folder / ".dvcignore").write_text(".tmp-*\n")
    dvc(folder, "init", "--quiet", "--no-scm")
    dvc(folder, "repro", "--quiet")
    return folder


@pytest.fixture
def project(made, tmp_path, monkeypatch) -> Path:
    """A copy, and the working directory."""
    shutil.copytree(made.parent, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setattr(check, "_cache", lambda root: root / ".dvc/cache")  # asking takes a second
    return tmp_path / "project"


def object_of(project: Path, file: str) -> Path:
    digest = lineage.file_md5(project / file)
    return project / ".dvc/cache/files/md5" / digest[:2] / digest[2:]


def flip(path: Path) -> None:
    """Change a byte, and nothing else that DVC looks at."""
    before = path.stat()
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    with open(path, "r+b") as handle:
        handle.write(content)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_what_is_as_noted_has_no_findings(project):
    (project / "data/raw/a/.tmp-0123").touch()  # .dvcignore names it
    assert verify(project) == []
    assert verify(Path()) == []


def test_a_corrupted_object_is_found_and_written_again_from_the_tree(project):
    path = object_of(project, "data/raw/a/1.txt")
    flip(path)
    [found] = verify(project)
    assert (found.kind, found.stage, found.path, found.wrong) == (CACHE, "download@a", path, True)
    assert "corrupted" in found.line and "crywatch check --mend" in found.line
    [done] = mend([found])
    assert "written again" in done
    assert verify(project) == [] and path.stat().st_mode & 0o777 == 0o444


def test_a_changed_file_that_dvc_does_not_see_is_found_and_written_again(project):
    flip(project / "data/split.csv")
    [found] = verify(project)
    assert (found.kind, found.stage, found.wrong) == (OUTPUT, "split", True)
    assert found.problem == "not what dvc.lock says: 1 changed"
    mend([found])
    assert verify(project) == []


def test_files_that_are_missing_changed_or_more_are_named(project):
    (project / "data/raw/a/1.txt").unlink()
    flip(project / "data/raw/a/2.txt")
    (project / "data/raw/a/notes é.txt").write_text("mine")
    [found] = verify(project, ["download@a"])
    assert "1 changed (2.txt), 1 missing (1.txt), 1 more (notes é.txt)" in found.problem
    mend([found])
    [found] = verify(project, ["download@a"])
    assert "1 more" in found.problem and "take it away" in found.advice
    assert (project / "data/raw/a/notes é.txt").read_text() == "mine", "it may be a person's"


def test_what_has_no_right_copy_is_removed_for_dvc_to_make(project):
    flip(object_of(project, "data/raw/b/1.txt"))
    flip(project / "data/raw/b/1.txt")
    shutil.rmtree(project.with_name("mirror"))
    found = verify(project)
    assert {one.kind for one in found if one.wrong} == {CACHE, OUTPUT}
    assert all("removed" in line for line in mend(found))
    left = verify(project)
    assert any("not in the cache" in one.problem and not one.wrong for one in left)


def test_a_corrupted_list_of_a_folder_is_found(project):
    digest = lock(project)["download@a"]["outs"][0]["md5"]
    path = project / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    flip(path)
    assert [one.path for one in verify(project)] == [path]
    flip(project / "data/raw/a/1.txt")
    assert [one.kind for one in verify(project)] == [CACHE, OUTPUT]


def test_what_is_not_here_is_said_and_not_wrong(project):
    shutil.rmtree(project / "data")
    shutil.rmtree(project / ".dvc/cache")
    found = verify(project)
    assert len(found) == 6 and not any(one.wrong for one in found)
    assert all("`dvc" in one.line for one in found)


def test_a_corpus_that_changed_in_its_folder_is_found(project):
    (project.with_name("mirror") / "a/2.txt").write_text("other\n")
    (project.with_name("mirror") / "a/3.txt").write_text("three\n")
    [found] = verify(project)
    assert (found.kind, found.stage, found.path) == (CORPUS, "download@a", Path("data/raw/a"))
    assert "1 changed (2.txt), 1 more (3.txt)" in found.problem
    assert "`dvc repro download@a`" in found.advice and found.wrong
    shutil.rmtree(project.with_name("mirror") / "b")
    assert [one.wrong for one in verify(project, ["data/raw/b"])] == [False]


def test_files_that_changed_where_they_come_from_are_said_until_they_are_committed(project):
    def git(*words: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *who, *words], cwd=project, check=True, capture_output=True)

    git("init", "--quiet")
    git("add", "dvc.lock")
    git("commit", "--quiet", "--message", "lock")
    assert verify(project) == []
    told = yaml.safe_load((project / "dvc.lock").read_text())
    for stage in ("download@a", "split"):
        (out,) = told["stages"][stage]["outs"]
        out["md5"] = "0" * 32 + out["md5"][32:]
    (project / "dvc.lock").write_text(yaml.safe_dump(told))
    found = [one for one in verify(project) if one.kind == SOURCE]
    # `split` reads another stage's output: what it makes may follow from that.
    assert [(one.stage, one.wrong) for one in found] == [("download@a", False)]
    assert "under the same name" in found[0].line
    git("add", "dvc.lock")
    git("commit", "--quiet", "--message", "accepted")
    assert [one for one in verify(project) if one.kind == SOURCE] == []


def test_only_what_is_named_is_read(project):
    flip(project / "data/split.csv")
    flip(project / "data/raw/a/1.txt")
    flip(project / "data/raw/b/1.txt")
    for only, stages in (
        (["split"], ["split"]),
        (["download"], ["download@a", "download@b"]),
        (["data/raw/"], ["download@a", "download@b"]),
        (["data/raw/b", "split"], ["download@b", "split"]),
    ):
        assert [one.stage for one in verify(project, only) if one.kind == OUTPUT] == stages
    with pytest.raises(CrywatchError, match="no stage or output train"):
        verify(project, ["train"])


@pytest.mark.parametrize(("text", "said"), [("stages: [", "crywatch repro"), (None, "missing")])
def test_a_lock_that_is_missing_or_broken_is_told(project, text, said):
    (project / "dvc.lock").unlink()
    if text is not None:
        (project / "dvc.lock").write_text(text)
    with pytest.raises(CrywatchError, match=said):
        verify(project)


def test_the_command_says_it_and_dvc_goes_on_from_there(project):
    assert "is what dvc.lock says" in crywatch(project, "check").stdout
    flip(object_of(project, "data/split.csv"))
    (project / "data/split.csv").unlink()
    dvc(project, "checkout")  # takes the corrupted object for right
    assert "up to date" in dvc(project, "status").stdout
    done = crywatch(project, "check", "--mend", check=False)
    assert done.returncode == 1
    assert "corrupted" in done.stdout and "data/split.csv (split)" in done.stdout
    crywatch(project, "repro", "--quiet")
    assert "is what dvc.lock says" in crywatch(project, "check").stdout
    assert (project / "data/split.csv").read_text() == "".join(FILES.values())


@pytest.mark.parametrize("kind", ["path", "absolute path", "md5", "relpath", "stage"])
def test_a_lock_leads_to_no_file_outside(project, kind):
    """Nothing outside is read, written or removed."""
    precious = project.parent / "precious"
    precious.mkdir()
    (precious / "1.txt").write_text("mine")
    path = project / "dvc.lock"
    content = yaml.safe_load(path.read_text())
    [out] = content["stages"]["download@a"]["outs"]
    if kind == "path":
        out["path"] = "../precious"
    elif kind == "absolute path":
        out["path"] = str(precious)
    elif kind == "md5":
        out["md5"] = "../../../../../../precious/1.txt"
    elif kind == "stage":
        content["stages"]["--force"] = content["stages"].pop("download@a")
    else:
        cache = project / ".dvc/cache/files/md5"
        listing = b'[{"md5": "%s", "relpath": "../../../../precious/1.txt"}]' % (b"0" * 32)
        out["md5"] = hashlib.md5(listing).hexdigest() + ".dir"
        target = cache / out["md5"][:2] / out["md5"][2:]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(listing)
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(CrywatchError, match="must lie below its folder|is not a"):
        mend(verify(project))
    assert (precious / "1.txt").read_text() == "mine"

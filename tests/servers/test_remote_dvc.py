"""A DVC remote on S3: what was made here is had elsewhere, whatever broke on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from crywatch.core.digest import files_sha256
from tests.helpers.dvc_cases import dvc, environment
from tests.helpers.remote_cases import BUCKET, KEY_ID, SECRET_KEY

pytest_plugins = ["tests.helpers.remote_fixtures"]
pytest.importorskip("dvc_s3", reason="needs dvc-s3: pip install 'crywatch[remote]'")
pytestmark = pytest.mark.nightly

FILES = 120
MAKE = f"""
from pathlib import Path

out = Path("data/many")
out.mkdir(parents=True)
for number in range({FILES}):
    (out / f"{{number}}.txt").write_text(str(number) * 100)
open("ran", "a").write("many ")
"""
STAGES = {
    "many": {"cmd": "python many.py", "deps": ["many.py"], "outs": ["data/many"]},
    "one": {
        "cmd": "cat data/many/7.txt > data/one.txt && printf 'one ' >> ran",
        "deps": ["data/many"],
        "outs": ["data/one.txt"],
    },
}


def make_project(folder: Path, remote: str, endpoint: str) -> Path:
    """Two stages and a remote, set up as the documentation says: no key is in the tree."""
    folder.mkdir(parents=True)
    (folder / "many.py").write_text(MAKE)
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}))
    dvc(folder, "init", "--quiet", "--no-scm")
    dvc(folder, "remote", "add", "--default", "team", f"s3://{BUCKET}/{remote}")
    dvc(folder, "remote", "modify", "team", "endpointurl", endpoint)
    dvc(folder, "remote", "modify", "team", "verify", "true")
    return folder


def clone_of(folder: Path, name: str) -> Path:
    """What git would bring: no data, no cache, no state."""
    clone = folder.with_name(name)
    (clone / ".dvc").mkdir(parents=True)
    for file in ("many.py", "dvc.yaml", "dvc.lock", ".dvc/config"):
        if (folder / file).is_file():
            (clone / file).write_bytes((folder / file).read_bytes())
    return clone


@pytest.fixture(scope="module")
def pushed(s3, tmp_path_factory) -> Path:
    """A rebuilt project whose first push was killed, and which was pushed again."""
    folder = make_project(tmp_path_factory.mktemp("remote") / "here", "team", s3.endpoint)
    dvc(folder, "repro", "--quiet")
    command = [sys.executable, "-m", "dvc", "push", "--jobs", "1", "--run-cache"]
    process = subprocess.Popen(
        command, cwd=folder, env=environment(**s3.environment), start_new_session=True
    )
    until = time.monotonic() + 60
    while len(s3.keys("team/")) < 10:
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    had = len(s3.keys("team/files/"))
    assert 0 < had < FILES, "it was killed in the middle"
    assert not any(key.endswith(".dir") for key in s3.keys("team/files/")), (
        "a folder is listed only when all of it is there"
    )
    said = dvc(folder, "push", "--jobs", "8", "--run-cache", **s3.environment).stdout
    assert "pushed" in said
    return folder


def test_a_push_that_was_killed_is_completed_by_the_next(pushed, s3):
    # 7.txt and one.txt are one object; the folder's list is another.
    assert len(s3.keys("team/files/")) == FILES + 1
    said = dvc(pushed, "push", **s3.environment).stdout
    assert "Everything is up to date" in said


def test_a_clone_pulls_the_same_bytes(pushed, s3):
    clone = clone_of(pushed, "clone")
    dvc(clone, "pull", "--jobs", "8", **s3.environment)
    assert files_sha256([clone / "data"]) == files_sha256([pushed / "data"])
    assert "up to date" in dvc(clone, "status", **s3.environment).stdout


def test_another_machine_rebuilds_nothing_by_the_run_cache(pushed, s3):
    clone = clone_of(pushed, "other machine")
    (clone / "dvc.lock").unlink()  # at a commit before the rebuild
    dvc(clone, "pull", "--run-cache", "--allow-missing", check=False, **s3.environment)
    said = dvc(clone, "repro", "--pull", **s3.environment).stdout
    assert said.count("is cached - skipping run") == 2
    assert not (clone / "ran").exists(), "no stage ran"
    assert files_sha256([clone / "data"]) == files_sha256([pushed / "data"])
    assert (clone / "dvc.lock").read_bytes() == (pushed / "dvc.lock").read_bytes()


def test_an_object_that_is_corrupted_on_the_server_is_refused(pushed, s3):
    lock = yaml.safe_load((pushed / "dvc.lock").read_text())
    digest = lock["stages"]["one"]["outs"][0]["md5"]
    [key] = [key for key in s3.keys("team/files/") if key.endswith(digest[2:])]
    right = s3.client().get_object(Bucket=BUCKET, Key=key)["Body"].read()
    clone = clone_of(pushed, "clone of corrupted")
    try:
        s3.client().put_object(Bucket=BUCKET, Key=key, Body=b"X" + right[1:])
        done = dvc(clone, "pull", "one", check=False, **s3.environment)
        assert done.returncode
        assert not (clone / "data/one.txt").exists(), "no wrong bytes under the right name"
    finally:
        s3.client().put_object(Bucket=BUCKET, Key=key, Body=right)
    dvc(clone, "pull", "one", **s3.environment)
    assert files_sha256([clone / "data/one.txt"]) == files_sha256([pushed / "data/one.txt"])


def test_without_keys_and_without_a_server_one_line_says_so(pushed, s3):
    no_profile = {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(pushed.parent)}
    done = dvc(clone_of(pushed, "no keys"), "pull", check=False, **no_profile)
    assert done.returncode and "Unable to locate credentials" in done.stdout
    clone = clone_of(pushed, "no server")
    dvc(clone, "remote", "modify", "--local", "team", "endpointurl", "http://127.0.0.1:9")
    done = dvc(clone, "pull", check=False, **s3.environment)
    assert done.returncode and "http://127.0.0.1:9" in done.stdout
    assert "Traceback" not in done.stdout and not (clone / "data").exists()


def test_keys_are_in_no_file_that_git_sees_and_in_no_output(pushed, s3):
    clone = clone_of(pushed, "keys in config.local")
    for name, value in (("access_key_id", KEY_ID), ("secret_access_key", SECRET_KEY)):
        dvc(clone, "remote", "modify", "--local", "team", name, value)
    said = dvc(clone, "pull", "--verbose", "one").stdout
    assert (clone / "data/one.txt").is_file() and SECRET_KEY not in said
    assert SECRET_KEY in (clone / ".dvc/config.local").read_text()
    for path in (*pushed.rglob("*"), *clone.rglob("*")):
        if path.is_file() and path.name != "config.local":
            assert SECRET_KEY.encode() not in path.read_bytes(), path

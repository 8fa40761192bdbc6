"""Faults of a whole rebuild under DVC: each is said, and nothing is silently wrong."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import yaml

from crywatch.core.digest import files_sha256
from tests.helpers.disk_cases import read_only, resize, small_disk
from tests.helpers.dvc_cases import crywatch, dvc, lock, start

pytestmark = pytest.mark.nightly

# Plain commands: the package's own stages are killed in test_rebuild and test_kills_benchmark.
SLOW = 'python -c "import time; time.sleep({seconds})" && '
STAGES = {
    "big": {
        "cmd": SLOW + "mkdir -p data/big && python make.py data/big/x && echo big >> ran",
        "deps": ["make.py"],
        "params": ["seed"],
        "outs": ["data/big"],
    },
    "sum": {
        "cmd": "md5sum < data/big/x > data/sum && echo sum >> ran",
        "deps": ["data/big"],
        "outs": ["data/sum"],
    },
}
MAKE = "import random, sys\nopen(sys.argv[1], 'wb').write(random.Random(1).randbytes(600_000))\n"
BIG_KIB = 600


def make_project(folder: Path, seconds: float = 0.0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump({"stages": STAGES}, width=1000).replace("{seconds}", str(seconds))
    (folder / "dvc.yaml").write_text(text)
    (folder / "params.yaml").write_text("seed: 1\n")
    (folder / "make.py").write_text(MAKE)
    dvc(folder, "init", "--quiet", "--no-scm")
    return folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    folder = make_project(tmp_path_factory.mktemp("undisturbed") / "project")
    dvc(folder, "repro", "--quiet")
    return folder


def copy_of(undisturbed: Path, folder: Path) -> Path:
    shutil.copytree(undisturbed, folder, dirs_exist_ok=True)
    return folder


def assert_as(folder: Path, undisturbed: Path) -> None:
    """The same outputs and lock, and every byte as the lock says."""
    assert files_sha256([folder / "data"]) == files_sha256([undisturbed / "data"])
    assert lock(folder) == lock(undisturbed)
    assert "is what dvc.lock says" in crywatch(folder, "check").stdout


# Disk full


def test_a_disk_that_is_full_when_dvc_keeps_the_output_is_said_and_gone_on_from(
    undisturbed, tmp_path
):
    with small_disk(tmp_path / "disk", 100_000) as disk:
        folder = make_project(disk / "project")
        used = sum(4 * -(-p.stat().st_blocks // 8) for p in disk.rglob("*") if p.is_file())
        resize(disk, used + BIG_KIB + 200)  # for the output, and not for the cache's copy too
        done = dvc(folder, "repro", check=False)
        assert done.returncode and "No space left on device" in done.stdout
        assert "Traceback" not in done.stdout
        resize(disk, 100_000)
        crywatch(folder, "repro", "--quiet")
        assert_as(folder, undisturbed)
        left = [path for path in folder.rglob("*") if path.name.startswith((".tmp-", "tmp"))]
        assert [path for path in left if path != folder / ".dvc/tmp"] == []


# Read-only


def test_a_read_only_project_is_one_line(undisturbed, tmp_path):
    folder = copy_of(undisturbed, tmp_path / "project")
    with read_only(folder):
        for done in (dvc(folder, "repro", check=False), crywatch(folder, "repro", check=False)):
            assert done.returncode and "Read-only file system" in done.stdout
            assert "Traceback" not in done.stdout
        assert "is what dvc.lock says" in crywatch(folder, "check").stdout, "it only reads"


# Two at once, and what a killed one leaves


def started(folder: Path, seconds: float = 30.0) -> subprocess.Popen:
    """A `dvc repro` that is in its first stage."""
    process = start(folder, "dvc", "repro")
    until = time.monotonic() + seconds
    while not stages_of(process):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    return process


def stages_of(process: subprocess.Popen) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.Error:
        return []


def test_of_two_rebuilds_at_once_the_second_is_refused(undisturbed, tmp_path):
    folder = make_project(tmp_path / "project", seconds=8)
    first = started(folder)
    second = crywatch(folder, "repro", check=False)
    assert second.returncode
    assert "is busy, it is being blocked by" in second.stdout
    assert f"(PID {first.pid})" in second.stdout
    said, _ = first.communicate()
    assert first.returncode == 0, said
    assert (folder / "ran").read_text() == "big\nsum\n", "no stage ran twice"
    assert files_sha256([folder / "data"]) == files_sha256([undisturbed / "data"])
    assert "up to date" in crywatch(folder, "repro").stdout


def test_a_killed_rebuild_needs_no_person(undisturbed, tmp_path):
    folder = make_project(tmp_path / "project", seconds=3)
    process = started(folder)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert str(process.pid) in (folder / ".dvc/tmp/rwlock").read_text()
    # Its number now is another's, as after a restart: this test's own.
    text = (folder / ".dvc/tmp/rwlock").read_text().replace(str(process.pid), str(os.getpid()))
    (folder / ".dvc/tmp/rwlock").write_text(text)
    refused = dvc(folder, "repro", check=False)
    assert refused.returncode and f"(PID {os.getpid()})" in refused.stdout
    said = crywatch(folder, "repro").stdout
    assert "released what killed rebuilds held" in said
    assert files_sha256([folder / "data"]) == files_sha256([undisturbed / "data"])


# Changed behind DVC


def flip(path: Path) -> None:
    """Another byte; size, time, mode and inode stay."""
    before = path.stat()
    path.chmod(0o644)
    with open(path, "r+b") as handle:
        first = handle.read(1)[0]
        handle.seek(0)
        handle.write(bytes([first ^ 1]))
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def object_of(folder: Path, stage: str) -> Path:
    digest = lock(folder)[stage]["outs"][0]["md5"]
    return folder / ".dvc/cache/files/md5" / digest[:2] / digest[2:]


def test_a_corrupted_object_goes_unseen_by_dvc_and_not_by_the_check(undisturbed, tmp_path):
    folder = copy_of(undisturbed, tmp_path / "project")
    flip(object_of(folder, "sum"))
    (folder / "data/sum").unlink()
    said = dvc(folder, "repro").stdout
    assert "is cached - skipping run" in said  # DVC takes it for right: what this guards against
    done = crywatch(folder, "check", "--mend", check=False)
    assert done.returncode == 1 and "corrupted" in done.stdout
    crywatch(folder, "repro", "--quiet")
    assert_as(folder, undisturbed)


def test_a_file_changed_with_its_size_and_time_kept_is_found(undisturbed, tmp_path):
    folder = copy_of(undisturbed, tmp_path / "project")
    dvc(folder, "status")  # notes inode, size and time of each file
    flip(folder / "data/sum")
    # As a clock set back may give by chance; DVC sees nothing, which is what this guards against.
    assert "up to date" in dvc(folder, "status").stdout
    done = crywatch(folder, "check", "--mend", check=False)
    assert done.returncode == 1 and "data/sum (sum): not what dvc.lock says" in done.stdout
    assert_as(folder, undisturbed)


def test_files_from_the_future_and_the_past_are_no_reason_to_repeat_or_to_skip(
    undisturbed, tmp_path
):
    folder = copy_of(undisturbed, tmp_path / "project")
    for path, days in ((folder / "data/big/x", 400), (folder / "make.py", -400)):
        moved_s = time.time() + days * 86_400
        os.utime(path, (moved_s, moved_s))
    assert "up to date" in dvc(folder, "repro").stdout
    # Changed while the clock was set back: the time goes down, and it is seen.
    (folder / "make.py").write_text(MAKE.replace("Random(1)", "Random(2)"))
    os.utime(folder / "make.py", (1e9, 1e9))
    assert "Running stage 'big'" in dvc(folder, "repro").stdout
    assert lock(folder)["sum"]["outs"] != lock(undisturbed)["sum"]["outs"]

"""What a killed rebuild leaves and DVC does not clear itself, set right before the next one.

DVC writes dvc.lock and its table of busy paths (``.dvc/tmp/rwlock``) in place, not by renaming: a
kill, or a full disk, in the middle leaves half a file, and every later command refuses it. Its busy
paths name the process by number, which a later process may have got. Git's index keeps a lock file
for which nobody lives any more. Each needs a person, or `mend`.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import yaml

from crywatch.core.atomic import write_bytes, write_text
from crywatch.core.lock import FileLock
from crywatch.tracking.lineage import LOCKS, YamlLoader
from crywatch.tracking.parent import is_dvc

TMP = Path(".dvc") / "tmp"
REPO_LOCK, BUSY, BUSY_LOCK = TMP / "lock", TMP / "rwlock", TMP / "rwlock.lock"
TORN = TMP / "dvc.lock.torn"
GIT_LOCK = Path(".git") / "index.lock"
GIT_LOCK_AGE_S = 10.0  # git itself holds it for less
STAGE_SCRIPT = re.compile(r"^(pipelines|studies)/\w+\.py$")
HEADING = re.compile(r"^  \S.*:$", re.MULTILINE)  # of a stage in dvc.lock
CONFLICT = "<<<<<<<"
WAIT_S, POLL_S = 5.0, 0.1


def mend(root: Path) -> list[str]:
    """Set right what a killed DVC or git left below ``root``; what was done, a line each.

    Nothing is touched while a DVC works in the project: what it has open is not left behind.
    """
    if not (root / TMP).is_dir():
        return []
    lines = []
    repo, busy = FileLock(root / REPO_LOCK), FileLock(root / BUSY_LOCK)  # DVC's own
    if not repo.take(WAIT_S):
        return []
    try:
        for lock in LOCKS:
            lines += _mend_lock(root, lock)
        lines += _mend_index(root)
        if busy.take(WAIT_S):
            lines += _mend_busy(root)
    finally:
        busy.free()
        repo.free()
    return lines


def wait_for_stages(root: Path, say: Callable[[str], None]) -> None:
    """Return once no stage runs any more that a killed DVC left running; ``say`` names each.

    Two of the same stage would write one folder of unfinished work.
    """
    pids: set[int] = set()
    while orphans := _orphans(root):
        for process in orphans:
            if process.pid not in pids:
                pids.add(process.pid)
                say(f"{_words(process)} (process {process.pid}) still runs: waiting for its end")
        psutil.wait_procs(orphans, timeout=POLL_S)


def _mend_lock(root: Path, lock: Path) -> list[str]:
    """Cut half a dvc.lock back to its whole stages; DVC's run cache brings back the others."""
    path = root / lock
    if not path.is_file():
        return []
    content = path.read_bytes()
    text = content.decode("utf-8", errors="ignore")
    if CONFLICT in text or _is_whole(text):
        return []
    headings = [match.start() for match in HEADING.finditer(text)]
    whole = text[: headings[-1]] if len(headings) > 1 else ""
    if whole and not _is_whole(whole):
        return []  # not the end is missing: DVC says what is wrong
    write_bytes(root / TORN, content)
    if whole:
        write_text(path, whole)
    else:
        path.unlink()
    return [
        f"{lock} was cut off in {max(len(headings), 1)} stages by a kill or a full disk: the "
        f"{max(len(headings) - 1, 0)} whole ones are kept, the others come from DVC's run cache "
        f"({TORN} is what was there)"
    ]


def _is_whole(text: str) -> bool:
    """Whether ``text`` is a dvc.lock to its last line; one cut between lines may parse."""
    if not text.endswith("\n"):
        return False
    try:
        content = yaml.load(text, YamlLoader)
        stages = content["stages"]
        if stages == {}:
            return True
        last = stages[next(reversed(stages))]
        return "cmd" in last and all(_is_complete(out) for out in last.get("outs", []))
    except (yaml.YAMLError, KeyError, TypeError, AttributeError):
        return False


def _is_complete(out: dict[str, Any]) -> bool:
    digest = str(out["md5"])
    return "size" in out and (not digest.endswith(".dir") or "nfiles" in out)


def _mend_busy(root: Path) -> list[str]:
    """Take processes out of DVC's busy paths that are no DVC of this project."""
    path = root / BUSY
    if not path.is_file():
        return []
    try:
        busy = json.loads(path.read_text(encoding="utf-8"))
        writers, readers = dict(busy.get("write", {})), dict(busy.get("read", {}))
        infos = [*writers.values(), *(info for many in readers.values() for info in many)]
        alive = {pid: _is_dvc(pid, root) for pid in {int(info["pid"]) for info in infos}}
    except (ValueError, TypeError, KeyError, AttributeError):
        if _any_program(root):
            return []
        path.unlink()
        return [f"{BUSY} was half written when DVC was killed: removed"]
    gone = sorted(pid for pid, lives in alive.items() if not lives)
    if not gone:
        return []
    readers = {name: [i for i in many if alive[int(i["pid"])]] for name, many in readers.items()}
    busy = {
        "write": {name: info for name, info in writers.items() if alive[int(info["pid"])]},
        "read": {name: many for name, many in readers.items() if many},
    }
    write_text(path, json.dumps({mode: entries for mode, entries in busy.items() if entries}))
    return [f"{BUSY}: released what killed rebuilds held (processes {', '.join(map(str, gone))})"]


def _mend_index(root: Path) -> list[str]:
    path = root / GIT_LOCK
    try:
        age_s = time.time() - path.stat().st_mtime
    except OSError:  # none, or a worktree, whose .git is a file
        return []
    if 0 <= age_s < GIT_LOCK_AGE_S or _any_program(root, git=True):
        return []
    path.unlink(missing_ok=True)
    return [f"{GIT_LOCK} was left by a killed process: removed"]


def _is_dvc(pid: int, root: Path) -> bool:
    """Whether that process is a DVC at work in this project, and not a later one of its number."""
    try:
        return _is_program(psutil.Process(pid), root)
    except psutil.Error:
        return False


def _any_program(root: Path, git: bool = False) -> bool:
    return any(_is_program(process, root, git) for process in psutil.process_iter())


def _is_program(process: psutil.Process, root: Path, git: bool = False) -> bool:
    """Whether it is DVC, or with ``git`` git, at work in this project."""
    try:
        command = process.cmdline()
        is_git = git and any(Path(word).name == "git" for word in command[:4])
        if process.pid == os.getpid() or not (is_git or is_dvc(command)):
            return False
        return Path(process.cwd()).is_relative_to(root.resolve())
    except psutil.AccessDenied:  # another user's
        return True
    except psutil.Error:
        return False


def _orphans(root: Path) -> list[psutil.Process]:
    """Stages of this project that no DVC waits for."""
    orphans = []
    for process in psutil.process_iter():
        try:
            if not any(STAGE_SCRIPT.match(word) for word in process.cmdline()[:4]):
                continue
            if Path(process.cwd()) != root.resolve():
                continue
            by_dvc = any(is_dvc(above.cmdline()) for above in process.parents())
        except psutil.Error:
            continue
        if not by_dvc:
            orphans.append(process)
    return orphans


def _words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()[1:])
    except psutil.Error:
        return "a stage"

"""The steps of a rebuild, in a clean copy of the project at the wanted commit.

What a step starts carries a mark in its environment, so that the next run finds and ends what a
killed one left running before it goes on in the same copy.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crywatch.core import gate, git
from crywatch.core.atomic import write_text
from crywatch.core.errors import CrywatchError
from crywatch.core.params import PARAMS_FILE
from crywatch.core.redact import redacted
from crywatch.operations import check, worktree

if TYPE_CHECKING:
    from crywatch.operations.register import Registration

NAME = "retrain"  # of the copy
MARK = "CRYWATCH_RETRAIN"  # environment variable with the project's folder
SOURCE_STAGE = "download"  # reads what lies outside the project
REFS = "refs/crywatch/retrain"
LOCK = "dvc.lock"
TAIL_LINES, TAIL_BYTES = 25, 4000
END_S = 10.0  # that a process gets to end by itself
STAGE = re.compile(r"failed to reproduce '([^']+)'")
AUTHOR = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "crywatch retrain"), ("EMAIL", "crywatch@localhost"))
}


class StepFailed(CrywatchError):
    """A command of a step failed; the message is the last lines of what it said."""

    def __init__(self, step: str, tail: str):
        super().__init__(tail)
        self.step = step


@dataclass(frozen=True)
class Rebuild:
    """A rebuild of ``project`` at ``commit``."""

    project: Path  # absolute
    commit: str  # full SHA
    params: str | None  # content of params.yaml; None: as in the commit
    log: Path  # that takes what the commands say
    hidden: tuple[str, ...] = ()  # environment variables that the commands do not get

    @property
    def folder(self) -> Path:
        """The copy's."""
        return self.project / worktree.FOLDER / NAME

    def prepare(self, kept_lock: Path) -> list[str]:
        """Make the copy at the commit; ``kept_lock`` on the corpora goes before its own lock.

        What a killed run left there is set right; what was done for it, a line each. A corpus that
        its publisher changed is not what the commit's lock says: with that lock DVC would bring the
        old content back from its cache.
        """
        _free(self.project, self.folder)
        copy = worktree.checkout(self.project, self.commit, NAME)
        if self.params is not None:
            write_text(self.folder / PARAMS_FILE, self.params)
        overlay(self.folder / LOCK, kept_lock)
        return list(copy.mended)

    def fetch(self, corpus: str) -> None:
        """Download a corpus again that its publisher changed, which is no file for DVC."""
        self._run("dvc", "repro", "--force", "--single-item", f"{SOURCE_STAGE}@{corpus}")

    def repro(self, targets: Sequence[str], away: bool) -> None:
        """`dvc repro`; what the cache has is brought at once, which stage by stage takes long.

        ``away``: the folder of a corpus is not there, and what was copied from it stands.
        """
        self._run("dvc", "checkout", "--force", "--allow-missing")
        self._run("dvc", "repro", *(["--allow-missing"] if away else []), *targets)

    def check(self) -> list[str]:
        """Read what dvc.lock names again, and set right what is corrupted in DVC's cache.

        DVC takes an object for right by its name, and a stage would be run on it. One that has its
        bytes nowhere is removed, and so made anew; a line each, which names no recording.
        """
        if not (self.folder / LOCK).is_file():
            return []
        findings = check.verify(self.folder)
        corrupted = [each for each in findings if each.kind == check.CACHE and each.wrong]
        bad = {file.digest for each in corrupted for file in each.files}
        # Of the copy's own files only those that came from such an object: it is of another lock.
        check.mend(
            replace(each, files=tuple(file for file in each.files if file.digest in bad))
            for each in findings
        )
        return [
            f"an object of {each.stage} in DVC's cache was corrupted: written again or removed "
            f"({', '.join(file.digest for file in each.files)})"
            for each in corrupted
        ]

    def lock(self) -> str:
        """Content of the copy's dvc.lock; "" without one."""
        path = self.folder / LOCK
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    def keep(self, record_id: str) -> str:
        """A commit of what the rebuild was made with, under a ref of its own; its SHA.

        No branch of the user moves. Equal content on an equal commit gives an equal SHA.
        """
        git.must(self.folder, "add", "--update")
        for name in (LOCK, PARAMS_FILE):
            if (self.folder / name).is_file():
                git.must(self.folder, "add", "--", str(name))
        tree = git.must(self.folder, "write-tree").strip()
        sha = self.commit
        if tree != git.must(self.folder, "rev-parse", f"{self.commit}^{{tree}}").strip():
            date = git.must(self.folder, "show", "-s", "--format=%cI", self.commit).strip()
            dates = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
            words = ["commit-tree", tree, "-p", self.commit, "-m", "Lock of a retraining"]
            sha = git.must(self.folder, *words, **AUTHOR, **dates).strip()
            git.must(self.folder, "update-ref", f"{REFS}/{record_id}", sha)
        git.must(self.folder, "update-ref", "--no-deref", "HEAD", sha)
        return sha

    def register(self, by: str, reason: str, answer: Path) -> Registration:
        """Into the registry, by the copy's own command, which applies the gates."""
        words = ["register", "--by", by, "--reason", reason, "--json", str(answer)]
        self._run("crywatch.cli", *words)
        made: Registration = registration_of(gate.read(dict[str, Any], answer))
        return made

    def _run(self, module: str, *args: str) -> None:
        step = " ".join(["crywatch" if module == "crywatch.cli" else module, *args[:1]])
        self.log.parent.mkdir(parents=True, exist_ok=True)
        copy = worktree.Worktree(self.folder, self.commit)
        environment = copy.environment() | {MARK: str(self.project)}
        for name in self.hidden:
            environment.pop(name, None)
        handle = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        start = os.fstat(handle).st_size
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *args],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        finally:
            os.close(handle)
        try:
            code = process.wait()
        except BaseException:
            end_left(self.project)
            raise
        if code:
            with open(self.log, "rb") as log:
                log.seek(max(start, log.seek(0, os.SEEK_END) - TAIL_BYTES))
                text = log.read().decode(errors="replace")
            stage = STAGE.findall(text)
            tail = "\n".join(text.strip().splitlines()[-TAIL_LINES:])
            raise StepFailed(f"stage {stage[-1]}" if stage else step, self._redact(tail))

    def _redact(self, text: str) -> str:
        """Take folders and secrets out."""
        for folder in (self.folder, self.project, Path.home()):
            if len(folder.parts) > 1:
                text = text.replace(str(folder), "." if folder != Path.home() else "~")
        return redacted(text)


def registration_of(content: Mapping) -> Registration:
    """From its JSON."""
    from crywatch.operations.register import Registration

    return gate.typed(Registration, content, "the answer of `crywatch register`")


def overlay(lock: Path, kept: Path) -> None:
    """Put what ``kept`` says of the corpora as they were downloaded into ``lock``."""
    if not kept.is_file():
        return
    import yaml

    from crywatch.tracking.lineage import YamlLoader

    def loaded(path: Path) -> dict:
        if not path.is_file():
            return {"schema": "2.0", "stages": {}}
        return yaml.load(path.read_text(encoding="utf-8"), YamlLoader) or {}

    now = loaded(lock)
    stages = now.setdefault("stages", {})
    downloads = {
        name: body
        for name, body in (loaded(kept).get("stages") or {}).items()
        if name.partition("@")[0] == SOURCE_STAGE
    }
    if any(stages.get(name) != body for name, body in downloads.items()):
        stages |= downloads
        write_text(lock, yaml.safe_dump(now, sort_keys=False, allow_unicode=True))


def _free(project: Path, folder: Path) -> None:
    """Take away git's locks on the copy: a kill leaves them, and who calls has the lock on it."""
    common = git.must(project, "rev-parse", "--path-format=absolute", "--git-common-dir").strip()
    known = Path(common) / "worktrees"
    for about in known.iterdir() if known.is_dir() else ():
        where = about / "gitdir"
        if where.is_file() and Path(where.read_text().strip()).parent == folder:
            for name in ("index.lock", "HEAD.lock", "locked"):
                (about / name).unlink(missing_ok=True)
    for lock in (Path(common) / REFS).glob("*.lock"):
        lock.unlink(missing_ok=True)


def end_left(project: Path) -> int:
    """End what the steps of this project left running; how many processes there were."""
    import psutil

    mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    left = []
    for process in psutil.process_iter():
        try:
            if process.pid not in mine and process.environ().get(MARK) == str(project):
                left.append(process)
                process.terminate()
        except psutil.Error:  # of another user, or gone
            continue
    for process in psutil.wait_procs(left, END_S)[1]:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, END_S)
    return len(left)

"""A clean copy of the project at a commit, beside which the user's working tree stays as it is.

Copies lie below ``.dvc/tmp``, where DVC keeps those of its own experiments: git ignores them, and
their runs go to the project's tracking store (`tracking.store.home`). They share its DVC cache and
remotes, so what was ever made there is not made again. A copy belongs to one command at a time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from crywatch.core import gate, git
from crywatch.core.errors import CrywatchError
from crywatch.core.lock import waiting
from crywatch.operations import recover

FOLDER = Path(".dvc") / "tmp" / "worktrees"
LOCAL = Path(".dvc") / "config.local"
OWNER_ONLY = 0o600  # remotes' passwords may stand in it
TAIL = 2000  # characters of what a failed command said

# Of an outer command of DVC, and wrong in a copy.
DVC_VARIABLES = frozenset({"DVC_EXP_BASELINE_REV", "DVC_EXP_NAME", "DVC_ROOT", "DVC_STAGE"})


@dataclass(frozen=True)
class Worktree:
    """A checked-out copy."""

    folder: Path  # absolute
    commit: str  # full SHA
    mended: tuple[str, ...] = ()  # what a kill had left in it and was set right, a line each

    def environment(self) -> dict[str, str]:
        """For commands in it: its own sources first, and the programs of this interpreter."""
        sources = [str(self.folder / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        kept = {k: v for k, v in git.environment().items() if k not in DVC_VARIABLES}
        return kept | {"PYTHONPATH": os.pathsep.join(sources), "PATH": programs}

    def dvc(
        self, *args: str, variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``dvc`` in it; what it said and its exit code come back."""
        return self.run("dvc", *args, variables=variables)

    def run(
        self, module: str, *args: str, variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a Python module in it; standard error is kept with standard output."""
        return subprocess.run(
            [sys.executable, "-m", module, *args],
            cwd=self.folder,
            env=self.environment() | dict(variables or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )


def checkout(project: Path, commit: str, name: str) -> Worktree:
    """The copy ``name`` of ``project`` at ``commit``; one that is there already is gone on with.

    Tracked files of an earlier copy of that name are set to the commit; what it made is kept.

    Raises
    ------
    CrywatchError
        ``project`` is not the root of a git repository and a DVC project, or has no such commit.
    """
    project = project.resolve()
    folder = _folder(project, name)
    sha = resolve(project, commit)
    with alone(project):
        _git(project, "worktree", "prune")
        if not _set_to(folder, sha):
            gate.remove(folder, project / FOLDER)  # a kill left half of one
            # Twice: also where a killed one is still registered and locked.
            options = ("--quiet", "--force", "--force", "--detach")
            _git(project, "worktree", "add", *options, str(folder), sha)
    _carry_config(project, folder)
    return Worktree(folder, sha, tuple(recover.mend(folder)))


def copies(project: Path) -> list[Path]:
    """Folders of all copies of the project, in use or not."""
    below = (project / FOLDER).glob("*/")
    return sorted(path for path in below if (path / ".git").is_file())


def remove(project: Path, folder: Path) -> None:
    """Remove a copy, and what git knows of it."""
    with alone(project):
        gate.remove(folder, project / FOLDER)
        _git(project, "worktree", "prune")


def resolve(project: Path, commit: str) -> str:
    """The full SHA of a commit, branch or tag of the project.

    Raises
    ------
    CrywatchError
        As `checkout`.
    """
    top = _git(project, "rev-parse", "--show-toplevel")
    if Path(top).resolve() != project.resolve():
        raise CrywatchError(f"{project}: not the root of its git repository, which is {top}")
    wanted = f"{commit}^{{commit}}"
    return _git(project, "rev-parse", "--verify", "--quiet", "--end-of-options", wanted)


def _folder(project: Path, name: str) -> Path:
    return project / FOLDER / gate.NAME(name, "copy of the project")


@contextmanager
def alone(project: Path) -> Iterator[None]:
    """One at a time: git's worktrees and references are shared by all copies."""
    if not (project / ".dvc").is_dir():
        raise CrywatchError(f"{project}: no DVC project: run `dvc init` there first")
    with waiting(project / FOLDER / ".lock"):
        yield


def _set_to(folder: Path, sha: str) -> bool:
    """Whether there is a copy, and its tracked files could be set to the commit."""
    if not (folder / ".git").is_file():
        return False
    where = _tell(folder, "rev-parse", "--absolute-git-dir", "--show-toplevel").stdout.splitlines()
    if len(where) != 2 or Path(where[1]).resolve() != folder.resolve():
        return False
    (Path(where[0]) / "index.lock").unlink(missing_ok=True)  # of a killed git
    return _tell(folder, "checkout", "--quiet", "--force", "--detach", sha).returncode == 0


def _carry_config(project: Path, folder: Path) -> None:
    """The project's cache, remotes and local configuration, with paths that hold in the copy.

    They go into ``.dvc/config.local``, which git must ignore: secrets may stand in it.
    """
    from configobj import ConfigObj
    from dvc.config import Config, merge
    from dvc.exceptions import DvcException

    if not (folder / ".dvc" / "config").is_file():
        raise CrywatchError(f"{folder}: the commit holds no DVC project (.dvc/config)")
    if _tell(folder, "check-ignore", "--quiet", str(LOCAL)).returncode:
        raise CrywatchError(f"{folder}: git does not ignore {LOCAL}: name it in .dvc/.gitignore")
    try:
        theirs = Config(str(project / ".dvc"), validate=False)
    except DvcException as error:
        raise CrywatchError(f"{project / '.dvc'}: {error}") from error
    sections: dict = {"remote": {}, "cache": {}}
    for name, remote in theirs.read("repo")["remote"].items():
        if "url" in remote:  # a relative one is relative to the project
            sections["remote"][name] = {"url": str(remote["url"])}
    merge(sections, theirs.read("local"))
    sections["cache"]["dir"] = str(theirs["cache"].get("dir") or project / ".dvc" / "cache")
    config = ConfigObj(encoding="utf-8")  # DVC's own writer refuses paths beyond ASCII
    for section, values in sections.items():
        for name, value in values.items():
            if isinstance(value, Mapping):
                config[f'{section} "{name}"'] = {k: str(v) for k, v in value.items()}
            else:
                config.setdefault(section, {})[name] = str(value)
    local = folder / LOCAL
    local.unlink(missing_ok=True)
    local.touch(OWNER_ONLY)
    with open(local, "wb") as handle:
        config.write(handle)


def _tell(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return git.run(folder, *args, variables=git.environment())


def _git(folder: Path, *args: str) -> str:
    answer = _tell(folder, *args)
    if answer.returncode:
        message = answer.stderr.strip() or "no such commit"
        raise CrywatchError(f"{folder}: `git {' '.join(args)}` failed: {message[-TAIL:]}")
    return answer.stdout.strip()

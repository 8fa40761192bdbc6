"""git, as all of the package asks it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from crywatch.core.errors import CrywatchError

# Of an outer command, and wrong in a copy: git sets its own in hooks.
VARIABLES = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_DIR",
        "GIT_INDEX_FILE",
        "GIT_NAMESPACE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_WORK_TREE",
    }
)
TAIL = 500  # characters of what a failed command said


def environment() -> dict[str, str]:
    """This process's, for git in another folder than an outer command's."""
    return {name: value for name, value in os.environ.items() if name not in VARIABLES}


def run(
    folder: Path, *args: str, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """One command; ``variables`` in place of the whole environment."""
    return subprocess.run(
        ["git", *args], cwd=folder, env=variables, capture_output=True, text=True, check=False
    )


def output(folder: Path, *args: str) -> str:
    """What git says, without space around it; empty where it fails."""
    process = run(folder, *args)
    return process.stdout.strip() if process.returncode == 0 else ""


def commit(folder: Path, which: str) -> str:
    """SHA of a commit, branch or tag; empty where there is none, or can be none."""
    if not which.isprintable():  # no argument of a program holds a zero
        return ""
    wanted = f"{which}^{{commit}}"
    return output(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", wanted)


def must(folder: Path, *args: str, **variables: str) -> str:
    """What git says in ``folder`` itself, with more variables; CrywatchError if it fails."""
    process = run(folder, *args, variables=environment() | variables)
    if process.returncode:
        raise CrywatchError(f"`git {args[0]}` failed: {process.stderr.strip()[-TAIL:]}")
    return process.stdout

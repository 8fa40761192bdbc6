"""What a schedule runs, and where."""

from __future__ import annotations

import hashlib
import os
import sys
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from crywatch.core.errors import ConfigError

# Variables that a shell may have and a schedule has not, by how their names begin.
NEEDED = ("MLFLOW_", "AWS_", "HF_", "DVC_", "CRYWATCH_", "SSL_CERT_FILE", "HTTPS_PROXY")
EXIT_LOCKED = 75  # of `crywatch retrain`: another one runs (EX_TEMPFAIL)


@dataclass(frozen=True)
class Job:
    """`crywatch retrain` of one project."""

    project: Path  # absolute
    command: tuple[str, ...]  # program and arguments, the program absolute
    environment_file: Path  # NAME=value lines, read if it is there

    @property
    def name(self) -> str:
        """Tells projects of one user apart."""
        return f"crywatch-retrain-{hashlib.sha256(os.fsencode(self.project)).hexdigest()[:12]}"


def of_project(project: Path) -> Job:
    """The job of ``project`` by this interpreter.

    Raises
    ------
    ConfigError
        A path that no unit and no table can hold: with a control character, or not UTF-8.
    """
    command = (os.path.abspath(sys.executable), "-m", "crywatch.cli.main", "retrain")
    job = Job(project.resolve(), command, config_home() / "crywatch" / "environment")
    for path in (str(job.project), job.command[0], str(job.environment_file)):
        checked(path, "the path")
    return job


def config_home() -> Path:
    """The user's folder of settings: XDG_CONFIG_HOME, or ``~/.config``."""
    named = os.environ.get("XDG_CONFIG_HOME", "")
    return Path(named) if os.path.isabs(named) else Path.home() / ".config"


def checked(text: str, what: str) -> str:
    """``text``, which fits on one line; ConfigError otherwise."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{what} {text!r} is not UTF-8: a schedule cannot name it") from None
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in text):
        raise ConfigError(f"{what} {text!r} holds a control character: a schedule cannot name it")
    return text


def missing_names(job: Job) -> list[str]:
    """Variables that are set here, that the job may need, and that its file does not name."""
    told = set()
    if job.environment_file.is_file():
        text = job.environment_file.read_text(encoding="utf-8", errors="replace")
        told = {line.partition("=")[0].strip() for line in text.splitlines()}
    return sorted(name for name in os.environ if name.startswith(NEEDED) and name not in told)


def open_to_others(job: Job) -> bool:
    """Whether others may read the file of secrets."""
    file = job.environment_file
    return file.is_file() and bool(file.stat().st_mode & 0o077)

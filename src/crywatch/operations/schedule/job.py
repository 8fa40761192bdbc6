"""What a schedule runs, and where."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from crywatch.core.errors import ConfigError

# Variables that a shell may have and a schedule has not, by how their names begin.
NEEDED = ("MLFLOW_", "AWS_", "HF_", "DVC_", "CRYWATCH_", "SSL_CERT_FILE", "HTTPS_PROXY")
EXIT_LOCKED = 75  # of `crywatch retrain`: another one runs (EX_TEMPFAIL)
WAIT_S = 30.0  # for the scheduler's programs


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

    def missing_names(self) -> list[str]:
        """Variables set here that the job may need and its environment file does not name."""
        names = set()
        if self.environment_file.is_file():
            text = self.environment_file.read_text(encoding="utf-8", errors="replace")
            names = {line.partition("=")[0].strip() for line in text.splitlines()}
        return sorted(key for key in os.environ if key.startswith(NEEDED) and key not in names)

    def is_open_to_others(self) -> bool:
        """Whether others may read the file of secrets."""
        file = self.environment_file
        return file.is_file() and bool(file.stat().st_mode & 0o077)


def of_project(project: Path) -> Job:
    """The job of ``project`` by this interpreter; ConfigError for a path that cannot be scheduled.

    Such a path has a control character, or is not UTF-8.
    """
    command = (os.path.abspath(sys.executable), "-m", "crywatch.cli", "retrain")
    job = Job(project.resolve(), command, config_home() / "crywatch" / "environment")
    for path in (str(job.project), job.command[0], str(job.environment_file)):
        check_one_line(path, "the path")
    return job


def config_home() -> Path:
    """The user's folder of settings: XDG_CONFIG_HOME, or ``~/.config``."""
    folder = os.environ.get("XDG_CONFIG_HOME", "")
    return Path(folder) if os.path.isabs(folder) else Path.home() / ".config"


def check_one_line(text: str, what: str) -> None:
    """ConfigError where ``text`` does not fit on one line of UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{what} {text!r} is not UTF-8: a schedule cannot name it") from None
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in text):
        raise ConfigError(f"{what} {text!r} holds a control character: a schedule cannot name it")


def render(template: str, **values: object) -> str:
    """A template of this folder, with ``values`` put in as they are."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("crywatch", "operations/schedule"),
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["cell"] = lambda text: " ".join(str(text).replace("|", "\\|").split())
    return environment.get_template(template).render(**values)


def call(*command: str, stdin: str = "") -> tuple[str, str]:
    """What a program printed, and its error message: empty where it succeeded.

    Bytes that are not UTF-8 pass through both ways as surrogates.
    """
    try:
        process = subprocess.run(
            command,
            input=stdin.encode(errors="surrogateescape"),
            capture_output=True,
            env=os.environ | {"LC_ALL": "C"},
            check=False,
            timeout=WAIT_S,
        )
    except subprocess.TimeoutExpired:
        return "", f"no answer in {WAIT_S:g} s"
    error = process.stderr.decode(errors="replace").strip() or f"exit code {process.returncode}"
    return process.stdout.decode(errors="surrogateescape"), error if process.returncode else ""

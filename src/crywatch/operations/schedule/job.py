"""What a schedule runs, and where; how its texts are rendered and its programs called."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from crywatch.core.errors import ConfigError, CrywatchError

# Variables that a shell may have and a schedule has not, by how their names begin.
NEEDED = ("MLFLOW_", "AWS_", "HF_", "DVC_", "CRYWATCH_", "SSL_CERT_FILE", "HTTPS_PROXY")
WAIT_S = 30.0  # for the scheduler's programs


@dataclass(frozen=True)
class Job:
    """`crywatch retrain` of one project."""

    project: Path  # absolute
    program: str  # the interpreter, absolute
    environment_file: Path  # NAME=value lines, read if it is there

    @property
    def name(self) -> str:
        """Tells projects of one user apart."""
        return f"crywatch-retrain-{hashlib.sha256(os.fsencode(self.project)).hexdigest()[:12]}"

    def warnings(self) -> list[str]:
        """What the schedule would lack of this shell's variables, and who may read its secrets."""
        file, names, warnings = self.environment_file, set(), []
        if file.is_file():
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            names = {line.partition("=")[0].strip() for line in lines}
            if file.stat().st_mode & 0o077:
                warnings.append(f"{file}: others may read it: `chmod 600` it")
        missing = sorted(key for key in os.environ if key.startswith(NEEDED) and key not in names)
        if missing:
            warnings.append(
                f"set here, and not in {file}, which the schedule reads: {', '.join(missing)}"
            )
        return warnings


def of_project(project: Path) -> Job:
    """The job of ``project`` by this interpreter; ConfigError for a path no schedule can name."""
    job = Job(project.resolve(), sys.executable, config_home() / "crywatch" / "environment")
    for path in (job.project, job.program, job.environment_file):
        check_one_line(str(path), "the path")
    return job


def config_home() -> Path:
    """The user's folder of settings: XDG_CONFIG_HOME, or ``~/.config``."""
    folder = os.environ.get("XDG_CONFIG_HOME", "")
    return Path(folder) if os.path.isabs(folder) else Path.home() / ".config"


def check_one_line(text: str, what: str) -> None:
    """ConfigError where ``text`` does not fit on one line of UTF-8."""
    if re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", text):
        raise ConfigError(
            f"{what} {text!r} holds a control character or is not UTF-8: a schedule cannot name it"
        )


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
    return environment.get_template(template).render(**values)


def call(*command: str, stdin: str = "") -> str:
    """What a program prints; CrywatchError with its message where it fails or is not there.

    Bytes that are not UTF-8 pass through both ways as surrogates.
    """
    try:
        process = subprocess.run(
            command,
            input=stdin.encode(errors="surrogateescape"),
            capture_output=True,
            env=os.environ | {"LC_ALL": "C"},
            check=True,
            timeout=WAIT_S,
        )
    except FileNotFoundError as error:
        raise CrywatchError(
            f"there is no {command[0]} program on PATH: install it, or use the other of --systemd "
            "and --cron"
        ) from error
    except subprocess.SubprocessError as error:
        message = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip()
        raise CrywatchError(f"`{' '.join(command)}` failed: {message or error}") from error
    return process.stdout.decode(errors="surrogateescape")

"""The project that a command is run in, and how a command speaks."""

from __future__ import annotations

import os
from configparser import ConfigParser, Error
from contextlib import suppress
from pathlib import Path

from crywatch.core.atomic import PRIVATE_FILE, PRIVATE_FOLDER
from crywatch.core.errors import CrywatchError

# What rebuilds make: sound of infants, models and pages of them, runs that tell of both. DVC gives
# its outputs the permissions of the umask, so the folders above them are what is closed.
MADE = ("data", "retraining", "mlartifacts", "mlflow.db", "mlflow.db-wal", ".dvc/cache", ".dvc/tmp")


def root(mark: Path | None = None) -> Path:
    """The repository root: the nearest folder at or above here that holds params.yaml.

    ``mark`` is another file to know it by.
    """
    from crywatch.core import params

    mark = mark or params.PARAMS_FILE
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / mark).is_file():
            return folder.relative_to(here) if folder == here else folder
    raise CrywatchError(f"no {mark} in {here} or above: run crywatch inside the project")


def close(folder: Path) -> None:
    """Close what rebuilds make in ``folder`` to all but its owner; what is not there stays away.

    A team that shares one cache says so to DVC (`dvc config cache.shared group`): its project stays
    as it is. So does what belongs to another user.
    """
    if _shared(folder):
        return
    for path in (folder / name for name in MADE):
        with suppress(OSError):
            status = os.stat(path, follow_symlinks=False)
            mode = PRIVATE_FOLDER if path.is_dir() else PRIVATE_FILE
            if not path.is_symlink() and status.st_mode & 0o777 & ~mode:
                path.chmod(mode)


def _shared(folder: Path) -> bool:
    for name in ("config", "config.local"):
        config = ConfigParser(interpolation=None, strict=False)
        with suppress(OSError, Error, UnicodeDecodeError):
            config.read_string((folder / ".dvc" / name).read_text(encoding="utf-8"))
        if config.get("cache", "shared", fallback="") == "group":
            return True
    return False


def tell(line: str) -> None:
    """One line of results, on standard output."""
    import typer

    from crywatch.core.names import shown

    typer.echo(shown(line))


def say(message: str) -> None:
    """One line on standard error, without secrets; it never ends a command."""
    import typer

    from crywatch.core.names import shown
    from crywatch.core.redact import redacted

    with suppress(OSError):  # nobody reads it: what is asked for is still done
        typer.echo(f"crywatch: {shown(redacted(message))}", err=True)

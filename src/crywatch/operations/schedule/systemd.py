"""A service and a timer among the user's own units; see systemd.service(5) and systemd.timer(5)."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from crywatch.core.atomic import write_text
from crywatch.core.errors import ConfigError, CrywatchError
from crywatch.operations.schedule.job import Job, call, check_one_line, config_home, render

AT = "Sun 03:00"  # a calendar event; see systemd.time(7)


def folder() -> Path:
    """The user's own units."""
    return config_home() / "systemd" / "user"


def units(job: Job, at: str) -> dict[Path, str]:
    """The texts of service and timer by file.

    ConfigError where ``at`` is no calendar event as far as this machine can tell, or the program's
    path has what systemd takes in none, however it is escaped.
    """
    check_one_line(at, "--at")
    if shutil.which("systemd-analyze"):
        try:
            call("systemd-analyze", "calendar", "--", at)
        except CrywatchError as error:
            raise ConfigError(
                f"--at {at!r} is no calendar event of systemd such as {AT!r} ({error}); see man "
                "systemd.time"
            ) from error
    if re.search(r"[\"'\\]", job.program):
        raise ConfigError(
            f"systemd starts no program whose path holds a quote or a backslash ({job.program}): "
            "move the environment, or use --cron"
        )
    return {
        folder() / f"{job.name}.{kind}": render(f"{kind}.j2", job=job, at=at)
        for kind in ("service", "timer")
    }


def preview(job: Job, at: str) -> str:
    """The units' files and texts."""
    return "".join(f"# {path}\n{text}\n" for path, text in units(job, at).items())


def install(job: Job, at: str) -> list[str]:
    """Write the units and start the timer."""
    changed = [unit for unit in units(job, at).items() if not _is_written(*unit)]
    for path, text in changed:
        write_text(path, text)
    timer = f"{job.name}.timer"
    lines = [f"wrote {path}" for path, _ in changed] or [f"{folder() / timer}: as it was"]
    if not _manager_answers():
        return [
            *lines,
            "no systemd manager of this user answers here: when you are logged in on the machine, "
            f"run `systemctl --user daemon-reload && systemctl --user enable --now {timer}`",
        ]
    # A waiting timer takes a new time only when it is started again.
    for words in (("daemon-reload",), ("enable", "--now", timer), ("restart", timer)):
        call("systemctl", "--user", *words)
    return [
        *lines,
        f"{timer} waits for {at}; `loginctl enable-linger` lets it run while you are logged out",
    ]


def remove(job: Job) -> list[str]:
    """Stop the timer and remove the units."""
    timer, service = (folder() / f"{job.name}.{kind}" for kind in ("timer", "service"))
    files = [path for path in (timer, service) if path.is_file()]
    manager = bool(files) and _manager_answers()
    if manager:
        call("systemctl", "--user", "disable", "--now", timer.name)
    for path in (folder() / "timers.target.wants" / timer.name, *files):
        path.unlink(missing_ok=True)
    if manager:
        call("systemctl", "--user", "daemon-reload")
    return [f"removed {path}" for path in files]


def show(job: Job) -> list[str]:
    """The installed timer's time and file."""
    path = folder() / f"{job.name}.timer"
    if not path.is_file():
        return []
    calendar = re.search("^OnCalendar=(.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    at = calendar[1] if calendar else ""
    current = at and all(_is_written(*unit) for unit in units(job, at).items())
    edited = "" if current else " (not as `crywatch schedule install` would write it now)"
    return [f"systemd: {at}, by {path}{edited}"]


def _is_written(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def _manager_answers() -> bool:
    try:
        call("systemctl", "--user", "show-environment")
    except CrywatchError:
        return False
    return True

"""A service and a timer among the user's own units; see systemd.service(5) and systemd.timer(5)."""

from __future__ import annotations

import shutil
from pathlib import Path

from crywatch.core.atomic import write_text
from crywatch.core.errors import ConfigError, CrywatchError
from crywatch.operations.schedule.job import (
    EXIT_LOCKED,
    Job,
    call,
    check_one_line,
    config_home,
    render,
)

AT = "Sun 03:00"  # a calendar event; see systemd.time(7)
UNSAFE = frozenset("\"'\\")  # never in a program's path, however they are escaped


def folder() -> Path:
    """The user's own units."""
    return config_home() / "systemd" / "user"


def units(job: Job, at: str) -> dict[Path, str]:
    """The texts of service and timer by file.

    ConfigError where ``at`` is no calendar event, or systemd could not name the program.
    """
    check_calendar(at)
    if set(job.command[0]) & UNSAFE:
        raise ConfigError(
            f"systemd starts no program whose path holds a quote or a backslash "
            f"({job.command[0]}): move the environment, or use --cron"
        )
    values = {
        "project": escape_percent(str(job.project)),
        "environment": escape_percent(str(job.environment_file)),
        "command": " ".join(map(quote, job.command)),
        "locked": EXIT_LOCKED,
        "at": at,
    }
    return {
        folder() / f"{job.name}.{kind}": render(f"{kind}.j2", **values)
        for kind in ("service", "timer")
    }


def preview(job: Job, at: str) -> str:
    """The units' files and texts."""
    return "".join(f"# {path}\n{text}\n" for path, text in units(job, at).items())


def escape_percent(text: str) -> str:
    """``text`` where systemd would expand percent signs."""
    return text.replace("%", "%%")


def quote(word: str) -> str:
    """A word of ExecStart, whose prefix ``:`` keeps dollar signs as they are."""
    escaped = escape_percent(word).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def check_calendar(at: str) -> None:
    """ConfigError where ``at`` is no calendar event, as far as this machine can tell."""
    check_one_line(at, "--at")
    if not at.strip():
        raise ConfigError(f"--at is empty: name a calendar event such as {AT!r}")
    error = shutil.which("systemd-analyze") and call("systemd-analyze", "calendar", "--", at)[1]
    if error:
        raise ConfigError(
            f"--at {at!r} is no calendar event of systemd such as {AT!r} "
            f"({error.splitlines()[-1]}); see man systemd.time"
        )


def install(job: Job, at: str) -> list[str]:
    """Write the units and start the timer; lines for the user."""
    changed = {path: text for path, text in units(job, at).items() if not _holds(path, text)}
    for path, text in changed.items():
        write_text(path, text)
    timer = f"{job.name}.timer"
    lines = [f"wrote {path}" for path in changed] or [f"{folder() / timer}: as it was"]
    if not _manager_answers():
        return [
            *lines,
            "no systemd manager of this user answers here: when you are logged in on the machine, "
            f"run `systemctl --user daemon-reload && systemctl --user enable --now {timer}`",
        ]
    _manage("daemon-reload")
    _manage("enable", "--now", timer)
    if folder() / timer in changed:
        _manage("restart", timer)  # a waiting timer does not take a new time
    return [
        *lines,
        f"{timer} waits for {at}; `loginctl enable-linger` lets it run while you are logged out",
    ]


def remove(job: Job) -> list[str]:
    """Remove the units; lines for the user."""
    files = [folder() / f"{job.name}{suffix}" for suffix in (".timer", ".service")]
    files = [path for path in files if path.is_file()]
    if not files:
        return []
    manager = _manager_answers()
    if manager:
        _manage("disable", "--now", f"{job.name}.timer")
    for path in (folder() / "timers.target.wants" / f"{job.name}.timer", *files):
        path.unlink(missing_ok=True)
    if manager:
        _manage("daemon-reload")
    return [f"removed {path}" for path in files]


def show(job: Job) -> list[str]:
    """The installed timer's file and time, for the user."""
    path = folder() / f"{job.name}.timer"
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    at = next((line.partition("=")[2] for line in lines if line.startswith("OnCalendar=")), "")
    current = at and all(_holds(*unit) for unit in units(job, at).items())
    edited = "" if current else " (not as `crywatch schedule install` would write it now)"
    return [f"systemd: {at}, by {path}{edited}"]


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def _manager_answers() -> bool:
    if shutil.which("systemctl") is None:
        return False
    return not call("systemctl", "--user", "show-environment")[1]


def _manage(*words: str) -> None:
    if error := call("systemctl", "--user", *words)[1]:
        raise CrywatchError(f"`systemctl --user {' '.join(words)}` failed: {error}")

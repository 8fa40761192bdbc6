"""A service and a timer among the user's own units; see systemd.service(5) and systemd.timer(5)."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from crywatch.core.atomic import write_text
from crywatch.core.errors import ConfigError, CrywatchError
from crywatch.operations.schedule.job import EXIT_LOCKED, Job, checked, config_home

AT = "Sun 03:00"  # a calendar event; see systemd.time(7)
WANTS = "timers.target.wants"
UNSAFE = frozenset("\"'\\")  # never in a program's path, however they are escaped
WAIT_S = 30.0  # for systemd's programs

SERVICE = """\
[Unit]
Description=crywatch retrain of {shown}
Documentation=man:systemd.timer(5)
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
WorkingDirectory={folder}
EnvironmentFile=-{environment}
ExecStart=:{command}
# Another retraining holds the lock: no failure.
SuccessExitStatus={locked}
# A rebuild takes hours. Stopped, a stage ends its run; the next retraining goes on from there.
TimeoutStartSec=48h
TimeoutStopSec=5min
OOMPolicy=stop
OOMScoreAdjust=500
Nice=10
IOSchedulingClass=idle
UMask=0077
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
"""
TIMER = """\
[Unit]
Description=When to run crywatch retrain of {shown}

[Timer]
OnCalendar={at}
# A run that was missed while the machine was off is made up for.
Persistent=true
RandomizedDelaySec=10min
AccuracySec=1min

[Install]
WantedBy=timers.target
"""


@dataclass(frozen=True)
class Unit:
    """A unit's file."""

    path: Path
    text: str


def folder() -> Path:
    """The user's own units."""
    return config_home() / "systemd" / "user"


def units(job: Job, at: str) -> tuple[Unit, Unit]:
    """Service and timer.

    ConfigError where ``at`` is no calendar event, or systemd could not name the program.
    """
    checked_calendar(at)
    if set(job.command[0]) & UNSAFE:
        raise ConfigError(
            f"systemd starts no program whose path holds a quote or a backslash "
            f"({job.command[0]}): move the environment, or use --cron"
        )
    shown = specifiers(str(job.project))
    service = SERVICE.format(
        shown=shown,
        # With the slash a last space stays, and a last backslash continues no line.
        folder=f"{shown.rstrip('/')}/",
        environment=specifiers(str(job.environment_file)),
        command=" ".join(quoted(word) for word in job.command),
        locked=EXIT_LOCKED,
    )
    timer = TIMER.format(shown=shown, at=at)
    return (
        Unit(folder() / f"{job.name}.service", service),
        Unit(folder() / f"{job.name}.timer", timer),
    )


def specifiers(text: str) -> str:
    """``text`` where systemd would expand percent signs."""
    return text.replace("%", "%%")


def quoted(word: str) -> str:
    """A word of ExecStart, whose prefix ``:`` keeps dollar signs as they are."""
    escaped = specifiers(word).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def checked_calendar(at: str) -> str:
    """``at``, a calendar event as far as can be told here; ConfigError otherwise."""
    checked(at, "--at")
    if not at.strip():
        raise ConfigError(f"--at is empty: name a calendar event such as {AT!r}")
    if shutil.which("systemd-analyze") and (said := _run("systemd-analyze", "calendar", "--", at)):
        raise ConfigError(
            f"--at {at!r} is no calendar event of systemd such as {AT!r} "
            f"({said.strip().splitlines()[-1]}); see man systemd.time"
        )
    return at


def install(job: Job, at: str) -> list[str]:
    """Write the units and start the timer; what was done, line by line."""
    made = [unit for unit in units(job, at) if not _is(unit)]
    for unit in made:
        write_text(unit.path, unit.text)
    timer = f"{job.name}.timer"
    said = [f"wrote {unit.path}" for unit in made] or [f"{folder() / timer}: as it was"]
    start = f"systemctl --user daemon-reload && systemctl --user enable --now {timer}"
    if not _manager_answers():
        return [
            *said,
            "no systemd manager of this user answers here: when you are logged in on the machine, "
            f"run `{start}`",
        ]
    _manager("daemon-reload")
    _manager("enable", "--now", timer)
    if any(unit.path.name == timer for unit in made):
        _manager("restart", timer)  # a changed time is not taken by one that waits
    return [
        *said,
        f"{timer} waits for {at}; `loginctl enable-linger` lets it run while you are logged out",
    ]


def remove(job: Job) -> list[str]:
    """Take the units away; what was done."""
    files = [folder() / f"{job.name}{suffix}" for suffix in (".timer", ".service")]
    files = [path for path in files if path.is_file()]
    if not files:
        return []
    answers = _manager_answers()
    if answers:
        _manager("disable", "--now", f"{job.name}.timer")
    for path in (folder() / WANTS / f"{job.name}.timer", *files):
        path.unlink(missing_ok=True)
    if answers:
        _manager("daemon-reload")
    return [f"removed {path}" for path in files]


def show(job: Job) -> list[str]:
    """What is installed: the timer's file and its time."""
    path = folder() / f"{job.name}.timer"
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    at = next((line.partition("=")[2] for line in lines if line.startswith("OnCalendar=")), "")
    current = at and all(_is(unit) for unit in units(job, at))
    changed = "" if current else " (not as `crywatch schedule install` would write it now)"
    return [f"systemd: {at}, by {path}{changed}"]


def _is(unit: Unit) -> bool:
    return unit.path.is_file() and unit.path.read_text(encoding="utf-8") == unit.text


def _manager_answers() -> bool:
    return shutil.which("systemctl") is not None and not _run(
        "systemctl", "--user", "show-environment"
    )


def _manager(*words: str) -> None:
    if said := _run("systemctl", "--user", *words):
        raise CrywatchError(f"`systemctl --user {' '.join(words)}` failed: {said}")


def _run(*command: str) -> str:
    """What a command that failed said; empty for one that went well."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT_S)
    except subprocess.TimeoutExpired:
        return f"no answer in {WAIT_S:g} s"
    return "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"

"""A marked block in the user's crontab; see crontab(5)."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass

from crywatch.core.errors import ConfigError, CrywatchError
from crywatch.operations.schedule.job import Job, checked

AT = "0 3 * * 0"
NICKNAMES = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
MAX_COMMAND = 998  # characters; cron cuts longer ones off
WAIT_S = 30.0


@dataclass(frozen=True)
class Field:
    """One of an expression's five."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()  # that may stand for low, low + 1, ...


FIELDS = (
    Field("minute", 0, 59),
    Field("hour", 0, 23),
    Field("day of month", 1, 31),
    Field(
        "month",
        1,
        12,
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    ),
    Field("day of week", 0, 7, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)
_ITEM = re.compile(r"(?P<first>\*|[a-z0-9]+)(?:-(?P<last>[a-z0-9]+))?(?:/(?P<step>[0-9]+))?", re.I)


def checked_expression(at: str) -> str:
    """``at``: five fields or a nickname, as every cron knows them; ConfigError otherwise."""
    checked(at, "--at")
    at = " ".join(at.split())
    if at.lower() in NICKNAMES:
        return at.lower()
    values = at.split()
    if len(values) != len(FIELDS):
        raise ConfigError(
            f"--at {at!r} is no cron expression: five fields ({AT!r} is Sundays at 3:00), or one "
            f"of {', '.join(NICKNAMES)}"
        )
    for field, value in zip(FIELDS, values, strict=True):
        for item in value.split(","):
            _check(field, item, at)
    return at


def line(job: Job, at: str) -> str:
    """The table's line; ConfigError where it would be longer than cron reads."""
    folder, environment = shlex.quote(str(job.project)), shlex.quote(str(job.environment_file))
    command = (
        f"umask 077; cd {folder} && set -a && {{ [ ! -f {environment} ] || . {environment}; }} && "
        f"set +a && exec nice -n 10 {shlex.join(job.command)}"
    )
    # Cron takes a percent sign for a newline; the second of two backslashes would not escape one.
    command = command.replace("\\%", "\\''%").replace("%", "\\%")
    if len(command.encode()) > MAX_COMMAND:
        raise ConfigError(
            f"{job.project}: the command would have {len(command.encode())} bytes, cron reads "
            f"{MAX_COMMAND}: use --systemd, or shorter paths"
        )
    return f"{checked_expression(at)} {command}"


def block(job: Job, at: str) -> str:
    """The line between its marks."""
    begin, end = _marks(job)
    return f"{begin}\n# of {job.project}\n{line(job, at)}\n{end}\n"


def install(job: Job, at: str) -> list[str]:
    """Put the block into the user's table, in place of an earlier one; what was done."""
    before = _read()
    head, old, tail = _parts(job, before)
    new = block(job, at)
    if old == new:
        return ["crontab: as it was"]
    if head and not head.endswith("\n"):
        head += "\n"
    _write(head + new + tail)
    return [f"crontab: {line(job, at)}"]


def remove(job: Job) -> list[str]:
    """Take the block out; what was done."""
    if shutil.which("crontab") is None:
        return []
    head, old, tail = _parts(job, _read())
    if not old:
        return []
    _write(head + tail)
    return ["crontab: the line was removed"]


def show(job: Job) -> list[str]:
    """What is installed."""
    if shutil.which("crontab") is None:
        return []
    _, old, _ = _parts(job, _read())
    lines = [one for one in old.splitlines() if one and not one.startswith("#")]
    return [f"cron: {one}" for one in lines]


def _check(field: Field, item: str, at: str) -> None:
    found = _ITEM.fullmatch(item)
    if found is None:
        raise _wrong(field, item, at)
    first, last, step = found["first"], found["last"], found["step"]
    if first == "*":
        low, high = field.low, field.high
        if last is not None:
            raise _wrong(field, item, at)
    else:
        low = _number(field, first, item, at)
        high = low if last is None else _number(field, last, item, at)
        if step is not None and last is None:
            raise _wrong(field, item, at)  # some crons take 5/10, others refuse the table
    if low > high or (step is not None and int(step) < 1):
        raise _wrong(field, item, at)


def _number(field: Field, text: str, item: str, at: str) -> int:
    if text.lower() in field.names:
        return field.low + field.names.index(text.lower())
    if not text.isdecimal() or not field.low <= int(text) <= field.high:
        raise _wrong(field, item, at)
    return int(text)


def _wrong(field: Field, item: str, at: str) -> ConfigError:
    return ConfigError(
        f"--at {at!r}: {item!r} is no {field.name} ({field.low} to {field.high}, lists by comma, "
        "ranges by hyphen, * or a range with /STEP)"
    )


def _marks(job: Job) -> tuple[str, str]:
    return f"# BEGIN {job.name} (crywatch schedule)", f"# END {job.name}"


def _parts(job: Job, table: str) -> tuple[str, str, str]:
    """The table before the block, the block (empty without one) and what is after it."""
    begin, end = (f"{mark}\n" for mark in _marks(job))
    lines = table.splitlines(keepends=True)
    starts = [at for at, one in enumerate(lines) if one == begin]
    ends = [at for at, one in enumerate(lines) if one == end]
    if not starts and not ends:
        return table, "", ""
    if len(starts) != 1 or len(ends) != 1 or starts > ends:
        raise CrywatchError(
            f"crontab: the marks {begin.strip()!r} and {end.strip()!r} stand not once each, in "
            "this order: put that right with `crontab -e`"
        )
    at, to = starts[0], ends[0] + 1
    return "".join(lines[:at]), "".join(lines[at:to]), "".join(lines[to:])


def _read() -> str:
    done = _crontab("-l")
    if done.returncode == 0:
        return done.stdout
    if "no crontab for" in done.stderr:
        return ""
    raise CrywatchError(f"`crontab -l` failed: {done.stderr.strip()}")


def _write(table: str) -> None:
    done = _crontab("-", given=table)
    if done.returncode:
        raise CrywatchError(f"`crontab -` refused the table: {done.stderr.strip()}")


def _crontab(word: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    if shutil.which("crontab") is None:
        raise CrywatchError(
            "there is no crontab program on PATH: install cron, or use --systemd; --print shows "
            "the line"
        )
    try:
        return subprocess.run(
            ["crontab", word],
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            text=True,
            encoding="utf-8",
            env=os.environ | {"LC_ALL": "C"},
            check=False,
            timeout=WAIT_S,
        )
    except subprocess.TimeoutExpired:
        raise CrywatchError(f"`crontab {word}` gave no answer in {WAIT_S:g} s") from None

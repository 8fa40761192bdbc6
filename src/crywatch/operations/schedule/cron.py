"""A marked block in the user's crontab; see crontab(5).

python-crontab checks the expression. The table is not written by it: it would trim lines, move
variables and comment out what it cannot read, and the lines of others stay as they are here.
"""

from __future__ import annotations

import re
import shlex
import shutil

from crywatch.core.errors import ConfigError, CrywatchError
from crywatch.operations.schedule.job import Job, call, check_one_line, render

AT = "0 3 * * 0"
MAX_COMMAND = 998  # bytes; cron cuts longer ones off


def check_expression(at: str) -> str:
    """``at`` on single spaces; ConfigError unless it is five fields or a nickname of every cron."""
    from crontab import CronSlices

    check_one_line(at, "--at")
    at = " ".join(at.split())
    # The library also takes other alphabets' digits, ~ for random times, < and >, and @reboot.
    plain = re.fullmatch(r"[\w@*/, -]+", at, re.ASCII) and at.lower() != "@reboot"
    if not plain or not CronSlices.is_valid(at):
        raise ConfigError(
            f"--at {at!r} is no cron expression: five fields ({AT!r} is Sundays at 3:00; lists by "
            "comma, ranges by hyphen, * or a range with /STEP), or one such as @daily"
        )
    return at.lower() if at.startswith("@") else at


def line(job: Job, at: str) -> str:
    """The table's line; ConfigError where it would be longer than cron reads."""
    folder, environment = shlex.quote(str(job.project)), shlex.quote(str(job.environment_file))
    command = (
        f"umask 077; cd {folder} && set -a && {{ [ ! -f {environment} ] || . {environment}; }} && "
        f"set +a && exec nice -n 10 {shlex.quote(job.program)} -m crywatch.cli retrain"
    )
    # Cron takes a percent sign for a newline; the second of two backslashes would not escape one.
    command = command.replace("\\%", "\\''%").replace("%", "\\%")
    if len(command.encode()) > MAX_COMMAND:
        raise ConfigError(
            f"{job.project}: the command would have {len(command.encode())} bytes, cron reads "
            f"{MAX_COMMAND}: use --systemd, or shorter paths"
        )
    return f"{check_expression(at)} {command}"


def preview(job: Job, at: str) -> str:
    """The line between its marks, as it stands in the table."""
    return render("crontab.j2", job=job, line=line(job, at))


def install(job: Job, at: str) -> list[str]:
    """Put the block into the user's table, in place of an earlier one."""
    head, old, tail = _parts(job)
    new = preview(job, at)
    if old == new:
        return ["crontab: as it was"]
    if head and not head.endswith("\n"):
        head += "\n"
    call("crontab", "-", stdin=head + new + tail)
    return [f"crontab: {line(job, at)}"]


def remove(job: Job) -> list[str]:
    """Take the block out."""
    head, old, tail = _parts(job)
    if not old:
        return []
    call("crontab", "-", stdin=head + tail)
    return ["crontab: the line was removed"]


def show(job: Job) -> list[str]:
    """The installed line."""
    block = _parts(job)[1].splitlines()
    return [f"cron: {entry}" for entry in block if entry and not entry.startswith("#")]


def _parts(job: Job) -> tuple[str, str, str]:
    """The user's table before the block, the block (empty without one) and the table after it."""
    try:
        table = call("crontab", "-l") if shutil.which("crontab") else ""
    except CrywatchError as error:
        if "no crontab for" not in str(error):
            raise
        table = ""
    begin, end = f"# BEGIN {job.name} (crywatch schedule)\n", f"# END {job.name}\n"
    marks = list(re.finditer(f"^(?:{re.escape(begin)}|{re.escape(end)})", table, re.MULTILINE))
    if not marks:
        return table, "", ""
    if [mark.group() for mark in marks] != [begin, end]:
        raise CrywatchError(
            f"crontab: the marks {begin.strip()!r} and {end.strip()!r} stand not once each, in "
            "this order: put that right with `crontab -e`"
        )
    start, stop = marks[0].start(), marks[1].end()
    return table[:start], table[start:stop], table[stop:]

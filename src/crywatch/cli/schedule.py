"""The `crywatch schedule` commands: thin, the logic is in `crywatch.operations.schedule`."""

from __future__ import annotations

from typing import Annotated

import typer

from crywatch.core.errors import CrywatchError
from crywatch.core.project import root, say

app = typer.Typer(help="Run `crywatch retrain` unattended, at set times.", no_args_is_help=True)

Systemd = Annotated[bool, typer.Option("--systemd", help="A timer of the user's own systemd.")]
Cron = Annotated[bool, typer.Option("--cron", help="A line in the user's crontab.")]


@app.command()
def install(
    systemd: Systemd = False,
    cron: Cron = False,
    at: Annotated[
        str | None,
        typer.Option(
            help="When, by default Sundays at 3:00: a calendar event of systemd ('Sun 03:00'), or "
            "cron's five fields ('0 3 * * 0')."
        ),
    ] = None,
    shown: Annotated[bool, typer.Option("--print", help="Show it and change nothing.")] = False,
) -> None:
    """Run `crywatch retrain` of this project by systemd or cron; again with another time moves it.

    Secrets are read from a file that it names, and are never written into a unit or a table.
    """
    from crywatch.operations.schedule import cron as crontab
    from crywatch.operations.schedule import job as jobs
    from crywatch.operations.schedule import of_project
    from crywatch.operations.schedule import systemd as units

    if systemd == cron:
        raise CrywatchError("name one of --systemd and --cron")
    scheduler = units if systemd else crontab
    job = of_project(root())
    at = scheduler.AT if at is None else at
    if shown and systemd:
        for unit in units.units(job, at):
            typer.echo(f"# {unit.path}\n{unit.text}")
        return
    if shown:
        typer.echo(crontab.block(job, at), nl=False)
        return
    for line in scheduler.install(job, at):
        typer.echo(line)
    if names := jobs.missing_names(job):
        say(
            f"set here, and not in {job.environment_file}, which the schedule reads: "
            f"{', '.join(names)}"
        )
    if jobs.open_to_others(job):
        say(f"{job.environment_file}: others may read it: `chmod 600` it")


@app.command()
def show() -> None:
    """Show what is scheduled for this project."""
    from crywatch.operations.schedule import cron, of_project, systemd

    job = of_project(root())
    for line in (*systemd.show(job), *cron.show(job)) or [f"{job.project}: nothing is scheduled"]:
        typer.echo(line)


@app.command()
def remove() -> None:
    """Take this project's timer and cron line away."""
    from crywatch.operations.schedule import cron, of_project, systemd

    job = of_project(root())
    for line in (*systemd.remove(job), *cron.remove(job)) or [
        f"{job.project}: nothing was scheduled"
    ]:
        typer.echo(line)


@app.command()
def serve(
    at: Annotated[str, typer.Option(help="Cron's five fields, in UTC.")] = "0 3 * * 0",
) -> None:
    """Run `crywatch retrain` of this project as a Prefect flow, at its times, until stopped.

    The server is the one that PREFECT_API_URL names; needs the extra prefect.
    """
    from crywatch.operations import flow
    from crywatch.operations.schedule.cron import checked_expression

    flow.serve(root().resolve(), checked_expression(at))

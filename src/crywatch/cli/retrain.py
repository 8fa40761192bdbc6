"""The `crywatch retrain` command: thin, the logic is in `crywatch.operations.retrain`."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Annotated

import typer

from crywatch.core.project import root, say

EXIT_LOCKED = 75  # EX_TEMPFAIL of sysexits.h: try again later


def retrain(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; do and keep nothing.")
    ] = False,
    force: Annotated[
        str, typer.Option(metavar="REASON", help="Rebuild whatever has changed, for this reason.")
    ] = "",
    by: Annotated[str, typer.Option(metavar="WHO", help="Kept with what is done.")] = (
        "crywatch retrain"
    ),
    history: Annotated[bool, typer.Option("--list", help="Print what earlier runs did.")] = False,
) -> None:
    """Rebuild, register and promote where data, code or parameters are new; else say so.

    Exit code 0: done, nothing to do, or refused by a gate (the line says which); 1: a step failed,
    the champion serves on and the next run goes on from there; 75: another one is running.
    """
    from crywatch.core import params
    from crywatch.operations.retrain import AlreadyRunning, RetrainConfig, run
    from crywatch.operations.retrain.record import FAILED, RunFolder

    project = root().resolve()
    config = params.section("retrain", RetrainConfig, project / params.PARAMS_FILE)
    if history:
        for line in RunFolder(project / config.folder).history():
            version = "" if line.version is None else f"version {line.version}"
            typer.echo(f"{line.id}  {line.outcome:<8}  {version:<11}  {line.reason}")
        return
    signal.signal(signal.SIGTERM, _stop)
    try:
        record = run(config, project, by, force, dry_run)
    except AlreadyRunning as error:
        say(str(error))
        raise typer.Exit(EXIT_LOCKED) from None
    typer.echo(f"{record.outcome}: {record.reason}")
    for note in record.notes:
        typer.echo(f"  {note}")
    if record.report:
        typer.echo(f"  {record.report}")
    if record.outcome == FAILED:
        say(record.tail)
        raise typer.Exit(1)


def _stop(number: int, frame: FrameType | None) -> None:
    """A schedule's time limit: what runs is ended and recorded, as by Ctrl-C."""
    raise SystemExit(128 + number)

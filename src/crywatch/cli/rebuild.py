"""`crywatch repro`, `crywatch check` and `crywatch dag`: rebuilds, and what they stand on."""

from __future__ import annotations

from typing import Annotated

import typer

from crywatch.core.project import root, say

ANY_ARGUMENTS = {"allow_extra_args": True, "ignore_unknown_options": True}


def mount(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command(context_settings=ANY_ARGUMENTS, add_help_option=False)(repro)
    app.command()(check)
    app.command()(dag)


def repro(
    context: typer.Context,
    jobs: Annotated[
        int, typer.Option("--jobs", min=1, help="Stages at a time, where their order allows it.")
    ] = 2,
) -> None:
    """`dvc repro` with the same arguments, after what a killed rebuild left is set right.

    Stages that do not read each other's outputs run side by side, which changes only the time.
    Before it ends all that the stages recorded is sent, and where not all of the corpora came a
    table says what, and why. Its last line names the stages whose outputs another processor made
    otherwise.
    """
    from crywatch.core import params
    from crywatch.data.check import missing_lines
    from crywatch.operations import recover, rounding
    from crywatch.operations import repro as rebuilding

    here = root()
    params.everything(here)  # what is wrong there has a line, which DVC does not tell
    for line in recover.mend(here):
        say(line)
    recover.wait_for_stages(here, say)
    code = rebuilding.run(context.args, jobs)
    for line in missing_lines(here):
        say(line)
    if said := rounding.line(here):
        say(said)
    raise typer.Exit(code)


def check(
    outs: Annotated[
        list[str] | None, typer.Argument(help="Stages or paths of dvc.lock; by default all.")
    ] = None,
    mend: Annotated[
        bool,
        typer.Option("--mend", help="Write wrong files from right copies, remove the others."),
    ] = False,
) -> None:
    """Read all data again: is it what dvc.lock says, and are corpora what their folders hold?

    DVC trusts its cache, and files that kept their size and time; this reads every byte. A line
    for each thing that is wrong, with what to run; exit code 1 if there is one.
    """
    from crywatch.operations import check as checking

    here = root()
    findings = checking.verify(here, outs or ())
    for finding in findings:
        typer.echo(finding.line)
    if mend:
        for line in checking.mend(findings):
            say(line)
    if any(finding.wrong for finding in findings):
        raise typer.Exit(1)
    say("the data is what dvc.lock says")


def dag(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 where stages would change.")
    ] = False,
) -> None:
    """Write into dvc.yaml and studies/dvc.yaml the code that stages depend on, by their imports."""
    from crywatch.operations import dag as writing

    changed = writing.write(root(), check)
    if changed:
        say(f"other code than before: {', '.join(changed)}")
    if check and changed:
        say("run `crywatch dag`")
        raise typer.Exit(1)

"""Commands on registered models: thin, the logic is in `crywatch.operations.register`."""

from __future__ import annotations

import contextlib
import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crywatch.core.errors import CrywatchError, ModelError
from crywatch.core.project import root, say

if TYPE_CHECKING:
    from crywatch.operations.register import Registration

app = typer.Typer()

By = Annotated[str | None, typer.Option(help="Who does it; by default the user of this machine.")]
Deciding = Annotated[
    Path | None,
    typer.Option(
        help="A model folder, champion, challenger or NAME/VERSION of the registry, or "
        "released; by default params.yaml's detect.model, or released where that is not made."
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(min=0.0, max=1.0, help="Of a second's score, not as the model decides."),
]
StatedRate = Annotated[
    float | None,
    typer.Option(help="Decide as the model was calibrated for; one of its stated rates."),
]
VERDICTS = {True: "kept", False: "FAILED"}


@app.command()
def register(
    by: By = None,
    reason: Annotated[str, typer.Option(help="Why; it is kept with the version.")] = "",
    model: Annotated[
        str | None, typer.Option(help="A model folder; by default params.yaml's register.model.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the decision here too.")] = None,
    no_promote: Annotated[
        bool, typer.Option("--no-promote", help="To `challenger` only, whatever the gates say.")
    ] = False,
    force: Annotated[
        str, typer.Option(help="Promote whatever the gates say; the REASON is kept.")
    ] = "",
) -> None:
    """Register the model that the last `dvc repro` made, and promote it if it is better.

    Prints every gate with its numbers. A model that is refused is registered all the same, as
    `challenger`, and the exit code is 0.
    """
    from dataclasses import replace

    from crywatch.core import params
    from crywatch.core.atomic import write_json
    from crywatch.operations.register.config import RegisterConfig
    from crywatch.operations.register.run import Request, run

    if no_promote and force:
        raise CrywatchError("--no-promote and --force exclude each other")
    out = json.absolute() if json else None
    with contextlib.chdir(root()):
        config = params.section("register", RegisterConfig)
        if model is not None:
            config = replace(config, model=model)
        registration = run(config, Request(by or _user(), reason, not no_promote, force))
    _show(registration)
    if out is not None:
        write_json(out, registration.as_dict())


def _show(registration: Registration) -> None:
    if registration.gates:
        wide = max(len(gate.slice) for gate in registration.gates)
        for gate in registration.gates:
            typer.echo(
                f"{VERDICTS[gate.passed]:<6}  {gate.name:<14}  {gate.slice:<{wide}}  {gate.said}"
            )
    typer.echo(f"version {registration.version}: {registration.why}")
    for missing in (registration.no_devices, registration.no_infants):
        if missing:
            say(missing)


@app.command()
def rollback(
    reason: Annotated[str, typer.Option(help="Why; it is kept with the version.")],
    to: Annotated[
        int | None, typer.Option(help="A version; by default the one that was champion before.")
    ] = None,
    by: By = None,
) -> None:
    """Let `champion` name the model that it named before.

    The model that it leaves is not promoted again by `crywatch register`, but with --force.
    """
    from crywatch.core import params
    from crywatch.operations.register.config import RegisterConfig
    from crywatch.operations.register.run import rollback as go_back

    with contextlib.chdir(root()):
        move = go_back(params.section("register", RegisterConfig), to, by or _user(), reason)
    typer.echo(f"champion: version {move.from_version} to version {move.to_version}: {reason}")


def folder(model: Path | None, default: str) -> Path:
    """The model folder that a command is to use: one on disk, or of the registry.

    A folder on disk goes before a registered model of that name, with a line on it. ``released``
    is the package's own, which also stands in for a ``default`` folder that no rebuild has made.
    """
    from crywatch.detection import released

    text = model.as_posix() if model is not None else default
    if text == released.NAME:
        return released.FOLDER
    path = model if model is not None else root() / default
    which = text.removesuffix("/export").rpartition("/")[2]
    may_be_registered = which in ("champion", "challenger") or which.isdigit()
    if path.is_dir():
        if may_be_registered:
            say(f"{path} is a folder: it is used, and no registered model of that name")
        return path
    name = None
    if may_be_registered:  # the registry's libraries take seconds to load
        from crywatch.core import params
        from crywatch.operations.register.models import parse, use

        name = parse(text, params.plain("register.name", root() / params.PARAMS_FILE))
    if name is None and model is None:
        return released.folder_of(path)
    if name is None:
        raise ModelError(
            f"{path}: no model here: name a folder that `dvc repro` made, such as "
            "data/calibrate/robust, champion or NAME/VERSION of the registry, or released"
        )
    here = Path.cwd()
    with contextlib.chdir(root()):
        path = use(name, say).absolute()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in containers
        return "unknown"

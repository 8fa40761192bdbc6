"""`crywatch sweep` and `crywatch runs`: thin, the logic is in `sweep` and `tracking.ties`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from crywatch.core.project import root

HYDRA = {"allow_extra_args": True, "ignore_unknown_options": True}


def sweep(context: typer.Context) -> None:
    """Rebuild once for each combination of Hydra overrides, e.g. 'mine.top_t=1,2'.

    All arguments are Hydra's: `hydra/launcher=joblib hydra.launcher.n_jobs=2` runs two jobs at a
    time. Each has its own copy of the working tree and becomes an experiment of DVC; all are under
    one run in MLflow, with a table of them. CRYWATCH_SWEEP in the environment names the sweep; one
    of that name is gone on with. The section `sweep` says which stages, and which metric.
    """
    from crywatch.core import params
    from crywatch.operations.sweep import main

    main(context.args, root(params.CONF_DIR / "config.yaml"))


def runs(
    what: Annotated[
        str,
        typer.Argument(help="An experiment of DVC, a git commit or branch, or a run of MLflow."),
    ],
) -> None:
    """Print which runs, experiments and commits belong to WHAT, whichever of them it is."""
    from crywatch.tracking.registry import open_registry
    from crywatch.tracking.store import reached
    from crywatch.tracking.ties import find, render

    with contextlib.chdir(root()), reached():
        typer.echo(render(find(open_registry(create=False), Path.cwd(), what)))


def mount(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(context_settings=HYDRA)(sweep)
    app.command()(runs)

"""Hydra's sweeps over conf/: each job rebuilds its own copy of the project, many at once.

`crywatch sweep` is a Hydra application in multirun mode, so launchers (joblib) and sweepers are
Hydra's own. A job composes its configuration, writes it as params.yaml into a copy of the working
tree (`worktree`), and runs `dvc repro` there; DVC's run cache, which the copies share, gives it the
stages that others have made. What came of it is a DVC experiment, named after the sweep and the
job, and its runs hang under the sweep's run (`tracking.sweeps`).
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from crywatch.core import params
from crywatch.core.atomic import write_text
from crywatch.core.errors import ConfigError, CrywatchError
from crywatch.core.project import say
from crywatch.operations import worktree
from crywatch.tracking import sweeps

OUTPUTS = Path(".dvc") / "tmp" / "sweeps"  # a folder a sweep: logs and overrides, job by job
LOG = "dvc.log"
LISTED = 8  # names of metrics in an error
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # part of folders' and experiments' names


@dataclass(frozen=True)
class SweepConfig:
    """Section ``sweep``."""

    metric: str  # that jobs are compared by, as `dvc metrics show` names it with slashes; or empty
    targets: list[str] = field(default_factory=list)  # stages to rebuild; without one all


def main(arguments: Sequence[str], project: Path) -> None:
    """Run Hydra on ``arguments``: its flags and overrides; prints the table of the sweep.

    Hydra ends the process with its own exit code where a job failed; the table is printed first.

    Raises
    ------
    ConfigError
        An override that looks like a secret, or a name that cannot name folders.
    """
    import hydra

    name = os.environ.get(sweeps.VARIABLE) or f"sweep-{time.strftime('%Y%m%d-%H%M%S')}"
    if not NAME.fullmatch(name):
        raise ConfigError(f"{sweeps.VARIABLE}={name!r}: letters, digits, - and _ can name a sweep")
    for argument in arguments:
        key, _, value = argument.partition("=")
        if sweeps.is_secret(key, value):
            raise ConfigError(
                f"{key}: looks like a secret, and overrides are kept in params.yaml, git and "
                "MLflow: put it into the environment"
            )
    project = project.resolve()
    os.chdir(project)
    os.environ[sweeps.VARIABLE] = name
    # Here and not in conf/: `dvc exp run` and `crywatch params` compose that outside of Hydra.
    own = [
        "hydra.mode=MULTIRUN",
        "hydra.job.chdir=false",
        "hydra.job.name=sweep",
        f"hydra.sweep.dir={OUTPUTS / name}",
        "hydra.sweep.subdir=${hydra.job.num}",
        f"+hydra.job.env_set.{sweeps.VARIABLE}={name}",  # for launchers on other machines
    ]
    application = hydra.main(
        version_base=None, config_path=str(project / params.CONF_DIR), config_name="config"
    )(job)
    first = next((i for i, a in enumerate(arguments) if _is_override(a)), len(arguments))
    words = ["crywatch sweep", *arguments[:first], *own, *arguments[first:]]  # flags lead
    before, sys.argv = sys.argv, words
    try:
        application()
    finally:
        sys.argv = before
        _print_table(name)


def job(config: DictConfig) -> float | None:
    """One job: rebuild what ``config`` asks for; the value of its metric."""
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    project, out = Path(hydra.runtime.cwd), Path(hydra.runtime.output_dir)
    name, overrides = os.environ[sweeps.VARIABLE], list(hydra.overrides.task)
    experiment = f"{name}-{hydra.job.num}"
    settings = params.typed(config.get("sweep"), SweepConfig, "conf/: sweep")
    copy = worktree.checkout(project, "HEAD", experiment, changes=True)
    params.write(config, copy.folder)
    variables = {"DVC_EXP_NAME": experiment, sweeps.VARIABLE: name}
    said = " ".join(overrides) or "no overrides"
    say(f"{experiment}: {said}")
    # At once what the cache has: also what no target needs, which an experiment of DVC must have.
    copy.dvc("checkout", "--force", "--allow-missing")
    done = copy.dvc("repro", *settings.targets, variables=variables)
    write_text(out / LOG, done.stdout)
    if done.returncode:
        raise CrywatchError(
            f"{experiment} ({said}): `dvc repro` failed: {done.stdout[-worktree.TAIL :].strip()}\n"
            f"all of it is in {out / LOG}, what it made in {copy.folder}"
        )
    value = objective(copy, settings.metric)
    _save(project, copy, experiment)
    _conclude(name, experiment, overrides, value)
    worktree.remove(project, experiment)
    return value


def objective(copy: worktree.Worktree, metric: str) -> float | None:
    """The value of a metric in a copy, its keys joined by slashes; None without a name.

    Raises
    ------
    ConfigError
        No metrics file, or more than one, has it.
    """
    import json

    if not metric:
        return None
    done = copy.dvc("metrics", "show", "--json")
    start = done.stdout.find("{")
    if done.returncode or start < 0:
        raise CrywatchError(f"{copy.folder}: `dvc metrics show` failed: {done.stdout.strip()}")
    files = json.JSONDecoder().raw_decode(done.stdout[start:])[0][""].get("data", {})
    found = [
        (file, name, value)
        for file, read in files.items()
        for name, value in _flat(read.get("data", {}))
    ]
    values = [value for _, name, value in found if name == metric]
    if len(values) != 1:
        names = [name for _, name, _ in found]
        there = f"{len(values)} files have it" if values else _nearest(metric, names)
        raise ConfigError(f"sweep.metric: {metric!r} must be in one metrics file; {there}")
    return float(values[0])


def _is_override(argument: str) -> bool:
    return not argument.startswith("-") and ("=" in argument or argument.startswith("~"))


def _nearest(metric: str, names: Sequence[str]) -> str:
    from difflib import get_close_matches

    known = sorted(set(names))
    if not known:
        return "the rebuild made none"
    if len(known) <= LISTED:
        return f"there are {', '.join(known)}"
    near = get_close_matches(metric, known, LISTED, cutoff=0.0)
    return f"nearest are {', '.join(near)}, and `dvc metrics show` has all {len(known)}"


def _flat(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            yield f"{prefix}{name}", value


def _save(project: Path, copy: worktree.Worktree, experiment: str) -> None:
    """The copy as an experiment of the project: `dvc exp show` lists it, and it has a commit."""
    with worktree.alone(project):  # all copies share the references that DVC works with
        done = copy.dvc("exp", "save", "--force", "--name", experiment)
    if done.returncode:
        say(f"{experiment}: not saved as an experiment of DVC: {done.stdout.strip()}")


def _conclude(name: str, experiment: str, overrides: list[str], value: float | None) -> None:
    from crywatch.tracking.store import open_store

    changed = {key.lstrip("+~"): text for key, _, text in (o.partition("=") for o in overrides)}
    try:
        sweeps.conclude(open_store(), name, experiment, changed, value)
    except Exception as error:  # whatever the store or its driver raises: the rebuild is done
        say(f"MLflow store: {error}; {experiment} is not in its sweep's table")


def _print_table(name: str) -> None:
    from crywatch.tracking.store import open_store

    try:
        store = open_store()
        sweep_id = sweeps.find(store, name)
        table = [] if sweep_id is None else sweeps.rows(store, sweep_id)
    except Exception as error:  # as above
        say(f"MLflow store: {error}; there is no table of {name}")
        return
    if table:
        print(f"{name}: run {sweep_id}\n\n{sweeps.as_markdown(table)}")

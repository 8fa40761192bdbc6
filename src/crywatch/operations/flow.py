"""`crywatch retrain` as a Prefect flow, for teams that want its runs in a UI (extra ``prefect``).

`crywatch schedule serve` registers the flow with the server that PREFECT_API_URL names and runs it
at its times. What is done, locked and told is `retrain`'s; the flow shows it: a task, its
log, and the record as an artifact. Nothing is tried again here, for the next run goes on where one
stopped.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

try:
    from prefect import flow, get_run_logger, task
    from prefect.artifacts import create_markdown_artifact
    from prefect.states import Completed, Failed
except ImportError as error:
    from crywatch.core.errors import CrywatchError

    raise CrywatchError(
        f"Prefect is needed ({error}): install it with `pip install 'crywatch[prefect]'`, or use "
        "`crywatch schedule install --systemd`"
    ) from error

from crywatch.core import params
from crywatch.core.redact import redacted

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment
    from prefect.states import State

    from crywatch.operations.retrain import Record

NAME = "crywatch-retrain"
ARTIFACT = "crywatch-retrain"  # its versions are the records
AT = "0 3 * * 0"


@task(name="retrain", retries=0)
def retrain(project: str) -> Record | str:
    """The record of one unattended run, or what is said where another one holds the lock."""
    from crywatch.operations.retrain import Held, RetrainConfig, run

    folder = Path(project)
    config = params.section("retrain", RetrainConfig, folder / params.PARAMS_FILE)
    try:
        record = run(config, folder, f"prefect {NAME}")
    except Held as error:
        return redacted(str(error))
    logger = get_run_logger()
    for step in record.steps:
        logger.info("%s: %.1f s %s", step.name, step.seconds, redacted(step.said))
    return record


@flow(name=NAME, retries=0, log_prints=False)
def retraining(project: str) -> State:
    """Retrain ``project`` where there is a reason to; failed where a stage or step did."""
    # The record stays here: it names recordings, and the server keeps what a task gives back.
    done = retrain.with_options(persist_result=False)(project)
    if isinstance(done, str):
        return Completed(name="Locked", message=done)
    create_markdown_artifact(
        page(done), key=ARTIFACT, description=redacted(f"{done.outcome}: {done.reason}")
    )
    said = redacted(f"{done.outcome}: {done.reason}")
    if done.outcome == "failed":
        return Failed(message=said)
    return Completed(name=done.outcome.capitalize(), message=said)


def page(record: Record) -> str:
    """A record as Markdown, without secrets, names of recordings and folders."""
    told = record.public()
    rows = [
        ("reason", told["reason"]),
        ("started", told["started_at"]),
        ("ended", told["ended_at"]),
        ("commit", told["commit"]),
        ("version", "none" if told["version"] is None else told["version"]),
        ("report", told["report"] or "none"),
    ]
    lines = [f"# {told['outcome']}", "", *_table(("", ""), rows)]
    if told["steps"]:
        steps = [(one["name"], f"{one['seconds']:.1f}", one["said"]) for one in told["steps"]]
        lines += ["", *_table(("step", "seconds", ""), steps)]
    if told["notes"]:
        lines += ["", *(f"- {note}" for note in told["notes"])]
    return redacted("\n".join(lines) + "\n")


def deployment(project: Path, at: str = AT) -> RunnerDeployment:
    """What the server knows of the flow: its times, and that one run at a time is enough."""
    from prefect.client.schemas.objects import (
        ConcurrencyLimitConfig,
        ConcurrencyLimitStrategy,
    )

    return retraining.to_deployment(
        name=project.name or NAME,
        cron=at,
        parameters={"project": str(project)},
        concurrency_limit=ConcurrencyLimitConfig(
            limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
        ),
        description=f"`crywatch retrain` of {project}",
    )


def serve(project: Path, at: str = AT) -> None:
    """Register the flow and run it at its times, until it is stopped."""
    from prefect import serve as run_forever

    run_forever(deployment(project, at), limit=1)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    def line(cells: Sequence[Any]) -> str:
        plain = (" ".join(str(cell).replace("|", "\\|").split()) for cell in cells)
        return f"| {' | '.join(plain)} |"

    return [line(head), f"|{'---|' * len(head)}", *map(line, rows)]

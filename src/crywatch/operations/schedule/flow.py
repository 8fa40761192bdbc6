"""`crywatch retrain` as a Prefect flow, for teams that want its runs in a UI (extra ``prefect``).

`crywatch schedule serve` registers the flow with the server that PREFECT_API_URL names and runs it
at its times. The work, its lock and its notifications are `retrain`'s; the flow shows them: a task,
its log, and the record as an artifact. Nothing is tried again, for the next run goes on where the
last one stopped.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

try:
    import prefect
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
from crywatch.operations.schedule.job import render

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment
    from prefect.states import State

    from crywatch.operations.retrain import Record

NAME = "crywatch-retrain"  # of the flow, and of the artifact whose versions are the records


@task(name="retrain", retries=0)
def retrain(project: str) -> Record | str:
    """The record of one unattended run, or a message where another one holds the lock."""
    from crywatch.operations.retrain import AlreadyRunning, RetrainConfig, run

    folder = Path(project)
    config = params.section("retrain", RetrainConfig, folder / params.PARAMS_FILE)
    try:
        record = run(config, folder, f"prefect {NAME}")
    except AlreadyRunning as error:
        return redacted(str(error))
    logger = get_run_logger()
    for step in record.steps:
        logger.info("%s: %.1f s %s", step.name, step.seconds, redacted(step.said))
    return record


@flow(name=NAME, retries=0, log_prints=False)
def retraining(project: str) -> State:
    """Retrain ``project`` where there is a reason to; failed where a stage or step did."""
    # The record stays here: it names recordings, and the server keeps what a task gives back.
    record = retrain.with_options(persist_result=False)(project)
    if isinstance(record, str):
        return Completed(name="Locked", message=record)
    message = redacted(f"{record.outcome}: {record.reason}")
    page = redacted(render("record.md.j2", **record.public()))
    create_markdown_artifact(page, key=NAME, description=message)
    if record.outcome == "failed":
        return Failed(message=message)
    return Completed(name=record.outcome.capitalize(), message=message)


def deployment(project: Path, at: str) -> RunnerDeployment:
    """The flow as the server keeps it: its times in UTC, and one run at a time."""
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy

    description = retraining.to_deployment(
        name=project.name or NAME,
        cron=at,
        parameters={"project": str(project)},
        concurrency_limit=ConcurrencyLimitConfig(
            limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
        ),
        description=f"`crywatch retrain` of {project}",
    )
    return cast("RunnerDeployment", description)  # a coroutine only inside another one


def serve(project: Path, at: str) -> None:
    """Register the flow and run it at its times, until it is stopped."""
    prefect.serve(deployment(project, at), limit=1)

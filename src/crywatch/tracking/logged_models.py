"""Models of stages: saved when the stage has them, logged when the store is there, and once."""

from __future__ import annotations

from pathlib import Path

from crywatch.tracking.pyfunc import parts
from crywatch.tracking.store import Store

FILE = "MLmodel"
READY = "READY"
OF_RUN = "mlflow.source."  # tags that MLflow gives a model too


def save(folder: Path, target: Path) -> dict[str, str]:
    """Save a model folder as a pyfunc at ``target``; the tags that model and run get.

    The source of the package goes along as it is now, whenever the model is delivered.
    """
    import mlflow

    made = parts(folder)
    mlflow.pyfunc.save_model(path=str(target), **made.arguments)
    for cache in list(target.rglob("__pycache__")):
        for file in cache.iterdir():
            file.unlink()
        cache.rmdir()
    return made.terms.as_tags()


def log(store: Store, run_id: str, name: str, saved: Path, tags: dict[str, str]) -> None:
    """Log what `save` made to a run.

    Each step looks what is there first: one that was broken off is gone on with. A run has one
    model of a name.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.models import Model

    client = store.client
    found = client.search_logged_models(
        [store.experiment_id], f"source_run_id = '{run_id}' and name = '{name}'"
    )
    run = client.get_run(run_id)
    linked = [output.model_id for output in run.outputs.model_outputs] if run.outputs else []
    found = sorted(found, key=lambda model: (model.model_id not in linked, model.model_id))
    for surplus in found[1:]:  # the answer to a request that made one was lost
        client.delete_logged_model(surplus.model_id)
    model = (
        found[0]
        if found
        else client.create_logged_model(
            store.experiment_id,
            name=name,
            source_run_id=run_id,
            tags=tags | {k: v for k, v in run.data.tags.items() if k.startswith(OF_RUN)},
            params=run.data.params,
        )
    )
    if model.model_id not in linked:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    if str(model.status).rpartition(".")[2] == READY:
        return
    _copy_metrics(store, run, model.model_id)
    described = Model.load(str(saved))
    described.run_id, described.model_id = run_id, model.model_id
    described.model_uuid, described.artifact_path = model.model_id, model.artifact_location
    described.save(str(saved / FILE))
    client.log_model_artifacts(model.model_id, str(saved))
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)


def _copy_metrics(store: Store, run: object, model_id: str) -> None:
    """The run's numbers that are of no step are the model's too, as MLflow does it."""
    from mlflow.entities import Metric

    numbers = [
        Metric(m.key, m.value, m.timestamp, m.step, model_id=model_id)
        for m in run.data.to_proto().metrics
        if m.step == 0
    ]
    if numbers:
        store.client.log_batch(run.info.run_id, metrics=numbers)

"""Model folders as MLflow pyfunc models: waveforms in, clip scores or embeddings out.

Stages save a model when they have it (`save`) and log it when the store is there, and once
(`log_saved`); registering logs it at once (`log_pyfunc`).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import crywatch
from crywatch.audio.segments import RATE_HZ
from crywatch.core.atomic import read_json
from crywatch.core.models import DESCRIPTION
from crywatch.corpora.terms import Terms, terms_of_model
from crywatch.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Run

PACKAGE = Path(crywatch.__file__).parent
FILE = "MLmodel"
READY = "READY"
OF_RUN = "mlflow.source."  # tags that MLflow gives a model too


@dataclass(frozen=True)
class Flavour:
    """How a kind of model is served."""

    code: str  # the module that MLflow runs, in the package's folder
    requirements: tuple[str, ...]
    output: tuple[str, tuple[int, ...]]  # type and shape


# Requirements are those of params.yaml's default embedder; detectors on VGGish or YAMNet say what
# they miss.
DETECTOR = Flavour(
    "detection/mlflow_model.py",
    ("torch", "numpy", "librosa", "soxr", "safetensors", "omegaconf"),
    ("float64", (-1,)),
)
EMBEDDER = Flavour(
    "speaker/mlflow_model.py",
    ("torch", "numpy", "torchaudio", "speechbrain", "safetensors"),
    ("float32", (-1, 192)),
)


@dataclass(frozen=True)
class LoggedModel:
    """A model as MLflow keeps it."""

    uri: str  # models:/ID
    terms: Terms


@dataclass(frozen=True)
class Parts:
    """What MLflow is told of a model folder."""

    terms: Terms
    arguments: dict[str, Any]  # of mlflow.pyfunc.save_model and log_model


def parts(folder: Path) -> Parts:
    """A model folder as a pyfunc.

    The model is code by path and the folder's files: nothing is pickled. The package is on no
    index, so its source goes along, and the model loads where crywatch is not installed.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    description = read_json(folder / DESCRIPTION)
    terms = terms_of_model(description)
    flavour = EMBEDDER if description.get("kind") == "ecapa" else DETECTOR
    output, shape = flavour.output
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, -1))]),
        outputs=Schema([TensorSpec(np.dtype(output), shape)]),
    )
    arguments = {
        "python_model": str(PACKAGE / flavour.code),
        "artifacts": {"model": str(folder)},
        "code_paths": [str(PACKAGE)],
        "signature": signature,
        "input_example": np.zeros((1, RATE_HZ), dtype=np.float32),
        # Without "+cpu", which is on PyTorch's own index only.
        "pip_requirements": [f"{p}=={version(p).partition('+')[0]}" for p in flavour.requirements],
        "metadata": terms.as_metadata(),  # in the model's own file, wherever that goes
    }
    return Parts(terms, arguments)


def log_pyfunc(store: Store, run_id: str, name: str, folder: Path) -> LoggedModel:
    """Log ``folder`` to a run that goes on, with signature and input example.

    At once, and not through the spool as stages do.
    """
    import mlflow

    made = parts(folder)
    mlflow.set_tracking_uri(store.uri)
    try:
        with mlflow.start_run(run_id=run_id):
            logged = mlflow.pyfunc.log_model(name=name, tags=made.terms.as_tags(), **made.arguments)
    finally:  # leaving `start_run` ends the run, and it goes on
        store.client.update_run(run_id, status="RUNNING")
    return LoggedModel(f"models:/{logged.model_id}", made.terms)


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


def log_saved(store: Store, run_id: str, name: str, saved: Path, tags: dict[str, str]) -> None:
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
    models = sorted(found, key=lambda model: (model.model_id not in linked, model.model_id))
    for surplus in models[1:]:  # the answer to a request that made one was lost
        client.delete_logged_model(surplus.model_id)
    model = (
        models[0]
        if models
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


def _copy_metrics(store: Store, run: Run, model_id: str) -> None:
    """Give the model the run's numbers that are of no step, as MLflow does."""
    from mlflow.entities import Metric

    numbers = [
        Metric(m.key, m.value, m.timestamp, m.step, model_id=model_id)
        for m in run.data.to_proto().metrics
        if m.step == 0
    ]
    if numbers:
        store.client.log_batch(run.info.run_id, metrics=numbers)

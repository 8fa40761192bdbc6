"""Model folders as MLflow pyfunc models: waveforms in, clip scores or embeddings out.

What a model is made of is collected when its stage has it (`collect`). The process that sends it
makes MLflow's folder of that, and logs it when the store is there, and once (`log`).
"""

from __future__ import annotations

import math
import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import crywatch
from crywatch.audio.segments import RATE_HZ
from crywatch.core import gate
from crywatch.core.atomic import read_json
from crywatch.core.models import DESCRIPTION, own_files
from crywatch.corpora.terms import terms_of_model
from crywatch.tracking.journal import copy_file
from crywatch.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Run

PACKAGE = Path(crywatch.__file__).parent
MODEL, CODE, REQUIREMENTS = "model", PACKAGE.name, "requirements.txt"  # of what is collected
FILE = "MLmodel"
READY = "READY"
OF_RUN = "mlflow.source."  # tags that MLflow gives a model too


@dataclass(frozen=True)
class Flavour:
    """How a kind of model is served."""

    code: str  # the module that MLflow runs, in the package's folder
    requirements: tuple[str, ...]
    output: tuple[str, tuple[int, ...]]  # type and shape
    scores_files: bool = False  # as parameter ``audio``


# Requirements are those of params.yaml's default embedder; detectors on VGGish or YAMNet say what
# they miss.
DETECTOR = Flavour(
    "detection/mlflow_model.py",
    ("torch", "numpy", "librosa", "soxr", "safetensors", "omegaconf", "av"),
    ("float64", (-1,)),
    scores_files=True,
)
EMBEDDERS = {  # by kind
    kind: Flavour("speaker/mlflow_model.py", needed, ("float32", (-1, dim)))
    for kind, needed, dim in (
        ("ecapa", ("torch", "numpy", "torchaudio", "speechbrain", "safetensors"), 192),
        ("logmel", ("torch", "numpy", "safetensors"), 128),
    )
}


def collect(folder: Path, target: Path) -> dict[str, str]:
    """Copy to ``target`` what a model folder is saved from; the tags that model and run get.

    The package is on no index, so its source goes along as it is now, and the model loads where
    crywatch is not installed.
    """
    description = read_json(folder / DESCRIPTION)
    (target / MODEL).mkdir(parents=True)
    for path in own_files(folder):
        copy_file(path, target / MODEL / path.name)
    shutil.copytree(PACKAGE, target / CODE, ignore=shutil.ignore_patterns("__pycache__"))
    # Without "+cpu", which is on PyTorch's own index only.
    needed = [
        f"{name}=={version(name).partition('+')[0]}\n"
        for name in _flavour(description).requirements
    ]
    (target / REQUIREMENTS).write_text("".join(needed))
    return terms_of_model(description).as_tags()


def _flavour(description: dict[str, Any]) -> Flavour:
    return EMBEDDERS.get(str(description.get("kind")), DETECTOR)


def _save(collected: Path, target: Path) -> None:
    """Save what was collected as a pyfunc at ``target``.

    The model is code by path and the folder's files: nothing is pickled.
    """
    import mlflow
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import DataType, ParamSchema, ParamSpec, Schema, TensorSpec

    description = read_json(collected / MODEL / DESCRIPTION)
    flavour = _flavour(description)
    output, shape = flavour.output
    files = ParamSpec("audio", DataType.string, [], shape=(-1,))  # base64, of their bytes
    mlflow.pyfunc.save_model(
        path=str(target),
        python_model=str(collected / CODE / flavour.code),
        artifacts={"model": str(collected / MODEL)},
        code_paths=[str(collected / CODE)],
        signature=ModelSignature(
            inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, -1))]),
            outputs=Schema([TensorSpec(np.dtype(output), shape)]),
            params=ParamSchema([files]) if flavour.scores_files else None,  # type: ignore[arg-type]
        ),
        input_example=np.zeros((1, RATE_HZ), dtype=np.float32),
        pip_requirements=(collected / REQUIREMENTS).read_text().split(),
        # In the model's own file, wherever that goes.
        metadata=terms_of_model(description).as_metadata(),
    )
    for cache in list(target.rglob("__pycache__")):
        shutil.rmtree(cache)


def log(store: Store, run_id: str, name: str, collected: Path, tags: dict[str, str]) -> str:
    """Log a model to a run from what `collect` copied; the model's id.

    Each step looks what is there first: one that was broken off is gone on with. A run has one
    model of a name.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.models import Model

    client = store.client
    logged_models = client.search_logged_models(
        [store.experiment_id],
        f"source_run_id = {gate.quoted(run_id)} and name = {gate.quoted(name)}",
    )
    run = client.get_run(run_id)
    output_ids = [output.model_id for output in run.outputs.model_outputs] if run.outputs else []
    models = sorted(
        logged_models, key=lambda model: (model.model_id not in output_ids, model.model_id)
    )
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
    if model.model_id not in output_ids:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    if str(model.status).rpartition(".")[2] == READY:
        return model.model_id
    _copy_metrics(store, run, model.model_id)
    with tempfile.TemporaryDirectory(prefix="crywatch-") as scratch:
        folder = Path(scratch) / MODEL
        _save(collected, folder)
        mlmodel = Model.load(str(folder))
        mlmodel.run_id, mlmodel.model_id = run_id, model.model_id
        mlmodel.model_uuid, mlmodel.artifact_path = model.model_id, model.artifact_location
        mlmodel.save(str(folder / FILE))
        client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    return model.model_id


def _copy_metrics(store: Store, run: Run, model_id: str) -> None:
    """Give the model the run's numbers that are of no step, as MLflow does.

    But for those that are none (NaN): a model's table of metrics would show them as 0.
    """
    from mlflow.entities import Metric

    numbers = [
        Metric(m.key, m.value, m.timestamp, m.step, model_id=model_id)
        for m in run.data.to_proto().metrics
        if m.step == 0 and not math.isnan(m.value)
    ]
    if numbers:
        store.client.log_batch(run.info.run_id, metrics=numbers)

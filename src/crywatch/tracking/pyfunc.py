"""Model folders as MLflow pyfunc models: waveforms in, clip scores or embeddings out."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

import crywatch
from crywatch.audio.segments import RATE_HZ
from crywatch.core.atomic import read_json
from crywatch.core.models import DESCRIPTION
from crywatch.corpora.terms import Terms, terms_of_model
from crywatch.tracking.store import Store


@dataclass(frozen=True)
class Flavour:
    """How a kind of model is served."""

    code: str  # the module, beside this one, that MLflow runs
    requirements: tuple[str, ...]
    output: tuple[str, tuple[int, ...]]  # type and shape


# Requirements are those of params.yaml's default embedder; detectors on VGGish or YAMNet say what
# they miss.
DETECTOR = Flavour(
    "detector_model.py",
    ("torch", "numpy", "librosa", "soxr", "safetensors", "omegaconf"),
    ("float64", (-1,)),
)
EMBEDDER = Flavour(
    "embedder_model.py",
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
    arguments: dict[str, object]  # of mlflow.pyfunc.save_model and log_model


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
        "python_model": str(Path(__file__).with_name(flavour.code)),
        "artifacts": {"model": str(folder)},
        "code_paths": [str(Path(crywatch.__file__).parent)],
        "signature": signature,
        "input_example": np.zeros((1, RATE_HZ), dtype=np.float32),
        # Without "+cpu", which is on PyTorch's own index only.
        "pip_requirements": [f"{p}=={version(p).partition('+')[0]}" for p in flavour.requirements],
        "metadata": terms.as_metadata(),  # in the model's own file, wherever that goes
    }
    return Parts(terms, arguments)


def log_pyfunc(store: Store, run_id: str, name: str, folder: Path) -> LoggedModel:
    """Log ``folder`` to a run that goes on, with signature and input example.

    At once, and not through the spool, as stages do (`logged_models`).
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

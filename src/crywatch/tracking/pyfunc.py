"""Model folders as MLflow pyfunc models: waveforms in, clip scores or embeddings out."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

import crywatch
from crywatch.atomic import read_json
from crywatch.models import DESCRIPTION
from crywatch.segments import RATE_HZ
from crywatch.terms import Terms, terms_of_model
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


def log_model(store: Store, run_id: str, name: str, folder: Path) -> Terms:
    """Log ``folder`` to a run with signature and input example; the terms that it is tagged with.

    The model is code by path and the folder's files: nothing is pickled. The package is on no
    index, so its source goes along, and the model loads where crywatch is not installed.
    """
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    description = read_json(folder / DESCRIPTION)
    terms = terms_of_model(description)
    flavour = EMBEDDER if description.get("kind") == "ecapa" else DETECTOR
    output, shape = flavour.output
    mlflow.set_tracking_uri(store.uri)
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, -1))]),
        outputs=Schema([TensorSpec(np.dtype(output), shape)]),
    )
    try:
        with mlflow.start_run(run_id=run_id):
            mlflow.pyfunc.log_model(
                name=name,
                python_model=str(Path(__file__).with_name(flavour.code)),
                artifacts={"model": str(folder)},
                code_paths=[str(Path(crywatch.__file__).parent)],
                signature=signature,
                input_example=np.zeros((1, RATE_HZ), dtype=np.float32),
                # Without "+cpu", which is on PyTorch's own index only.
                pip_requirements=[
                    f"{p}=={version(p).partition('+')[0]}" for p in flavour.requirements
                ],
                tags=terms.as_tags(),
                metadata=terms.as_metadata(),  # in the model's own file, wherever that goes
            )
    finally:  # leaving `start_run` ends the run, and the stage still runs
        store.client.update_run(run_id, status="RUNNING")
    return terms

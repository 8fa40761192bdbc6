"""Model folders as MLflow pyfunc models: waveforms in, clip scores out."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np

from crywatch.segments import RATE_HZ
from crywatch.tracking.store import Store

MODEL_CODE = Path(__file__).with_name("detector_model.py")
REQUIREMENTS = ("crywatch", "torch", "numpy", "librosa", "soxr", "safetensors")


def log_model(store: Store, run_id: str, name: str, folder: Path) -> None:
    """Log ``folder`` to a run with signature and input example.

    The model is code by path and the folder's two files: nothing is pickled.
    """
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    mlflow.set_tracking_uri(store.uri)
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, -1))]),
        outputs=Schema([TensorSpec(np.dtype(np.float64), (-1,))]),
    )
    with mlflow.start_run(run_id=run_id):
        mlflow.pyfunc.log_model(
            name=name,
            python_model=str(MODEL_CODE),
            artifacts={"model": str(folder)},
            signature=signature,
            input_example=np.zeros((1, RATE_HZ), dtype=np.float32),
            pip_requirements=[f"{package}=={version(package)}" for package in REQUIREMENTS],
        )

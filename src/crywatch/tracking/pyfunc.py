"""Model folders as MLflow pyfunc models: waveforms in, clip scores out."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
from mlflow.pyfunc import PythonModel

from crywatch.segments import RATE_HZ
from crywatch.tracking.store import Store

REQUIREMENTS = ("crywatch", "torch", "numpy", "librosa", "soxr", "safetensors")


class CryDetector(PythonModel):
    """Clip scores of waveforms at 16 kHz."""

    def load_context(self, context) -> None:
        """Load the model folder that was logged."""
        from crywatch.detectors import load_detector

        self.detector = load_detector(context.artifacts["model"])

    def predict(self, context, model_input: np.ndarray, params: dict | None = None) -> np.ndarray:
        """[clips, samples] float32 at 16 kHz to [clips] scores, the highest second of each."""
        return np.array([self.detector.score(wave).max() for wave in model_input])


def log_model(store: Store, run_id: str, name: str, folder: Path) -> None:
    """Log ``folder`` to a run with signature and input example."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    mlflow.set_tracking_uri(store.uri)
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, -1), "waveform")]),
        outputs=Schema([TensorSpec(np.dtype(np.float64), (-1,), "cry")]),
    )
    with mlflow.start_run(run_id=run_id):
        mlflow.pyfunc.log_model(
            name=name,
            python_model=CryDetector(),
            artifacts={"model": str(folder)},
            signature=signature,
            input_example=np.zeros((1, RATE_HZ), dtype=np.float32),
            pip_requirements=[f"{package}=={version(package)}" for package in REQUIREMENTS],
        )

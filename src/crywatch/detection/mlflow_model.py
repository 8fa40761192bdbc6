"""The code of a logged model: MLflow runs this file to load one ("models from code")."""

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class CryDetector(PythonModel):
    """Clip scores of waveforms at 16 kHz."""

    def load_context(self, context):
        """Load the model folder that was logged."""
        from crywatch.detection.detectors import load_detector

        self.detector = load_detector(context.artifacts["model"])

    def predict(self, context, model_input: np.ndarray, params=None) -> np.ndarray:
        """[clips, samples] float32 at 16 kHz to [clips] scores, the highest second of each.

        Probabilities of a model that was calibrated, as `crywatch detect` shows them.
        """
        scores = np.array([self.detector.score(wave).max() for wave in np.asarray(model_input)])
        decision = self.detector.decision
        return scores if decision is None else decision.calibration(scores)


set_model(CryDetector())

"""The code of a logged ECAPA-TDNN: MLflow runs this file to load one ("models from code")."""

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class CryEmbedder(PythonModel):
    """Unit vectors of waveforms at 16 kHz."""

    def load_context(self, context):
        """Load the model folder that was logged."""
        from crywatch.core.models import load
        from crywatch.speaker.ecapa import from_model

        self.ecapa = from_model(load(context.artifacts["model"]))

    def predict(self, context, model_input: np.ndarray, params=None) -> np.ndarray:
        """[cries, samples] float32 at 16 kHz to [cries, 192] float32 of length 1."""
        return self.ecapa.embed(list(np.asarray(model_input)))


set_model(CryEmbedder())

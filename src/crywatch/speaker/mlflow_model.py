"""The code of what embeds cries: MLflow runs this file to load one ("models from code")."""

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class CryEmbedder(PythonModel):
    """Unit vectors of waveforms at 16 kHz."""

    def load_context(self, context):
        """Load the model folder that was logged."""
        from crywatch.speaker.logmel import open_network

        self.network = open_network(context.artifacts["model"])

    def predict(self, context, model_input: np.ndarray, params=None) -> np.ndarray:
        """[cries, samples] float32 at 16 kHz to [cries, dim] float32 of length 1."""
        return self.network.embed(list(np.asarray(model_input)))


set_model(CryEmbedder())

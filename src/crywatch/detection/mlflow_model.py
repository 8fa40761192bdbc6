"""The code of a logged model: MLflow runs this file to load one ("models from code")."""

import base64
import binascii
import tempfile
from pathlib import Path

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

        Probabilities of a model that was calibrated, as `crywatch detect` shows them. With
        parameter ``audio``, the bytes of sound files in base64, those are scored and not the input.
        """
        files = (params or {}).get("audio", ())
        waves = np.asarray(model_input)
        seconds = map(self._score_file, files) if len(files) else map(self.detector.score, waves)
        scores = np.array([each.max() for each in seconds])
        decision = self.detector.decision
        return scores if decision is None else decision.calibration(scores)

    def _score_file(self, text: str) -> np.ndarray:
        """Scores of the seconds of a file; CrywatchError where it is none that can be read."""
        from crywatch.audio.guard import GuardedReader, Limits
        from crywatch.audio.segments import RATE_HZ
        from crywatch.audio.waves.resampling import at_rate
        from crywatch.core.errors import AudioError

        try:
            content = base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise AudioError(f"parameter audio is no base64: {error}") from error
        with tempfile.TemporaryDirectory(prefix="crywatch-") as folder:
            path = Path(folder, "sound")
            path.write_bytes(content)
            return self.detector.score_stream(at_rate(GuardedReader(path, Limits()), RATE_HZ))


set_model(CryDetector())

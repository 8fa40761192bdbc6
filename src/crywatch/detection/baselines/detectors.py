"""The case study's systems as detectors of the plain seconds of a recording."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from crywatch.audio.segments import RATE_HZ, n_segments
from crywatch.core.errors import ModelError
from crywatch.core.models import REMAKE, ModelFolder, n_parameters
from crywatch.detection.baselines import CRYING
from crywatch.detection.baselines.averaged import NAMES, averages
from crywatch.detection.baselines.mfcc import Mfcc
from crywatch.detection.baselines.networks import AppNetwork, CnnNetwork, DenseNetwork
from crywatch.detection.baselines.svc import SvcArrays
from crywatch.detection.baselines.windows import means, vote, windows
from crywatch.detection.detectors import Detector

BATCH = 64  # windows
LONGEST_S = 60.0  # of a window


class WindowDetector(Detector):
    """Classes of windows, and from them scores of seconds."""

    def __init__(self, model: ModelFolder, count: int):
        super().__init__(model.setting("name"), count)
        self.window_s = float(model.setting("window_s"))
        self.crying = list(model.setting("classes")).index(CRYING)
        if not 0 < self.window_s <= LONGEST_S:
            raise ValueError(f"window_s is {self.window_s:g}")

    def score_stream(self, chunks: Iterable[np.ndarray]) -> np.ndarray:
        """[plain seconds] of a recording that comes in ``chunks`` [samples]."""
        n_samples = 0

        def counted() -> Iterable[np.ndarray]:
            nonlocal n_samples
            for chunk in chunks:
                n_samples += len(chunk)
                yield chunk

        starts, parts, waves = [], [], []
        for window in windows(counted(), self.window_s):
            starts.append(window.start_s)
            waves.append(window.wave)
            if len(waves) == BATCH:
                parts.append(self.shares(waves))
                waves = []
        if waves:
            parts.append(self.shares(waves))
        if not parts:
            return np.zeros(0)
        return self._seconds(np.concatenate(parts), np.array(starts), n_segments(n_samples))

    @abstractmethod
    def shares(self, waves: list[np.ndarray]) -> np.ndarray:
        """Windows [samples] to how much each class is there, [windows, classes] in 0..1."""

    def _seconds(self, shares: np.ndarray, starts_s: np.ndarray, n_seconds: int) -> np.ndarray:
        """By the majority of the windows that hold a second."""
        crying = shares.argmax(axis=1) == self.crying
        return vote(crying, shares[:, self.crying], starts_s, self.window_s, n_seconds)


class SvcDetector(WindowDetector):
    """SVC on averaged features."""

    def __init__(self, model: ModelFolder):
        part = model.part("svc")
        try:
            self.arrays = SvcArrays(**{name: value.numpy() for name, value in part.items()})
        except TypeError as error:
            raise ModelError(f"{model.folder}: not the arrays of an SVC ({error}): {REMAKE}") from (
                error
            )
        super().__init__(model, self.arrays.n_parameters)

    def shares(self, waves: list[np.ndarray]) -> np.ndarray:
        """From the duels of the classes."""
        return self.arrays.shares(np.stack([averages(wave) for wave in waves]))


class DenseDetector(WindowDetector):
    """Two dense layers on averaged features."""

    def __init__(self, model: ModelFolder):
        classes, hidden = model.setting("classes"), model.setting("hidden")
        self.network = DenseNetwork(len(NAMES), hidden, len(classes)).eval()
        model.fill(self.network, "network")
        super().__init__(model, n_parameters(self.network))

    @torch.inference_mode()
    def shares(self, waves: list[np.ndarray]) -> np.ndarray:
        """Probabilities."""
        rows = np.stack([averages(wave) for wave in waves]).astype(np.float32)
        return self.network(torch.from_numpy(rows)).softmax(dim=1).double().numpy()


class PictureDetector(WindowDetector):
    """A CNN on MFCC pictures: every window has its own, and a second the mean of what holds it.

    ``network`` takes waves [windows, samples] and gives logits [windows, classes]: the pictures are
    made by a layer of it, so that an export is one file that hears sound.
    """

    def __init__(self, model: ModelFolder):
        trained = self.classifier(model, len(model.setting("classes")))
        model.fill(trained, "network")
        self.network = nn.Sequential(Mfcc(), trained).eval()
        super().__init__(model, n_parameters(trained))
        # Its last layer fits windows of one length: silence tells whether it is this one.
        self.shares([np.zeros(round(self.window_s * RATE_HZ), dtype=np.float32)])

    @abstractmethod
    def classifier(self, model: ModelFolder, n_classes: int) -> nn.Module:
        """The network behind the pictures, with any weights."""

    @torch.inference_mode()
    def shares(self, waves: list[np.ndarray]) -> np.ndarray:
        """Probabilities."""
        logits = self.network(torch.from_numpy(np.stack(waves)))
        return logits.softmax(dim=1).double().numpy()

    def _seconds(self, shares: np.ndarray, starts_s: np.ndarray, n_seconds: int) -> np.ndarray:
        return means(shares[:, self.crying], starts_s, self.window_s, n_seconds)


class CnnDetector(PictureDetector):
    """The tutorial's CNN, a second at a time."""

    def classifier(self, model: ModelFolder, n_classes: int) -> nn.Module:
        """By the number of its filters."""
        return CnnNetwork(model.setting("filters"), n_classes)


class AppDetector(PictureDetector):
    """The app's network, 4 s at a time."""

    def classifier(self, model: ModelFolder, n_classes: int) -> nn.Module:
        """Of one size."""
        return AppNetwork(n_classes)

"""Detectors: a model folder as something that scores the plain seconds of a recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from crywatch.blazenet.frontend import FrontEndConfig, from_wave
from crywatch.blazenet.network import BlazeNet, cry_probability
from crywatch.models import ModelFolder, load
from crywatch.segments import n_segments, segments_to_seconds

BATCH = 256  # segments


class Detector:
    """Scores of the plain seconds of a recording at 16 kHz."""

    def __init__(self, name: str, n_parameters: int):
        self.name = name
        self.n_parameters = n_parameters

    def score(self, wave: np.ndarray) -> np.ndarray:
        """[samples] float32 at 16 kHz to [plain seconds] in 0..1."""
        raise NotImplementedError


class BlazeNetDetector(Detector):
    """The classifier alone; a second of a 5 s front end has the score of its segment."""

    def __init__(self, model: ModelFolder):
        self.front_end = FrontEndConfig(**model.description["frontend"])
        self.network = BlazeNet()
        self.network.load_state_dict(model.part("backbone"))
        self.network.eval()
        super().__init__(model.description["name"], _count(self.network))

    @torch.inference_mode()
    def score(self, wave: np.ndarray) -> np.ndarray:
        pictures = from_wave(wave, self.front_end)
        scores = torch.cat([cry_probability(self.network(p)) for p in pictures.split(BATCH)])
        return segments_to_seconds(scores.numpy(), self.front_end.segment_s, n_segments(len(wave)))

    @torch.inference_mode()
    def features(self, wave: np.ndarray) -> np.ndarray:
        """[samples] at 16 kHz to [plain seconds, 224]."""
        pictures = from_wave(wave, self.front_end)
        return torch.cat([self.network.features(p) for p in pictures.split(BATCH)]).numpy()


class RtfmDetector(Detector):
    """The anomaly head over a frozen BlazeNet or over an embedder."""

    def __init__(self, model: ModelFolder):
        from crywatch.anomaly.network import RtfmNetwork

        description = model.description
        self.head = RtfmNetwork(description["dim"])
        self.head.load_state_dict(model.part("head"))
        self.head.eval()
        count = _count(self.head)
        if "backbone" in description:
            backbone = {k: v for k, v in model.weights.items() if k.startswith("backbone.")}
            inner = BlazeNetDetector(ModelFolder(description["backbone"], backbone))
            self._features = inner.features
            count += inner.n_parameters
        else:
            from crywatch.embedders import EmbedderConfig, build

            settings = {k: description["embedder"][k] for k in ("name", "dim", "handle")}
            self._features = build(EmbedderConfig(**settings)).embed
        super().__init__(description["name"], count)

    def score(self, wave: np.ndarray) -> np.ndarray:
        from crywatch.anomaly.training import score_seconds

        return score_seconds(self.head, self._features(wave))


def _count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def load_detector(folder: Path | str) -> Detector:
    """The detector in a model folder; ModelError if there is none."""
    model = load(folder)
    kinds = {"blazenet": BlazeNetDetector, "rtfm": RtfmDetector}
    return kinds[model.description["kind"]](model)

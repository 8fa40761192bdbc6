"""Small inputs for the tests of the speaker package: networks, checkpoints, cries, clips."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.resampling import resample
from crywatch.corpora.generate import synthesis
from crywatch.speaker.batches import CryRef
from crywatch.speaker.ecapa import CHECKPOINT, Ecapa, EcapaShape

SHAPE = EcapaShape(channels=16, pooled=40, attention=12, squeeze=8)  # of no two layers alike


def noise(n_samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)


def lively(shape: EcapaShape = SHAPE, frozen: tuple[str, ...] = ()) -> Ecapa:
    """A network whose batch norm is not the identity."""
    torch.manual_seed(5)
    ecapa = Ecapa(shape, frozen)
    for name, value in ecapa.network.state_dict().items():
        if name.endswith("running_mean"):
            value.normal_(0, 0.1)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    return ecapa.eval()


def save_published(folder: Path, ecapa: Ecapa) -> Path:
    """A folder in the layout of spkrec-ecapa-voxceleb."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(ecapa.network.state_dict(), folder / CHECKPOINT)
    (folder / "hyperparams.yaml").write_text("n_mels: 80\n", encoding="utf-8")
    (folder / "label_encoder.txt").write_text("'id10001' => 0\n", encoding="utf-8")
    return folder


@dataclass(frozen=True)
class Cries:
    """Generated cries; a wave [samples] at 16 kHz for each reference."""

    refs: list[CryRef]
    waves: list[np.ndarray]


def generated_cries(
    infants: int, sessions: int, of_session: int, seconds: float, seed: int
) -> Cries:
    """Stable voices; each session has a room of its own, which tells nothing of the infant."""
    refs, waves = [], []
    for infant in range(infants):
        voice = synthesis.infant_voice(np.random.default_rng([seed, infant]))
        for session in range(sessions):
            for take in range(of_session):
                rng = np.random.default_rng([seed, infant, session, take])
                cry = synthesis.room(synthesis.cry(seconds, voice, rng), rng)
                refs.append(CryRef(f"{infant}/{session}/{take}", f"i{infant}", f"s{session}"))
                waves.append(resample(cry, synthesis.RATE_HZ, RATE_HZ))
    return Cries(refs, waves)

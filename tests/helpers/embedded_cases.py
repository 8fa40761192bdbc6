"""Stores of infants' vectors for tests: recordings, and vectors that tell infants apart."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.data.tables import conform
from crywatch.data.tables.infants import RECORDINGS
from crywatch.infants.embedded_cries import EmbeddingInfo, write_embedded
from crywatch.infants.evaluation.baselines import EvaluationConfig
from crywatch.infants.evaluation.division import DivisionConfig
from crywatch.infants.evaluation.states import StatesConfig
from crywatch.infants.fit_infants import FitInfantsConfig
from crywatch.infants.gate_heads import GateConfig
from crywatch.infants.models.cosine import unit
from crywatch.infants.models.registry import MODELS
from tests.helpers import infants_cases

DIM, STATISTICS = 192, 128
COUNTS = {f"train {n}": 4 for n in range(8)} | {"Val/1": 30, "v2": 30, "t1": 30, "t2": 30, "t3": 6}
PARTS = {"Val/1": "val", "v2": "val", "t1": "test", "t2": "test", "t3": "test"}


def embedding_info(dim: int = DIM) -> EmbeddingInfo:
    """Of a network that is not there."""
    return EmbeddingInfo(network="ge2e", digest="d" * 64, dim=dim, crops=0, crop_s=3.0)


def recordings_table(
    infants: Mapping[str, int],
    splits: Mapping[str, str] | None = None,
    session_clips: int = 2,
    categories: Mapping[int, str] | None = None,
    backwards: bool = False,
) -> pd.DataFrame:
    """Table ``recordings``: so many of each infant, in the order given, sessions a day apart.

    ``splits`` by infant (train where none is given), ``categories`` by row; ``backwards`` has an
    infant's last recording first.
    """
    rows = []
    for infant_id, count in infants.items():
        for number in range(count)[:: -1 if backwards else 1]:
            clip_id = f"recordings/{infant_id}_{number:03d}"
            session = number // session_clips
            rows.append(
                {
                    "clip_id": clip_id,
                    "corpus": "recordings",
                    "infant_id": infant_id,
                    "session_id": f"{infant_id}_{session:03d}",
                    "recorded_at": pd.Timestamp("2025-03-01", tz="UTC")
                    + pd.Timedelta(days=session, minutes=number % session_clips),
                    "recording_id": clip_id,
                    "cluster_id": None,
                    "split": (splits or {}).get(infant_id, "train"),
                    "category": (categories or {}).get(len(rows), "hunger"),
                    "cries": 3,
                    "cry_s": 2.5,
                }
            )
    return conform(pd.DataFrame(rows), RECORDINGS)


def vectors_of(frame: pd.DataFrame, spread: float = 1.0, dim: int = DIM) -> np.ndarray:
    """[recordings, dim] of unit length: a direction for each infant, and what a recording adds.

    A recording whose category starts with "planted" has a direction of its own.
    """
    out = []
    for clip_id, infant_id, category in zip(
        frame["clip_id"], frame["infant_id"], frame["category"], strict=True
    ):
        voice = _drawn(f"{infant_id} {category}" if category.startswith("planted") else infant_id)
        out.append(voice.standard_normal(dim) + spread * _drawn(clip_id).standard_normal(dim))
    return unit(np.array(out)).astype(np.float32)


def write_store(folder: Path, frame: pd.DataFrame, spread: float = 1.0) -> None:
    """A store of those recordings, without other sounds and shifts."""
    write_embedded(folder, embedding_info(), frame, vectors_of(frame, spread))


def timelines() -> pd.DataFrame:
    """A cohort, two infants of val and three of test; a change is planted in the end of ``t1``."""
    ends = sum(count for infant_id, count in COUNTS.items() if infant_id not in ("t2", "t3"))
    planted = {row: "planted pitch +20 %" for row in range(ends - 4, ends)}
    return recordings_table(COUNTS, PARTS, categories=planted)


def write_timelines(folder: Path) -> None:
    """Those with a shift that is heard and a control that is not, of the later recordings."""
    frame = timelines()
    later = frame[frame["clip_id"].str.contains("t[12]_02[0-4]")]
    shifted = pd.DataFrame(
        [
            {"clip_id": clip_id, "shift": name, "control": name.startswith("noise")}
            for clip_id in later["clip_id"]
            for name in ("pitch +40 %", "noise 20 dB")
        ]
    )
    vectors = vectors_of(frame)
    made = vectors[np.repeat(later.index.to_numpy(), 2)].copy()
    made[::2] = made[::2, ::-1]
    write_embedded(
        folder,
        embedding_info(),
        frame,
        vectors,
        shifted=shifted,
        shifted_vectors=made,
        statistics=vectors[:, :STATISTICS],
    )


def gate_config() -> GateConfig:
    """Pain is distress, hunger is calm."""
    return GateConfig(
        distress=["pain"],
        calm=["hunger"],
        refused_cries=0.02,
        refused_calm=0.1,
        least_auc=0.5,
        least_p=0.02,
        inverse_penalty=0.1,
        folds=4,
    )


def fit_config(top_k: int = 3, **changes) -> FitInfantsConfig:
    """Section ``fit_infants`` for those: all models, few steps."""
    given = {
        "models": list(MODELS),
        "default": "cosine",
        "changed": ["planted"],
        "gate": gate_config(),
        "workers": 1,
        "settings": infants_cases.models_config(top_k, steps=20),
        "conformal": infants_cases.conformal(smoothed=True),
        "evaluation": EvaluationConfig(DivisionConfig(0.6, 2, 2, 1), 20),
        "states": StatesConfig([["hunger", "planted pitch +20 %"]], 5, 3),
    }
    return FitInfantsConfig(**given | changes)


def _drawn(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))

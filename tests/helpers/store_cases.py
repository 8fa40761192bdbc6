"""A user's project for tests: models with random weights, generated recordings, states."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import soundfile
import torch
from omegaconf import OmegaConf

from crywatch.core import models, params
from crywatch.corpora.generate import synthesis
from crywatch.detection.blazenet.network import BlazeNet
from crywatch.infants.models.contract import Baseline
from crywatch.infants.models.cosine import Cosine
from crywatch.infants.store import BASELINE, Provenance, StoredRecording
from crywatch.infants.updating import Follower, InfantState, Refit, UpdatingConfig
from crywatch.speaker import ecapa
from crywatch.speaker.ecapa import EcapaConfig
from tests.helpers import infants_cases
from tests.helpers.blazenet_cases import ONE_SECOND

ROOT = Path(__file__).parents[2]
START = datetime(2025, 3, 1, 8, tzinfo=UTC)
PROVENANCE = Provenance("cosine", "m" * 64, "e" * 64)
UPDATING = UpdatingConfig(
    refit_after=2, wait=0, clips=40, repeat_cosine=0.9999, watch=0, hold_chance=0.01
)


def follower(**changes) -> Follower:
    """Of cosine models, without a gate."""
    config = infants_cases.conformal(**changes)
    return Follower(Cosine(), None, config, UPDATING)


def records(
    infant_id: str, count: int = 6, seed: int = 0, of_session: int = 2
) -> list[StoredRecording]:
    """A baseline, sessions two days apart; digests and vectors are of id and seed."""
    rng = np.random.default_rng([seed, *infant_id.encode()])
    out = []
    for number in range(count):
        session, place = divmod(number, of_session)
        out.append(
            StoredRecording(
                digest=rng.bytes(32).hex(),
                path=f"/sounds/{seed}/{number}.wav",
                recorded_at=START + timedelta(days=2 * session, minutes=place),
                session_id=f"{session:04d}",
                cries=3,
                cry_s=2.5,
                vector=infants_cases.unit(1 + rng.standard_normal(192)).astype(np.float32),
                phase=BASELINE,
            )
        )
    return out


def state_of(
    infant_id: str, members: list[StoredRecording], version: int = 0
) -> tuple[InfantState, Refit]:
    """A fitted infant, and the version that this is."""
    baseline = Baseline(
        infant_id,
        np.stack([one.vector for one in members]),
        np.array([one.session_id for one in members]),
    )
    state = replace(follower().start([baseline])[0], version=version)
    return state, Refit(version, members[-1].recorded_at, state.calibrated, baseline)


def enrolled(store, infant_id: str, count: int = 6, seed: int = 0) -> list[StoredRecording]:
    """Put an infant into a store."""
    members = records(infant_id, count, seed)
    state, refit = state_of(infant_id, members)
    with store.writing() as writer:
        writer.put(PROVENANCE, state, members, [refit])
    return members


def make_project(folder: Path, **changes) -> Path:
    """A folder with params.yaml and models; the detector hears crying in every second.

    No gate and no cohort; ``changes`` go into section ``infant``, by dotted names with ``__``.
    """
    config = params.compose(conf_dir=ROOT / "conf")
    values = {
        "hearing.network": "network",
        "hearing.detector": "detector",
        "hearing.threshold": 1e-9,
        "gate": "",
        "settings.cohort.top_k": 0,
        "updating.refit_after": 2,
        "updating.wait": 0,
    } | {name.replace("__", "."): value for name, value in changes.items()}
    OmegaConf.resolve(config)
    for name, value in values.items():
        OmegaConf.update(config, f"infant.{name}", value)
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / params.PARAMS_FILE)
    save_network(folder / "network", seed=1)
    torch.manual_seed(2)
    weights = {f"backbone.{k}": v for k, v in BlazeNet().state_dict().items()}
    said = {"kind": "blazenet", "name": "all_1s", "segment_s": 1.0, "frontend": asdict(ONE_SECOND)}
    models.save(folder / "detector", models.ModelFolder(said, weights))
    return folder


def save_network(folder: Path, seed: int) -> None:
    """A small untrained ECAPA-TDNN."""
    config = EcapaConfig(source=ecapa.RANDOM, channels=8, frozen=[])
    models.save(folder, ecapa.to_model(ecapa.build(config, seed), "tiny"))


def sing(path: Path, voice: int = 0, take: int = 0, seconds: float = 2.0) -> Path:
    """A recording of crying."""
    rng = np.random.default_rng([voice, take])
    sound = synthesis.cry(seconds, synthesis.infant_voice(np.random.default_rng(voice)), rng)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.5 * sound, synthesis.RATE_HZ)
    return path


def nursery(folder: Path, infant: str, sessions: int, of_session: int = 2, voice: int = 0) -> Path:
    """Recordings with a table: sessions two days apart."""
    rows = ["path,label,infant,recorded_at,category"]
    for session in range(sessions):
        for number in range(of_session):
            name = f"{infant} {session:02d}{number}.wav"
            sing(folder / name, voice, 10 * session + number)
            at = START + timedelta(days=2 * session, minutes=5 * number)
            rows.append(f"{name},cry,{infant},{at.isoformat()},")
    (folder / "recordings.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder

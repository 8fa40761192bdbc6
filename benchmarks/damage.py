"""Damaged model folders, exported infants, tables and parameters: ``python -m benchmarks.damage``.

Each input is a file that went through a flip, a cut, a splice or a change of words. In half of them
its digest is made to fit, as somebody who means harm would. Right is a refusal in the project's own
words, or numbers in their range; a file whose digest does not fit and which counts all the same,
any other exception, and more than ``LONGEST_S`` are wrong, and the exit code is 1. Sound is damaged
by the fuzzer of containers, not here.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import positive, write_runs

LONGEST_S = 10.0
FRONT_END = {"rate_hz": 8000, "n_mels": 64, "window_s": 0.064, "hop_s": 0.01475}
FRONT_END |= {"fmin_hz": 0.0, "fmax_hz": 8000.0, "top_db": 80.0}
DIM = 192
WORDS = (b"0", b"1", b"-1", b"[", b"{", b"null", b"true", b'""', b"1e999", b"F32", b"F64", b"300")


@dataclass(frozen=True)
class Run:
    """What came of the inputs of one kind."""

    kind: str
    refused: int
    used: int  # a change that is none, such as a space in JSON, or a harm whose digest fits
    wrong: tuple[str, ...]
    slowest_s: float


@dataclass(frozen=True)
class Victim:
    """A folder, and what uses it: a refusal is raised, and what comes back is compared."""

    kind: str
    folder: Path
    use: Callable[[Path], Any]
    refit: Callable[[Path], None] | None  # make the digests fit again; None where there are none


def main(arguments: Sequence[str] | None = None) -> int:
    """Damage what the command line says and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=positive, default=10_000, help="all together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="crywatch-damage-") as folder:
        runs = damage(Path(folder), options.inputs, random.Random(options.seed))
    for run in runs:
        print(
            f"{run.kind:<12} {run.refused:>6} refused {run.used:>6} used {len(run.wrong):>4} wrong"
            f", slowest {run.slowest_s:.2f} s"
        )
        for text in run.wrong[:5]:
            print(f"  {text}")
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"memory of this process, at most: {peak_mb:.0f} MB")
    if options.json:
        write_runs(options.json, runs)
    return int(any(run.wrong for run in runs))


def damage(folder: Path, inputs: int, rng: random.Random) -> list[Run]:
    """So many inputs, of each victim alike, in ``folder``."""
    victims = make_victims(folder / "whole")
    whole = [victim.use(victim.folder) for victim in victims]
    refused, used = Counter[str](), Counter[str]()
    slowest: dict[str, float] = {}
    wrong: dict[str, list[str]] = {}
    for number in range(inputs):
        at = number % len(victims)
        victim, kind = victims[at], victims[at].kind
        copy = shutil.copytree(victim.folder, folder / "damaged")
        file = rng.choice(sorted(path for path in copy.rglob("*") if path.is_file()))
        file.write_bytes(harm(file.read_bytes(), rng))
        fits = victim.refit is None or rng.random() < 0.5
        start = time.perf_counter()
        try:
            if fits and victim.refit is not None:
                victim.refit(copy)
            answer = victim.use(copy)
        except Exception as error:
            if _is_own(error):
                refused[kind] += 1
            else:
                text = f"{file.name}, input {number}: {type(error).__name__}: {error}"
                wrong.setdefault(kind, []).append(text[:300])
        else:
            used[kind] += 1
            if not fits and not np.array_equal(answer, whole[at]):
                wrong.setdefault(kind, []).append(f"{file.name}, input {number}: was used")
        took_s = time.perf_counter() - start
        slowest[kind] = max(slowest.get(kind, 0.0), took_s)
        if took_s > LONGEST_S:
            wrong.setdefault(kind, []).append(f"{file.name}, input {number}: {took_s:.0f} s")
        shutil.rmtree(copy)
    kinds = dict.fromkeys(victim.kind for victim in victims)
    return [
        Run(kind, refused[kind], used[kind], tuple(wrong.get(kind, ())), slowest.get(kind, 0.0))
        for kind in kinds
    ]


def harm(data: bytes, rng: random.Random) -> bytes:
    """Flips, a cut, a splice, a piece that is missing, or another word."""
    out, size = bytearray(data), len(data)
    kind = rng.randrange(5)
    if kind == 0:
        for _ in range(rng.choice((1, 3, 30))):
            out[rng.randrange(size)] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del out[rng.randrange(size) :]
    elif kind == 2:
        to, start = rng.randrange(size), rng.randrange(size)
        out[to:to] = data[start : start + rng.randrange(200)]
    elif kind == 3:
        start = rng.randrange(size)
        del out[start : start + rng.randrange(1, 50)]
    else:
        word = rng.choice(WORDS)
        places = [at for at in range(min(size, 4000)) if data.startswith(word, at)]
        if places:
            at = rng.choice(places)
            out[at : at + len(word)] = rng.choice(WORDS)
    return bytes(out)


def make_victims(folder: Path) -> list[Victim]:
    """Small models of random weights, an infant, tables and parameters, each in a folder."""
    from crywatch.core import models
    from crywatch.infants import gate

    victims = []
    for name, model in _models().items():
        models.save(folder / name, model)
        victims.append(Victim("model", folder / name, _use_model, _refit_model))
    head = gate.Head(np.ones(DIM, dtype=np.float32), 0.0, 0.5)
    gate.save(folder / "gate", gate.BaselineGate(head, None, 0.1), {"digest": "d"})
    victims.append(Victim("model", folder / "gate", _use_gate, _refit_model))
    _export(folder / "moved", folder.parent / "store")
    victims.append(Victim("infant", folder / "moved", _use_infant, _refit_infant))
    (folder / "table").mkdir()
    _write_table(folder / "table")
    victims.append(Victim("table", folder / "table", _use_table, None))
    (folder / "own").mkdir()
    (folder / "own" / "a.wav").write_bytes(b"RIFF")
    rows = "path,label,infant,recorded_at,category\na.wav,cry,Mia,2025-03-01T08:00:00+00:00,\n"
    (folder / "own" / "recordings.csv").write_text(rows)
    victims.append(Victim("table", folder / "own", _use_recordings, None))
    (folder / "parameters").mkdir()
    shutil.copy("params.yaml", folder / "parameters")
    victims.append(Victim("parameters", folder / "parameters", _use_parameters, None))
    return victims


def _is_own(error: Exception) -> bool:
    from crywatch.core.errors import CrywatchError

    return isinstance(error, CrywatchError)


def _models() -> dict[str, Any]:
    import torch

    from crywatch.core.models import ModelFolder
    from crywatch.detection.baselines.networks import AppNetwork, CnnNetwork, DenseNetwork
    from crywatch.detection.blazenet.network import BlazeNet
    from crywatch.speaker import ecapa

    torch.manual_seed(1)
    about = {"classes": ["crying", "noise"], "window_s": 1.0}
    dense, cnn, app = DenseNetwork(18, 8, 2), CnnNetwork(4, 2), AppNetwork(2)
    backbone = {f"backbone.{name}": value for name, value in BlazeNet().state_dict().items()}
    blazenet = {"kind": "blazenet", "name": "b", "segment_s": 1.0, "frontend": FRONT_END}
    network = ecapa.build(ecapa.EcapaConfig(source=ecapa.RANDOM, channels=8, frozen=[]), 1)
    return {
        "blazenet": ModelFolder(blazenet, backbone),
        "dense": ModelFolder(
            about | {"kind": "dense", "name": "d", "hidden": 8},
            {f"network.{name}": value for name, value in dense.state_dict().items()},
        ),
        "cnn": ModelFolder(
            about | {"kind": "cnn", "name": "c", "filters": 4},
            {f"network.{name}": value for name, value in cnn.state_dict().items()},
        ),
        "app": ModelFolder(
            about | {"kind": "app", "name": "a", "window_s": 4.0},
            {f"network.{name}": value for name, value in app.state_dict().items()},
        ),
        "ecapa": ecapa.to_model(network, "tiny"),
    }


def _export(folder: Path, store: Path) -> None:
    """An infant of eight recordings, as it moves to another store."""
    from crywatch.infants.conformal import ConformalConfig
    from crywatch.infants.models.contract import Baseline
    from crywatch.infants.models.cosine import Cosine
    from crywatch.infants.store import BASELINE, InfantStore, Provenance, StoredRecording, moving
    from crywatch.infants.updating import Follower, Refit, UpdatingConfig

    rng = np.random.default_rng(1)
    records = [
        StoredRecording(
            digest=rng.bytes(32).hex(),
            path=f"/sounds/{number}.wav",
            recorded_at=datetime(2025, 3, 1 + number, tzinfo=UTC),
            session_id=f"{number:04d}",
            cries=2,
            cry_s=1.5,
            vector=(1 + rng.standard_normal(DIM)).astype(np.float32),
            phase=BASELINE,
        )
        for number in range(8)
    ]
    conformal = ConformalConfig(0.2, "clip", 20, 100, 5, 0.3, False)
    follower = Follower(Cosine(), None, conformal, UpdatingConfig(2, 0, 40, 0.9999, 0, 0.01))
    vectors = np.stack([record.vector for record in records])
    sessions = np.array([record.session_id for record in records])
    (state,) = follower.start([Baseline("Mia", vectors, sessions)])
    refit = Refit(0, records[-1].recorded_at, state.calibrated, state.baseline)
    own = InfantStore(store)
    with own.writing() as writer:
        writer.put(Provenance("cosine", "a" * 64, "b" * 64), state, records, [refit])
    moving.export(own, "Mia", folder)


def _write_table(folder: Path) -> None:
    import pandas as pd

    from crywatch.data.tables import write_table
    from crywatch.data.tables.infants import FOLLOWED

    row = {"infant_id": "a", "clip_id": "b", "session_id": "c", "phase": "new", "score": 1.0}
    row |= {"p": 0.5, "alarm": False, "accepted": True, "reason": None, "version": 0}
    times = [datetime(2025, 3, 1 + day, tzinfo=UTC) for day in range(9)]
    rows = [row | {"recorded_at": time, "remark": None} for time in times]
    write_table(pd.DataFrame(rows), folder / "followed.parquet", FOLLOWED)


def _use_model(folder: Path) -> np.ndarray:
    from crywatch.core import models
    from crywatch.detection.detectors import load_detector
    from crywatch.speaker import ecapa

    wave = np.sin(np.arange(32_000) / 7).astype(np.float32)
    if models.describe(folder)["kind"] == "ecapa":
        return ecapa.from_model(models.load(folder)).embed([wave])
    return load_detector(folder).score(wave)


def _use_gate(folder: Path) -> np.ndarray:
    from crywatch.infants import gate

    found = gate.load(folder)
    return np.array([found.least_p, *(found.cry.weights if found.cry else ())])


def _use_infant(folder: Path) -> np.ndarray:
    from crywatch.infants.conformal import judge
    from crywatch.infants.models.cosine import Cosine
    from crywatch.infants.store import moving

    moved = moving.read_moved(folder)
    vectors = np.stack([record.vector for record in moved.records])
    return judge(Cosine(), [moved.state.calibrated], [vectors])[0].scores


def _use_table(folder: Path) -> np.ndarray:
    from crywatch.data.tables import read_table
    from crywatch.data.tables.infants import FOLLOWED

    return read_table(folder / "followed.parquet", FOLLOWED)["score"].to_numpy()


def _use_recordings(folder: Path) -> np.ndarray:
    from crywatch.corpora.shared.recordings_table import read_recordings

    return np.array([row.path for row in read_recordings(folder)])


def _use_parameters(folder: Path) -> np.ndarray:
    from crywatch.core import params
    from crywatch.detection.detect import DetectConfig
    from crywatch.infants.enrolment.config import InfantConfig

    path = folder / params.PARAMS_FILE
    params.section("detect", DetectConfig, path)
    return np.array([params.section("infant", InfantConfig, path).store])


def _refit_model(folder: Path) -> None:
    from crywatch.core.digest import file_sha256, value_sha256
    from crywatch.core.models import DESCRIPTION, DIGESTS, WEIGHTS

    with suppress(ValueError, AttributeError, TypeError):
        about = json.loads((folder / DESCRIPTION).read_bytes())
        about.pop(DIGESTS, None)
        digests = {DESCRIPTION: value_sha256(about), WEIGHTS: file_sha256(folder / WEIGHTS)}
        (folder / DESCRIPTION).write_text(json.dumps(about | {DIGESTS: digests}))


def _refit_infant(folder: Path) -> None:
    from crywatch.core.digest import file_sha256, value_sha256

    with suppress(ValueError, AttributeError, TypeError, KeyError, OSError):
        path = folder / "infant.json"
        about = json.loads(path.read_bytes())
        for name in about["files"]:
            file = folder / name
            about["files"][name] = {"bytes": file.stat().st_size, "sha256": file_sha256(file)}
        about["sha256"] = value_sha256(about | {"sha256": ""})
        path.write_text(json.dumps(about))


if __name__ == "__main__":
    sys.exit(main())

"""A made world for the tests of verification: waves that say which infant and which room it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.speaker.cries.store import CryRow, write_cries

CODE = 64  # samples at the head of a wave that name the infant, then as many for the room
LENGTH = 4000
START = pd.Timestamp("2024-03-01", tz="UTC")
# infants of each part, as "<corpus>/<name>"
TRAIN = ("home/t0", "home/t1", "home/t2")
VAL = ("home/v0", "home/v1", "home/v2")
TEST = ("home/a", "home/b", "home/c", "home/d")
PARTS = {"train": TRAIN, "val": VAL, "test": TEST}


def code(name: str) -> np.ndarray:
    """[CODE] of a name, in -0.5..0.5: those of two names are hardly alike."""
    return np.random.default_rng(list(name.encode())).uniform(-0.5, 0.5, CODE)


def wave(infant: str, room: str, take: str) -> np.ndarray:
    """[LENGTH]: what `infant_vectors` and `room_vectors` read, and noise of its own after it."""
    noise = np.random.default_rng(list(take.encode())).uniform(-0.2, 0.2, LENGTH - 2 * CODE)
    return np.concatenate([code(infant), code(room), noise]).astype(np.float32)


def infant_vectors(waves: Sequence[np.ndarray]) -> np.ndarray:
    """Knows the infant and nothing else."""
    return np.stack([wave[:CODE] for wave in waves]).astype(float)


def room_vectors(waves: Sequence[np.ndarray]) -> np.ndarray:
    """Knows the room and nothing else."""
    return np.stack([wave[CODE : 2 * CODE] for wave in waves]).astype(float)


def noise_vectors(waves: Sequence[np.ndarray]) -> np.ndarray:
    """Knows nothing."""
    return np.stack([wave[2 * CODE : 4 * CODE] for wave in waves]).astype(float)


def clip(infant: str, session: int, take: int, part: str, **columns: object) -> dict:
    """A row of split_clips, as far as the store takes it."""
    name = f"{infant}/{session}/{take}"
    given = {
        "clip_id": name,
        "corpus": infant.split("/")[0],
        "infant_id": infant,
        "session_id": f"{infant}/{session}",
        "recorded_at": START + pd.Timedelta(days=session, minutes=5 * take),
        "recording_id": name,
        "cluster_id": None,
        "split": part,
        "category": "hunger",
    }
    return given | columns


def clips(sessions: int = 3, takes: int = 2) -> list[dict]:
    """``takes`` recordings in each of ``sessions`` of every infant."""
    return [
        clip(infant, session, take, part)
        for part, infants in PARTS.items()
        for infant in infants
        for session in range(sessions)
        for take in range(takes)
    ]


def write_store(
    folder: Path,
    rows: Sequence[dict],
    sound: Callable[[dict], np.ndarray] | None = None,
    cries: int = 1,
) -> Path:
    """A folder as stage cries makes it; ``cries`` of each recording are alike."""

    def found():
        for row in rows:
            made = wave(row["infant_id"], row["session_id"] or "", row["clip_id"])
            made = made if sound is None else sound(row)
            for number in range(cries):
                yield CryRow(row, float(number), number + 0.5, "annotation", -3.0, made)

    write_cries(folder, found())
    return folder

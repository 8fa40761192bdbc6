"""Sounds and tables of clips for the tests of the split and of what is built on it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr

from crywatch.audio.decode import decode
from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.cleaned import to_int16, write_flac
from crywatch.audio.waves.levels import bandwidth_hz, level_dbfs
from crywatch.audio.waves.resampling import resample
from crywatch.data.tables import TableSchema, conform, empty, write_table
from crywatch.data.tables.clips import CLIPS, EVENTS


def cry_like(seed: int, seconds: float = 4.0) -> np.ndarray:
    """A gliding harmonic voice with bursts and pauses in a little noise; [samples], 16 kHz."""
    rng = np.random.default_rng([1, seed])
    n = round(seconds * RATE_HZ)
    knots = np.linspace(0, n, 24)
    pitch_hz = np.interp(np.arange(n), knots, rng.uniform(300, 600, 24))
    level = np.interp(np.arange(n), knots, rng.uniform(0, 1, 24) ** 2)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
    voice = sum(np.sin(k * phase) / k for k in range(1, 8))
    wave = 0.2 * level * voice + 2e-3 * rng.standard_normal(n)
    return wave.astype(np.float32)


def noise(seed: int, seconds: float = 4.0) -> np.ndarray:
    """Steady noise; [samples], 16 kHz."""
    rng = np.random.default_rng([2, seed])
    return (0.1 * rng.standard_normal(round(seconds * RATE_HZ))).astype(np.float32)


def tone(seed: int, seconds: float = 4.0, hz: float = 441.0) -> np.ndarray:
    """A steady tone under a little noise of its own; [samples], 16 kHz."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    wave = 0.3 * np.sin(2 * np.pi * hz * t + seed)
    rng = np.random.default_rng([3, seed])
    return (wave + 1e-3 * rng.standard_normal(len(t))).astype(np.float32)


def ticks(seed: int, seconds: float = 4.0, period_s: float = 0.5) -> np.ndarray:
    """A clock: one and the same tick, over noise and from a time of its own; [samples], 16 kHz."""
    rng = np.random.default_rng([4, seed])
    tick = np.exp(-np.arange(800) / 80) * np.random.default_rng(4).standard_normal(800)
    wave = 1e-3 * rng.standard_normal(round(seconds * RATE_HZ) + len(tick))
    for start in range(
        int(rng.integers(8000)), round(seconds * RATE_HZ), round(period_s * RATE_HZ)
    ):
        wave[start : start + len(tick)] += 0.3 * tick
    return wave[: -len(tick)].astype(np.float32)


def beeps(seed: int, seconds: float = 4.0, period_s: float = 0.8) -> np.ndarray:
    """A telephone's two tones again and again, over noise of its own; [samples], 16 kHz."""
    rng = np.random.default_rng([5, seed])
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    phase = (t + rng.uniform(0, period_s)) % period_s
    low = np.sin(2 * np.pi * 1000 * t) * (phase < 0.15)
    high = np.sin(2 * np.pi * 1500 * t) * ((phase >= 0.15) & (phase < 0.3))
    return (0.3 * (low + high) + 2e-3 * rng.standard_normal(len(t))).astype(np.float32)


def recoded(wave: np.ndarray, folder: Path, kind: str, rate_hz: int) -> np.ndarray:
    """``wave`` [samples] through a file of that kind and rate."""
    path = folder / f"copy.{kind}"
    coding = {"ogg": ("OGG", "VORBIS"), "mp3": ("MP3", "MPEG_LAYER_III"), "wav": ("WAV", "PCM_16")}
    file_format, subtype = coding[kind]
    if file_format not in soundfile.available_formats():
        pytest.skip(f"this libsndfile has no {file_format}")
    there = soxr.resample(wave, RATE_HZ, rate_hz)
    soundfile.write(path, there, rate_hz, format=file_format, subtype=subtype)
    back = decode(path)
    return resample(back.wave, back.rate_hz, RATE_HZ)


def row(folder: Path, clip_id: str, wave: np.ndarray, **columns: object) -> dict[str, object]:
    """A row of table ``clips`` for ``wave``, whose FLAC is written below ``folder``."""
    path = folder / f"{clip_id}.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_flac(path, wave)
    peak = float(np.abs(wave).max(initial=0.0))
    return {
        "clip_id": clip_id,
        "corpus": clip_id.split("/")[0],
        "path": path.as_posix(),
        "source_path": clip_id,
        "sha256": hashlib.sha256(to_int16(wave).tobytes()).hexdigest(),
        "duration_s": len(wave) / RATE_HZ,
        "rate_hz": RATE_HZ,
        "bandwidth_hz": bandwidth_hz(wave, RATE_HZ),
        "peak_dbfs": level_dbfs(peak),
        "rms_dbfs": level_dbfs(float(np.sqrt(np.mean(np.square(wave))))),
        "label": "other",
        "category": "any",
        "recording_id": clip_id,
        "infant_id": None,
        "session_id": None,
        "recorded_at": pd.NaT,
        "licence": "CC0 1.0",
    } | columns


def clips_table(rows: list[dict[str, object]], schema: TableSchema = CLIPS) -> pd.DataFrame:
    """Rows as a table."""
    return conform(pd.DataFrame(rows), schema)


def corpus_folder(folder: Path, rows: list[dict]) -> Path:
    """``folder`` as `clean` leaves it: the tables of ``rows``, without events."""
    folder.mkdir(parents=True, exist_ok=True)
    write_table(clips_table(rows) if rows else empty(CLIPS), folder / "clips.parquet", CLIPS)
    write_table(empty(EVENTS), folder / "events.parquet", EVENTS)
    return folder

"""A small world for the tests of the robust training: sounds of two corpora and their tables."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig

from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.cleaned import write_flac
from crywatch.core import params
from crywatch.data.selection import Source
from crywatch.detection.embedders import EmbedderConfig
from crywatch.detection.robust.recipe import RecipeConfig
from crywatch.detection.robust.robust_sounds import RobustSoundsConfig, run
from crywatch.detection.robust.spans import Span
from crywatch.detection.robust.train_robust import TrainRobustConfig
from tests.helpers.blazenet_cases import write_clips
from tests.helpers.dag import ROOT
from tests.helpers.evaluation_cases import write_cries
from tests.helpers.split_cases import cry_like, noise, tone

CHANNELS = {"telephone": [{"band": {"low_hz": 200, "high_hz": 3300}}, {"codec": {"name": "gsm"}}]}
SOUNDS = RobustSoundsConfig(
    copies=2, codecs=["gsm", "adpcm", "mulaw"], peak_dbfs=Span(-20.0, -1.0), channel="telephone"
)
STRONG = {"b/cry-train-0": [(1.0, 2.0)]}
SECONDS = 2.5
# Names of what the generated sounds are, as a publisher's classes.
CATEGORIES = ("hiss", "hum", "whistle")


@cache
def _composed(*overrides: str) -> DictConfig:
    small = ["train_robust.training={steps: 8, val_every: 3, batch_size: 12}"]
    if not any(override.startswith("robust_teacher@") for override in overrides):
        small.append("robust_teacher@train_robust.teacher=none")
    return params.compose([*small, *overrides], ROOT / "conf").train_robust


def section(*overrides: str) -> TrainRobustConfig:
    """Section ``train_robust`` of the composed configuration, small enough for a test."""
    return params.typed(_composed(*overrides), TrainRobustConfig, "params.yaml: train_robust")


def recipe(*overrides: str) -> RecipeConfig:
    """The recipe of `section`."""
    return section(*overrides).recipe()


def sound(clip_id: str) -> np.ndarray:
    """The clip's sound, [samples] at 16 kHz; corpus b is much quieter."""
    corpus, name = clip_id.split("/")
    kind, part, number = name.split("-")
    seed = sum(clip_id.encode())
    if kind == "cry" or (kind, number) == ("unknown", "0"):
        wave = cry_like(seed, SECONDS)
        wave[int(1.6 * RATE_HZ) :] *= 0.001
    else:
        wave = noise(seed, SECONDS) if int(number) % 2 else tone(seed, SECONDS)
    return wave * (0.02 if corpus == "b" else 1.0)


def clip_ids() -> list[str]:
    """All clips; the parts are in their names."""
    counts = {"train": 4, "val": 2, "test": 1}
    return [
        f"{corpus}/{kind}-{part}-{number}"
        for corpus in "ab"
        for kind in ("cry", "other")
        for part, count in counts.items()
        for number in range(count)
    ] + ["a/unknown-train-0", "b/unknown-train-1"]


def rows() -> list[dict]:
    """Rows of table ``split_clips`` but their paths; one of b's clips is a copy of one of a's."""
    found = []
    for clip_id in clip_ids():
        kind, part, number = clip_id.split("/")[1].split("-")
        found.append(
            {
                "clip_id": clip_id,
                "label": kind,
                "split": part,
                "duration_s": SECONDS,
                "category": CATEGORIES[int(number) % 3] if kind == "other" else kind,
            }
        )
    for row in found:
        if row["clip_id"] in ("a/cry-train-0", "b/cry-train-1"):
            row["group_id"] = "together"
    return found


class FakeTeacher:
    """Hears a cry where a second is not as flat as noise; of other classes it has noise to say."""

    config = EmbedderConfig("yamnet", 521, "fake")
    digest = "fake"

    def class_scores(self, seconds: np.ndarray) -> np.ndarray:
        """[n, 16000] to [n, 521]."""
        rng = np.random.default_rng(1)
        scores = np.tile(0.1 * rng.random(521, dtype=np.float32), (len(seconds), 1))
        power = np.abs(np.fft.rfft(seconds, axis=1)) ** 2 + 1e-12
        flatness = np.exp(np.log(power).mean(axis=1)) / power.mean(axis=1)
        scores[:, 19], scores[:, 20] = 0.001, np.where(flatness < 0.1, 0.8, 0.01)
        return scores


class World:
    """FLACs, the split's tables and the store of sounds below ``root``."""

    def __init__(self, root: Path, taught: bool = False):
        self.root = root
        self.rows = [row | {"path": str(root / f"{row['clip_id']}.flac")} for row in rows()]
        for row in self.rows:
            Path(row["path"]).parent.mkdir(parents=True, exist_ok=True)
            write_flac(row["path"], sound(row["clip_id"]))
        self.split = Source(
            write_clips(root / "clips.parquet", self.rows),
            write_cries(root / "events.parquet", STRONG),
        )
        self.sounds = root / "sounds"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "crywatch.detection.robust.robust_sounds._open_yamnet", lambda handle: FakeTeacher()
            )
            handle = "fake" if taught else ""
            work = root / "work"
            self.summary = run(self.split.clips, SOUNDS, CHANNELS, handle, self.sounds, work)

"""A small world for the tests of the evaluation: clips and model folders."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.cleaned import write_flac
from crywatch.core.models import ModelFolder, save
from crywatch.data.selection import Source
from crywatch.data.tables import write_table
from crywatch.data.tables.clips import EVENTS
from crywatch.detection.anomaly.network import RtfmNetwork
from crywatch.detection.blazenet.frontend import FrontEndConfig
from crywatch.detection.blazenet.network import FEATURES, BlazeNet
from crywatch.detection.systems import System
from tests.helpers.blazenet_cases import FIVE_SECONDS, ONE_SECOND, sound, write_clips

DURATION_S = {"short": 0.3, "long": 7.4}  # by what a clip's name ends in; 2 s otherwise
# Corpora: "both" holds cries and others, "few" too, "cries" holds nothing but cries.
CLIPS = [f"both/{label}-{n}" for label in ("cry", "other") for n in range(3)]
CLIPS += ["few/cry-0", "few/other-0", "few/cry-long", "few/other-short", "cries/cry-0"]
UNTRIMMED = {"untrimmed/cry-0": [(0.6, 2.4)], "untrimmed/other-0": []}
UNTRIMMED_S = 4.0
STRONG = {"both/cry-2": [(0.2, 0.9)]}  # of 2 s


def label(clip_id: str) -> str:
    """By the clip's name."""
    return "cry" if "/cry" in clip_id else "other"


def duration_s(clip_id: str) -> float:
    """By the clip's name."""
    if clip_id.startswith("untrimmed"):
        return UNTRIMMED_S
    return DURATION_S.get(clip_id.rpartition("-")[2], 2.0)


def wave(clip_id: str) -> np.ndarray:
    """The clip's sound, [samples] at 16 kHz; its level and its seed are its own."""
    seed = sum(clip_id.encode())
    loud = 1.0 if label(clip_id) == "cry" else 0.02 * (1 + seed % 5)
    return loud * sound(round(duration_s(clip_id) * RATE_HZ), seed)


def row(clip_id: str, part: str, **columns: object) -> dict:
    """A row of table ``split_clips``."""
    given = {"label": label(clip_id), "split": part, "duration_s": duration_s(clip_id)}
    return {"clip_id": clip_id} | given | columns


def split_rows() -> list[dict]:
    """Every clip of `CLIPS` once for each part; a duplicate and an unlabelled clip for testing."""
    rows = []
    for part, head in (("train", "t-"), ("val", "v-"), ("test", "")):
        for clip_id in CLIPS:
            corpus, _, name = clip_id.partition("/")
            kind, _, number = name.partition("-")
            rows.append(row(f"{corpus}/{kind}-{head}{number}", part))
    rows.append(row("both/cry-copy", "test", canonical=False))
    rows.append(row("both/nameless-0", "test", label="unknown"))
    return rows


def write_cries(path: Path, placed: dict[str, list[tuple[float, float]]]) -> Path:
    """A table of events, all of them cries."""
    rows = [(clip_id, on, off, "cry") for clip_id, cries in placed.items() for on, off in cries]
    columns = ["clip_id", "onset_s", "offset_s", "label"]
    write_table(pd.DataFrame(rows, columns=columns), path, EVENTS)
    return path


class World:
    """The folders and tables that stages ``score`` and ``evaluate`` read, below ``root``."""

    def __init__(self, root: Path):
        self.root = root
        rows = split_rows()
        joined = [row(c, "test", corpus="untrimmed") for c in UNTRIMMED]
        for clip in rows + joined:
            clip["path"] = str(root / f"{clip['clip_id'].replace('/', '_')}.flac")
            write_flac(Path(clip["path"]), wave(clip["clip_id"]))
        self.split_clips = write_clips(root / "split.parquet", rows)
        self.split_events = write_cries(root / "split_events.parquet", STRONG)
        self.sources = [
            Source(self.split_clips, self.split_events),
            Source(
                write_clips(root / "untrimmed.parquet", joined),
                write_cries(root / "untrimmed_events.parquet", UNTRIMMED),
            ),
        ]
        self.clip_ids = [r["clip_id"] for r in rows + joined if r["label"] != "unknown"]
        self._models()

    def _models(self) -> None:
        torch.manual_seed(3)
        network = BlazeNet()
        backbone = {f"backbone.{name}": value for name, value in network.state_dict().items()}
        for front_end in (ONE_SECOND, FIVE_SECONDS):
            name = f"all_{front_end.segment_s:g}s"
            folder = self.root / "blazenet" / name
            save(folder, ModelFolder(blazenet_description(name, front_end), backbone))
        for name in ("trimmed", "untrimmed"):
            head = {f"head.{k}": v for k, v in RtfmNetwork(FEATURES).state_dict().items()}
            inner = blazenet_description("all_1s", ONE_SECOND)
            description = {"kind": "rtfm", "name": name, "dim": FEATURES, "backbone": inner}
            save(self.root / "rtfm" / name, ModelFolder(description, backbone | head))

    def system(self, name: str, leave_out: str = "") -> System:
        """A system by family and variant; ``blazenet/no_...`` has the weights of ``all_1s``."""
        family, variant = name.split("/")
        if family == "blazenet" and variant != "all_5s":
            variant = "all_1s"
        segment_s = 5.0 if variant == "all_5s" else 1.0
        return System(name, str(self.root / family / variant), leave_out, name, segment_s)


def blazenet_description(name: str, front_end: FrontEndConfig) -> dict:
    """``model.json`` of a BlazeNet."""
    front = asdict(front_end)
    return {"kind": "blazenet", "name": name, "segment_s": front["segment_s"], "frontend": front}

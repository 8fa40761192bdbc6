"""What the stages of a tiny project write that ends in a detector that can be registered."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crywatch.core import paths
from crywatch.core.models import ModelFolder, load, save
from tests.helpers.register_cases import plan, write_tables
from tests.helpers.robust_model_cases import write_robust
from tests.helpers.split_cases import cry_like, noise, row

BETWEEN = 0.35  # of the logits of cries and of noise


def write_sounds() -> None:
    """Tables of cries, other sounds and soundscapes of all parts, and their audio."""
    clips, made, events, plans = [], [], [], []
    folder = paths.DATA / "sounds"
    for part, count in (("train", 6), ("val", 8), ("test", 5)):
        for n in range(count):
            seed = 100 * len(part) + n
            cry, other = cry_like(seed, 3.0), noise(seed, 3.0)
            about = {"split": part, "canonical": True, "cluster_id": None}
            for kind, wave, label in (("cry", cry, "cry"), ("rain", other, "other")):
                name = f"esc50/{kind}-{part}-{n}"
                about |= {"label": label, "category": kind, "group_id": name}
                clips.append(row(folder, name, wave, **about))
            name = f"soundscapes/{part}-{n:05d}"
            about |= {"label": "cry", "category": "10s", "group_id": f"soundscapes/{part}"}
            wave = np.concatenate([other[:32000], cry[:32000], other[:32000]])
            made.append(row(folder, name, wave, **about) | {"source_path": "esc50"})
            events.append((name, 2.0, 4.0, "cry"))
            plans.append(plan(name, part, 5.0, f"esc50/cry-{part}-{n}"))
    write_tables(clips, made, events, plans)


def write_model(folder: Path, sign: float) -> None:
    """A network of random weights, between whose scores of the two kinds of sound 0.5 is put.

    With a negative ``sign`` it takes each for the other; a larger one makes it surer.
    """
    write_robust(folder, corpora=["esc50"])
    model = load(folder)
    weights = dict(model.weights)
    weights["backbone.classifier.bias"] = weights["backbone.classifier.bias"].clone()
    weights["backbone.classifier.bias"][1] -= BETWEEN
    for name in ("weight", "bias"):
        weights[f"backbone.classifier.{name}"] = sign * weights[f"backbone.classifier.{name}"]
    save(folder, ModelFolder(model.description, weights))

"""What is compared: fine-tuned networks, one off the shelf, one that knows nothing, statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crywatch.core.errors import ModelError, TableError
from crywatch.core.models import load
from crywatch.speaker.baselines import (
    each,
    logmel_statistics,
    mfcc_statistics,
    random_network,
    standardised,
)
from crywatch.speaker.batches import Embed
from crywatch.speaker.cries.store import CryStore
from crywatch.speaker.ecapa import EcapaConfig, build, from_model

RANDOM_CHANNELS = 256  # where there is no fine-tuned network to be like
OFF_THE_SHELF = "off-the-shelf"


@dataclass(frozen=True)
class Network:
    """One line of the table."""

    name: str
    embed: Embed
    crops: bool = True  # are averaged; statistics of a whole recording gain nothing by it


def open_networks(
    finetuned: Mapping[str, Path], off_the_shelf: str, store: CryStore, cohort: int, seed: int
) -> list[Network]:
    """Fine-tuned networks first, baselines last.

    The baselines are standardised on ``cohort`` recordings of the training part: without that all
    their vectors point one way. The random network is as wide as the first fine-tuned one.

    Raises
    ------
    ModelError
        A folder holds no ECAPA-TDNN, or ``off_the_shelf`` cannot be had.
    TableError
        The training part has fewer than two recordings.
    """
    networks: list[Network] = []
    channels = RANDOM_CHANNELS
    for name, folder in finetuned.items():
        network = from_model(load(folder))
        channels = channels if networks else network.shape.channels
        networks.append(Network(name, network.embed))
    if off_the_shelf:
        networks.append(Network(OFF_THE_SHELF, _published(off_the_shelf, seed)))
    sounds = training_sounds(store, cohort)
    baselines = (
        Network("random", random_network(channels, seed)),
        Network("logmel", each(logmel_statistics), crops=False),
        Network("mfcc", each(mfcc_statistics), crops=False),
    )
    return networks + [replace(b, embed=standardised(b.embed, sounds)) for b in baselines]


def training_sounds(store: CryStore, count: int) -> Sequence[np.ndarray]:
    """``count`` recordings of the training part, evenly over the file, each as its cries joined."""
    table = store.table
    clips = table.loc[table["split"] == "train", "clip_id"].unique()
    if len(clips) < 2:
        raise TableError(
            f"{store.folder}: part train has {len(clips)} recordings of cries; the baselines are "
            "standardised on two or more: add infants"
        )
    picked = np.unique(np.linspace(0, len(clips) - 1, min(count, len(clips))).round().astype(int))
    return [np.concatenate(store.waves(clip_id)) for clip_id in clips[picked]]


def _published(source: str, seed: int) -> Embed:
    try:
        return build(EcapaConfig(source, 0, []), seed).embed
    except ModelError as error:
        raise ModelError(
            f"evaluate_verification.off_the_shelf is {source!r}: {error}; or set "
            'evaluate_verification.off_the_shelf to "" to leave its line out'
        ) from error

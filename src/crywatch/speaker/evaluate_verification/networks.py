"""What is compared: fine-tuned networks, one off the shelf, one that knows nothing, statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from crywatch.core.errors import ModelError
from crywatch.speaker.baselines import (
    each,
    logmel_statistics,
    mfcc_statistics,
    random_network,
    standardised,
)
from crywatch.speaker.batches import Embed
from crywatch.speaker.cries.store import CryStore, training_sounds
from crywatch.speaker.ecapa import Ecapa, EcapaConfig, build
from crywatch.speaker.logmel import open_network

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
        A folder holds no network, or ``off_the_shelf`` cannot be had.
    TableError
        The training part has fewer than two recordings.
    """
    networks: list[Network] = []
    channels = RANDOM_CHANNELS
    for name, folder in finetuned.items():
        network = open_network(folder)
        if isinstance(network, Ecapa) and not networks:
            channels = network.shape.channels
        networks.append(Network(name, network.embed, network.is_averaged))
    if off_the_shelf:
        networks.append(Network(OFF_THE_SHELF, _published(off_the_shelf, seed)))
    sounds = training_sounds(store, cohort)
    baselines = (
        Network("random", random_network(channels, seed)),
        Network("logmel", each(logmel_statistics), crops=False),
        Network("mfcc", each(mfcc_statistics), crops=False),
    )
    return networks + [
        replace(baseline, embed=standardised(baseline.embed, sounds))
        for baseline in baselines
        if baseline.name not in finetuned
    ]


def _published(source: str, seed: int) -> Embed:
    try:
        return build(EcapaConfig(source, 0, []), seed).embed
    except ModelError as error:
        raise ModelError(
            f"evaluate_verification.off_the_shelf is {source!r}: {error}; or set "
            'evaluate_verification.off_the_shelf to "" to leave its line out'
        ) from error

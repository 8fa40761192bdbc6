"""The detectors of one rebuild that are compared: each a model folder, read by its family's loader.

A system's name is ``family/variant``; those of one ``row`` differ by their seed alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crywatch.core import paths
from crywatch.core.errors import ConfigError, named
from crywatch.core.models import load
from crywatch.detection.detectors import Detector, load_detector
from crywatch.detection.peer.zero_shot import YamnetConfig, YamnetDetector


@dataclass(frozen=True)
class System:
    """A detector to measure."""

    name: str  # family/variant
    source: str  # folder of the model; a file, a folder or a URL for family yamnet
    leave_out: str  # corpora and kinds of sound never trained on, or ""
    row: str  # of a table: the name without the seed
    segment_s: float = 1.0  # how much sound it sees at once
    yamnet: YamnetConfig | None = None  # that decides with it, of family fused

    @property
    def family(self) -> str:
        """miner, blazenet, rtfm, robust, fused, baselines, yamnet."""
        return self.name.split("/")[0]


FOLDERS = {
    "miner": paths.MINE,
    "blazenet": paths.TRAIN_BLAZENET,
    "rtfm": paths.TRAIN_RTFM,
    "robust": paths.TRAIN_ROBUST,
    "fused": paths.TRAIN_ROBUST,
    "baselines": paths.TRAIN_BASELINES,
}
VARIANTS = {  # in params.yaml
    "miner": "mine.datasets",
    "blazenet": "train_blazenet.variants",
    "rtfm": "train_rtfm.variants",
    "robust": "train_robust.variants",
    "fused": "train_robust.variants",  # each beside YAMNet
    "baselines": "train_baselines.models",
}


def systems(
    names: Sequence[str], variants: Mapping[str, Mapping], yamnet: YamnetConfig
) -> list[System]:
    """Those of ``names`` (``family/variant``) in their order.

    ``variants`` has the variants of each family from params.yaml, each with ``leave_out`` and,
    where it is one of several seeds, ``row``. Families yamnet and fused are there if ``yamnet`` has
    a handle; a variant is not whose sound could not be had.

    Raises
    ------
    ConfigError
        A name is no ``family/variant``, or there is no such family or variant.
    """
    result = []
    for name in names:
        family, _, variant = name.partition("/")
        if family in ("yamnet", "fused") and not yamnet.handle:
            continue
        if family == "yamnet":
            result.append(System(name, yamnet.handle, "", name))
            continue
        if family not in variants:
            families = ", ".join([*variants, "yamnet"])
            raise ConfigError(f"system {name!r}: name a family/variant of {families}")
        body = named(variants[family], variant, VARIANTS[family]) or {}
        row = f"{family}/{body.get('row') or variant}"
        source = str(FOLDERS[family] / variant)
        if paths.missing_note(FOLDERS[family] / variant):
            continue
        leave_out, segment_s = body.get("leave_out", ""), body.get("segment_s", 1.0)
        peer = yamnet if family == "fused" else None
        result.append(System(name, source, leave_out, row, segment_s, peer))
    return result


def load_system(system: System) -> Detector:
    """The detector of a system: its model folder, YAMNet as it is, or both."""
    if system.family == "yamnet":
        return YamnetDetector(system.name, system.source)
    if system.yamnet is None:
        return load_detector(system.source)
    from crywatch.detection.peer.detector import fuse

    return fuse(load(system.source), system.yamnet)

"""The detectors of one rebuild that are compared: each a model folder, read by its family's loader.

A system's name is ``family/variant``; those of one ``row`` differ by their seed alone. Family
``fused`` is the variant of family robust together with YAMNet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crywatch.core import paths
from crywatch.core.errors import ConfigError, named
from crywatch.detection.detectors import Detector, load_detector


@dataclass(frozen=True)
class System:
    """A detector to measure."""

    name: str  # family/variant
    source: str  # folder of the model; a file, a folder or a URL for family yamnet
    leave_out: str  # corpora and kinds of sound never trained on, or ""
    row: str  # of a table: the name without the seed
    segment_s: float = 1.0  # how much sound it sees at once
    yamnet: str = ""  # file, folder or URL of a YAMNet that it is fused with

    @property
    def family(self) -> str:
        """miner, blazenet, rtfm, robust, baselines, yamnet, fused."""
        return self.name.split("/")[0]


FOLDERS = {
    "miner": paths.MINE,
    "blazenet": paths.TRAIN_BLAZENET,
    "rtfm": paths.TRAIN_RTFM,
    "robust": paths.TRAIN_ROBUST,
    "baselines": paths.TRAIN_BASELINES,
}
YAMNET, FUSED = "yamnet", "fused"  # families that need a YAMNet
VARIANTS = {  # in params.yaml
    "miner": "mine.datasets",
    "blazenet": "train_blazenet.variants",
    "rtfm": "train_rtfm.variants",
    "robust": "train_robust.variants",
    "baselines": "train_baselines.models",
}


def systems(names: Sequence[str], variants: Mapping[str, Mapping], yamnet: str) -> list[System]:
    """Those of ``names`` (``family/variant``) in their order.

    ``variants`` has the variants of each family from params.yaml, each with ``leave_out`` and,
    where it is one of several seeds, ``row``. Families yamnet and fused are there if ``yamnet``
    names a file, a folder or a URL; a variant is not whose sound could not be had.

    Raises
    ------
    ConfigError
        A name is no ``family/variant``, or there is no such family or variant.
    """
    result = []
    for name in names:
        family, _, variant = name.partition("/")
        if family in (YAMNET, FUSED) and not yamnet:
            continue
        if family == YAMNET:
            result.append(System(name, yamnet, "", name))
            continue
        trained = "robust" if family == FUSED else family
        if trained not in variants:
            families = ", ".join([*variants, FUSED, YAMNET])
            raise ConfigError(f"system {name!r}: name a family/variant of {families}")
        body = named(variants[trained], variant, VARIANTS[trained]) or {}
        row = f"{family}/{body.get('row') or variant}"
        source = FOLDERS[trained] / variant
        if paths.missing_note(source):
            continue
        leave_out, segment_s = body.get("leave_out", ""), body.get("segment_s", 1.0)
        with_yamnet = yamnet if family == FUSED else ""
        result.append(System(name, str(source), leave_out, row, segment_s, with_yamnet))
    return result


def load_system(system: System) -> Detector:
    """The detector of a system: its model folder, YAMNet as it is, or both."""
    if system.family not in (YAMNET, FUSED):
        return load_detector(system.source)
    from crywatch.detection.baselines.zero_shot import YamnetDetector

    if system.family == YAMNET:
        return YamnetDetector(system.name, system.source)
    from crywatch.detection.fused import FusedDetector

    yamnet = YamnetDetector(YAMNET, system.yamnet)
    return FusedDetector(system.name, load_detector(system.source), yamnet)

"""A system with its detector, opened when there is something to score, and the digests of both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from crywatch.core.code import code_sha256
from crywatch.core.digest import files_sha256, value_sha256
from crywatch.core.errors import ModelError
from crywatch.core.models import DESCRIPTION, WEIGHTS, describe
from crywatch.data.truth import silent_seconds
from crywatch.detection.detectors import DETECTORS, Detector
from crywatch.detection.systems import System, load_system


@dataclass(frozen=True)
class Scorer:
    """A system to score."""

    system: System

    @cached_property
    def detector(self) -> Detector:
        """Opened when it is first asked for; ModelError if there is none."""
        return load_system(self.system)

    @cached_property
    def sha256(self) -> str:
        """Of the model; of a network that is known by a URL alone, of the URL."""
        source = Path(self.system.source)
        if self.system.family != "yamnet":
            missing = [name for name in (DESCRIPTION, WEIGHTS) if not (source / name).is_file()]
            if missing:
                raise ModelError(
                    f"{source}: no model here ({missing[0]} is missing): run `dvc repro` first"
                )
            model = files_sha256([source / DESCRIPTION, source / WEIGHTS])
            peer = self.system.yamnet
            return value_sha256([model, _peer(peer.handle), peer.weight]) if peer else model
        return _peer(self.system.source)

    @cached_property
    def key(self) -> list[str]:
        """Digests of the model and of the code that scores with it."""
        return [self.sha256, detector_code(self._kinds())]

    def _kinds(self) -> tuple[str, ...]:
        if self.system.family == "yamnet":
            return ("yamnet",)
        description = describe(self.system.source)
        if self.system.family == "fused":
            return ("fused", "robust")
        inner = description.get("backbone")
        kinds = [description["kind"], *([inner.get("kind", "blazenet")] if inner else [])]
        return tuple(kinds)

    def score(self, wave: np.ndarray) -> np.ndarray:
        """[samples] at 16 kHz to [plain seconds] in 0..1."""
        return np.asarray(self.detector.score(wave), dtype=np.float64)


@dataclass(frozen=True)
class Silence:
    """Stands where a system does and says which seconds are silent."""

    @cached_property
    def key(self) -> list[str]:
        """Digest of its code."""
        return [code_sha256("crywatch.data.truth")]

    def score(self, wave: np.ndarray) -> np.ndarray:
        """[samples] at 16 kHz to [plain seconds]: 1 for a silent one."""
        return silent_seconds(wave).astype(np.float64)


def _peer(handle: str) -> str:
    return files_sha256([Path(handle)]) if Path(handle).exists() else value_sha256(handle)


def detector_code(kinds: tuple[str, ...]) -> str:
    """SHA-256 of the code of the detectors of ``kinds``, without that of other kinds."""
    modules = {kind: module.partition(":")[0] for kind, module in DETECTORS.items()}
    modules["yamnet"] = "crywatch.detection.peer.zero_shot"

    def opened(found: dict[str, Path]) -> Iterator[Path]:
        other = found.keys() & DETECTORS.keys() - set(kinds)
        return (path for name, path in found.items() if name not in other)

    return value_sha256([code_sha256(modules[kind], opened=opened) for kind in kinds])

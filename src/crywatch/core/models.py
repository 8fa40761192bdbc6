"""Model folders: ``model.json`` says what it is, ``model.safetensors`` holds all weights.

The description holds the digests of itself and of the weights, so a folder that is damaged, or put
together from two models, is refused by whatever loads it. One without digests is of an earlier
crywatch: of that only what cannot be weights is noticed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crywatch.core.atomic import atomic_path, write_json
from crywatch.core.digest import file_sha256, value_sha256
from crywatch.core.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

KINDS = (
    "blazenet",
    "rtfm",
    "robust",
    "fused",
    "svc",
    "dense",
    "cnn",
    "app",
    "ecapa",
    "logmel",
    "gate",
)
DESCRIPTION = "model.json"
WEIGHTS = "model.safetensors"
EMBEDDINGS = "embeddings"  # below a backbone: a feature store of its numbers for each second
DIGESTS = "sha256"  # key of the description: file to digest
REMAKE = (
    "it is damaged or of another version; put it back with `dvc checkout`, or make it again with "
    "`dvc repro`"
)


@dataclass(frozen=True)
class ModelFolder:
    """A model as it lies on disk. No code is executed by loading it."""

    description: dict[str, Any]  # "kind" and what that kind needs
    weights: dict[str, Tensor]
    folder: Path | None = None  # where it was read from, for messages

    def setting(self, key: str) -> Any:
        """A value of the description; ModelError if it is not there."""
        if key not in self.description:
            raise ModelError(f"{self._where()}: {DESCRIPTION} has no {key!r}: {REMAKE}")
        return self.description[key]

    def fill(self, network: Module, prefix: str) -> None:
        """Load the weights of part ``prefix`` into ``network``; ModelError if they do not fit."""
        try:
            network.load_state_dict(self.part(prefix))
        except RuntimeError as error:
            # The first line only names the class.
            reason = str(error).splitlines()[1:2] or [str(error)]
            raise ModelError(
                f"{self._where()}: {WEIGHTS} does not fit {type(network).__name__} "
                f"({reason[0].strip()[:200]}): {REMAKE}"
            ) from error

    def _where(self) -> str:
        return "model" if self.folder is None else str(self.folder)

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Weights whose names start with ``prefix.``, without it."""
        cut = len(prefix) + 1
        return {k[cut:]: v for k, v in self.weights.items() if k.startswith(f"{prefix}.")}


def own_files(folder: Path) -> list[Path]:
    """A model's files, by name; what it has made lies in folders below, and is no part of it."""
    return sorted(path for path in folder.iterdir() if path.is_symlink() or not path.is_dir())


def n_parameters(network: Module) -> int:
    """How many trained numbers ``network`` has."""
    return sum(parameter.numel() for parameter in network.parameters())


def save(folder: Path, model: ModelFolder) -> None:
    """Write the two files; equal models give equal bytes."""
    from safetensors.torch import save_file

    with atomic_path(folder / WEIGHTS) as temp:
        weights = {name: model.weights[name].contiguous() for name in sorted(model.weights)}
        save_file(weights, temp)
    description = json.loads(json.dumps(model.description))  # as it will be read
    digests = {DESCRIPTION: value_sha256(description), WEIGHTS: file_sha256(folder / WEIGHTS)}
    write_json(folder / DESCRIPTION, description | {DIGESTS: digests})


def load(folder: Path | str) -> ModelFolder:
    """Read a model folder.

    ModelError if a file is missing, damaged or not the one that was written, if a weight is not
    finite, or the kind is unknown.
    """
    folder = Path(folder)
    description, digest = _describe(folder)
    path = folder / WEIGHTS
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}: {REMAKE}") from error
    if digest and hashlib.sha256(data).hexdigest() != digest:
        raise ModelError(f"{path}: not what was written with {DESCRIPTION}: {REMAKE}")
    return ModelFolder(description, weights_of(data, path), folder)


def describe(folder: Path | str) -> dict[str, Any]:
    """The description of a model folder, without reading its weights; ModelError as `load`."""
    return _describe(Path(folder))[0]


def weights_of(data: bytes, path: Path) -> dict[str, Tensor]:
    """The tensors in the ``data`` of a safetensors file; ModelError naming ``path``."""
    from safetensors import SafetensorError
    from safetensors.torch import load as parse

    try:
        weights = parse(data)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ModelError(f"{path}: cannot be read ({error}): {REMAKE}") from error
    require_finite(weights, path)
    return weights


def require_finite(weights: Mapping[str, Tensor], path: Path, advice: str = REMAKE) -> None:
    """ModelError where a number of ``weights`` is none."""
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ModelError(f"{path}: {name} holds what is no number: {advice}")


def _describe(folder: Path) -> tuple[dict[str, Any], str]:
    """Description, and the digest of the weights; empty where that is not recorded."""
    for name in (DESCRIPTION, WEIGHTS):
        if not (folder / name).is_file():
            raise ModelError(f"{folder}: no model here ({name} is missing): run `dvc repro` first")
    path = folder / DESCRIPTION
    try:
        description = json.loads(path.read_bytes(), parse_constant=_no_number)
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not JSON ({error}): {REMAKE}") from error
    if not isinstance(description, dict):
        raise ModelError(f"{path}: not a mapping: {REMAKE}")
    if description.get("kind") not in KINDS:
        raise ModelError(f"{path}: kind {description.get('kind')!r} is unknown: {REMAKE}")
    digests = description.pop(DIGESTS, None)
    if digests is None:
        return description, ""
    if not isinstance(digests, dict) or digests.get(DESCRIPTION) != value_sha256(description):
        raise ModelError(f"{path}: not what was written: {REMAKE}")
    return description, str(digests.get(WEIGHTS))


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number")

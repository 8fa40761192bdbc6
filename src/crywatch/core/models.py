"""Model folders: ``model.json`` says what it is, ``model.safetensors`` holds all weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crywatch.core.atomic import atomic_path, read_json, write_json
from crywatch.core.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

KINDS = ("blazenet", "rtfm", "robust", "svc", "dense", "cnn", "ecapa")
DESCRIPTION = "model.json"
WEIGHTS = "model.safetensors"
EMBEDDINGS = "embeddings"  # below a backbone: a feature store of its numbers for each second
REMAKE = "it is damaged or of another version; make it again with `dvc repro`"


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
    write_json(folder / DESCRIPTION, model.description)


def load(folder: Path | str) -> ModelFolder:
    """Read a model folder; ModelError if it is missing, incomplete or of an unknown kind."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    for name in (DESCRIPTION, WEIGHTS):
        if not (folder / name).is_file():
            raise ModelError(f"{folder}: no model here ({name} is missing): run `dvc repro` first")
    try:
        description = read_json(folder / DESCRIPTION)
    except ValueError as error:
        raise ModelError(f"{folder / DESCRIPTION}: not JSON ({error}): {REMAKE}") from error
    if not isinstance(description, dict):
        raise ModelError(f"{folder / DESCRIPTION}: not a mapping: {REMAKE}")
    if description.get("kind") not in KINDS:
        raise ModelError(f"{folder / DESCRIPTION}: kind {description.get('kind')!r} is unknown")
    try:
        weights = load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{folder / WEIGHTS}: cannot be read: {error}") from error
    return ModelFolder(description, weights, folder)

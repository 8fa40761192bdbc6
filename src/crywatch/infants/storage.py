"""One infant, one file: models and calibration as safetensors, which executes nothing.

The file's header says what made it; equal infants give equal bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from crywatch.core.atomic import atomic_path
from crywatch.core.errors import ModelError
from crywatch.infants.conformal import CalibratedInfant, Promise

SUFFIX = ".safetensors"
_HEADER = "infant"  # one key: the order of several is not fixed in the file
_VERSION = 1
_REMAKE = "fit the infant again"
_PLAIN = re.compile(r"[a-z0-9_][a-z0-9._-]{0,79}")  # a name that is one file on any system


def file_name(infant_id: str) -> str:
    """A file name for an infant, its own where that is safe; two infants never share one.

    Other names get a digest: capitals too, which some file systems do not tell apart.
    """
    if _PLAIN.fullmatch(infant_id):
        return infant_id + SUFFIX
    shown = re.sub(r"[^a-z0-9_-]+", "_", infant_id.lower())[:60]
    return f"{shown}-{hashlib.sha256(infant_id.encode()).hexdigest()[:16]}{SUFFIX}"


@dataclass(frozen=True)
class StoredInfant:
    """What a file holds."""

    calibrated: CalibratedInfant
    model: str  # name, one of `models.MODELS`
    maker: str  # digest of settings, seed, cohort and network: others cannot score it


def save(path: Path | str, stored: StoredInfant) -> None:
    """Write one infant atomically."""
    from safetensors.numpy import save_file

    infant = stored.calibrated
    arrays = {
        f"model{number}.{name}": np.ascontiguousarray(array)
        for number, model in enumerate(infant.models)
        for name, array in sorted(model.items())
    }
    for name in ("scores", "fold", "weights"):
        arrays[f"calibration.{name}"] = np.ascontiguousarray(getattr(infant, name))
    header = {
        "version": _VERSION,
        "infant_id": infant.infant_id,
        "model": stored.model,
        "maker": stored.maker,
        "models": len(infant.models),
        "promise": asdict(infant.promise),
    }
    with atomic_path(path) as temp:
        save_file(arrays, temp, {_HEADER: json.dumps(header, sort_keys=True)})


def load(path: Path | str, maker: str | None = None) -> StoredInfant:
    """Read one infant.

    Raises ModelError if the file is missing, damaged or of another version, or was made by another
    ``maker`` than the one given: its scores would mean something else.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: no infant is stored here: {_REMAKE}")
    try:
        with safe_open(path, "numpy") as handle:
            header = json.loads((handle.metadata() or {})[_HEADER])
            arrays = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
        if header["version"] != _VERSION:
            raise ModelError(f"{path}: version {header['version']} is not {_VERSION}: {_REMAKE}")
        models = tuple(
            {name.partition(".")[2]: arrays[name] for name in arrays if _of(name) == number}
            for number in range(header["models"])
        )
        promise = Promise(
            **{field.name: header["promise"][field.name] for field in fields(Promise)}
        )
        infant = CalibratedInfant(
            header["infant_id"],
            promise,
            models,
            *(arrays[f"calibration.{name}"] for name in ("scores", "fold", "weights")),
        )
        _require_whole(infant)
        stored = StoredInfant(infant, header["model"], header["maker"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error}): {_REMAKE}") from error
    if maker is not None and stored.maker != maker:
        raise ModelError(
            f"{path}: made with other settings, cohort or network than those at hand: {_REMAKE}"
        )
    return stored


def _require_whole(infant: CalibratedInfant) -> None:
    """ValueError where the arrays cannot be of one infant."""
    for name in ("scores", "fold", "weights"):
        array = getattr(infant, name)
        if array.shape != (infant.promise.n,) or not np.isfinite(array).all():
            raise ValueError(f"{name} {array.shape} are not {infant.promise.n} numbers")
    if len(infant.fold) and not 0 <= infant.fold.min() <= infant.fold.max() < len(infant.models):
        raise ValueError(f"fold names models that are not there ({len(infant.models)} are)")
    for number, model in enumerate(infant.models):
        for name, array in model.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ValueError(f"{name} of model {number} holds what is no number")


def _of(name: str) -> int | None:
    """The model that an array belongs to."""
    head = name.partition(".")[0]
    return int(head.removeprefix("model")) if head.startswith("model") else None

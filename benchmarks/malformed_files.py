"""Malformed tables, model folders and parameters, drawn from a seed."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.malformed import CHANGES

KINDS = ("table", "model", "parameters")
BINARY = ("flip", "overwrite", "cut", "declare")
WORDS = ("null", "[", "{", "&a", "*a", "${a}", "${oc.env:HOME}", "1e999", "!!python/name:os", "- ")


def described(rng: np.random.Generator) -> tuple[str, str]:
    """Kind and change of what is drawn next."""
    kind = KINDS[rng.integers(len(KINDS))]
    return kind, "text" if kind == "parameters" else BINARY[rng.integers(len(BINARY))]


@cache
def _table() -> bytes:
    import pandas as pd

    from crywatch.data.tables.clips import QUARANTINE

    rows = [("a", f"{k}.wav", "silent") for k in range(300)]
    sink = io.BytesIO()
    pd.DataFrame(rows, columns=list(QUARANTINE.columns)).to_parquet(sink)
    return sink.getvalue()


@cache
def _model() -> dict[str, bytes]:
    import tempfile

    from torch import zeros

    from crywatch.core.models import ModelFolder, save

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = {f"network.{k}": zeros(8, 8) for k in range(6)}
        save(folder, ModelFolder({"kind": "ecapa", "channels": 8}, weights))
        return {file.name: file.read_bytes() for file in folder.iterdir()}


@cache
def _parameters() -> str:
    return (Path(__file__).parents[1] / "params.yaml").read_text(encoding="utf-8")


def prepare(folder: Path) -> None:
    """Import what reads them, and read a whole one of each."""
    from crywatch.core import models, params
    from crywatch.data.tables import read_table
    from crywatch.data.tables.clips import QUARANTINE

    (folder / "whole.parquet").write_bytes(_table())
    read_table(folder / "whole.parquet", QUARANTINE)
    (folder / "model").mkdir(exist_ok=True)
    for name, content in _model().items():
        (folder / "model" / name).write_bytes(content)
    models.load(folder / "model")
    (folder / "params.yaml").write_text(_parameters(), encoding="utf-8")
    params.everything(folder)


def read(rng: np.random.Generator, folder: Path) -> None:
    """Read the next one below ``folder``, which `prepare` has seen."""
    from crywatch.core import models, params
    from crywatch.data.tables import read_table
    from crywatch.data.tables.clips import QUARANTINE

    kind, change = described(rng)
    if kind == "parameters":
        (folder / "params.yaml").write_bytes(_text(rng, _parameters()))
        params.everything(folder)
        return
    if kind == "table":
        (folder / "odd.parquet").write_bytes(CHANGES[change](rng, _table()))
        read_table(folder / "odd.parquet", QUARANTINE)
        return
    whole = _model()
    name = sorted(whole)[rng.integers(len(whole))]
    for file, content in whole.items():
        changed = CHANGES[change](rng, content) if file == name else content
        (folder / "model" / file).write_bytes(changed)
    models.load(folder / "model")


def _text(rng: np.random.Generator, text: str) -> bytes:
    lines = text.splitlines()
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(len(lines)))
        way = rng.integers(4)
        if way == 0:
            del lines[at]
        elif way == 1:
            lines.insert(at, lines[int(rng.integers(len(lines)))])
        elif way == 2:
            lines[at] = lines[at].partition(":")[0] + ": " + WORDS[rng.integers(len(WORDS))]
        else:
            lines[at] = " " * int(rng.integers(6)) + lines[at]
    content = "\n".join(lines).encode()
    return CHANGES["flip"](rng, content) if rng.random() < 0.2 else content

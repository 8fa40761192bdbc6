"""`crywatch evaluate`: thin, the logic is in `crywatch.operations.evaluate_own`."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from crywatch.core.errors import CrywatchError
from crywatch.core.project import root, say, tell


def evaluate(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DETECTOR]...",
            help="A description (.yaml) of an .onnx or .tflite file, a callable (module:function), "
            "or files of scores (.jsonl, as `crywatch detect --format jsonl` prints them).",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the pages; by default evaluated/NAME.")
    ] = None,
    name: Annotated[str, typer.Option(help="Of the detector; by default the source's.")] = "",
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="Repeatable: a system (family/variant) beside it; differences are to the first. "
            "By default that of detect.model, and evaluate.systems.peer."
        ),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Of scores: judge the clips that are there.")
    ] = False,
    track: Annotated[bool, typer.Option("--track", help="Record it in MLflow.")] = False,
    sounds: Annotated[
        Path | None,
        typer.Option(
            help="Measure nothing: write the sounds to score, by channel, to this folder."
        ),
    ] = None,
) -> None:
    """Measure your own detector as ours are, on the parts val and test of the last rebuild.

    A callable takes [samples] float32 at the rate that its attribute rate_hz says, and gives the
    probability of a cry in each plain second.
    """
    from crywatch.operations.evaluate_own import OwnOptions, run, write_sounds

    given = [_absolute(source) for source in sources or []]
    if (sounds is None) == (not given):
        raise CrywatchError("name a detector, or a folder with --sounds")
    if sounds is not None:
        folder = sounds.absolute()
        with contextlib.chdir(root()):
            tell(f"{sounds}: {write_sounds(folder)} files")
        return
    name = name or Path(given[0].replace(":", "/")).stem
    folder = (out or Path("evaluated") / name).absolute()
    sys.path.insert(0, str(Path.cwd()))  # where module:function is looked for first
    options = OwnOptions(name, tuple(against or ()), partial, track)
    with contextlib.chdir(root()):
        result = run(given, options, folder)
    for line in result.lines:
        tell(line)
    tell(f"pages: {folder}/comparison.html, {folder}/shortcuts.html")
    if result.run_id:
        say(f"recorded as run {result.run_id}")


def _absolute(source: str) -> str:
    """A file as it is found from the project's root; a callable as it is."""
    return str(Path(source).absolute()) if Path(source).suffix and ":" not in source else source

"""`crywatch export`: thin, the logic is in `crywatch.detection.devices.export`."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from crywatch.cli import models as cli_models
from crywatch.core.errors import CrywatchError
from crywatch.core.project import root, say, tell


class ExportFormat(StrEnum):
    """Of the graphs."""

    onnx = "onnx"
    tflite = "tflite"
    int8 = "int8"


def export(
    model: Annotated[
        Path | None,
        typer.Argument(
            help="A model folder of train_robust or calibrate, or champion, challenger or "
            "NAME/VERSION of the registry, or released; by default params.yaml's export.model.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("exported"),
    format: Annotated[
        list[ExportFormat] | None,
        typer.Option(
            help="Repeatable; by default params.yaml's export.formats. tflite and int8 need extra "
            "`export`.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write MODEL as files for devices: ONNX, LiteRT, whole numbers, C, and what is said of them.

    Each graph is compared with torch on generated seconds and, in a project with data, on the test
    part; one that differs is not written. `crywatch detect --model OUT` runs them without torch.
    """
    from crywatch.core import paths
    from crywatch.core.models import describe
    from crywatch.corpora.terms import terms_of_model
    from crywatch.data.selection import Source
    from crywatch.detection.devices.export import PARITY, SIDECAR, run
    from crywatch.detection.released import export_configuration

    folder = out.absolute()
    try:
        here = root()
    except CrywatchError:  # the released model, and a folder of one, need no project
        here = None
    config = export_configuration(here)
    if format:
        config = replace(config, formats=[each.value for each in format])
    path = cli_models.folder(model, config.model).absolute()
    with contextlib.chdir(here or Path.cwd()):
        tables = list(map(Source, paths.CLIPS_TABLES, paths.EVENTS_TABLES)) if here else []
        sources = [each for each in tables if each.clips.is_file() and each.events.is_file()]
        if not sources:
            where = "no data/split here" if here else "no project here"
            say(f"{where}: the export is compared with torch on generated seconds alone")
        terms = terms_of_model(describe(path))
        said = {"commercial_use": terms.commercial_use, "terms": list(terms.licences)}
        summary = run(path, config, sources, folder, said)
    for row in summary.rows:
        tell(str(row))
    files = [name for name in summary.about["files"] if "/" not in name]
    tell(f"{out}: {', '.join([*files, SIDECAR, PARITY])}")

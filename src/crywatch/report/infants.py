"""The page on infants: identity, personal baselines, the gate and the timelines."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from crywatch.data.tables import read_table
from crywatch.data.tables.infants import CRIES
from crywatch.report.follow_tables import follow_tables, gate_tables
from crywatch.report.iclas_tables import iclas_tables
from crywatch.report.infant_tables import infant_tables
from crywatch.report.pages import Link, ReportOrigin, SectionsPage, sections_page
from crywatch.report.state_tables import state_tables
from crywatch.report.tables import Table
from crywatch.report.timeline_tables import timeline_tables
from crywatch.report.verification_tables import network_name, verification_tables


@dataclass(frozen=True)
class InfantsInputs:
    """The folders the page is made from."""

    cries: Path
    verification: Path
    fitted: Path
    timeline: Path
    models: Sequence[str]  # of fit_infants
    model: str  # that is shown infant by infant
    network: str  # of train_speaker, whose vectors the baselines are of


def infants_page(
    inputs: InfantsInputs, title: str, origin: ReportOrigin, out_dir: Path
) -> SectionsPage:
    """Collect tables and figures; ``out_dir`` is the folder that the page will be in."""
    timelines = os.path.relpath(inputs.timeline / "timelines.html", out_dir)
    cries = read_table(inputs.cries / "cries.parquet", CRIES)
    tables = {
        "cries": [_cries(cries)],
        "verification": verification_tables(inputs.verification),
        "baselines": [
            *infant_tables(inputs.fitted, list(inputs.models), inputs.model),
            *iclas_tables(
                inputs.fitted, dict(zip(cries["infant_id"], cries["split"], strict=True))
            ),
            *state_tables(inputs.fitted),
        ],
        "gate": [
            *gate_tables(inputs.fitted / "gate"),
            *follow_tables(inputs.timeline / "follow"),
        ],
        "timelines": timeline_tables(inputs.timeline),
    }
    facts = (
        f"{cries['clip_id'].nunique()} recordings of {cries['infant_id'].nunique()} infants, "
        f"{len(cries)} cries, {(cries['offset_s'] - cries['onset_s']).sum():.0f} s."
    )
    return sections_page(
        "infants",
        title,
        origin,
        facts,
        tables,
        folders={"verification": inputs.verification, "gate": inputs.fitted / "gate" / "charts"},
        links={"timelines": Link(Path(timelines).as_posix(), "All timelines")},
        network=network_name(inputs.network),
    )


def _cries(cries: pd.DataFrame) -> Table:
    cries = cries.assign(seconds=cries["offset_s"] - cries["onset_s"])
    grouped = cries.groupby(["corpus", "split"], sort=True).agg(
        infants=("infant_id", "nunique"),
        sessions=("session_id", "nunique"),
        recordings=("clip_id", "nunique"),
        cries=("cry_id", "size"),
        seconds=("seconds", "sum"),
        annotated=("found_by", lambda by: int((by == "annotation").sum())),
    )
    rows = [
        [corpus, part, *(f"{value:.0f}" for value in row)]
        for (corpus, part), row in zip(grouped.index, grouped.to_numpy(), strict=True)
    ]
    return Table(
        "Infants, recordings and cries",
        ["corpus", "part", "infants", "sessions", "recordings", "cries", "seconds", "annotated"],
        rows,
        "Annotated: cries that the publisher cut or marked; the detector found the others.",
    )

"""The page on infants: identity, personal baselines, the gate, the year and the timelines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from crywatch.data.tables import read_table
from crywatch.data.tables.infants import CRIES
from crywatch.report.infant_tables import infant_tables
from crywatch.report.pages import Origin
from crywatch.report.sections import Link, Section, SectionsReport, svg_figures
from crywatch.report.tables import Table
from crywatch.report.timeline_tables import timeline_tables
from crywatch.report.verification_tables import network_name, verification_tables
from crywatch.report.year_tables import follow_tables, gate_tables, year_tables

CAUTION = (
    "No corpus at hand says when an infant was ill. What counts as found here is another infant, "
    "or a change that was made from the infant's own cries: this measures what a baseline can "
    "notice, not health, and it is no medical device. One seed. Epochs of networks, models and "
    "thresholds were chosen on infants of the validation part; numbers are of the test part where "
    "nothing else is said."
)


@dataclass(frozen=True)
class InfantsInputs:
    """The folders the page is made from."""

    cries: Path
    verification: Path
    fitted: Path
    gate: Path
    followed: Path
    year: Path
    timeline: Path
    models: Sequence[str]  # of fit_infants
    model: str  # that is shown infant by infant
    network: str  # of finetune_ecapa, whose vectors the baselines are of


def build_infants(inputs: InfantsInputs, title: str, origin: Origin, links: Path) -> SectionsReport:
    """Collect tables and figures; ``links`` is the folder that the page will be in."""
    cries = read_table(inputs.cries / "cries.parquet", CRIES)
    sections = [
        Section(
            "cries",
            "Recordings and their cries",
            "Recordings of known infants, cut to expirations and peak-normalised. Infants, not "
            "clips, are in a part; those with the most sessions are held back from training, "
            "because only they can have a baseline and later recordings to test it on.",
            [_cries(cries)],
        ),
        Section(
            "verification",
            "Is it the same infant?",
            "Equal error rates of pairs of recordings. Within a session the room and the phone "
            "give the answer away: the number that counts is across sessions.",
            verification_tables(inputs.verification),
            svg_figures(
                inputs.verification,
                {
                    "det.svg": "Misses against false alarms, test part",
                    "embedding_map.svg": "Recordings of test infants, t-SNE, a colour an infant",
                },
            ),
        ),
        Section(
            "baselines",
            "Personal baselines",
            "Each infant is fitted and calibrated on its earlier sessions and tested on its later "
            "ones. Promised is the share of its normal recordings that will alarm, seen is the "
            f"share that did. The vectors, here and below, are of {network_name(inputs.network)}.",
            infant_tables(inputs.fitted, list(inputs.models), inputs.model),
        ),
        Section(
            "gate",
            "The gate, and baselines that follow",
            "What the gate accepts updates the model of its infant; what it rejects leaves the "
            "model as it is, byte by byte, and goes to the timeline.",
            [*gate_tables(inputs.gate), *follow_tables(inputs.followed)],
        ),
        Section(
            "year",
            "A simulated year",
            "Generated voices in every profile: slow development, a sudden change, and a stream "
            "of other infants, noise, silence and repeats.",
            year_tables(inputs.year),
            svg_figures(inputs.year, {"year.svg": "Scores over the simulated year"}),
        ),
        Section(
            "timelines",
            "Timelines",
            "Per infant, what is normal, what was unusual, when, and how sure.",
            timeline_tables(inputs.timeline),
            links=(Link(_relative(inputs.timeline / "timelines.html", links), "All timelines"),),
        ),
    ]
    facts = (
        f"{cries['clip_id'].nunique()} recordings of {cries['infant_id'].nunique()} infants, "
        f"{len(cries)} cries, {(cries['offset_s'] - cries['onset_s']).sum():.0f} s."
    )
    return SectionsReport(title, origin, facts, CAUTION, sections)


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


def _relative(path: Path, folder: Path) -> str:
    """``path`` as seen from a page in ``folder``, with forward slashes."""
    import os

    return Path(os.path.relpath(path, folder)).as_posix()

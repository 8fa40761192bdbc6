"""What stands out among the measures of a corpus, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from crywatch.data.datasheet.measures import QUANTITIES

if TYPE_CHECKING:
    from crywatch.data.datasheet import Datasheet

CLIPPED = 0.05  # share of a label's clips from which it is told
SILENT = 0.2  # share of a label's seconds
NARROW_HZ = 4_500.0  # median band below which half of the features' range is empty
TITLES = {quantity.column: quantity.title.lower() for quantity in QUANTITIES}


def judged(sheet: Datasheet) -> Datasheet:
    """``sheet`` with its findings."""
    return replace(sheet, findings=list(_findings(sheet)))


def _findings(sheet: Datasheet) -> Iterator[str]:
    counts, split = sheet.counts, sheet.split
    if not counts.clips:
        yield "There is no clip: the corpus could not be had, or every file of it was refused."
        return
    if missing := [label for label in ("cry", "other") if not counts.labels.get(label)]:
        yield (
            f"No clip is labelled {' or '.join(missing)}: within this corpus alone cries cannot be "
            "told from other sounds, and a model can tell its clips by how they were recorded."
        )
    for separation in sheet.separations:
        if separation.is_shortcut:
            yield (
                f"Shortcut: {TITLES[separation.column]} alone tells cries from other sounds with "
                f"an AUC of {separation.auc:.2f} ({separation.higher} is higher). A model may "
                "learn that in place of the sound."
            )
    medians = {
        spread.label: spread.quantiles["0.5"]
        for spread in sheet.spreads
        if spread.column == "bandwidth_hz"
    }
    for label, median_hz in medians.items():
        if median_hz < NARROW_HZ:
            yield (
                f"Narrow band: half of the clips labelled {label} end at {median_hz:.0f} Hz or "
                "below."
            )
    for sound in sheet.sound:
        if sound.clipped >= CLIPPED:
            yield (
                f"Clipping: {sound.clipped:.0%} of the measured clips labelled {sound.label} clip."
            )
        if sound.silent >= SILENT:
            yield (
                f"Silence: {sound.silent:.0%} of the seconds in clips labelled {sound.label} are "
                f"below {sheet.config.silent_dbfs:g} dBFS, and carry the clip's label all the same."
            )
    rates = {rate for by_rate in sheet.rates.values() for rate in by_rate}
    if len(rates) > 1:
        yield f"Recorded at {len(rates)} different rates: {', '.join(sorted(rates, key=int))} Hz."
    if split is not None and split.duplicates.within:
        yield f"Copies within: {_clips(split.duplicates.within)} the sound of another one here."
    if split is not None and split.duplicates.across:
        others = ", ".join(f"{name} ({n})" for name, n in split.duplicates.corpora.items())
        yield (
            f"Copies elsewhere: {_clips(split.duplicates.across)} the sound of a clip of {others}. "
            "The split keeps them together and trains on one of each."
        )
    if unknown := counts.labels.get("unknown"):
        yield f"Unlabelled: {unknown} of {counts.clips} clips; no training and no score uses them."
    if refused := sum(counts.quarantined.values()):
        files = "1 file" if refused == 1 else f"{refused} files"
        yield f"Refused: {files} could not be used; the reasons are below."


def _clips(count: int) -> str:
    return "1 clip holds" if count == 1 else f"{count} clips hold"

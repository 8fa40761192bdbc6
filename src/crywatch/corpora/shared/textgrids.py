"""Praat's TextGrids: intervals of a recording as strong labels."""

from __future__ import annotations

from pathlib import Path

from crywatch.core.errors import CorpusError
from crywatch.corpora.shared.base import CRY, Event

SUFFIX = ".TextGrid"
CRIES = ("cry", "cries", "crying", "baby cry", "infant cry", "infantcry")  # whatever their case


def read_intervals(file: Path) -> tuple[Event, ...]:
    """The labelled intervals of all interval tiers in order; CorpusError for another file.

    An interval whose label is one of `CRIES` is a cry, any other is what its label says.
    """
    from praatio import textgrid
    from praatio.utilities.errors import PraatioException

    try:
        grid = textgrid.openTextgrid(str(file), includeEmptyIntervals=False)
    except (PraatioException, AssertionError, LookupError, TypeError, ValueError) as error:
        why = str(error) or type(error).__name__
        raise CorpusError(f"{file}: not a TextGrid of Praat ({why})") from error
    events = []
    for tier in grid.tiers:
        if isinstance(tier, textgrid.IntervalTier):
            for interval in tier.entries:
                label = " ".join(interval.label.split()).casefold()
                label = CRY if label in CRIES else label
                events.append(Event(float(interval.start), float(interval.end), label))
    return tuple(sorted(events, key=lambda event: (event.onset_s, event.offset_s, event.label)))

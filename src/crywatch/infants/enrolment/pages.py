"""The timeline of an infant of the store: its tables, and its page with pictures."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from crywatch.core.atomic import owner_only
from crywatch.core.digest import file_sha256
from crywatch.core.errors import CrywatchError, StoreError
from crywatch.data.tables import conform, write_table
from crywatch.data.tables.infants import BANDS, FOLLOWED
from crywatch.data.tables.timelines import TIMELINE
from crywatch.infants.enrolment.enrolment import Enrolment
from crywatch.infants.store import InfantHistory, InfantStore, StoredRecording, WrittenPage
from crywatch.infants.store.store import check_id
from crywatch.infants.timeline.analysis import InfantTimeline, analyse
from crywatch.infants.timeline.config import TimelineConfig
from crywatch.infants.timeline.drawing import Pictures, spectrogram
from crywatch.infants.timeline.page import write_page


def followed(history: InfantHistory) -> pd.DataFrame:
    """Table ``followed``; ``clip_id`` is a recording's path below the folder of all of them."""
    names = _names(history.records)
    columns = ("session_id", "recorded_at", "phase", "score", "p", "alarm", "accepted", "reason")
    rows = [
        {"infant_id": history.state.infant_id, "clip_id": names[record.digest]}
        | {name: getattr(record, name) for name in (*columns, "version", "remark")}
        for record in history.records
    ]
    return conform(pd.DataFrame(rows), FOLLOWED)


def bands(history: InfantHistory) -> pd.DataFrame:
    """Table ``bands``."""
    return conform(pd.DataFrame([asdict(band) for band in history.bands]), BANDS)


def write_timeline(
    enrolment: Enrolment,
    infant_id: str,
    config: TimelineConfig,
    page: Path | None,
    parquet: Path | None,
) -> InfantTimeline:
    """Write an infant's page and table ``timeline``, and remember both, to be able to forget them.

    The page has spectrograms of recordings whose files are still where they were.
    """
    store, infant_id = enrolment.store, check_id(infant_id)
    with store.reading() as reader:
        history = reader.history(infant_id)
    timeline = analyse(followed(history), bands(history), config, enrolment.seed)[0]
    if parquet is not None:
        with _remembering(store, infant_id, parquet):
            write_table(timeline.recordings, parquet, TIMELINE)
    if page is not None:
        pictures = _pictures(enrolment, history, config.page.picture_s)
        title = f"Cry timeline of {infant_id}"
        with _remembering(store, infant_id, page):
            write_page(page, [timeline], config, pictures, title=title)
    return timeline


def _names(records: tuple[StoredRecording, ...]) -> dict[str, str]:
    """By digest; a path that had other content before is told apart by its digest.

    A page may be handed on, so where the folder lies on this machine is not told.
    """
    shared = Counter(record.path for record in records)
    folder = os.path.commonpath([os.path.dirname(path) for path in shared])
    names = {}
    for record in records:
        name = Path(os.path.relpath(record.path, folder)).as_posix()
        names[record.digest] = name if shared[record.path] == 1 else f"{name} ({record.digest[:8]})"
    return names


def _pictures(enrolment: Enrolment, history: InfantHistory, longest_s: float) -> Pictures:
    """Pictures of recordings by clip_id, made from the user's own files when they are asked for."""
    names = _names(history.records)
    by_name = {names[record.digest]: record for record in history.records}

    def picture(clip_id: str) -> str | None:
        record = by_name[clip_id]
        try:
            heard = enrolment.listener.hear(Path(record.path))
        except (CrywatchError, OSError):
            return None
        if heard.digest != record.digest or not heard.cries:
            return None
        return spectrogram([cry.wave for cry in heard.cries], longest_s)

    return picture


@contextmanager
def _remembering(store: InfantStore, infant_id: str, path: Path) -> Iterator[None]:
    """While ``path`` is written the store knows of it, and of its content after."""
    where = str(path.resolve())
    with store.writing() as writer:
        writer.require(infant_id)
        before = [page for page in writer.pages(infant_id) if page.path == where]
        writer.add_page(infant_id, WrittenPage(where, ""))
    try:
        with owner_only():
            yield
    except BaseException:
        # Nothing was written: what lies there is what lay there, and not to be removed.
        with store.writing() as writer:
            writer.drop_page(infant_id, where)
            if before and writer.has(infant_id):
                writer.add_page(infant_id, before[0])
        raise
    with store.writing() as writer:
        if not writer.has(infant_id):
            path.unlink()
            raise StoreError(
                f"infant {infant_id!r} was taken out of {store.folder} meanwhile, so {path} was "
                "removed"
            )
        writer.add_page(infant_id, WrittenPage(where, file_sha256(path)))

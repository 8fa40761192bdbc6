"""The public face of a user's infants: what `crywatch infant` and a program of the user's call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from crywatch.core import params
from crywatch.core.project import root
from crywatch.infants.enrolment.enrolment import Enrolment, InfantConfig
from crywatch.infants.enrolment.mending import (
    Merger,
    RecordingRemoval,
    merge,
    remove_recording,
    take_in,
)
from crywatch.infants.enrolment.results import EnrolmentResult, ScoringResult
from crywatch.infants.enrolment.user_files import UserFile, user_files
from crywatch.infants.store import (
    Erasure,
    InfantEntry,
    InfantHistory,
    RemovalReport,
    forget,
    rename,
)
from crywatch.infants.store.moving import MovedInfant, export
from crywatch.infants.store.store import check_id
from crywatch.infants.timeline.analysis import InfantTimeline

AudioPaths = str | Path | Iterable[str | Path]  # files, or folders of them


class Infants:
    """The infants of one store: learn what is normal for each, score new recordings, and forget.

    ``folder`` holds the store (section ``infant.store`` where it is None) and is made when it is
    first written to; ``project`` is the repository whose params.yaml, detector, network, cohort and
    gate are used (the one around the current folder where it is None). ``say(message)`` takes what
    the user should know besides results, such as a file that breaks off.

    All methods raise CrywatchError with what to do: StoreError of the store, ModelError where the
    project lacks a model.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        project: str | Path | None = None,
        say: Callable[[str], None] = print,
    ):
        self._project = root() if project is None else Path(project)
        self._params = self._project / params.PARAMS_FILE
        self._folder, self._say = folder, say

    @cached_property
    def _enrolment(self) -> Enrolment:
        config = params.section("infant", InfantConfig, self._params)
        if self._folder is not None:
            config = replace(config, store=str(Path(self._folder).absolute()))
        return Enrolment(config, params.plain("seed", self._params), self._project, self._say)

    @property
    def folder(self) -> Path:
        """The folder of the store."""
        return self._enrolment.store.folder

    def enroll(
        self,
        infant_id: str,
        paths: AudioPaths = (),
        *,
        table: str | Path | None = None,
        at: str | None = None,
    ) -> EnrolmentResult:
        """Learn what is normal for an infant from ``paths``; more of them later extend it.

        ``table`` is a recordings.csv with times; without ``paths`` its rows of the infant are
        taken. ``at`` is when ``paths`` were recorded, in ISO 8601. With neither the infant is
        fitted again on what it has.
        """
        return self._enrolment.enroll(infant_id, self._files(infant_id, paths, table, at))

    def score(
        self,
        infant_id: str,
        paths: AudioPaths = (),
        *,
        table: str | Path | None = None,
        at: str | None = None,
    ) -> ScoringResult:
        """How far new recordings are from the infant's normal, in the order of time.

        Files are named as for `enroll`. What the gate lets in moves the baseline.
        """
        self._enrolment.require(infant_id)
        return self._enrolment.score(infant_id, self._files(infant_id, paths, table, at))

    def timeline(
        self, infant_id: str, page: str | Path | None = None, table: str | Path | None = None
    ) -> InfantTimeline:
        """An infant over time; written to ``page`` (HTML) and ``table`` (Parquet) where given."""
        from crywatch.infants.enrolment.pages import write_timeline
        from crywatch.infants.timeline.config import TimelineConfig

        config = params.section("timeline", TimelineConfig, self._params)
        html, parquet = (None if path is None else Path(path) for path in (page, table))
        return write_timeline(self._enrolment, infant_id, config, html, parquet)

    def list(self) -> tuple[InfantEntry, ...]:
        """The infants of the store by id."""
        with self._enrolment.store.reading() as reader:
            return tuple(reader.entries())

    def show(self, infant_id: str) -> InfantHistory:
        """An infant's recordings and versions."""
        with self._enrolment.store.reading() as reader:
            return reader.history(check_id(infant_id))

    def remove(self, infant_id: str, recording: str | Path) -> RecordingRemoval:
        """Take one recording out of an infant, fit it again, and prove that the recording is gone.

        ``recording`` is its path, the end of that, or the beginning of its digest. Versions that
        were made with it are marked, and lose their files.
        """
        return remove_recording(self._enrolment, infant_id, str(recording))

    def rename(self, infant_id: str, new_id: str) -> Erasure:
        """Give an infant another id, and prove that the old one is gone."""
        return rename(self._enrolment.store, infant_id, new_id)

    def merge(self, infant_id: str, other_id: str) -> Merger:
        """Let ``infant_id`` have all recordings of ``other_id``, which is no more, and fit it."""
        return merge(self._enrolment, infant_id, other_id)

    def export(self, infant_id: str, folder: str | Path) -> MovedInfant:
        """Write an infant to a new ``folder`` of tables and safetensors; the store keeps it too."""
        return export(self._enrolment.store, check_id(infant_id), Path(folder))

    def take_in(self, folder: str | Path, infant_id: str | None = None) -> MovedInfant:
        """Put the infant that was exported to ``folder`` into this store, or under another id."""
        return take_in(self._enrolment, Path(folder), infant_id)

    def forget(self, infant_id: str) -> RemovalReport:
        """Remove every trace of an infant, and search the store's bytes for what may be left."""
        return forget(self._enrolment.store, infant_id)

    def _files(
        self,
        infant_id: str,
        paths: AudioPaths,
        table: str | Path | None,
        at: str | None,
    ) -> Iterable[UserFile]:
        given = [paths] if isinstance(paths, str | Path) else paths
        folder = None if table is None else Path(table)
        return user_files([Path(path) for path in given], infant_id, folder, at, self._say)

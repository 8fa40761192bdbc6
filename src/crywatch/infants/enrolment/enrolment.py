"""Enrolling and scoring the infants of a user's store.

Listening takes time and needs no lock. What is heard is then fitted or scored, and written, in one
transaction that reads the infant as it is by then: two processes with the same infant lose nothing.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path

import numpy as np

from crywatch.core.digest import value_sha256
from crywatch.core.errors import CrywatchError, ModelError, StoreError
from crywatch.core.progress import progress
from crywatch.corpora.shared.clocks import doubtful_time, wrong_time
from crywatch.corpora.shared.recordings_table import TABLE as RECORDINGS_TABLE
from crywatch.corpora.shared.sessions import number_sessions
from crywatch.infants import gate as gates
from crywatch.infants.conformal import calibration_rows
from crywatch.infants.embed_cries import embedding_info
from crywatch.infants.embedded_cries import EmbeddedCries
from crywatch.infants.enrolment.config import InfantConfig
from crywatch.infants.enrolment.foreign import also_of_others, beyond_promise
from crywatch.infants.enrolment.listening import Listener, utf8
from crywatch.infants.enrolment.results import (
    EnrolmentResult,
    FailedFile,
    ScoringResult,
    enrolment_result,
    scored_file,
)
from crywatch.infants.enrolment.user_files import UserFile
from crywatch.infants.follow import WITHDRAWN
from crywatch.infants.models import registry as models
from crywatch.infants.models.contract import Baseline, InfantModel
from crywatch.infants.store import (
    BASELINE,
    NEW,
    InfantHistory,
    InfantStore,
    Provenance,
    StoredRecording,
)
from crywatch.infants.store.store import Writer, check_id
from crywatch.infants.updating import (
    FollowedInfant,
    Follower,
    InfantState,
    Refit,
    held_since,
)


@dataclass(frozen=True)
class _Heard:
    """What was heard in files; paths are as they were given."""

    recordings: list[StoredRecording]  # in the order of time, each sound once
    failed: list[FailedFile]  # that cannot be read, or whose time is wrong
    stated: set[str]  # digests of those whose time a person gave


class Enrolment:
    """Enrols and scores infants; ``say(message)`` tells the user what else to know."""

    def __init__(
        self, config: InfantConfig, seed: int, root: Path, say: Callable[[str], None] = print
    ):
        self.config, self.seed, self.root, self.say = config, seed, root, say
        self.store = InfantStore(root / config.store)

    @cached_property
    def listener(self) -> Listener:
        """Detector and network."""
        return Listener(self.config.hearing, self.root)

    @cached_property
    def model(self) -> InfantModel:
        """The kind of model, with its cohort. ModelError where that is of another network."""
        config, cohort = self.config, []
        if config.model in models.NORMALISED and config.settings.cohort.top_k:
            embedded = EmbeddedCries(self.root / config.cohort)
            self._same_network(self.root / config.cohort, embedded.digest, "embed_cries")
            cohort = embedded.cohort(config.changed)
        return models.build(config.model, config.settings, self.seed, cohort)

    @cached_property
    def follower(self) -> Follower:
        """Model, gate and calibration."""
        config, gate = self.config, None
        if config.gate:
            gate = gates.load(self.root / config.gate, self.listener.info.digest)
        return Follower(self.model, gate, config.conformal, config.updating)

    @cached_property
    def provenance(self) -> Provenance:
        """What the numbers that are computed here and now depend on."""
        config, embedding = self.config, self.listener.info.digest
        settings = getattr(config.settings, config.model, None)
        parts = [
            config.model,
            None if settings is None else asdict(settings),
            getattr(self.model, "digest", None),  # of the cohort
            asdict(config.conformal),
            config.session_gap_h,
            embedding,
            self.seed,
        ]
        return Provenance(config.model, value_sha256(parts), embedding)

    def enroll(self, infant_id: str, files: Iterable[UserFile]) -> EnrolmentResult:
        """Fit and calibrate an infant on ``files``, and on what it has been enrolled with before.

        A recording that was scored and refused enters the baseline now: a person says so. One that
        is known gets the time that a person gives it. Without files the infant is fitted again,
        where settings or what it is fitted on have changed.
        """
        infant_id, files = check_id(infant_id), list(files)
        # A missing model is an error before the listening, not after it.
        provenance, _ = self.provenance, self.follower
        heard = self._listen(files)
        recordings, failed = heard.recordings, heard.failed
        with self.store.writing() as writer:
            history = writer.load(infant_id)
            if history is None and not recordings:
                if files:
                    for file in failed:
                        self.say(file.error)
                    raise StoreError(f"no cry to enroll infant {infant_id!r} with")
                writer.require(infant_id)
            self.require_embedding(infant_id, history)
            known = {record.digest: record for record in history.records} if history else {}
            new, corrected = [], 0
            for recording in recordings:
                old = known.get(recording.digest)
                if old is None or not old.accepted:
                    known[recording.digest] = _with_full_path(recording)
                    new.append(recording)
                elif recording.digest in heard.stated and recording.recorded_at != old.recorded_at:
                    known[old.digest] = replace(old, recorded_at=recording.recorded_at)
                    corrected += 1
                    self.say(
                        f"{recording.path}: its time is {recording.recorded_at.isoformat()}, no "
                        f"longer {old.recorded_at.isoformat()}"
                    )
                else:
                    self._say_known(recording, old)
            if history is not None:
                outdated = history.provenance != provenance
                waiting = bool(history.state.pending) and not files
                if not (new or corrected or outdated or waiting):
                    return enrolment_result(history.state, 0, 0, failed)
                self._say_all(beyond_promise(history, self.provenance, self.follower, new))
            self._say_all(also_of_others(writer, infant_id, new))
            state, records, refit = self.fit(infant_id, history, list(known.values()))
            self.write(writer, provenance, state, records, [refit])
        return enrolment_result(state, len(new), corrected, failed)

    def score(self, infant_id: str, files: Iterable[UserFile]) -> ScoringResult:
        """Score ``files`` in the order of time, and let in what the gate lets in.

        Raises StoreError for an unknown infant, and for one that was fitted with other settings,
        cohort or network than those at hand.
        """
        infant_id = check_id(infant_id)
        self.require(infant_id)
        provenance, follower = self.provenance, self.follower
        heard = self._listen(files)
        with self.store.writing() as writer:
            history = writer.history(infant_id)
            self.require_embedding(infant_id, history)
            if history.provenance != provenance:
                raise StoreError(
                    f"infant {infant_id!r} was fitted with another model, settings or cohort than "
                    "those at hand, so its scores would mean something else: put those back, or "
                    "fit it again on what it has by `crywatch infant enroll "
                    f"{shlex.quote(infant_id)}`"
                )
            new, late = self._new(history, heard)
            self._say_all(also_of_others(writer, infant_id, new))
            followed = follower.observe([history.state], [[one.observation for one in new]])[0]
            records = _after_following(history, map(_with_full_path, new), followed)
            self.write(writer, provenance, followed.state, records, followed.refits)
        by_digest = {record.digest: record for record in records}
        return ScoringResult(
            infant_id,
            tuple(scored_file(by_digest[one.digest], one.path) for one in new),
            followed.state.calibrated.promise,
            (*heard.failed, *late),
        )

    def require(self, infant_id: str) -> None:
        """Raise StoreError for an unknown infant."""
        with self.store.reading() as reader:
            reader.require(infant_id)

    def write(
        self,
        writer: Writer,
        provenance: Provenance,
        state: InfantState,
        records: Sequence[StoredRecording],
        refits: Sequence[Refit],
    ) -> None:
        """`Writer.put`; of earlier versions only the latest ``keep_versions`` keep their files.

        Those are kept besides that scored what a person has to look at: the latest recordings of
        an infant that is held.
        """
        writer.put(provenance, state, records, refits)
        needed = {state.version}
        new = [record for record in records if record.phase == NEW]
        if held_since(new) is not None:
            needed |= {record.version for record in new[-self.config.updating.watch :]}
        earlier = [
            version.band.version
            for version in writer.versions(state.infant_id)
            if version.files is not None and version.band.version not in needed
        ]
        outdated = earlier[: max(0, len(earlier) - self.config.keep_versions)]
        writer.drop_files(state.infant_id, outdated)

    def _listen(self, files: Iterable[UserFile]) -> _Heard:
        """What is heard in ``files``. Raises ModelError where the detector is missing."""
        by_digest: dict[str, StoredRecording] = {}
        failed, stated = [], set()
        files = list(files)
        if files:
            _ = self.listener.scores  # a missing detector is no fault of the files
        for file in progress(files, "listen", unit="file"):
            if wrong := wrong_time(file.recorded_at):
                advice = f"give its time by --at or {RECORDINGS_TABLE}"
                failed.append(FailedFile(str(file.path), f"{file.path}: {wrong}: {advice}"))
                continue
            if doubt := doubtful_time(file.recorded_at):
                self.say(f"{file.path}: {doubt}; --at or {RECORDINGS_TABLE} corrects it")
            try:
                heard = self.listener.hear(file.path)
            except (CrywatchError, OSError) as error:
                failed.append(FailedFile(str(file.path), str(error)))
                continue
            for note in heard.condition.notes(heard.duration_s, "taken"):
                self.say(f"{file.path}: {note}")
            if not heard.cries:
                self.say(f"{file.path}: no cry was found, so it is left out")
                continue
            recording = StoredRecording(
                digest=heard.digest,
                path=utf8(str(file.path)),
                recorded_at=file.recorded_at,
                session_id="",
                cries=len(heard.cries),
                cry_s=heard.cry_s,
                vector=self.listener.recording_vector(heard),
                phase=BASELINE,
                remark=file.remark,
            )
            if heard.digest in by_digest:
                self._say_known(recording, by_digest[heard.digest])
            else:
                by_digest[heard.digest] = recording
                stated |= {heard.digest} if file.stated else set()
        return _Heard(sorted(by_digest.values(), key=_by_time), failed, stated)

    def fit(
        self,
        infant_id: str,
        history: InfantHistory | None,
        records: Sequence[StoredRecording],
    ) -> tuple[InfantState, list[StoredRecording], Refit]:
        """The next version of an infant, on all that belongs to its baseline."""
        records = self._in_sessions(records)
        members = [record for record in records if record.accepted]
        baseline = Baseline(
            infant_id,
            np.stack([record.vector for record in members]).astype(np.float32),
            np.array([record.session_id for record in members]),
        )
        version = history.state.version + 1 if history else 0
        state = replace(self.follower.start([baseline])[0], version=version)
        rows = calibration_rows(baseline.sessions, self.config.conformal)
        scores = {
            members[row].digest: score
            for row, score in zip(rows, state.calibrated.scores.tolist(), strict=True)
        }
        records = [
            replace(record, waiting=False, score=scores.get(record.digest), version=version)
            if record.phase == BASELINE
            else replace(record, waiting=False)
            for record in records
        ]
        refit = Refit(version, records[-1].recorded_at, state.calibrated, baseline)
        return state, records, refit

    def _new(
        self, history: InfantHistory, heard: _Heard
    ) -> tuple[list[StoredRecording], list[FailedFile]]:
        """The recordings that are unknown, in sessions; and those that come too late to score."""
        known = {record.digest: record for record in history.records}
        latest = history.records[-1]
        new, late = [], []
        for recording in heard.recordings:
            if recording.digest in known:
                old = known[recording.digest]
                self._say_known(recording, old)
                if recording.digest in heard.stated and recording.recorded_at != old.recorded_at:
                    self.say(
                        f"{recording.path}: its time stays {old.recorded_at.isoformat()}: "
                        "`crywatch infant enroll` corrects it"
                    )
            elif recording.recorded_at < latest.recorded_at:
                error = (
                    f"{recording.path}: of {recording.recorded_at.isoformat()}, earlier than the "
                    f"latest that is known of the infant ({latest.recorded_at.isoformat()}, "
                    f"{latest.path}): recordings are scored in the order of time; enroll it, or "
                    "give its time by --at; if the other's time is wrong, enroll that with its own"
                )
                late.append(FailedFile(recording.path, error))
            else:
                new.append(replace(recording, phase=NEW))
        in_sessions = self._in_sessions([*history.records, *new])
        return [record for record in in_sessions if record.digest not in known], late

    def _in_sessions(self, records: Sequence[StoredRecording]) -> list[StoredRecording]:
        """``records`` in the order of time, with their sessions."""
        records = sorted(records, key=_by_time)
        gap_s = 3600 * self.config.session_gap_h
        numbers = number_sessions([record.recorded_at for record in records], gap_s)
        return [
            replace(record, session_id=f"{number:04d}")
            for record, number in zip(records, numbers, strict=True)
        ]

    def require_embedding(self, infant_id: str, history: InfantHistory | None) -> None:
        """Raise StoreError where an infant's vectors are of another network than that at hand."""
        if history is not None and history.provenance.embedding != self.listener.info.digest:
            own = self._network_of(history.provenance.embedding)
            raise StoreError(
                f"infant {infant_id!r} was embedded with another network"
                f"{f', {own},' if own else ''} than "
                f"{self.config.hearing.network} is now, and vectors of two networks cannot be "
                "compared: put that network back, or take the infant out with `crywatch infant "
                f"forget {shlex.quote(infant_id)}` and enroll its recordings again"
            )

    def _network_of(self, digest: str) -> str:
        """The model folder beside that at hand whose vectors have that digest; "" without one."""
        hearing = self.config.hearing
        for folder in sorted((self.root / hearing.network).parent.glob("*/")):
            with suppress(ModelError):
                if embedding_info(folder, hearing.averaging).digest == digest:
                    return folder.relative_to(self.root).as_posix()
        return ""

    def _same_network(self, folder: Path, digest: str | None, stage: str) -> None:
        if digest != self.listener.info.digest:
            raise ModelError(
                f"{folder} was made with another network or averaging than those of "
                f"infant.hearing ({self.config.hearing.network}): run `dvc repro {stage}`"
            )

    def _say_all(self, messages: Iterable[str]) -> None:
        for message in messages:
            self.say(message)

    def _say_known(self, recording: StoredRecording, old: StoredRecording) -> None:
        same = "" if _full_path(recording) == _full_path(old) else f" as {old.path}"
        self.say(f"{recording.path}: this recording is known already{same}, so it is skipped")


def _full_path(record: StoredRecording) -> str:
    """A path that still leads to the file when a later command is run in another folder."""
    return os.path.abspath(record.path)


def _with_full_path(record: StoredRecording) -> StoredRecording:
    return replace(record, path=_full_path(record))


def _by_time(record: StoredRecording) -> tuple[datetime, str, str]:
    return record.recorded_at, _full_path(record), record.digest


def _after_following(
    history: InfantHistory, new: Iterable[StoredRecording], followed: FollowedInfant
) -> list[StoredRecording]:
    """All records of an infant after the ``new`` ones were ``followed``."""
    waiting = {recording.clip_id for recording in followed.state.pending}
    names = ("score", "p", "alarm", "accepted", "reason", "version")
    scored = [
        replace(record, **{name: getattr(outcome, name) for name in names})
        for record, outcome in zip(new, followed.outcomes, strict=True)
    ]
    out = []
    for record in (*history.records, *scored):
        if record.digest in followed.withdrawn:
            record = replace(record, accepted=False, reason=WITHDRAWN)
        out.append(replace(record, waiting=record.digest in waiting))
    return out

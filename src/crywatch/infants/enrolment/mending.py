"""Mending an infant's records: a recording that is not its own, two ids that are one infant, and
an infant that comes from another store.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from crywatch.core.errors import ModelError, StoreError
from crywatch.core.names import normal
from crywatch.infants.conformal import Promise, judge
from crywatch.infants.enrolment.enrolment import Enrolment
from crywatch.infants.enrolment.listening import utf8
from crywatch.infants.store import BASELINE, InfantHistory, KeptVersion, StoredRecording, moving
from crywatch.infants.store.files import read_version
from crywatch.infants.store.forgetting import Erasure, erase
from crywatch.infants.store.moving import MovedInfant
from crywatch.infants.store.store import Writer, check_id
from crywatch.infants.updating import InfantState

_LEAST_DIGEST = 6  # characters that name a recording
_LISTED = 5  # recordings that a message names
MARK = "made with a recording that was removed"
PERHAPS = "perhaps made with a recording that was removed; its files were not kept"


@dataclass(frozen=True)
class RecordingRemoval(Erasure):
    """What came of taking a recording out of an infant."""

    infant_id: str
    recording: StoredRecording
    marked: tuple[int, ...]  # versions that were made with it
    version: int  # that scores now
    recordings: int  # of the baseline now
    promise: Promise
    also_of: tuple[str, ...]  # infants that have it still


@dataclass(frozen=True)
class Merger(Erasure):
    """What came of making two ids one infant; what was searched for is the other id."""

    infant_id: str
    moved: int  # recordings that only the other one had
    version: int
    recordings: int  # of the baseline now
    promise: Promise


def remove_recording(enrolment: Enrolment, infant_id: str, name: str) -> RecordingRemoval:
    """Take one recording out of an infant, and prove that it is gone.

    ``name`` is its path, the end of that, or the beginning of its digest. Versions that were made
    with it keep their numbers, are marked, and lose their files; where the latest is among them the
    infant is fitted again. StoreError where ``name`` is not exactly one of the infant's recordings,
    or where nothing would be left of the baseline.
    """
    infant_id = check_id(infant_id)
    enrolment.require(infant_id)
    provenance = enrolment.provenance

    def work(writer: Writer) -> dict[str, Any]:
        history = writer.history(infant_id)
        gone = _find(history, name)
        records = [record for record in history.records if record.digest != gone.digest]
        if not any(record.accepted for record in records):
            raise StoreError(
                f"{gone.path} is all that the baseline of infant {infant_id!r} has: `crywatch "
                f"infant forget {shlex.quote(infant_id)}` takes the infant out"
            )
        marks = {
            version.band.version: mark
            for version in history.versions
            if (mark := _mark(enrolment, infant_id, version, gone))
        }
        state = history.state
        if marks.get(state.version):
            enrolment.require_embedding(infant_id, history)
            state, records, refit = enrolment.fit(infant_id, history, records)
            enrolment.write(writer, provenance, state, records, [refit])
        else:
            waiting = tuple(one for one in state.pending if one.clip_id != gone.digest)
            writer.put(history.provenance, replace(state, pending=waiting), records)
        for mark in (MARK, PERHAPS):
            writer.drop_files(infant_id, [n for n in marks if marks[n] == mark], mark)
        return _after(state) | {
            "recording": gone,
            "marked": tuple(marks),
            "also_of": tuple(writer.also_of(infant_id, [gone.digest]).get(gone.digest, ())),
        }

    facts, erasure = erase(enrolment.store, infant_id, work)
    return RecordingRemoval(**vars(erasure), **facts)


def merge(enrolment: Enrolment, infant_id: str, other_id: str) -> Merger:
    """Let an infant have all recordings of another id, which is no more; fit it on all of them.

    What the other baseline was made of joins this one. What its gate refused stays refused, and is
    scored by the new model: scores of two infants have no common scale.
    """
    infant_id, other_id = check_id(infant_id), check_id(other_id)
    if infant_id == other_id:
        raise StoreError(f"{infant_id!r} and {other_id!r} are one id already")
    provenance, follower = enrolment.provenance, enrolment.follower

    def work(writer: Writer) -> dict[str, Any]:
        own, other = writer.history(infant_id), writer.history(other_id)
        for one_id, history in ((infant_id, own), (other_id, other)):
            enrolment.require_embedding(one_id, history)
        records = {record.digest: record for record in own.records}
        moved = {record.digest for record in other.records if record.digest not in records}
        for record in other.records:
            if record.accepted and not (
                record.digest in records and records[record.digest].accepted
            ):
                records[record.digest] = replace(record, phase=BASELINE, p=None, alarm=False)
            elif record.digest in moved:
                records[record.digest] = record
        state, members, refit = enrolment.fit(infant_id, own, list(records.values()))
        refused = [row for row in members if row.digest in moved and not row.accepted]
        if refused:
            vectors = np.stack([record.vector for record in refused])
            judged = judge(follower.model, [state.calibrated], [vectors])[0]
            again = {
                record.digest: replace(
                    record,
                    score=float(judged.scores[row]),
                    p=float(judged.p[row]),
                    alarm=bool(judged.alarms[row]),
                    version=state.version,
                )
                for row, record in enumerate(refused)
            }
            members = [again.get(record.digest, record) for record in members]
        enrolment.write(writer, provenance, state, members, [refit])
        writer.remove(other_id)
        return _after(state) | {"moved": len(moved)}

    facts, erasure = erase(enrolment.store, other_id, work)
    return Merger(**vars(erasure), **facts)


def take_in(enrolment: Enrolment, folder: Path, infant_id: str | None) -> MovedInfant:
    """Put the infant that `store.moving.export` wrote to ``folder`` into the store.

    Its model is tried where it is one of what is at hand; where it is not, what to do is said.
    StoreError where the folder is not as it was written, or there is an infant of that id.
    """
    moved = moving.read_moved(folder, infant_id)
    name = shlex.quote(moved.state.infant_id)
    try:
        provenance, model = enrolment.provenance, enrolment.model
    except ModelError as error:
        enrolment.say(f"its model is not tried, for want of one to compare it with: {error}")
    else:
        if moved.provenance.embedding != provenance.embedding:
            enrolment.say(
                "its vectors are of another network than that at hand: to score, put that network "
                f"back, or enroll its recordings again after `crywatch infant forget {name}`"
            )
        elif moved.provenance != provenance:
            enrolment.say(
                "it was fitted with other settings or another cohort than those at hand: `crywatch "
                f"infant enroll {name}` fits it again"
            )
        else:
            try:
                judge(model, [moved.state.calibrated], [moved.records[0].vector[None]])
            except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
                raise StoreError(f"{folder}: its model cannot score: {error}") from error
    moving.take_in(enrolment.store, moved, folder)
    return moved


def _after(state: InfantState) -> dict[str, Any]:
    return {
        "infant_id": state.infant_id,
        "version": state.version,
        "recordings": len(state.baseline),
        "promise": state.calibrated.promise,
    }


def _mark(
    enrolment: Enrolment, infant_id: str, version: KeptVersion, gone: StoredRecording
) -> str | None:
    """What is to be said of a version after a recording is gone; None where it never had it."""
    if not gone.accepted:  # no model was ever fitted on it
        return None
    if version.files is None:
        return None if gone.waiting else version.remark or PERHAPS
    _, _, baseline = read_version(enrolment.store.folder, infant_id, version.files)
    return MARK if (baseline.vectors == gone.vector).all(axis=1).any() else None


def _find(history: InfantHistory, name: str) -> StoredRecording:
    """The one recording that ``name`` means; a whole path before the end of one."""
    path, name = (normal(utf8(text)) for text in (os.path.abspath(name), name))
    ways = (
        lambda record: normal(record.path) in (name, path),
        lambda record: normal(record.path).endswith("/" + name),
        lambda record: len(name) >= _LEAST_DIGEST and record.digest.startswith(name.lower()),
    )
    infant_id = history.state.infant_id
    advice = f"`crywatch infant show {shlex.quote(infant_id)}` lists them with their digests"
    for way in ways:
        if matches := [record for record in history.records if way(record)]:
            if len(matches) == 1:
                return matches[0]
            raise StoreError(
                f"{name!r} are {len(matches)} recordings of infant {infant_id!r} "
                f"({_some(matches)}): name one by its digest; {advice}"
            )
    raise StoreError(f"infant {infant_id!r} has no recording {name!r}: {advice}")


def _some(records: Sequence[StoredRecording]) -> str:
    more = ", ..." if len(records) > _LISTED else ""
    return ", ".join(f"{one.digest[:12]} {one.path}" for one in records[:_LISTED]) + more

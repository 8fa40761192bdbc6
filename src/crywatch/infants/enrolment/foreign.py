"""Recordings that may be of another infant than the one they are given for: what is to be told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from crywatch.infants.conformal import judge
from crywatch.infants.store import InfantHistory, Provenance, StoredRecording
from crywatch.infants.store.store import Reader
from crywatch.infants.updating import Follower

_ADVICE = "`crywatch infant remove` takes it out"


def also_of_others(reader: Reader, infant_id: str, new: Sequence[StoredRecording]) -> Iterator[str]:
    """A message for each of the ``new`` recordings of an infant that others have as well."""
    paths = {recording.digest: recording.path for recording in new}
    for digest, others in reader.also_of(infant_id, paths).items():
        names = " and ".join(map(repr, others))
        yield (
            f"{paths[digest]}: infant {names} has this recording too; if it is not of "
            f"{infant_id!r}, {_ADVICE}"
        )


def beyond_promise(
    history: InfantHistory,
    provenance: Provenance,
    follower: Follower,
    new: Sequence[StoredRecording],
) -> Iterator[str]:
    """A message where ``new`` recordings that join a baseline would alarm, were they scored by it.

    ``provenance`` is of what is at hand: a model of another one is fitted again before it judges.
    """
    state = history.state
    if history.provenance != provenance:
        state = follower.start([state.baseline])[0]
    promise = state.calibrated.promise
    if not new or not promise.promised:
        return
    vectors = np.stack([recording.vector for recording in new])
    judged = judge(follower.model, [state.calibrated], [vectors])[0]
    beyond = [
        f"{recording.path} (p {p:.3f})"
        for recording, p, alarm in zip(new, judged.p, judged.alarms, strict=True)
        if alarm
    ]
    if beyond:
        yield (
            f"{len(beyond)} of the {len(new)} recordings that join {state.infant_id!r} are beyond "
            f"the promised rate of {promise.rate:g} ({promise.rate * len(new):.1f} would be of its "
            f"own): {', '.join(beyond)}; if one is of another infant, {_ADVICE}"
        )

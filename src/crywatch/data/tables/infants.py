"""Tables of the infants' half."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from crywatch.data.tables import TableSchema

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_RECORDING = {
    "clip_id": ("str", False),
    "corpus": ("str", False),
    "infant_id": ("str", False),
    "session_id": ("str", True),
    "recorded_at": ("datetime64[ns, UTC]", True),
    "recording_id": ("str", False),
    "cluster_id": ("str", True),
    "split": ("str", False),  # by infant
    "category": ("str", False),  # the publisher's, or the user's remark
}

# One row a cry (an expiration, or what lies between two breaths that cannot be told apart). Its
# samples are ``first`` to ``first + samples`` of waves.npy.
CRIES = TableSchema(
    "cries",
    _RECORDING
    | {
        "cry_id": ("str", False),  # "<clip_id>#<number>"
        "onset_s": ("float64", False),
        "offset_s": ("float64", False),
        "found_by": ("str", False),  # annotation, detector
        "peak_dbfs": ("float64", False),  # of the recording, before it was normalised
        "first": ("int64", False),
        "samples": ("int64", False),
    },
)

# One row a pair of sounds that a network has compared.
TRIALS = TableSchema(
    "trials",
    {
        "network": ("str", False),
        "protocol": ("str", False),  # within or across sessions, cryceleb
        "part": ("str", False),
        "first": ("str", False),  # clip_id; of CryCeleb "<baby>/<period>"
        "second": ("str", False),
        "same": ("bool", False),  # of one infant
        "score": ("float64", False),  # cosine
    },
)

# One row a recording that holds a cry; row n is vector n of vectors.npy.
RECORDINGS = TableSchema(
    "recordings",
    _RECORDING
    | {
        "cries": ("int64", False),
        "cry_s": ("float64", False),
    },
)

# One row a clip without a cry, that the gate must refuse; row n is vector n of others.npy.
OTHERS = TableSchema(
    "others",
    {
        "clip_id": ("str", False),
        "corpus": ("str", False),
        "split": ("str", False),
        "category": ("str", False),
    },
)

# One row a recording after a made change; row n is vector n of shifted.npy.
SHIFTED = TableSchema(
    "shifted",
    {
        "clip_id": ("str", False),
        "shift": ("str", False),  # such as "pitch +10 %"
        "control": ("bool", False),  # must not alarm
    },
)

# One row a recording on an infant's timeline, in the order of time.
FOLLOWED = TableSchema(
    "followed",
    {
        "infant_id": ("str", False),
        "clip_id": ("str", False),
        "session_id": ("str", True),
        "recorded_at": ("datetime64[ns, UTC]", False),
        "phase": ("str", False),  # baseline: the first model was fitted on it; new: what came after
        # No unit, higher is further from normal; null: the recording is one that was calibrated on.
        "score": ("float64", True),
        "p": ("float64", True),  # conformal p-value, 0..1; null in the baseline
        "alarm": ("bool", False),
        "accepted": ("bool", False),  # by the gate, into the next model's baseline
        "reason": ("str", True),  # why not: what the gate said
        "version": ("int64", False),  # of the model that scored it, from 0
        "remark": ("str", True),  # the recording's category, where it tells of a change
    },
)

# One row a version of an infant's model: what its calibration says is normal.
BANDS = TableSchema(
    "bands",
    {
        "infant_id": ("str", False),
        "version": ("int64", False),
        "since": ("datetime64[ns, UTC]", False),  # from which recording on it scores
        "clips": ("int64", False),  # it was fitted on
        "sessions": ("int64", False),
        "low": ("float64", False),  # 5th percentile of the calibration scores
        "centre": ("float64", False),  # median
        "high": ("float64", False),  # above it a clip alarms; without a promise, the highest
        "rate": ("float64", False),  # wanted
        "reachable": ("float64", False),  # the lowest rate that so many clips can promise
        "promised": ("bool", False),
        "reason": ("str", True),  # why it is not promised
    },
)

# One row a recording of the generated year, under each way of updating.
YEAR = TableSchema(
    "year",
    {
        "scenario": ("str", False),  # slow, change, attack
        "kind": ("str", False),  # the change, or what is hostile; empty for slow
        "way": ("str", False),  # gated, ungated, frozen
        "infant": ("int64", False),
        "order": ("int64", False),  # of the infant's recordings, in time
        "day": ("float64", False),  # since the year began
        "hostile": ("bool", False),  # not the infant's own
        "score": ("float64", False),
        "p": ("float64", False),
        "alarm": ("bool", False),
        "accepted": ("bool", False),
        "reason": ("str", True),
        "version": ("int64", False),
    },
)


def is_changed(table: pd.DataFrame, changed: Sequence[str]) -> np.ndarray:
    """[rows] bool: the category begins with one of ``changed``.

    Such a recording is known to be abnormal: no baseline, training or choice of a network hears it.
    """
    return table["category"].str.startswith(tuple(changed)).to_numpy(dtype=bool)

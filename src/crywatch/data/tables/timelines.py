"""Tables of an infant's timeline."""

from __future__ import annotations

from crywatch.data.tables import TableSchema
from crywatch.data.tables.infants import FOLLOWED

# One row a recording: what was followed, on a scale that no new version of the model makes a step
# on, and where the trend stood after it.
TIMELINE = TableSchema(
    "timeline",
    FOLLOWED.columns
    | {
        "session": ("int64", False),  # number of the session, from 0
        "gap_days": ("float64", True),  # since the recording before; null for the first
        "promised": ("bool", False),  # by the calibration of the version that scored it
        "units": ("int64", False),  # independent ones of that calibration
        # (score - centre) / (high - centre): 0 is the middle of normal, 1 the limit.
        "distance": ("float64", True),
        "z": ("float64", True),  # normal deviate of p: mean 0, deviation 1 while nothing changes
        "ewma": ("float64", True),  # of z
        "ewma_limit": ("float64", True),  # null: nothing is promised, or the recording is baseline
        "cusum": ("float64", True),
        "cusum_limit": ("float64", True),
    },
)

# One row a session: discrete time.
TIMELINE_SESSIONS = TableSchema(
    "timeline_sessions",
    {
        "infant_id": ("str", False),
        "session": ("int64", False),
        "session_id": ("str", False),
        "phase": ("str", False),
        "begin": ("datetime64[ns, UTC]", False),
        "end": ("datetime64[ns, UTC]", False),
        "gap_days": ("float64", True),  # before it
        "recordings": ("int64", False),
        "marked": ("int64", False),
        "promised": ("bool", False),
        "units": ("int64", False),  # independent ones of the calibration that judged it
        "z": ("float64", True),  # mean of its recordings
        "p": ("float64", True),  # of the session, however alike its recordings are
        "lowest_p": ("float64", True),
        "ewma": ("float64", True),
        "ewma_limit": ("float64", True),
        "cusum": ("float64", True),
        "cusum_limit": ("float64", True),
    },
)

"""Tables of the audit, in the registry of `crywatch.data.tables.clips`.

They stand apart, so that a change here does not make other stages run again.
"""

from __future__ import annotations

from crywatch.data.tables.clips import COLUMNS

# One row a plain second, system and channel.
COLUMNS["audit_scores"] = {
    "system": ("str", False),
    "channel": ("str", False),  # or "as recorded"
    "clip_id": ("str", False),
    "start_s": ("float64", False),
    "score": ("float64", False),
    "is_cry": ("bool", False),
    "silent": ("bool", False),  # as recorded: it counts for nothing, whatever the channel
}

# One row a second of sound that holds no cry.
COLUMNS["audit_background"] = {
    "system": ("str", False),
    "clip_id": ("str", False),
    "kind": ("str", False),  # clip: of a category of background; pause: a quiet part of a cry
    "heard": ("str", False),  # as recorded, or scaled to one level
    "onset_s": ("float64", False),  # of the stretch in its clip
    "start_s": ("float64", False),  # of the second in the stretch
    "score": ("float64", False),
}

"""Tables of measuring: what the audit wrote, and every measured second with its clip."""

from __future__ import annotations

from crywatch.data.tables import TableSchema

# One row a plain second, system and channel.
AUDIT_SCORES = TableSchema(
    "audit_scores",
    {
        "system": ("str", False),
        "channel": ("str", False),  # or "as recorded"
        "clip_id": ("str", False),
        "start_s": ("float64", False),
        "score": ("float64", False),
        "is_cry": ("bool", False),
        "silent": ("bool", False),  # as recorded: it counts for nothing, whatever the channel
    },
)

# One row a second of sound that holds no cry.
AUDIT_BACKGROUND = TableSchema(
    "audit_background",
    {
        "system": ("str", False),
        "clip_id": ("str", False),
        "kind": ("str", False),  # clip: of a category of background; pause: a quiet part of a cry
        "heard": ("str", False),  # as recorded, or scaled to one level
        "onset_s": ("float64", False),  # of the stretch in its clip
        "start_s": ("float64", False),  # of the second in the stretch
        "score": ("float64", False),
    },
)

# One row a measured second, with what is known of its clip.
MEASURED = TableSchema(
    "measured",
    {
        "model": ("str", False),
        "clip_id": ("str", False),
        "sha256": ("str", False),  # of the clip's decoded samples
        "corpus": ("str", False),
        "label": ("str", False),  # of the clip
        "group_id": ("str", False),
        "split": ("str", False),
        "canonical": ("bool", False),
        "start_s": ("float64", False),
        "score": ("float64", False),
        "is_cry": ("bool", False),  # of the second
    },
)

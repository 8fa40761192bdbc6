"""Tables of measuring: all scores, and every measured second with its clip."""

from __future__ import annotations

from crywatch.data.tables import TableSchema

# One row a second, system and channel; a row group a system and channel.
SCORES = TableSchema(
    "scores",
    {
        "system": ("str", False),
        "channel": ("str", False),  # or "as recorded", or a kind of background
        "clip_id": ("str", False),
        "start_s": ("float64", False),  # in the clip
        "end_s": ("float64", False),
        "score": ("float64", False),
    },
)

# One row a plain second of everything that is scored.
SECONDS = TableSchema(
    "seconds",
    {
        "clip_id": ("str", False),
        "start_s": ("float64", False),
        "silent": ("bool", False),  # as recorded: it counts for nothing, whatever the channel
    },
)

# One row a second that probes are given.
PROBED = TableSchema("probed", {"clip_id": ("str", False), "start_s": ("float64", False)})

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
        "unknown": ("bool", False),  # is_cry is not: the clip is a weak cry and counts as a whole
    },
    absent={"unknown": False},
)

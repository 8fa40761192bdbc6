"""Tables of clips, of what is known of them, and of scores."""

from __future__ import annotations

from crywatch.data.tables import TableSchema

# One row a clip. ``path`` is relative to the repository root (the cleaned FLAC).
CLIPS = TableSchema(
    "clips",
    {
        "clip_id": ("str", False),  # "<corpus>/<stem>", unique over all corpora
        "corpus": ("str", False),
        "path": ("str", False),
        "source_path": ("str", False),  # as in the publisher's layout, below the corpus folder
        "sha256": ("str", False),  # of the decoded 16 kHz mono samples
        "duration_s": ("float64", False),
        "rate_hz": ("int64", False),  # as recorded
        "bandwidth_hz": ("float64", False),  # measured, of the source
        "peak_dbfs": ("float64", False),
        "rms_dbfs": ("float64", False),
        "label": ("str", False),  # cry, other, unknown
        "category": ("str", False),  # the publisher's own class
        "recording_id": ("str", False),  # what the clip was cut from
        "infant_id": ("str", True),
        "session_id": ("str", True),
        "recorded_at": ("datetime64[ns, UTC]", True),
        "licence": ("str", False),
    },
    unique="clip_id",
)

# Strong labels.
EVENTS = TableSchema(
    "events",
    {
        "clip_id": ("str", False),
        "onset_s": ("float64", False),
        "offset_s": ("float64", False),
        "label": ("str", False),
    },
    labels=(),
)

# Every input that was refused.
QUARANTINE = TableSchema(
    "quarantine",
    {
        "corpus": ("str", False),
        "source_path": ("str", False),
        "reason": ("str", False),
    },
)

# One row a mined second.
MINED = TableSchema(
    "mined",
    {
        "clip_id": ("str", False),
        "start_s": ("float64", False),
        "score": ("float64", False),
        "rank": ("int64", False),  # 0 is the clip's highest
    },
)

# Clips that hold the same sound as wholes: all members of a cluster, the canonical one first.
DUPLICATES = TableSchema(
    "duplicates",
    {
        "cluster_id": ("str", False),
        "clip_id": ("str", False),
        "similarity": ("float64", False),  # to the canonical member, 0..1
        "canonical": ("bool", False),
    },
)

# Pairs of clips that share a section (an excerpt, a mixture) and are no duplicates.
OVERLAPS = TableSchema(
    "overlaps",
    {
        "first_clip_id": ("str", False),
        "second_clip_id": ("str", False),
        "offset_s": ("float64", False),  # at which the second begins on the clock of the first
        "shared_s": ("float64", False),  # from the first to the last sound that both have
        "share": ("float64", False),  # shared_s of the shorter clip's duration, 0..1
        "evidence": ("float64", False),  # nats, for shared sound against chance
    },
)


# What `split` adds to `clips`.
SPLIT_CLIPS = TableSchema(
    "split_clips",
    CLIPS.columns
    | {
        "cluster_id": ("str", True),  # of duplicates; null for a clip without any
        "canonical": ("bool", False),  # false for a duplicate of another clip
        "group_id": ("str", False),  # recordings, clusters and infants that must stay together
        "split": ("str", False),  # train, val, test
        "kind": ("str", False),  # of sound, see conf/kinds.yaml; the label where that is not other
        "weak": ("bool", False),  # the label is of the clip: a cry is somewhere in one that cries
    },
    unique="clip_id",
    absent={"weak": False, "kind": "other"},
)

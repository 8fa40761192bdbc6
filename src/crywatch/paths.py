"""Where each stage writes, relative to the repository root. dvc.yaml names the same paths."""

from __future__ import annotations

from pathlib import Path

DATA = Path("data")
WORK = DATA / "work"  # resumable state of unfinished stages; never versioned

SPLIT = DATA / "split"
SPLIT_CLIPS = SPLIT / "clips.parquet"
DUPLICATES = SPLIT / "duplicates.parquet"
SPLIT_EVENTS = SPLIT / "events.parquet"
SPLIT_TABLE = SPLIT / "split.csv"

UNTRIMMED = DATA / "untrimmed"  # audio/*.flac, clips.parquet (split_clips), events.parquet
SOUNDSCAPES = DATA / "soundscapes"  # as UNTRIMMED; also annotations.jsonl, metadata/

EMBED_VGGISH = DATA / "embed_vggish"
TRAIN_MINER = DATA / "train_miner"
MINE = DATA / "mine"
BLAZENET_FEATURES = DATA / "blazenet_features"
TRAIN_BLAZENET = DATA / "train_blazenet"
EMBED_BLAZENET = DATA / "embed_blazenet"
TRAIN_RTFM = DATA / "train_rtfm"
EVALUATE_DETECTION = DATA / "evaluate_detection"
REPORTS = DATA / "reports"
DATASHEETS = DATA / "datasheets"

# The second half: one infant at a time.
SPLIT_INFANTS = DATA / "split_infants"
INFANT_CLIPS = SPLIT_INFANTS / "clips.parquet"  # split_clips, of known infants, parts by infant
CRIES = DATA / "cries"
FINETUNE_ECAPA = DATA / "finetune_ecapa"  # a model folder a loss
EVALUATE_VERIFICATION = DATA / "evaluate_verification"
EMBED_CRIES = DATA / "embed_cries"
TRAIN_GATE = DATA / "train_gate"
FIT_INFANTS = DATA / "fit_infants"  # a folder a model
FOLLOW_INFANTS = DATA / "follow_infants"
SIMULATE_YEAR = DATA / "simulate_year"
TIMELINE = DATA / "timeline"

# Everything that is listened to, table by table.
CLIPS_TABLES = (SPLIT_CLIPS, UNTRIMMED / "clips.parquet", SOUNDSCAPES / "clips.parquet")
EVENTS_TABLES = (SPLIT_EVENTS, UNTRIMMED / "events.parquet", SOUNDSCAPES / "events.parquet")


def raw(corpus: str) -> Path:
    """The corpus in its publisher's layout."""
    return DATA / "raw" / corpus


def clean(corpus: str) -> Path:
    """audio/*.flac, clips.parquet, events.parquet, quarantine.parquet, summary.json."""
    return DATA / "clean" / corpus


def datasheet(corpus: str) -> Path:
    """index.html and measures.json."""
    return DATASHEETS / corpus

"""Where each stage writes, relative to the repository root. dvc.yaml names the same paths."""

from __future__ import annotations

from pathlib import Path

from crywatch.core.errors import named

DATA = Path("data")
KINDS = Path("conf/kinds.yaml")  # of sound, by the publishers' classes
NO_CORPUS = Path("conf/corpora/none")  # empty: the folder of a corpus that is named none
MISSING_NOTE = "MISSING.txt"  # in a folder whose content could not be had, where that is allowed
WORK = DATA / "work"  # unfinished stages, and what is kept by its key; never versioned

SPLIT = DATA / "split"
SPLIT_CLIPS = SPLIT / "clips.parquet"
DUPLICATES = SPLIT / "duplicates.parquet"
SPLIT_EVENTS = SPLIT / "events.parquet"
SPLIT_TABLE = SPLIT / "split.csv"

MIXTURES = DATA / "mixtures"
# audio/*.flac, clips.parquet (split_clips), events.parquet, bags.parquet (split_clips)
UNTRIMMED = MIXTURES / "untrimmed"
SOUNDSCAPES = MIXTURES / "soundscapes"  # the same without bags; annotations.jsonl, metadata/

EMBED = DATA / "embed"
MINE = DATA / "mine"  # a model folder a data set, and in it
MINED_SECONDS = Path("mined") / "seconds.parquet"
PUBLISHED_FEATURES = DATA / "raw" / "audioset" / "audioset_v1_embeddings"
MINED_PUBLISHED = MINE / "published"  # of those: all.parquet, and MINED_SECONDS of own clips
PICTURES = DATA / "pictures"
TRAIN_BLAZENET = DATA / "train_blazenet"
TRAIN_RTFM = DATA / "train_rtfm"
ROBUST_SOUNDS = DATA / "robust_sounds"  # a feature store a copy of the clips
TRAIN_ROBUST = DATA / "train_robust"  # a model folder a variant
TRAIN_BASELINES = DATA / "train_baselines"  # a model folder a model
CALIBRATE = DATA / "calibrate"  # a model folder a model, with its decision
EXPORT = DATA / "export"  # one model for devices
SCORE = DATA / "score"
EVALUATE = DATA / "evaluate"
EVALUATE_DETECTION = EVALUATE / "detection"
EVALUATE_SHORTCUTS = EVALUATE / "shortcuts"
EVALUATE_SYSTEMS = EVALUATE / "systems"
REPORTS = DATA / "reports"

# The second half: one infant at a time.
SPLIT_INFANTS = DATA / "split_infants"
INFANT_CLIPS = SPLIT_INFANTS / "clips.parquet"  # split_clips, of known infants, parts by infant
CRIES = DATA / "cries"
TRAIN_SPEAKER = DATA / "train_speaker"  # a model folder a loss
EVALUATE_VERIFICATION = DATA / "evaluate_verification"
EMBED_CRIES = DATA / "embed_cries"
FIT_INFANTS = DATA / "fit_infants"  # a folder a model
GATE = FIT_INFANTS / "gate"
TIMELINE = DATA / "timeline"

# What an anomaly head is trained on, by data set: tables split_clips.
DATASETS = {"trimmed": SPLIT_CLIPS, "untrimmed": UNTRIMMED / "bags.parquet"}

# Beside the pipeline: studies/dvc.yaml.
ABLATE_ROBUST = DATA / "ablate_robust"  # a folder a recipe
SIMULATE_YEAR = DATA / "simulate_year"
STUDIES_REPORT = DATA / "studies_report"

# Everything that is listened to, table by table.
CLIPS_TABLES = (SPLIT_CLIPS, UNTRIMMED / "clips.parquet", SOUNDSCAPES / "clips.parquet")
EVENTS_TABLES = (SPLIT_EVENTS, UNTRIMMED / "events.parquet", SOUNDSCAPES / "events.parquet")


def missing_note(folder: Path) -> str:
    """Why the content of ``folder`` could not be had; "" where it could."""
    note = folder / MISSING_NOTE
    return note.read_text(encoding="utf-8").strip() if note.is_file() else ""


def raw(corpus: str) -> Path:
    """The corpus in its publisher's layout."""
    return DATA / "raw" / corpus


def clean(corpus: str) -> Path:
    """audio/*.flac, clips.parquet, events.parquet, quarantine.parquet, summary.json."""
    return DATA / "clean" / corpus


def family(name: str) -> Path:
    """A model folder a variant, of networks that an anomaly head can sit on.

    blazenet or robust; ConfigError for another name.
    """
    return named({"blazenet": TRAIN_BLAZENET, "robust": TRAIN_ROBUST}, name, "family")

"""Another sound than a cry is detected where ``clean.event`` names it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from crywatch import corpora
from crywatch.audio.channels import channel
from crywatch.audio.waves.cleaned import read_clean
from crywatch.core import params
from crywatch.core.errors import ConfigError
from crywatch.corpora.generate import GeneratorConfig, freesound
from crywatch.corpora.samples import esc50
from crywatch.corpora.shared.base import ClipEntry, Event
from crywatch.data import clean, split
from crywatch.data.selection import Source
from crywatch.data.tables import read_table
from crywatch.data.tables.clips import SPLIT_CLIPS
from crywatch.detection.baselines import train_baselines
from crywatch.detection.detectors import load_detector

ROOT = Path(__file__).parents[2]
KINDS = ("dog", "rain", "siren", "crying_baby")


@pytest.fixture
def clips(tmp_path, monkeypatch) -> pd.DataFrame:
    """Four classes in ESC-50's layout, cleaned for dogs and split."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(freesound, "CLASSES", {kind: freesound.CLASSES[kind] for kind in KINDS})
    esc50.write(Path("raw"), GeneratorConfig(1, 16, 0, 0, 0))
    config = params.compose(["clean.event=dog"], ROOT / "conf")
    cleaning = replace(params.typed(config.clean, clean.CleanConfig, "clean"), workers=1)
    clean.run(corpora.get("esc50"), cleaning, Path("raw"), Path("clean", "esc50"), Path("work"))
    config.split.infants.only = []
    config.split.ratios = {"train": 0.5, "val": 0.25, "test": 0.25}
    splitting = params.typed(config.split, split.SplitConfig, "split")
    split.run([Path("clean", "esc50")], splitting, 1, Path("split"), Path("split_infants"))
    return read_table(Path("split", "clips.parquet"), SPLIT_CLIPS)


def test_a_detector_of_dogs_is_trained_on_esc50(clips):
    assert set(clips.loc[clips["label"] == "cry", "category"]) == {"dog"}
    assert set(clips.loc[clips["label"] == "other", "category"]) == set(KINDS) - {"dog"}
    svc = ["train_baselines.svc.c=[10.0]", "train_baselines.svc.gamma=[0.03]"]
    config = params.compose(svc, ROOT / "conf").train_baselines
    train_baselines.run(
        "svc",
        params.typed(config, train_baselines.TrainBaselinesConfig, "train_baselines"),
        channel("as_is", {"as_is": []}),
        Source(Path("split", "clips.parquet"), Path("split", "events.parquet")),
        1.0,
        Path("model"),
    )
    detector = load_detector("model")
    test = clips[clips["split"] == "test"]
    scores = [detector.score(read_clean(path)).mean() for path in test["path"]]
    assert roc_auc_score(test["category"] == "dog", scores) > 0.9


@pytest.mark.parametrize(
    ("event", "entry", "label", "events"),
    [
        ("cry", ("cry", "crying_baby", ("cry", "dog")), "cry", ("cry", "dog")),
        ("dog", ("cry", "crying_baby", ("cry",)), "other", ("infant_cry",)),
        ("dog", ("other", "Dog", ()), "cry", ()),
        ("dog", ("cry", "Dog", ("cry",)), "cry", ("cry",)),  # AudioSet chose it as what to detect
        ("Snoring", ("cry", "strong", ("cry", "snoring")), "cry", ("infant_cry", "cry")),
        ("dog", ("unknown", "app", ()), "unknown", ()),
    ],
)
def test_clips_and_strong_labels_of_the_event_are_what_is_detected(event, entry, label, events):
    own, category, names = entry
    strong = tuple(Event(0.0, 1.0, name) for name in names)
    found = ClipEntry("a.wav", own, category, "a", "CC0", events=strong).by_event(event)
    assert (found.label, tuple(each.label for each in found.events)) == (label, events)
    assert found.category == category


def test_an_empty_event_is_refused():
    cleaning = params.typed(
        params.compose(["clean.event=' '"], ROOT / "conf").clean, clean.CleanConfig, "clean"
    )
    with pytest.raises(ConfigError, match=r"clean\.event is empty: set cry, or"):
        clean.run(corpora.get("esc50"), cleaning, Path("raw"), Path("clean"), Path("work"))

"""Every corpus through the stages clean and split: tables, details, events and groups."""

import os
from pathlib import Path

import pytest

from crywatch import corpora
from crywatch.core import params
from crywatch.core.errors import TableError
from crywatch.corpora.generate import GeneratorConfig, generate
from crywatch.corpora.shared.details import COLUMNS, FILE, read_details
from crywatch.data import clean, split
from crywatch.data.clean import CleanConfig
from crywatch.data.split import SplitConfig
from crywatch.data.tables import read_table
from crywatch.data.tables.clips import CLIPS, EVENTS, QUARANTINE, SPLIT_CLIPS

pytestmark = pytest.mark.nightly

TINY = GeneratorConfig(3, 2, 3, 2, 2, other_infants=3)
CONF = Path(__file__).parents[2] / "conf"
DETAILED = {"cryceleb", "icsd", "enesbabycries", "audioset", "chillanto", "discomfort_pain"}
REAL = Path(os.environ.get("CRYWATCH_CORPORA", CONF.parents[1] / "shared" / "corpora"))


def run_clean(name, raw, out):
    config = params.typed(params.compose([], CONF).clean, CleanConfig, "clean")
    return clean.run(corpora.get(name), config, raw, out / name, out / f"work-{name}")


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory):
    """All corpora, generated and cleaned; read only."""
    folder = tmp_path_factory.mktemp("cleaned")
    for name in corpora.NAMES:
        generate(name, folder / "raw" / name, TINY)
        run_clean(name, folder / "raw" / name, folder)
    return folder


@pytest.mark.parametrize("name", corpora.NAMES)
def test_a_corpus_is_cleaned_to_the_same_tables(name, cleaned):
    clips = read_table(cleaned / name / "clips.parquet", CLIPS)
    assert len(clips) and read_table(cleaned / name / "quarantine.parquet", QUARANTINE).empty
    assert all(clips["clip_id"].str.startswith(f"{name}/"))
    events = read_table(cleaned / name / "events.parquet", EVENTS)
    assert set(events["clip_id"]) <= set(clips["clip_id"])
    assert (len(events) > 0) == (name in {"icsd", "audioset"})
    assert (cleaned / name / FILE).is_file() == (name in DETAILED)


def test_strong_labels_keep_to_their_clip(cleaned):
    clips = read_table(cleaned / "icsd" / "clips.parquet", CLIPS).set_index("clip_id")
    events = read_table(cleaned / "icsd" / "events.parquet", EVENTS)
    assert set(events["label"]) == {"cry", "snoring"}
    assert (events["offset_s"] <= clips.loc[events["clip_id"], "duration_s"].to_numpy()).all()
    cries = set(events.loc[events["label"] == "cry", "clip_id"])
    assert set(clips.loc[list(cries), "label"]) == {"cry"}


def test_details_have_a_row_a_clip(cleaned):
    for name in DETAILED:
        details = read_details(cleaned / name / FILE)
        clips = read_table(cleaned / name / "clips.parquet", CLIPS)
        assert tuple(details.columns) == COLUMNS
        assert sorted(details["clip_id"]) == sorted(clips["clip_id"])
    enes = read_details(cleaned / "enesbabycries" / FILE)
    assert set(enes["sex"]) == {"f", "m"} and set(enes["age_months"]) == {0.5, 1.5, 2.5, 3.5}
    assert enes["part"].isna().all()
    parts = set(read_details(cleaned / "cryceleb" / FILE)["part"])
    assert parts == {"train", "dev", "test"}


def test_details_that_are_not_there_are_told(cleaned):
    with pytest.raises(TableError, match="esc50/details.parquet is missing"):
        read_details(cleaned / "esc50" / FILE)


def test_all_corpora_are_split_together(cleaned, tmp_path):
    composed = params.compose(["split.infants.only=[]"], CONF).split
    config = params.typed(composed, SplitConfig, "split")
    folders = [cleaned / name for name in corpora.NAMES]
    split.run(folders, config, 1, tmp_path / "split", tmp_path / "infants")
    clips = read_table(tmp_path / "split" / "clips.parquet", SPLIT_CLIPS)
    assert set(clips["corpus"]) == set(corpora.NAMES)
    for key in ("recording_id", "infant_id", "group_id"):
        known = clips[clips[key].notna()]
        assert (known.groupby(key)["split"].nunique() == 1).all()
    infants = read_table(tmp_path / "infants" / "clips.parquet", SPLIT_CLIPS)
    assert set(infants["clip_id"]) == set(clips.loc[clips["infant_id"].notna(), "clip_id"])
    told = read_details(cleaned / "cryceleb" / FILE).set_index("clip_id")["part"]
    kept = infants[infants["corpus"] == "cryceleb"].set_index("clip_id")["split"]
    assert (told.replace({"dev": "val"})[kept.index] == kept).all() and kept.nunique() == 3


@pytest.mark.skipif(not (REAL / "icsd").is_dir(), reason=f"no icsd in {REAL}")
def test_the_real_demo_of_icsd_is_cleaned(tmp_path):
    summary = run_clean("icsd", REAL / "icsd", tmp_path)
    assert summary.by_label == {"cry": 2, "other": 2} and summary.n_quarantined == 0
    assert summary.seconds == 40.0

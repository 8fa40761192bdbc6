"""What a model may be used for follows from the corpora that it heard, through to MLflow's tags."""

from __future__ import annotations

import pytest

from crywatch import corpora
from crywatch.core.errors import ConfigError, ModelError
from crywatch.corpora.terms import terms_of, terms_of_model
from crywatch.data.mixtures import soundscapes, untrimmed
from crywatch.data.selection import MADE
from crywatch.data.sources import corpora_of, heard
from tests.helpers.blazenet_cases import clip_rows, write_clips


def row(clip_id, split="train", **columns):
    return {"clip_id": clip_id, "label": "cry", "split": split} | columns


def test_a_model_trained_on_esc50_is_not_for_commercial_use():
    terms = terms_of_model({"corpora": ["esc50", "donateacry"]})
    assert not terms.commercial_use
    assert terms.as_tags() == {
        "corpora": "donateacry, esc50",
        "commercial_use": "no",
        "licences": "donateacry: ODbL 1.0 / DbCL 1.0; esc50: CC BY-NC 3.0",
    }
    assert terms.as_metadata()["commercial_use"] is False


def test_a_model_trained_on_free_corpora_alone_is():
    terms = terms_of(["recordings", "donateacry", "recordings"])
    assert terms.corpora == ("donateacry", "recordings")
    assert terms.commercial_use and terms.as_tags()["commercial_use"] == "yes"


@pytest.mark.parametrize("name", corpora.NAMES)
def test_each_corpus_alone_gives_its_own_terms(name):
    terms, corpus = terms_of([name]), corpora.get(name)
    assert (terms.commercial_use, terms.licences) == (corpus.commercial_use, (corpus.licence,))
    assert terms_of([name, "esc50"]).commercial_use is False


@pytest.mark.parametrize("description", [{}, {"corpora": []}, {"name": "old", "kind": "blazenet"}])
def test_a_model_that_names_no_corpus_is_told(description):
    with pytest.raises(ModelError, match="which corpora it heard.*dvc repro"):
        terms_of_model(description)


def test_a_corpus_that_nobody_knows_is_told():
    with pytest.raises(ConfigError, match="'dogs' is unknown"):
        terms_of(["esc50", "dogs"])


def test_made_up_recordings_count_by_their_sources():
    assert {untrimmed.CORPUS, soundscapes.CORPUS} == set(MADE)
    clips = clip_rows(
        [
            row("recordings/a"),
            row("untrimmed/a", source_path="esc50+recordings"),
            row("soundscapes/a", source_path="donateacry"),
            row("soundscapes/b", source_path="generated"),
        ]
    )
    assert corpora_of(clips) == ("donateacry", "esc50", "recordings")
    assert corpora_of(clips.iloc[:1]) == ("recordings",)


def test_only_the_clips_that_were_heard_count(tmp_path):
    tables = (
        write_clips(tmp_path / "a.parquet", [row("esc50/a"), row("recordings/a")]),
        write_clips(tmp_path / "b.parquet", [row("untrimmed/a", source_path="icsd+donateacry")]),
    )
    assert heard(tables, {"recordings/a"}) == ("recordings",)
    assert heard(tables, {"recordings/a", "untrimmed/a"}) == ("donateacry", "icsd", "recordings")


def test_the_subset_of_esc50_and_made_sounds_may_be_handed_on():
    terms = terms_of(["donateacry", "esc10", "synthetic"])
    assert terms.commercial_use
    assert terms.licences == ("ODbL 1.0 / DbCL 1.0", "CC BY 3.0", "Apache 2.0")

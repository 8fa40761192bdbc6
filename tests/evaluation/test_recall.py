"""Recall by infant and by age: whose clips count, what is found, exact intervals."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from crywatch.corpora.shared.base import Details
from crywatch.corpora.shared.details import FILE, ClipDetails, write_details
from crywatch.evaluation.evaluate.shortcuts.recall import ages, recall_rows
from crywatch.metrics.intervals import share_interval
from crywatch.report.shortcuts import recall_tables
from tests.helpers.score_cases import scored_system

SCORES = {  # by clip: corpus, infant, age of the details, split, label, scores of seconds
    "a/1": ("a", "i1", Details(age_months=2.5), "test", "cry", (0.2, 0.9)),
    "a/2": ("a", "i1", Details(age_months=2.5), "test", "cry", (0.4, 0.3)),
    "a/3": ("a", "i2", Details(age_months=12.0), "test", "cry", (0.6,)),
    "a/4": ("a", "i2", Details(age_months=12.0), "train", "cry", (0.1,)),
    "a/5": ("a", "i2", Details(age_months=12.0), "test", "other", (0.9,)),
    "b/1": ("b", "i1", Details(age_round="B"), "test", "cry", (0.1,)),
    "b/2": ("b", None, Details(kind="cry"), "test", "cry", (0.9,)),
    "c/1": ("c", None, None, "test", "cry", (0.9,)),
    "untrimmed/1": ("untrimmed", "i1", None, "test", "cry", (0.9,)),
}


@pytest.fixture
def world(tmp_path):
    """Clips with their details, and every second of them."""
    clips, seconds = [], []
    for clip_id, (corpus, infant, _, split, label, scores) in SCORES.items():
        path = str(tmp_path / corpus / "audio" / f"{clip_id[-1]}.flac")
        row = {"clip_id": clip_id, "corpus": corpus, "split": split, "label": label}
        clips.append(row | {"infant_id": infant, "path": path})
        seconds += [row | {"score": score, "group_id": clip_id} for score in scores]
    for corpus in ("a", "b"):
        told = {clip_id: values[2] for clip_id, values in SCORES.items() if values[0] == corpus}
        rows = [ClipDetails(clip_id, details) for clip_id, details in told.items()]
        (tmp_path / corpus).mkdir()
        write_details(rows, tmp_path / corpus / FILE)
    return pd.DataFrame(clips), pd.DataFrame(seconds)


def rows(world, at_1pct=0.5):
    clips, seconds = world
    scored = SimpleNamespace(clips=clips)
    return list(recall_rows(scored_system("robust/r"), seconds, scored, 0.35, at_1pct))


def test_every_crying_clip_of_the_test_part_counts_once_where_it_is_known(world):
    found = {(row.corpus, row.by, row.value): row for row in rows(world)}
    assert {key: (row.clips, row.found, row.found_at_1pct) for key, row in found.items()} == {
        ("a", "age", " 2.5 months"): (2, 1.0, 0.5),
        ("a", "age", "12.0 months"): (1, 1.0, 1.0),
        ("b", "age", "round B"): (1, 0.0, 0.0),
        ("a", "infant", "i1"): (2, 1.0, 0.5),
        ("a", "infant", "i2"): (1, 1.0, 1.0),
        ("b", "infant", "i1"): (1, 0.0, 0.0),
    }
    row = found["a", "infant", "i1"]
    assert (row.found_low, row.found_high) == pytest.approx((0.158114, 1.0), abs=1e-5)


def test_without_others_to_choose_by_there_is_one_threshold(world):
    (row, *_) = rows(world, None)
    assert row.found == 1.0 and row.found_at_1pct is row.found_at_1pct_low is None


def test_a_corpus_without_details_has_no_ages(world):
    assert set(ages(world[0]).dropna().index) == {"a/1", "a/2", "a/3", "a/4", "a/5", "b/1"}
    assert ages(world[0][world[0]["corpus"] == "c"]).empty


@pytest.mark.parametrize(("count", "of"), [(0, 1), (3, 4), (7, 7), (5, 40)])
def test_ends_of_a_share_leave_as_much_outside_as_they_say(count, of):
    """At the ends of the interval the count is just as unlikely as the level has it."""
    from scipy.stats import binom

    low, high = share_interval(count, of)
    assert low <= count / of <= high
    assert count == 0 or binom.sf(count - 1, of, low) == pytest.approx(0.025)
    assert count == of or binom.cdf(count, of, high) == pytest.approx(0.025)


def test_the_tables_have_a_column_a_system(world):
    listed = [vars(row) for row in rows(world)]
    listed += [{**row, "row": "yamnet/zero_shot"} for row in listed]
    tables = recall_tables(listed)
    assert [table.title for table in tables] == [
        "Cries found by age, at the threshold",
        "Cries found by age, at 1 % false alarms",
        "Cries found by infant, at the threshold",
        "Cries found by infant, at 1 % false alarms",
    ]
    assert tables[1].columns == ["corpus", "age", "clips", "robust/r", "yamnet/zero_shot"]
    assert tables[1].rows[0] == ["a", " 2.5 months", "2", *2 * ["0.50 (0.01 to 0.99)"]]
    assert recall_tables([]) == []

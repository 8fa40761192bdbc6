"""AudioSet: tables, the selection, labels from weak and strong classes, and what is gone."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from crywatch import corpora
from crywatch.core import params
from crywatch.core.errors import ConfigError, CorpusError
from crywatch.corpora import ClipEntry, Event, Refused
from crywatch.corpora.audioset import BABY_CRY, CRYING, DEFAULT_CLASSES
from crywatch.corpora.shared.audioset_selection import (
    AudioSetConfig,
    choose,
    read_selection,
    write_selection,
)
from crywatch.corpora.shared.audioset_tables import read_segments
from crywatch.corpora.shared.ledger import FILE as LEDGER
from crywatch.corpora.shared.ledger import Gone, Ledger, read_ledger, write_ledger
from tests.helpers.generated import generated

CONF = Path(__file__).parents[2] / "conf"
CONFIG = params.typed(params.compose([], CONF).corpus.audioset, AudioSetConfig, "corpus.audioset")
ONE_PART = replace(CONFIG, parts=["balanced"])
CAT, LAUGH, SPEECH = "/m/01yrx", "/t/dd00001", "/m/09x0r"
HEADER = "# Segments csv\n# num_ytids=1\n# YTID, start_seconds, end_seconds, positive_labels\n"


def ytid(number):
    return f"{number:011d}"


def weak(folder, rows, part="balanced_train_segments.csv"):
    """A table of ``rows``: number -> labels; each clip from 30 to 40 s."""
    text = "".join(f'{ytid(n)}, 30.000, 40.000, "{labels}"\n' for n, labels in rows)
    (folder / part).write_text(HEADER + text)
    (folder / "audio").mkdir(exist_ok=True)
    return folder


def strong(folder, *rows):
    lines = ["segment_id\tstart_time_seconds\tend_time_seconds\tlabel"]
    lines += [f"{ytid(n)}_30000\t{onset}\t{offset}\t{mid}" for n, onset, offset, mid in rows]
    (folder / "audioset_train_strong.tsv").write_text("\n".join(lines) + "\n")


def heard(folder, *numbers, suffix=".wav"):
    for number in numbers:
        (folder / "audio" / f"{ytid(number)}_30000{suffix}").write_bytes(b"not read by the loader")


def entries(folder):
    """Clips and refusals by number of their video."""
    found = list(corpora.get("audioset").index(folder))
    return {int(Path(entry.source_path).stem[:11]): entry for entry in found}


def many(n_cry=10, n_cat=6, n_laugh=40, n_crying=5, n_other=200):
    labels = [BABY_CRY] * n_cry + [f"{CAT},{SPEECH}"] * n_cat + [LAUGH] * n_laugh
    return list(enumerate(labels + [CRYING] * n_crying + [SPEECH] * n_other))


def ids(chosen):
    return [row.segment.segment_id for row in chosen]


# The selection


def test_conf_names_the_classes_that_a_folder_without_selection_is_read_by():
    assert CONFIG.classes() == DEFAULT_CLASSES


def test_as_many_others_as_cries_and_confusers_shared_evenly(tmp_path):
    chosen = choose(weak(tmp_path, many()), replace(ONE_PART, ambiguous_per_cry=0.2))
    names = Counter(row.what.name for row in chosen)
    # nine classes of confusers share ten clips: two each, of those that are there
    assert names == {"baby_cry": 10, "other": 10, "cat": 2, "baby_laughter": 2, "crying_sobbing": 2}
    assert all(row.segment.mids == (SPEECH,) for row in chosen if row.what.kind == "other")


def test_all_confusers_on_request(tmp_path):
    chosen = choose(weak(tmp_path, many()), replace(ONE_PART, confusers_per_cry="all"))
    names = Counter(row.what.name for row in chosen)
    assert (names["cat"], names["baby_laughter"]) == (6, 40)


def test_the_order_of_rows_changes_nothing_and_the_seed_does(tmp_path):
    rows = many()
    first = choose(weak(tmp_path, rows), ONE_PART)
    random.Random(1).shuffle(rows)
    assert choose(weak(tmp_path, rows), ONE_PART) == first
    other = choose(weak(tmp_path, rows), replace(ONE_PART, seed=2))
    assert Counter(r.what.name for r in other) == Counter(r.what.name for r in first)
    assert ids(other) != ids(first)


def test_new_rows_take_few_places_of_those_chosen_before(tmp_path):
    before = set(ids(choose(weak(tmp_path, many()), ONE_PART)))
    more = [*many(), *((n, SPEECH) for n in range(1000, 1010))]
    after = set(ids(choose(weak(tmp_path, more), ONE_PART)))
    new = {f"{ytid(n)}_30000" for n in range(1000, 1010)}
    assert after - before <= new  # nothing is redrawn


def test_each_part_has_others_of_its_own(tmp_path):
    weak(tmp_path, many(n_cry=3))
    weak(tmp_path, [(n + 5000, label) for n, label in many(n_cry=7)], "eval_segments.csv")
    chosen = choose(tmp_path, replace(CONFIG, parts=["balanced", "eval"], confusers_per_cry=0.0))
    counts = Counter((row.part, row.what.name) for row in chosen)
    assert counts == {
        ("balanced", "baby_cry"): 3,
        ("balanced", "other"): 3,
        ("eval", "baby_cry"): 7,
        ("eval", "other"): 7,
    }


def test_a_limit_takes_the_same_share_of_every_class(tmp_path):
    config = replace(ONE_PART, confusers_per_cry=0.0)
    whole = choose(weak(tmp_path, many()), config)
    part = choose(tmp_path, replace(config, max_clips=10))
    assert Counter(row.what.name for row in part) == {"baby_cry": 5, "other": 5}
    assert set(ids(part)) < set(ids(whole))


def test_a_selection_is_read_back_as_it_was_written(tmp_path):
    chosen = choose(weak(tmp_path, many()), ONE_PART)
    write_selection(tmp_path / "selection.csv", chosen)
    assert read_selection(tmp_path / "selection.csv") == chosen


def test_rows_that_are_not_chosen_are_not_kept(tmp_path):
    import tracemalloc

    def peak(n_other):
        weak(tmp_path, many(n_other=n_other))
        tracemalloc.start()
        choose(tmp_path, ONE_PART)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(20_000) < 1.5 * peak(2_000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parts": ["train"]}, r"audioset\.parts: 'train' is unknown; there are balanced"),
        ({"parts": []}, "at least one of parts"),
        ({"others_per_cry": -1.0}, r"audioset\.others_per_cry: -1\.0"),
        ({"confusers_per_cry": "most"}, r"audioset\.confusers_per_cry: 'most'"),
        ({"confusers": {"baby_cry": CAT}}, "stands twice"),
    ],
)
def test_a_setting_that_cannot_be_is_named(change, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        choose(weak(tmp_path, many()), replace(ONE_PART, **change))


def test_a_part_without_a_cry_is_told(tmp_path):
    with pytest.raises(CorpusError, match=r"no clip of the classes in corpus\.audioset\.cry"):
        choose(weak(tmp_path, [(1, CAT)]), ONE_PART)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('x, 30, 40, "/m/1"', r"line 4, column YTID: 'x' is no id"),
        ('../../../aaa, 30, 40, "/m/1"', r"line 4, column YTID"),
        ('00000000001, soon, 40, "/m/1"', r"line 4, column start_seconds: 'soon'"),
        ('00000000001, 40, 30, "/m/1"', r"line 4, column end_seconds: a clip from 40 to 30 s"),
        ("00000000001, 40", r"line 4: 2 cells, expected YTID"),
    ],
)
def test_a_broken_row_is_named(row, message, tmp_path):
    (tmp_path / "t.csv").write_text(HEADER + row + "\n")
    with pytest.raises(CorpusError, match=r"t\.csv, " + message):
        list(read_segments(tmp_path / "t.csv"))


# Entries


def test_labels_are_not_propagated(tmp_path):
    rows = [(1, BABY_CRY), (2, f"{CRYING},{BABY_CRY}"), (3, CRYING), (4, f"{CAT},{SPEECH}")]
    heard(weak(tmp_path, rows), 1, 2, 3, 4)
    found = entries(tmp_path)
    assert [found[n].label for n in (1, 2, 3, 4)] == ["cry", "cry", "unknown", "other"]
    assert [found[n].category for n in (1, 3, 4)] == ["baby_cry", "crying_sobbing", "cat"]
    assert found[1].recording_id == f"youtube/{ytid(1)}"
    assert (found[1].details.part, found[1].details.kind) == ("balanced", "weak")


def test_strong_labels_decide_where_there_are_any(tmp_path):
    rows = [(n, labels) for n, labels in enumerate([BABY_CRY, BABY_CRY, CRYING, CAT, CAT, SPEECH])]
    heard(weak(tmp_path, rows), *range(6))
    strong(
        tmp_path,
        (0, 5.0, 10.2, BABY_CRY),  # cut at the clip's end
        (0, 0.5, 2.0, BABY_CRY),
        (1, 0.0, 1.0, SPEECH),  # a cry by its weak label only
        (2, 1.0, 2.0, BABY_CRY),  # of the parent, but an infant after all
        (3, 1.0, 2.0, CAT),
        (4, 1.0, 2.0, CRYING),  # nobody said so before
        (4, 3.0, 3.0, CAT),  # of no length
    )
    found = entries(tmp_path)
    expected = ["cry", "unknown", "cry", "other", "unknown", "other"]
    assert [found[n].label for n in range(6)] == expected
    assert found[0].events == (Event(0.5, 2.0, "cry"), Event(5.0, 10.0, "cry"))
    assert found[4].events == (Event(1.0, 2.0, CRYING),)
    assert [found[n].details.kind for n in (1, 5)] == ["strong", "weak"]


def test_events_have_the_publishers_names_in_lower_case(tmp_path):
    generated("audioset", tmp_path, seed=3, infants=2)
    clips = [c for c in corpora.get("audioset").index(tmp_path) if c.details.kind == "strong"]
    assert {e.label for c in clips for e in c.events} == {"cry", "speech", "baby laughter", "music"}
    assert {c.details.part for c in clips} == {"balanced", "unbalanced", "eval"}


def test_a_class_that_the_configuration_calls_a_cry_is_one_in_strong_labels_too(tmp_path):
    wail = "/m/07qw_06"
    heard(weak(tmp_path, [(1, wail)]), 1)
    strong(tmp_path, (1, 1.0, 2.0, wail))
    config = replace(ONE_PART, cry={"wail": wail}, confusers={})
    write_selection(tmp_path / "selection.csv", choose(tmp_path, config))
    (entry,) = entries(tmp_path).values()
    assert entry.label == "cry" and entry.events == (Event(1.0, 2.0, "cry"),)


def test_what_is_gone_is_told_by_the_ledger_and_what_nobody_explains_is_refused(tmp_path):
    weak(tmp_path, [(1, BABY_CRY), (2, BABY_CRY), (3, BABY_CRY), (4, SPEECH)])
    config = replace(ONE_PART, others_per_cry=0.0)
    write_selection(tmp_path / "selection.csv", choose(tmp_path, config))
    heard(tmp_path, 1, 4)
    write_ledger(
        tmp_path / LEDGER, [Gone(f"{ytid(2)}_30000", "private", "Private video", "2026-01-31")]
    )
    found = entries(tmp_path)
    assert isinstance(found[1], ClipEntry) and 2 not in found
    assert isinstance(found[3], Refused) and "neither audio nor a line" in found[3].reason
    assert isinstance(found[4], Refused) and "not listed in the selection.csv" in found[4].reason


def test_without_a_selection_every_row_with_audio_counts(tmp_path):
    heard(weak(tmp_path, [(1, BABY_CRY), (2, SPEECH), (3, CAT)]), 2, 9)
    found = entries(tmp_path)
    assert set(found) == {2, 9}
    assert found[2].label == "other" and "tables of segments" in found[9].reason


def test_a_row_that_stands_twice_is_one_clip(tmp_path):
    weak(tmp_path, [(1, BABY_CRY), (1, BABY_CRY)])
    heard(weak(tmp_path, [(1, SPEECH), (2, CAT)], "eval_segments.csv"), 1, 2)
    found = list(corpora.get("audioset").index(tmp_path))
    assert [entry.label for entry in found] == ["cry", "other"]


def test_one_clip_in_two_formats_counts_once(tmp_path):
    heard(weak(tmp_path, [(1, BABY_CRY)]), 1)
    heard(tmp_path, 1, suffix=".flac")
    found = list(corpora.get("audioset").index(tmp_path))
    assert [type(entry) for entry in found] == [ClipEntry, Refused]
    assert "another format" in found[1].reason


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",cry,", ",weeping,", r"selection\.csv, line 2, column kind: 'weeping'"),
        ("balanced,", "train,", r"selection\.csv, line 2, column part: 'train'"),
        ("_30000,", "_40000,", r"line 2, column segment_id: .*expected 00000000001_30000"),
    ],
)
def test_a_broken_row_of_the_selection_is_named(old, new, message, tmp_path):
    weak(tmp_path, [(1, BABY_CRY)])
    file = tmp_path / "selection.csv"
    write_selection(file, choose(tmp_path, ONE_PART))
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(CorpusError, match=message):
        entries(tmp_path)


def test_broken_strong_labels_are_named(tmp_path):
    heard(weak(tmp_path, [(1, BABY_CRY)]), 1)
    strong(tmp_path, (1, 3.0, 1.0, BABY_CRY))
    with pytest.raises(CorpusError, match=r"train_strong\.tsv, line 2, column end_time_seconds"):
        entries(tmp_path)


# What is fetched


def test_the_files_are_those_of_the_parts_and_the_features_on_request():
    corpus = corpora.get("audioset")
    names = {remote.filename for remote in corpus.files(ONE_PART)}
    assert {"balanced_train_segments.csv", "class_labels_indices.csv"} <= names
    assert not {"unbalanced_train_segments.csv", "features.tar.gz"} & names
    everything = corpus.files(replace(CONFIG, features=True))
    assert everything == corpus.remotes
    with pytest.raises(ConfigError, match="corpus.audioset says not what"):
        corpus.files(None)


def test_chosen_clips_are_asked_for_by_video_and_time(tmp_path):
    corpus = corpora.get("audioset")
    wanted = corpus.choose(weak(tmp_path, [(1, BABY_CRY)]), ONE_PART)
    (clip,) = wanted
    assert clip.source_path == f"audio/{ytid(1)}_30000.flac"
    assert clip.url == f"https://www.youtube.com/watch?v={ytid(1)}"
    assert (clip.start_s, clip.end_s, clip.category) == (30.0, 40.0, "balanced baby_cry")
    assert (tmp_path / "selection.csv").is_file()


# The ledger


def test_a_ledger_that_was_cut_at_any_byte_goes_on(tmp_path):
    entries = [Gone(f"clip{n}", "private", "Private vidéo", "2026-01-31") for n in range(3)]
    whole = tmp_path / "whole.jsonl"
    write_ledger(whole, entries)
    data = whole.read_bytes()
    for size in range(len(data) + 1):
        path = tmp_path / "ledger.jsonl"
        path.write_bytes(data[:size])
        kept = data[:size].count(b"\n")
        assert list(read_ledger(path).values()) == entries[:kept]
        assert path.stat().st_size == size  # reading changes nothing
        ledger = Ledger(path)
        assert list(ledger.gone.values()) == entries[:kept]
        ledger.add(entries[2])
        expected = {entry.clip: entry for entry in (*entries[:kept], entries[2])}
        assert read_ledger(path) == expected


def test_a_line_that_is_none_of_a_ledger_is_named(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.write_text('{"clip": "a"}\n')
    with pytest.raises(CorpusError, match=r"ledger\.jsonl, line 1: not a line of a ledger"):
        read_ledger(path)

"""Which clips a training sees: one class, one part, a corpus left out and its copies elsewhere."""

from __future__ import annotations

import pytest

from crywatch.core.errors import ConfigError
from crywatch.data.selection import is_left_out, labelled
from tests.helpers.blazenet_cases import write_clips


def row(clip_id, split, group=None, **columns):
    label = "cry" if "cry" in clip_id else "other"
    return {
        "clip_id": clip_id,
        "label": label,
        "split": split,
        "group_id": group or clip_id,
    } | columns


ROWS = [
    row("a/cry1", "train"),
    row("a/cry2", "train", "copied"),
    row("a/cry3", "val"),
    row("a/other1", "train"),
    row("a/other2", "val"),
    row("b/cry1", "train", "copied", canonical=False),
    *(row(f"b/cry{i}", "train") for i in range(2, 22)),
    row("b/other1", "train"),
    row("b/other2", "val"),
    row("b/unknown", "train", label="unknown"),
]


def ids(clips, split=None):
    return set(clips["clip_id"] if split is None else clips[clips["split"] == split]["clip_id"])


def test_canonical_labelled_clips(tmp_path):
    table = write_clips(tmp_path / "clips.parquet", ROWS)
    assert ids(labelled(table)) == {r["clip_id"] for r in ROWS} - {"b/cry1", "b/unknown"}


def test_a_weak_cry_is_a_bag_alone(tmp_path):
    weak = [row("a/weak_cry", "train", weak=True), row("a/weak_other", "train", weak=True)]
    table = write_clips(tmp_path / "clips.parquet", [*ROWS, *weak])
    assert ids(labelled(table, weak=True)) - ids(labelled(table)) == {"a/weak_cry"}
    # The corpus is there though all its clips that remain are weak cries.
    assert "b/cry2" in ids(labelled(write_clips(table, [*weak[:1], *ROWS[6:]]), "a"))


def test_copies_of_a_corpus_left_out_go_with_it(tmp_path):
    table = write_clips(tmp_path / "clips.parquet", ROWS)
    left = labelled(table, "b")
    assert ids(left) == {"a/cry1", "a/cry3", "a/other1", "a/other2"}


def test_a_class_that_validation_loses_gets_a_tenth_of_its_training_groups(tmp_path):
    table = write_clips(tmp_path / "clips.parquet", ROWS)
    left = labelled(table, "a")
    moved = ids(left, "val") - {"b/other2"}
    assert len(moved) == 2 and all("cry" in clip_id for clip_id in moved)
    assert len(ids(left, "train")) == 19
    fewer = write_clips(tmp_path / "fewer.parquet", [r for r in ROWS if r["clip_id"] != "b/cry21"])
    assert len(moved & ids(labelled(fewer, "a"), "val")) >= 1  # hardly depends on the others


def test_what_lacks_groups_is_left_as_it_is(tmp_path):
    rows = [r for r in ROWS if r["clip_id"] in ("a/cry1", "a/other1", "b/cry2", "b/other2")]
    table = write_clips(tmp_path / "clips.parquet", rows)
    assert ids(labelled(table, "a"), "train") == {"b/cry2"}


def test_an_unknown_corpus_is_named(tmp_path):
    table = write_clips(tmp_path / "clips.parquet", ROWS)
    with pytest.raises(ConfigError, match=r"no corpus 'c'"):
        labelled(table, "c")


def test_kinds_of_sound_are_left_out_with_their_groups_wherever_they_are(tmp_path, capsys):
    rows = [
        *ROWS,
        row("a/dog", "train", kind="dog", label="other"),
        row("a/bird", "val", kind="bird", label="other"),
    ]
    rows += [row("b/copy_of_dog", "train", "a/dog", label="other")]
    table = write_clips(tmp_path / "clips.parquet", rows)
    plain = ids(labelled(table))
    gone = {"a/dog", "b/copy_of_dog"}
    assert plain - ids(labelled(table, "kind:dog")) == gone
    assert plain - ids(labelled(table, "kind:dog+kind:bird")) == gone | {"a/bird"}
    # A corpus and a kind; a kind without clips is said, and hinders nothing.
    assert ids(labelled(table, "b+kind:dog")) == ids(labelled(table, "b")) - gone
    assert plain - ids(labelled(table, "kind:dog+kind:cat")) == gone
    assert "kind:cat" in capsys.readouterr().err
    assert not is_left_out(labelled(table), "").any()


@pytest.mark.parametrize("leave_out", ["kind:cat", "kind:cat+kind:horn", "a+c", "kind:cat+a+c"])
def test_nothing_to_leave_out_is_an_error(tmp_path, leave_out):
    table = write_clips(tmp_path / "clips.parquet", ROWS)
    with pytest.raises(ConfigError, match=r"no (kind of sound 'cat'|corpus 'c')"):
        labelled(table, leave_out)

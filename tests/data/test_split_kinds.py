"""Kinds of sound: of every class that conf/kinds.yaml names, of copies, and of what has none."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from crywatch import corpora
from crywatch.core import params, paths
from crywatch.core.errors import ConfigError
from crywatch.corpora import ClipEntry
from crywatch.corpora.generate import generate
from crywatch.data.selection import KIND
from crywatch.data.split.kinds import kinds_of
from tests.corpora.test_corpora import TINY

ROOT = Path(__file__).parents[2]
KINDS = yaml.safe_load((ROOT / paths.KINDS).read_text(encoding="utf-8"))


def clips(*rows: tuple) -> pd.DataFrame:
    columns = ["corpus", "category", "label", "cluster_id"]
    return pd.DataFrame([(*row, None)[:4] for row in rows], columns=columns)


def test_a_class_is_of_its_kind_in_its_own_corpus_whatever_its_case(capsys):
    table = clips(("a", "Woof", "other"), ("b", "woof", "other"), ("b", "dog", "other"))
    assert kinds_of(table, {"dog": {"a": ["woof"]}}).tolist() == ["dog", "other", "dog"]
    told = capsys.readouterr().err
    assert "woof of b (1)" in told and "Woof of a" not in told and "dog of b" not in told


def test_a_class_that_is_not_named_has_the_kind_of_the_one_above_it(capsys):
    names = ("pets/dogs/pug", "pets/dogs/Fox", "pets/parrot", "petshop", "animal/pug", "animal")
    table = clips(*(("a", name, "other") for name in names))
    kinds = {
        "dog": {"a": ["pets/dogs"]},
        "animal": {"a": ["pets/dogs/fox"]},
        "bird": {"a": ["pets"]},
    }
    found = kinds_of(table, kinds).tolist()
    assert found == ["dog", "animal", "bird", "other", "other", "animal"]
    assert "petshop of a (1), animal/pug of a (1)" in capsys.readouterr().err


def test_what_is_no_other_sound_is_of_the_kind_of_its_label(capsys):
    table = clips(("a", "hungry", "cry"), ("a", "hungry", "unknown"))
    assert kinds_of(table, {"dog": {"a": ["hungry"]}}).tolist() == ["cry", "unknown"]
    assert not capsys.readouterr().err


def test_copies_have_the_kind_of_the_one_that_is_named():
    noise = ("b", "noise", "other")
    table = clips((*noise, "1"), ("a", "woof", "other", "1"), (*noise, "2"), noise)
    kinds = {"dog": {"a": ["woof"]}, "other": {"b": ["noise"]}}
    assert kinds_of(table, kinds).tolist() == ["dog", "dog", "other", "other"]


def test_a_class_of_two_kinds_is_an_error():
    with pytest.raises(ConfigError, match=r"kinds\.yaml: 'woof' of a is dog and cat"):
        kinds_of(clips(), {"dog": {"a": ["woof"]}, "cat": {"a": ["woof"]}})


def test_every_class_of_the_generated_corpora_has_a_kind(tmp_path, capsys):
    rows = []
    for name in set(corpora.NAMES) - {"esc10"}:  # whose samples are ESC-50's
        generate(name, tmp_path / name, TINY)
        entries = corpora.get(name).index(tmp_path / name)
        rows += [(name, e.category, e.label) for e in entries if isinstance(e, ClipEntry)]
    found = kinds_of(clips(*rows), KINDS)
    assert "no kind of sound" not in capsys.readouterr().err
    assert {"dog", "cat", "laughter", "cry"} <= set(found) <= {*KINDS, "cry", "unknown"}


def test_kinds_that_are_left_out_are_kinds_and_each_is_in_one_fold():
    config = params.compose(["lines=all"], ROOT / "conf")
    folds = {v.leave_out for v in config.train_robust.variants.values() if KIND in v.leave_out}
    names = [name for fold in folds for name in fold.replace(KIND, "").split("+")]
    assert len(names) == len(set(names))
    assert set(names) == set(KINDS) - {"other", "infant_cry"}

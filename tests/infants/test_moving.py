"""An infant that moves to another store: equal scores there, and nothing foreign is trusted."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from crywatch.core.digest import file_sha256, value_sha256
from crywatch.core.errors import CrywatchError, StoreError
from crywatch.infants.enrolment.enrolment import Enrolment
from crywatch.infants.enrolment.mending import take_in
from crywatch.infants.store import InfantStore, moving
from crywatch.infants.store.moving import CONTENTS, RECORDINGS, VECTORS, VERSIONS, export
from crywatch.infants.store.store import Writer
from tests.infants import test_enrolment as enrolment_cases
from tests.infants.test_enrolment import kept, sounds
from tests.infants.test_store import die, ended, files_of, in_process

# Fixtures: infants of a voice each, and files of it.
config, make, record = enrolment_cases.config, enrolment_cases.make, enrolment_cases.record


def enrolled(config, tmp_path):
    """The infants of a store, and the folder that one of them was exported to."""
    infants = Enrolment(replace(config, keep_versions=1), 1, tmp_path, print)
    infants.__dict__["listener"] = enrolment_cases.Ears()
    files = sounds(tmp_path)
    infants.enroll("Zoë", files(1, range(8)))
    infants.enroll(
        "Zoë", [replace(file, remark="hoarse\x1b[2J") for file in files(1, range(8, 12))]
    )
    infants.score("Zoë", files(1, range(20, 24)))
    infants.score("Zoë", files(7, [30]))
    export(infants.store, "Zoë", tmp_path / "moved")
    return infants, tmp_path / "moved"


@pytest.fixture
def moved(config, tmp_path):
    return enrolled(config, tmp_path)


@pytest.fixture(scope="module")
def exported(config, tmp_path_factory):
    return enrolled(config, tmp_path_factory.mktemp("exported"))[1]


@pytest.fixture
def folder(exported, tmp_path):
    """A copy that a test may harm."""
    return shutil.copytree(exported, tmp_path / "moved")


def test_scores_are_equal_after_a_move(moved, make, record):
    infants, folder = moved
    other = make(store="elsewhere")
    take_in(other, folder, None)
    own, there = kept(infants, "Zoë"), kept(other, "Zoë")
    assert not other.said
    assert [band.version for band in own.bands] == [band.version for band in there.bands]
    assert [one.files is None for one in own.versions] == [
        one.files is None for one in there.versions
    ]
    assert len(files_of(other.store)) == len(files_of(infants.store))
    none = {"vector": None, "path": "", "remark": None}
    for one, two in zip(own.records, there.records, strict=True):
        assert replace(one, **none) == replace(two, **none)
        assert one.vector.tobytes() == two.vector.tobytes()
        assert os.path.basename(one.path) == os.path.basename(two.path)
    assert there.records[9].remark == "hoarse\\x1b[2J"
    new = [*record(1, range(40, 44)), *record(7, [44])]
    assert infants.score("Zoë", new).files == other.score("Zoë", new).files
    first, second = kept(infants, "Zoë").state, kept(other, "Zoë").state
    assert first.baseline.vectors.tobytes() == second.baseline.vectors.tobytes()


def test_only_the_owner_may_read_what_moves_and_nothing_is_overwritten(moved):
    infants, folder = moved
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    with pytest.raises(StoreError, match="is there already: name a folder that is not"):
        export(infants.store, "Zoë", folder)
    with pytest.raises(StoreError, match="there is no infant 'Tom'"):
        export(infants.store, "Tom", folder.parent / "tom")
    assert not (folder.parent / "tom").exists()


def test_an_id_that_is_taken_is_refused_and_another_one_goes(moved):
    infants, folder = moved
    before = kept(infants, "Zoë")
    with pytest.raises(StoreError, match="there is an infant 'Zoë' already: .* --as"):
        take_in(infants, folder, None)
    take_in(infants, folder, "a/../b")
    assert len(kept(infants, "a/../b").records) == len(before.records)
    with pytest.raises(StoreError, match="holds a control character"):
        take_in(infants, folder, "a\nb")


def test_what_is_at_hand_is_compared(folder, make, config):
    stricter = make(store="b", conformal=replace(config.conformal, rate=0.2))
    take_in(stricter, folder, "x")
    assert "`crywatch infant enroll x` fits it again" in stricter.said[-1]
    other = make(store="c", ears=enrolment_cases.Ears("e" * 64))
    take_in(other, folder, "x")
    assert "of another network than that at hand" in other.said[-1]
    bare = make(store="e", gate="", cohort="nothing", settings=config.settings)
    del bare.__dict__["listener"]  # neither network nor detector are there
    take_in(bare, folder, "x")
    assert "its model is not tried" in bare.said[-1]


def relist(folder, **changes):
    """Let the list say that files are as they are now, so that only their content is wrong."""
    contents = json.loads((folder / CONTENTS).read_text())
    for name in contents["files"]:
        path = folder / name
        contents["files"][name] = {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
    sealed(folder, contents | changes)


def sealed(folder, contents):
    digest = value_sha256(contents | {"sha256": ""})
    (folder / CONTENTS).write_text(json.dumps(contents | {"sha256": digest}))


def table(folder, name, **changes):
    frame = pd.read_parquet(folder / name)
    for column, value in changes.items():
        frame.loc[0, column] = value
    frame.to_parquet(folder / name)
    relist(folder)


def vectors(folder, change):
    arrays = load_file(folder / VECTORS)
    save_file(change(arrays), folder / VECTORS)
    relist(folder)


def linked(folder):
    shutil.move(folder / VECTORS, folder.parent / "away")
    (folder / VECTORS).symlink_to(folder.parent / "away")


def listed(folder, name):
    contents = json.loads((folder / CONTENTS).read_text())
    contents["files"][name] = {"bytes": 1, "sha256": "0" * 64}
    sealed(folder, contents)


def renamed(folder):
    text = (folder / CONTENTS).read_text()
    (folder / CONTENTS).write_text(text.replace("Zo\\u00eb", "Zog"))


HARM = {
    "no list": (lambda f: (f / CONTENTS).unlink(), "infant.json: no such file"),
    "no JSON": (lambda f: (f / CONTENTS).write_text("{"), "infant.json: not JSON"),
    "deep JSON": (lambda f: (f / CONTENTS).write_text("[" * 100_000), "infant.json: not JSON"),
    "a list": (lambda f: (f / CONTENTS).write_text("[]"), "keys and values are expected"),
    "another id": (renamed, "infant.json: it is not what was written"),
    "another format": (lambda f: relist(f, format=2), "format 2 is not 1"),
    "an id of control characters": (lambda f: relist(f, infant_id="a\0b"), "control character"),
    "a model that is a path": (lambda f: relist(f, model="../x"), "'../x' is not a name"),
    "a digest that is none": (lambda f: relist(f, maker="x"), "'x' is not a SHA-256"),
    "a file outside": (lambda f: listed(f, "../x"), "'../x' is not a name"),
    "a file that is not there": (lambda f: listed(f, "x"), "x: no such file"),
    "a link": (linked, "vectors.safetensors: no such file .links are not followed"),
    "changed bytes": (
        lambda f: (f / VECTORS).write_bytes(b"x"),
        "safetensors is not what was writ",
    ),
    "a path outside": (lambda f: table(f, RECORDINGS, file="a/../../b"), "row 0, column file"),
    "an absolute path": (lambda f: table(f, RECORDINGS, file="/etc/passwd"), "row 0, column file"),
    "control characters": (lambda f: table(f, RECORDINGS, file="a\x1b[2J"), "control characters"),
    "no digest": (lambda f: table(f, RECORDINGS, digest="x"), "row 0, column digest: 'x'"),
    "another phase": (lambda f: table(f, RECORDINGS, phase="x"), "column phase: 'x'"),
    "an infinite score": (lambda f: table(f, RECORDINGS, score=np.inf), "cry_s, score or p"),
    "a version to come": (lambda f: table(f, RECORDINGS, version=99), "column version: '99'"),
    "a model of nothing": (lambda f: table(f, VERSIONS, model_file="v9.x"), "files are not listed"),
    "no table": (lambda f: ((f / RECORDINGS).write_bytes(b"x" * 99), relist(f)), "parquet: "),
    "fewer vectors": (
        lambda f: vectors(f, lambda a: {"vectors": a["vectors"][1:]}),
        "no vectors of",
    ),
    "no number": (lambda f: vectors(f, lambda a: {"vectors": a["vectors"] * np.nan}), "not finite"),
    "shorter vectors": (
        lambda f: vectors(f, lambda a: {"vectors": a["vectors"][:, 1:].copy()}),
        "vectors of different lengths",
    ),
    "nothing of a baseline": (
        lambda f: (
            pd.read_parquet(f / RECORDINGS)
            .assign(accepted=False, waiting=False)
            .to_parquet(f / RECORDINGS),
            relist(f),
        ),
        "no recording is of a baseline",
    ),
}


@pytest.mark.parametrize("harm", HARM)
def test_what_is_not_as_it_was_written_is_refused(folder, make, harm):
    work, message = HARM[harm]
    work(folder)
    other = make(store="elsewhere")
    with pytest.raises(CrywatchError, match=message):
        take_in(other, folder, None)
    with other.store.reading() as reader:
        assert not reader.entries()
    assert not files_of(other.store)


def test_a_kill_while_it_is_taken_in_leaves_nothing(folder, make):
    other = make(store="elsewhere")
    with other.store.writing():
        pass

    def killed():
        Writer._insert_version = die
        take_in(other, folder, None)

    assert ended(in_process(killed)) == 9
    again = InfantStore(other.store.folder)
    with again.writing() as writer:
        assert not writer.entries()
    assert not files_of(again)


def test_too_large_a_table_is_refused_before_it_is_unpacked(folder, make, monkeypatch):
    monkeypatch.setattr(moving, "_MOST_ROWS", 10)
    with pytest.raises(StoreError, match="recordings.parquet: 17 rows of"):
        take_in(make(store="elsewhere"), folder, None)

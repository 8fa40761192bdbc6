"""What tells of infants is for its owner alone, whatever the umask."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from crywatch.cli.main import app
from crywatch.core import atomic
from crywatch.infants.store import InfantStore, forget
from tests.helpers.store_cases import enrolled, make_project, nursery


@pytest.fixture(autouse=True, params=[0o000, 0o022], ids=["umask 0", "umask 022"])
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    """Permissions of a folder and of all below it, by name."""
    found = {path.relative_to(folder).as_posix(): path for path in (folder, *folder.rglob("*"))}
    return {name: stat.S_IMODE(path.stat().st_mode) for name, path in found.items()}


def open_to_others(folder: Path) -> list[str]:
    return [name for name, mode in modes(folder).items() if mode & 0o077]


def test_files_and_folders_written_inside_are_closed_and_others_are_not(tmp_path):
    atomic.write_text(tmp_path / "before.txt", "1")
    with atomic.owner_only():
        atomic.write_json(tmp_path / "a.json", 1)
        atomic.write_bytes(tmp_path / "b", b"1")
        with atomic.atomic_dir(tmp_path / "d") as temp:
            (temp / "sub").mkdir()
            (temp / "sub" / "x").write_text("1")
            assert not open_to_others(temp) or stat.S_IMODE(temp.stat().st_mode) == 0o700
    atomic.write_text(tmp_path / "after.txt", "1")
    found = modes(tmp_path)
    assert {found[name] for name in ("a.json", "b", "d/sub/x")} == {0o600}
    assert {found[name] for name in ("d", "d/sub")} == {0o700}
    assert {found[name] & 0o044 for name in ("before.txt", "after.txt")} == {0o044}


def test_a_file_is_closed_before_there_is_anything_to_read(tmp_path):
    with atomic.owner_only(), atomic.atomic_path(tmp_path / "a") as temp:
        assert stat.S_IMODE(temp.stat().st_mode) == 0o600
        temp.unlink()  # as writers do that put another file in its place
        temp.write_text("1")
    assert modes(tmp_path)["a"] == 0o600


def test_a_file_that_was_open_is_replaced_by_a_closed_one(tmp_path):
    atomic.write_text(tmp_path / "a", "1")
    with atomic.owner_only():
        atomic.write_text(tmp_path / "a", "2")
    assert modes(tmp_path)["a"] == 0o600


def test_a_link_in_a_folder_leaves_what_it_points_to(tmp_path):
    atomic.write_text(tmp_path / "other", "1")
    before = modes(tmp_path)["other"]
    with atomic.owner_only(), atomic.atomic_dir(tmp_path / "d") as temp:
        (temp / "link").symlink_to(tmp_path / "other")
    assert modes(tmp_path)["other"] == before


def test_the_store_is_closed_while_it_is_written_and_after(tmp_path):
    store = InfantStore(tmp_path / "home" / "infants")
    enrolled(store, "Mia")
    with store.writing():
        assert {"infants.sqlite", "infants.sqlite-wal"} <= set(modes(store.folder))
        assert open_to_others(tmp_path / "home") == []
    enrolled(store, "Lea", seed=1)
    assert any(name.endswith(".safetensors") for name in modes(store.folder))
    assert open_to_others(tmp_path / "home") == []
    forget(store, "Mia")
    assert open_to_others(tmp_path / "home") == []


def test_the_database_of_an_earlier_version_is_closed(tmp_path):
    enrolled(InfantStore(tmp_path / "infants"), "Mia")
    (tmp_path / "infants" / "infants.sqlite").chmod(0o644)
    with InfantStore(tmp_path / "infants").reading() as reader:
        assert reader.has("Mia")
    assert open_to_others(tmp_path / "infants") == []


def test_a_folder_that_the_user_made_stays_as_it_is_and_its_files_are_closed(tmp_path):
    (tmp_path / "infants").mkdir(mode=0o755)
    before = modes(tmp_path)["infants"]
    enrolled(InfantStore(tmp_path / "infants"), "Mia")
    assert modes(tmp_path)["infants"] == before
    assert open_to_others(tmp_path / "infants") == ["."] * bool(before & 0o077)


def test_no_file_of_the_store_but_the_database_tells_an_infants_name(tmp_path):
    store = InfantStore(tmp_path / "infants")
    enrolled(store, "Mia-Planted")
    telling = [
        path.name
        for path in store.folder.rglob("*")
        if "Mia-Planted" in path.name or (path.is_file() and b"Mia-Planted" in path.read_bytes())
    ]
    assert set(telling) <= {"infants.sqlite", "infants.sqlite-wal"}


def test_page_and_table_of_a_timeline_are_closed(tmp_path, monkeypatch):
    monkeypatch.chdir(make_project(tmp_path / "project"))
    table = nursery(tmp_path / "sounds", "Mia", sessions=3) / "recordings.csv"
    for words in (
        ["enroll", "Mia", "--table", str(table)],
        ["timeline", "Mia", "--out", "mia.html", "--parquet", "mia.parquet"],
    ):
        done = CliRunner().invoke(app, ["infant", *words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    found = modes(Path())
    assert found["mia.html"] == found["mia.parquet"] == 0o600
    assert open_to_others(Path("infants")) == []
    assert len(pd.read_parquet("mia.parquet")) == 6

"""The store of infants: whole transactions, processes at once, nothing left of the forgotten."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
import traceback
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from sqlalchemy.exc import DatabaseError

from crywatch.core.digest import file_sha256
from crywatch.core.errors import StoreError
from crywatch.infants.store import InfantStore, WrittenPage, files, forget
from crywatch.infants.store import store as transactions
from crywatch.infants.store.files import MODELS
from crywatch.infants.store.schema import DATABASE, VERSION, unusable
from crywatch.infants.store.store import MAX_ID, Writer, key_of
from crywatch.infants.updating import NormalBand
from tests.helpers import store_cases as cases
from tests.helpers.disk_cases import small_disk

IDS = ["../x", "a/b", "Zoë 👶", "a", "A", "con", "..", " sp ace ", "x" * MAX_ID, "/etc/passwd"]


@pytest.fixture
def store(tmp_path):
    return InfantStore(tmp_path / "infants")


def read(store, infant_id):
    with store.reading() as reader:
        return reader.load(infant_id)


def files_of(store):
    return sorted(p.relative_to(store.folder).as_posix() for p in store.folder.rglob("*.safe*"))


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_what_is_put_comes_back_exactly(store):
    members = cases.records("Mia", 7)
    members[3] = replace(members[3], score=1.5, p=0.25, alarm=True, remark="röchelt", path="é.wav")
    state, refit = cases.state_of("Mia", members[:6])
    state = replace(state, pending=(members[6].observation,), recent=(True, False, True))
    members[6] = replace(members[6], waiting=True)
    with store.writing() as writer:
        writer.put(cases.PROVENANCE, state, members, [refit])
    kept = read(store, "Mia")
    assert kept.provenance == cases.PROVENANCE and kept.bands == (NormalBand.of(refit),)
    for old, new in zip(members, kept.records, strict=True):
        assert old.vector.tobytes() == new.vector.tobytes()
        none = {"vector": None}
        assert asdict(replace(old, **none)) == asdict(replace(new, **none))
    back = kept.state
    assert (back.infant_id, back.version, back.recent) == ("Mia", 0, (True, False, True))
    assert [one.clip_id for one in back.pending] == [members[6].digest]
    assert back.baseline.vectors.tobytes() == state.baseline.vectors.tobytes()
    assert back.baseline.sessions.tolist() == state.baseline.sessions.tolist()
    assert back.calibrated.infant_id == "Mia"
    new = cases.records("Mia", 3, seed=9)
    late = [replace(one.observation, session_id="9") for one in new]
    first, second = (
        cases.follower(smoothed=True).observe([one], [late])[0] for one in (state, back)
    )
    assert first.outcomes == second.outcomes


def test_any_text_is_an_id_and_no_file_leaves_the_folder(store, tmp_path):
    for number, infant_id in enumerate(IDS):
        cases.enrolled(store, infant_id, seed=number)
    with store.reading() as reader:
        assert [one.infant_id for one in reader.entries()] == sorted(IDS)
    for number, infant_id in enumerate(IDS):
        expected = cases.records(infant_id, seed=number)
        assert [r.digest for r in read(store, infant_id).records] == [r.digest for r in expected]
    assert {path.name for path in tmp_path.iterdir()} == {"infants"}
    assert len(files_of(store)) == 2 * len(IDS)


def test_one_spelling_of_a_name_is_one_infant(store):
    cases.enrolled(store, "Zoe\u0308")
    assert read(store, "Zo\u00eb").state.infant_id == "Zo\u00eb"


@pytest.mark.parametrize("bad", ["", "  ", "a\nb", "\0", "x" * (MAX_ID + 1), "\udcff"])
def test_an_id_that_cannot_be_written_is_refused(bad):
    with pytest.raises(StoreError, match="id"):
        key_of(bad)


def test_a_new_version_is_kept_beside_the_old_one(store):
    members = cases.enrolled(store, "Mia")
    old = {name: (store.folder / name).read_bytes() for name in files_of(store)}
    more = [*members, *(replace(r, session_id="8") for r in cases.records("Mia", 2, seed=5))]
    state, refit = cases.state_of("Mia", more, version=1)
    with store.writing() as writer:
        writer.put(cases.PROVENANCE, state, more, [refit])
    kept = read(store, "Mia")
    assert kept.state.version == 1 and [band.version for band in kept.bands] == [0, 1]
    assert len(files_of(store)) == 4
    assert all((store.folder / name).read_bytes() == data for name, data in old.items())


def test_without_a_new_version_no_file_changes(store):
    members = cases.enrolled(store, "Mia")
    before = {name: (store.folder / name).stat().st_mtime_ns for name in files_of(store)}
    kept = read(store, "Mia")
    with store.writing() as writer:
        writer.put(cases.PROVENANCE, replace(kept.state, recent=(True,)), members)
    assert {name: (store.folder / name).stat().st_mtime_ns for name in files_of(store)} == before
    assert read(store, "Mia").state.recent == (True,)


def test_an_exception_leaves_the_old_state(store):
    members = cases.enrolled(store, "Mia")
    before = everything(store.folder / MODELS)
    state, refit = cases.state_of("Mia", members[:4], version=1)
    with pytest.raises(KeyError), store.writing() as writer:
        writer.put(cases.PROVENANCE, state, members[:4], [refit])
        assert len(files_of(store)) == 4
        raise KeyError
    assert read(store, "Mia").state.version == 0
    with store.writing():
        pass
    assert everything(store.folder / MODELS) == before


def in_process(work) -> int:
    """The process id of a copy of this process that does ``work``, and nothing after it."""
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die(*_args, **_kept):
    os._exit(9)


def then_die(function):
    return lambda *args, **kept: (function(*args, **kept), die())


KILLS = {
    "half a file": lambda: setattr(os, "replace", die),
    "between the files": lambda: setattr(files, "_save", die),
    "between model and record": lambda: setattr(
        transactions, "write_version", then_die(files.write_version)
    ),
    "before the commit": lambda: setattr(Writer, "put", then_die(Writer.put)),
    "never": lambda: None,
}


def next_version(folder, point):
    KILLS[point]()
    members = cases.records("Mia", 4, seed=3)
    state, refit = cases.state_of("Mia", members, version=1)
    with InfantStore(folder).writing() as writer:
        writer.put(cases.PROVENANCE, state, members, [refit])


@pytest.mark.parametrize("point", [point for point in KILLS if point != "never"])
def test_a_kill_leaves_the_state_before(store, point):
    members = cases.enrolled(store, "Mia")
    names = files_of(store)
    assert ended(in_process(lambda: next_version(store.folder, point))) == 9
    again = InfantStore(store.folder)
    kept = read(again, "Mia")
    assert kept.state.version == 0
    assert [one.digest for one in kept.records] == [one.digest for one in members]
    with again.writing():
        pass
    assert files_of(again) == names
    assert not [p for p in store.folder.rglob("*") if p.name.startswith((".tmp-", ".new-"))]


def test_without_the_kill_it_would_be_the_state_after(store):
    cases.enrolled(store, "Mia")
    assert ended(in_process(lambda: next_version(store.folder, "never"))) == 0
    assert read(store, "Mia").state.version == 1


def add_turns(folder, seed):
    store = InfantStore(folder)
    for turn in range(5):
        new = cases.records("Mia", 2, 10 * seed + turn)
        with store.writing() as writer:
            kept = writer.load("Mia")
            time.sleep(0.02)
            both = [*(kept.records if kept else ()), *new]
            both = [replace(one, session_id=f"{row // 2}") for row, one in enumerate(both)]
            state, refit = cases.state_of("Mia", both, kept.state.version + 1 if kept else 0)
            writer.put(cases.PROVENANCE, state, both, [refit])


def test_processes_that_enroll_one_infant_at_once_lose_nothing(store):
    children = [in_process(lambda seed=seed: add_turns(store.folder, seed)) for seed in (1, 2)]
    assert [ended(child) for child in children] == [0, 0]
    kept = read(store, "Mia")
    expected = {
        one.digest
        for seed in (1, 2)
        for turn in range(5)
        for one in cases.records("Mia", 2, 10 * seed + turn)
    }
    assert {one.digest for one in kept.records} == expected
    assert len(kept.state.baseline) == 20
    assert [band.version for band in kept.bands] == list(range(10))
    assert len(files_of(store)) == 20


def test_a_writer_that_waits_too_long_says_so(store, monkeypatch):
    cases.enrolled(store, "Mia")
    monkeypatch.setattr("crywatch.infants.store.schema.WAIT_S", 0.1)
    with (
        store.writing(),
        pytest.raises(StoreError, match="another process has held it"),
        InfantStore(store.folder).writing(),
    ):
        pass


def test_a_full_disk_is_told_as_such_and_leaves_the_store_whole(tmp_path):
    with small_disk(tmp_path / "disk", 4_096) as disk:
        store = InfantStore(disk / "infants")
        cases.enrolled(store, "Mia")
        before = read(store, "Mia")
        with suppress(OSError), open(disk / "filler", "wb") as filler:
            while True:
                filler.write(bytes(4_096))
                filler.flush()
        with pytest.raises(StoreError, match="No space left on device: make room there"):
            read(InfantStore(disk / "infants"), "Mia")
        (disk / "filler").unlink()
        after = read(InfantStore(disk / "infants"), "Mia")
        assert [one.digest for one in after.records] == [one.digest for one in before.records]


def test_what_the_database_says_of_a_full_disk_is_asked_of_the_disk(store, monkeypatch):
    error = DatabaseError("", {}, sqlite3.OperationalError("disk I/O error"))
    assert "move it away" in str(unusable(store.folder, error))
    monkeypatch.setattr("crywatch.infants.store.schema.no_room", lambda folder: errno.ENOSPC)
    told = str(unusable(store.folder, error))
    assert "No space left on device: make room there" in told and "move" not in told


def test_readers_see_what_was_committed_while_another_writes(store):
    members = cases.enrolled(store, "Mia")
    with store.writing() as writer:
        writer.remove("Mia")
        assert len(read(InfantStore(store.folder), "Mia").records) == len(members)
    assert read(store, "Mia") is None


def test_a_file_that_is_gone_or_changed_is_named(store):
    cases.enrolled(store, "Mia")
    path = store.folder / files_of(store)[1]
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"\x00")
    with pytest.raises(StoreError, match=f"{path.name}: its content is not what was written"):
        read(store, "Mia")
    path.unlink()
    with pytest.raises(StoreError, match=f"{path.name}: a record names this file, which is gone"):
        read(store, "Mia")


def test_another_version_or_program_is_refused(store, tmp_path):
    cases.enrolled(store, "Mia")
    with sqlite3.connect(store.folder / DATABASE) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(StoreError, match=f"of version {VERSION + 1}, this crywatch knows"):
        read(InfantStore(store.folder), "Mia")
    other = tmp_path / "other"
    other.mkdir()
    with sqlite3.connect(other / DATABASE) as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
    with pytest.raises(StoreError, match="another program"):
        read(InfantStore(other), "Mia")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / DATABASE).write_text("not a database, but long enough to be one" * 50)
    with pytest.raises(StoreError, match="put back a copy"):
        read(InfantStore(tmp_path / "text"), "Mia")


def test_a_store_of_the_first_version_is_brought_up(store):
    members = cases.enrolled(store, "Mia")
    with sqlite3.connect(store.folder / DATABASE) as connection:
        connection.execute("ALTER TABLE versions DROP COLUMN remark")
        connection.execute("PRAGMA user_version = 1")
    kept = read(InfantStore(store.folder), "Mia")
    assert len(kept.records) == len(members) and kept.versions[0].remark is None


def test_nothing_is_pickled(store):
    cases.enrolled(store, "Mia")
    data = everything(store.folder)
    assert b"cnumpy" not in data and b"\x80\x04\x95" not in data
    assert set(map(lambda p: p.suffix, (store.folder / MODELS).rglob("*.*"))) == {".safetensors"}


@pytest.mark.parametrize("infant_id", ["Zoë 👶", "../x", "models", "sounds", "beef", "Mia"])
def test_a_forgotten_infant_is_in_no_byte(store, infant_id, tmp_path):
    members = cases.enrolled(store, infant_id)
    others = cases.enrolled(store, "Tom", seed=4)
    page = tmp_path / "page.html"
    page.write_text("Zoë")
    with store.writing() as writer:
        writer.add_page(infant_id, WrittenPage(str(page), file_sha256(page)))
    left = tmp_path / ".tmp-0123456789ab-page.html"  # of a killed writer
    left.write_text("Zo")
    before = everything(store.folder)
    marks = [key_of(infant_id).encode()]
    marks += [one.digest.encode() for one in members] + [one.vector.tobytes() for one in members]
    assert infant_id.encode() in before and all(mark in before for mark in marks)

    gone = forget(store, infant_id)
    after = everything(store.folder)
    assert not [mark for mark in marks if mark in after]
    if infant_id not in ("models", "sounds"):  # these are words of the store and of Tom's paths
        assert infant_id.encode() not in after
    assert not page.exists() and not left.exists() and gone.pages == (str(left), str(page))
    assert (gone.recordings, gone.versions, gone.searched_bytes) == (6, 1, len(after))
    assert read(store, infant_id) is None
    assert [one.digest for one in read(store, "Tom").records] == [one.digest for one in others]
    assert len(files_of(store)) == 2
    with pytest.raises(StoreError, match="there is no infant"):
        forget(store, infant_id)


def test_a_recording_that_two_infants_share_stays_with_the_other(store):
    shared = cases.records("both", 6)
    for infant_id in ("Mia", "Tom"):
        state, refit = cases.state_of(infant_id, shared)
        with store.writing() as writer:
            writer.put(cases.PROVENANCE, state, shared, [refit])
    forget(store, "Mia")
    assert len(read(store, "Tom").records) == 6


def test_a_copy_in_the_folder_is_found(store):
    members = cases.enrolled(store, "Mia")
    copy = store.folder / "backup.bin"
    copy.write_bytes(b"x" * 100 + members[2].vector.tobytes())
    with pytest.raises(StoreError, match="traces are left .*backup.bin: at byte 100"):
        forget(store, "Mia")
    cases.enrolled(store, "Mia mine")
    copy.write_text("notes on Mia mine")
    with pytest.raises(StoreError, match="backup.bin: the id, at byte 9"):
        forget(store, "Mia mine")


def test_a_log_that_another_process_still_reads_is_said(store, monkeypatch):
    cases.enrolled(store, "Mia")
    monkeypatch.setattr("crywatch.infants.store.forgetting.WAIT_S", 0.1)
    monkeypatch.setattr("crywatch.infants.store.schema.WAIT_S", 0.1)
    again = InfantStore(store.folder)
    with store.reading() as reader:
        assert reader.has("Mia")
        with pytest.raises(StoreError, match="try again when that has ended"):
            forget(again, "Mia")
    assert read(store, "Mia") is None


def test_a_page_that_was_changed_is_left(store, tmp_path):
    cases.enrolled(store, "Mia")
    page = tmp_path / "page.html"
    page.write_text("as written")
    with store.writing() as writer:
        writer.add_page("Mia", WrittenPage(str(page), file_sha256(page)))
    page.write_text("a letter of mine")
    gone = forget(store, "Mia")
    assert gone.pages == () and gone.changed_pages == (str(page),) and page.exists()


def test_a_removal_that_was_killed_is_ended_by_the_next_one(store, monkeypatch):
    members = cases.enrolled(store, "Mia")
    monkeypatch.setattr("crywatch.infants.store.forgetting._rewrite", lambda store: 1 / 0)
    with store.writing() as writer:
        writer.remove("Mia")
    with pytest.raises(ZeroDivisionError):
        forget(store, "Mia")
    monkeypatch.undo()
    with pytest.raises(StoreError, match="there is no infant"):
        forget(store, "Mia")
    left = everything(store.folder)
    assert not [one for one in members if one.digest.encode() in left]


def test_short_ids_are_not_said_to_be_searched(store):
    cases.enrolled(store, "al")
    cases.enrolled(store, "Mia")
    assert not forget(store, "al").id_searched and forget(store, "Mia").id_searched

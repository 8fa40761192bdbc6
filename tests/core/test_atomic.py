"""Nothing half-written ever has a final name."""

import errno

import pytest

from crywatch.core.atomic import atomic_dir, atomic_path, write_json, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_write_replaces_as_a_whole(tmp_path):
    write_text(tmp_path / "a.txt", "one")
    write_text(tmp_path / "a.txt", "two")
    assert (tmp_path / "a.txt").read_text() == "two" and names(tmp_path) == ["a.txt"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "a.txt") as temp:
        temp.write_text("half")
        raise RuntimeError
    assert (tmp_path / "a.txt").read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_a_full_disk_names_the_file(tmp_path):
    full = pytest.raises(OSError, match=r"cannot write .*a\.txt: No space left")
    with full as caught, atomic_path(tmp_path / "a.txt") as temp:
        temp.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.errno == errno.ENOSPC and names(tmp_path) == []


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with atomic_dir(tmp_path / "d") as temp:
        (temp / "x").write_text("1")
    with pytest.raises(RuntimeError), atomic_dir(tmp_path / "d") as temp:
        (temp / "y").write_text("2")
        raise RuntimeError
    assert names(tmp_path) == ["d"] and names(tmp_path / "d") == ["x"]


def test_folders_that_a_kill_left_are_removed_and_no_others(tmp_path):
    for name in (".tmp-0123456789ab-d", ".tmp-0123456789ab-no-d", ".tmp-d"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").touch()
    with atomic_dir(tmp_path / "d"):
        pass
    assert names(tmp_path) == [".tmp-0123456789ab-no-d", ".tmp-d", "d"]


def test_json_with_nan_is_refused(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert names(tmp_path) == []

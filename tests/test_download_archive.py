"""Archives: unpacked whole, or refused before anything is written."""

import tarfile

import pytest

from archive_cases import (
    broken_zip,
    lying_zip,
    make_tar,
    make_zip,
    short_tar,
    tar_info,
    zip_link,
)
from crywatch.download.archive import extract
from crywatch.errors import ArchiveError


def unpacked(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


GOOD = {"top/a.txt": b"a", "top/ü ö/b c.txt": b"bb", "top/empty": b""}


def test_zip_and_tar_are_unpacked(tmp_path):
    archives = [make_zip(tmp_path / "a.zip", {"top/": b"", **GOOD})]
    for mode, name in (("w", "b.tar"), ("w:gz", "c.tgz"), ("w:xz", "d.tar.xz")):
        members = {tar_info("top", tarfile.DIRTYPE): b""}
        members |= {tar_info(key): data for key, data in GOOD.items()}
        archives.append(make_tar(tmp_path / name, members, mode))
    for archive in archives:
        folder = tmp_path / f"out-{archive.name}"
        extract(archive, folder, 1000)
        assert unpacked(folder) == GOOD


BAD_NAMES = ["/etc/crywatch", "../out.txt", "top/../../out.txt", "..\\out.txt", "C:\\out.txt"]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_lead_out_are_refused_before_anything_is_written(name, kind, tmp_path):
    if kind == "zip":
        archive = make_zip(tmp_path / "bad.zip", {"good.txt": b"g", name: b"bad"})
    else:
        archive = make_tar(
            tmp_path / "bad.tar", {tar_info("good.txt"): b"g", tar_info(name): b"bad"}, "w"
        )
    folder = tmp_path / "in" / "folder"
    with pytest.raises(ArchiveError, match=r"bad\.(zip|tar): entry .*refused"):
        extract(archive, folder, 1000)
    assert not folder.exists() and not list(tmp_path.rglob("out.txt"))


@pytest.mark.parametrize(
    "info",
    [
        tar_info("link", tarfile.SYMTYPE, "../../etc"),
        tar_info("link", tarfile.LNKTYPE, "/etc/passwd"),
        tar_info("pipe", tarfile.FIFOTYPE),
        tar_info("disk", tarfile.BLKTYPE),
    ],
    ids=["symlink", "hardlink", "fifo", "device"],
)
def test_links_and_devices_in_a_tar_are_refused(info, tmp_path):
    archive = make_tar(tmp_path / "bad.tar", {tar_info("good.txt"): b"g", info: b""}, "w")
    with pytest.raises(ArchiveError, match="link or device"):
        extract(archive, tmp_path / "out", 1000)
    assert not (tmp_path / "out").exists()


def test_a_symlink_in_a_zip_is_refused(tmp_path):
    archive = make_zip(
        tmp_path / "bad.zip", {zip_link("top"): b"/tmp", "top/file.txt": b"through the link"}
    )
    with pytest.raises(ArchiveError, match=r"'top' is a link"):
        extract(archive, tmp_path / "out", 1000)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_a_bomb_is_refused_before_anything_is_written(kind, tmp_path):
    zeros = bytes(2_000_000)
    if kind == "zip":
        archive = make_zip(tmp_path / "bomb", {"a": zeros, "b": zeros})
    else:
        archive = make_tar(tmp_path / "bomb", {tar_info("a"): zeros, tar_info("b"): zeros})
    assert archive.stat().st_size < 10_000
    with pytest.raises(ArchiveError, match="max_unpacked_gb"):
        extract(archive, tmp_path / "out", 3_000_000)
    assert not (tmp_path / "out").exists()
    extract(archive, tmp_path / "out", 4_000_000)  # exactly what is allowed


@pytest.mark.parametrize("make", [lying_zip, broken_zip, short_tar])
def test_a_damaged_archive_is_told_with_its_name(make, tmp_path):
    archive = make(tmp_path / "damaged")
    with pytest.raises(ArchiveError, match="damaged"):
        extract(archive, tmp_path / "out", 1_000_000)
    assert sum(p.stat().st_size for p in (tmp_path / "out").rglob("*.bin")) < 100_000


def test_what_is_no_archive_is_told(tmp_path):
    (tmp_path / "page.zip").write_bytes(b"<html>busy</html>")
    with pytest.raises(ArchiveError, match=r"page\.zip: neither a zip nor a tar"):
        extract(tmp_path / "page.zip", tmp_path / "out", 1000)

"""Archives: unpacked whole, or refused before anything is written."""

import gzip
import hashlib
import io
import stat
import tarfile
import tracemalloc
import zipfile

import pytest

from crywatch.core.errors import ArchiveError
from crywatch.corpora.download import archive as archives
from crywatch.corpora.download.archive import extract
from tests.helpers.archive_cases import (
    broken_zip,
    lying_zip,
    make_ar,
    make_deb,
    make_tar,
    make_zip,
    short_tar,
    tar_info,
    zip_special,
)


def unpacked(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


GOOD = {"top/a.txt": b"a", "top/ü ö/b c.txt": b"bb", "top/empty": b""}


def test_zip_tar_and_deb_are_unpacked(tmp_path):
    archives = [make_zip(tmp_path / "a.zip", {"top/": b"", **GOOD})]
    members = {tar_info("top", tarfile.DIRTYPE): b""}
    members |= {tar_info(key): data for key, data in GOOD.items()}
    for mode, name in (("w", "b.tar"), ("w:gz", "c.tgz"), ("w:xz", "d.tar.xz")):
        archives.append(make_tar(tmp_path / name, members, mode))
    for mode in ("w", "w:gz", "w:xz"):
        archives.append(make_deb(tmp_path / f"{mode[2:]}.deb", members, mode))
    for archive in archives:
        folder = tmp_path / f"out-{archive.name}"
        extract(archive, folder, 1000)
        assert unpacked(folder) == GOOD


BAD_NAMES = ["/etc/crywatch", "../out.txt", "top/../../out.txt", "..\\out.txt", "C:\\out.txt"]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("kind", ["zip", "tar", "deb"])
def test_names_that_lead_out_are_refused_before_anything_is_written(name, kind, tmp_path):
    if kind == "zip":
        archive = make_zip(tmp_path / "bad.zip", {"good.txt": b"g", name: b"bad"})
    else:
        make = make_tar if kind == "tar" else make_deb
        archive = make(
            tmp_path / f"bad.{kind}", {tar_info("good.txt"): b"g", tar_info(name): b"bad"}, "w"
        )
    folder = tmp_path / "in" / "folder"
    with pytest.raises(ArchiveError, match=r"bad\.(zip|tar|deb): entry: .*refused"):
        extract(archive, folder, 1000)
    assert not folder.exists() and not list(tmp_path.rglob("out.txt"))


@pytest.mark.parametrize(
    "info",
    [
        tar_info("link", tarfile.SYMTYPE, "../../etc"),
        tar_info("link", tarfile.LNKTYPE, "/etc/passwd"),
        tar_info("pipe", tarfile.FIFOTYPE),
        tar_info("disk", tarfile.BLKTYPE),
        tar_info("terminal", tarfile.CHRTYPE),
        tar_info("link", tarfile.SYMTYPE, "good.txt"),
        tar_info("top/link", tarfile.LNKTYPE, "../good.txt"),
    ],
    ids=["symlink", "hardlink", "fifo", "disk", "terminal", "symlink within", "hardlink within"],
)
def test_links_and_devices_in_a_tar_are_refused(info, tmp_path):
    archive = make_tar(tmp_path / "bad.tar", {tar_info("good.txt"): b"g", info: b""}, "w")
    with pytest.raises(ArchiveError, match="link or device"):
        extract(archive, tmp_path / "out", 1000)
    assert not (tmp_path / "out").exists()


def test_links_of_a_deb_are_passed_over_and_devices_refused(tmp_path):
    members = {
        tar_info("./good.txt"): b"g",
        tar_info("./font", tarfile.SYMTYPE, "/usr/share/fonts/a.ttf"): b"",
        tar_info("./copy", tarfile.LNKTYPE, "./good.txt"): b"",
    }
    extract(make_deb(tmp_path / "a.deb", members), tmp_path / "out", 1000)
    assert unpacked(tmp_path / "out") == {"good.txt": b"g"}
    assert not (tmp_path / "out" / "font").is_symlink()
    bad = make_deb(tmp_path / "bad.deb", members | {tar_info("./disk", tarfile.BLKTYPE): b""})
    with pytest.raises(ArchiveError, match=r"'\./disk' is a link or device"):
        extract(bad, tmp_path / "bad", 1000)
    assert not (tmp_path / "bad").exists()


def test_a_damaged_deb_is_told_with_its_name(tmp_path):
    noise = b"".join(hashlib.sha256(bytes([i % 256, i // 256])).digest() for i in range(2000))
    whole = make_deb(tmp_path / "whole.deb", {tar_info("a.bin"): noise}).read_bytes()
    at = len(whole) // 2
    cases = {
        "short": whole[:at],
        "header": whole[:90],
        "byte": whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :],
        "size": whole.replace(b"4         `\n", b"-4        `\n", 1),
    }
    for name, data in cases.items():
        (tmp_path / f"{name}.deb").write_bytes(data)
        with pytest.raises(ArchiveError, match=rf"{name}\.deb: damaged, cannot be unpacked"):
            extract(tmp_path / f"{name}.deb", tmp_path / name, len(noise))


def test_an_ar_archive_without_files_and_files_in_an_unknown_packing_are_told(tmp_path):
    library = make_ar(tmp_path / "lib.a", {"one.o/": b"\x7fELF"})
    with pytest.raises(ArchiveError, match=r"lib\.a: .* no Debian package"):
        extract(library, tmp_path / "out", 1000)
    packed = make_ar(tmp_path / "a.deb", {"data.tar.zst": b"\x28\xb5\x2f\xfd" + bytes(20)})
    with pytest.raises(ArchiveError, match=r"a\.deb: neither a tar nor one that is packed"):
        extract(packed, tmp_path / "out", 1000)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFBLK, stat.S_IFCHR])
def test_links_and_devices_in_a_zip_are_refused(kind, tmp_path):
    archive = make_zip(
        tmp_path / "bad.zip", {zip_special("top", kind): b"/tmp", "top/file.txt": b"through it"}
    )
    with pytest.raises(ArchiveError, match=r"'top' is a link or device"):
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


def flipped(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_one_wrong_byte_in_a_compressed_tar_is_told(mode, tmp_path):
    """No length is wrong, and gzip has its checksum at the end, behind the last entry."""
    noise = b"".join(hashlib.sha256(bytes([i % 256, i // 256])).digest() for i in range(40_000))
    archive = make_tar(tmp_path / "a.tar.z", {tar_info("a.bin"): noise}, mode)
    extract(archive, tmp_path / "good", len(noise))
    with pytest.raises(ArchiveError, match="damaged"):
        extract(flipped(archive, -200_000), tmp_path / "out", len(noise))


def test_what_goes_on_after_the_last_entry_is_not_read_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_PADDING_BYTES", 1 << 16)
    archive = make_tar(tmp_path / "a.tar", {tar_info("a.bin"): b"a"}, "w")
    packed = gzip.compress(archive.read_bytes() + bytes(1 << 20))
    (tmp_path / "a.tgz").write_bytes(packed)
    with pytest.raises(ArchiveError, match="goes on after its last entry"):
        extract(tmp_path / "a.tgz", tmp_path / "out", 1000)
    extract(tmp_path / "a.tgz", tmp_path / "out", 2 << 20)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_name_that_no_file_system_takes_is_refused(kind, tmp_path):
    name = f"top/{'ü' * 128}"  # 256 bytes
    if kind == "zip":
        archive = make_zip(tmp_path / "bad.zip", {"good.txt": b"g", name: b"bad"})
    else:
        members = {tar_info("good.txt"): b"g", tar_info(name): b"bad"}
        archive = make_tar(tmp_path / "bad.tar", members, "w")
    with pytest.raises(ArchiveError, match="is no name of a file: refused"):
        extract(archive, tmp_path / "out", 1000)
    assert not (tmp_path / "out").exists()


def test_what_is_no_archive_is_told(tmp_path):
    (tmp_path / "page.zip").write_bytes(b"<html>busy</html>")
    with pytest.raises(ArchiveError, match=r"page\.zip: neither a zip nor a tar"):
        extract(tmp_path / "page.zip", tmp_path / "out", 1000)


CLASHES = {
    "twice": ("a.txt", "a.txt"),
    "twice by another spelling": ("top/a.txt", "top//a.txt"),
    "below a file": ("a", "a/b"),
    "a file above": ("a/b", "a"),
    "a folder and a file": ("a/", "a"),
}


@pytest.mark.parametrize("clash", CLASHES)
@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_exclude_each_other_are_refused(clash, kind, tmp_path):
    listed = CLASHES[clash]
    path = tmp_path / f"bad.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as opened:
            for name in listed:
                opened.writestr(name, b"")
    else:
        members = {}
        for name in listed:
            members[tar_info(name, tarfile.DIRTYPE if name.endswith("/") else b"0")] = b""
        make_tar(path, members, "w")
    with pytest.raises(ArchiveError, match="stands twice|both a file and a folder"):
        extract(path, tmp_path / "out", 1000)
    assert not (tmp_path / "out").exists()


def test_too_many_entries_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_ENTRIES", 3)
    archive = make_zip(tmp_path / "many.zip", {f"{number}": b"" for number in range(4)})
    with pytest.raises(ArchiveError, match="more than 3 entries"):
        extract(archive, tmp_path / "out", 1000)
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(archives, "MAX_ENTRIES", 4)
    extract(archive, tmp_path / "out", 1000)
    assert len(list((tmp_path / "out").iterdir())) == 4


def headers_of(size, kind):
    """A compressed tar whose first header promises ``size`` bytes that are there, all zero."""
    info = tar_info("bomb", kind)
    info.size = size
    packed = io.BytesIO()
    with gzip.open(packed, "wb", compresslevel=1) as sink:
        sink.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(size >> 20):
            sink.write(bytes(1 << 20))
    return packed.getvalue()


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_bomb_in_a_header_is_refused_before_it_is_in_memory(kind, tmp_path):
    archive = tmp_path / "bomb.tgz"
    archive.write_bytes(headers_of(64 << 20, kind))
    tracemalloc.start()
    with pytest.raises(ArchiveError, match="a header of 67108864 bytes"):
        extract(archive, tmp_path / "out", 1 << 30)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20
    assert not (tmp_path / "out").exists()


def test_what_follows_a_bomb_is_not_even_listed(tmp_path):
    archive = tmp_path / "bomb.tgz"
    # 64 MB of an entry that is 10 TB by its header: to list the next one is to unpack it.
    info = tar_info("bomb")
    info.size = 10 << 40
    archive.write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(64 << 20), 1))
    with pytest.raises(ArchiveError, match="max_unpacked_gb"):
        extract(archive, tmp_path / "out", 1 << 30)


def test_a_name_with_a_nul_is_refused(tmp_path):
    info = tar_info("plain")
    info.pax_headers = {"path": "good\0.txt"}
    with tarfile.open(tmp_path / "bad.tar", "w", format=tarfile.PAX_FORMAT) as opened:
        opened.addfile(tar_info("good.txt"))
        opened.addfile(info)
    with pytest.raises(ArchiveError, match="is no name of a file: refused"):
        extract(tmp_path / "bad.tar", tmp_path / "out", 1000)
    assert not (tmp_path / "out").exists()

"""Archives for the tests of downloads: good, damaged, and those that must not be unpacked."""

import hashlib
import io
import tarfile
import zipfile


def make_zip(path, members):
    """``members``: name -> bytes, or a ZipInfo -> bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def make_tar(path, members, mode="w:gz"):
    """``members``: TarInfo -> bytes."""
    with tarfile.open(path, mode) as archive:
        for info, data in members.items():
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def make_ar(path, members):
    """``members``: name -> bytes, as ar(5) has them."""
    packed = b"!<arch>\n"
    for name, data in members.items():
        packed += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
        packed += data + b"\n" * (len(data) % 2)
    path.write_bytes(packed)
    return path


def make_deb(path, members, mode="w:xz"):
    """A Debian package with ``members``, as of `make_tar`."""
    kind = mode.partition(":")[2]
    tar = make_tar(path.with_suffix(".tar"), members, mode).read_bytes()
    name = f"data.tar.{kind}" if kind else "data.tar"
    return make_ar(path, {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", name: tar})


def tar_info(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def zip_special(name, kind):
    """An entry that is a link or a device, by its Unix file type."""
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (kind | 0o777) << 16
    return info


def lying_zip(path):
    """A zip whose directory promises 10 bytes where 5,000 are packed."""
    make_zip(path, {"a.bin": bytes(5000)})
    data = path.read_bytes()
    path.write_bytes(data.replace((5000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    return path


def broken_zip(path):
    """A zip with damaged bytes inside an entry."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.bin", b"0123456789" * 20)
    path.write_bytes(path.read_bytes().replace(b"4567", b"xxxx", 1))
    return path


def short_tar(path):
    """A compressed tar that was cut off."""
    noise = b"".join(hashlib.sha256(bytes([i % 256, i // 256])).digest() for i in range(2000))
    make_tar(path, {tar_info("a.bin"): noise, tar_info("b.bin"): noise})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 3])
    return path

"""Transfers from servers that misbehave, archives that must not be unpacked, and the stage."""

import errno
import hashlib
import io
import shutil
import socket
import stat
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from crywatch import corpora, params
from crywatch.corpora import Remote
from crywatch.corpora.base import AUDIO, MISSING_NOTE
from crywatch.corpora.generate import GeneratorConfig, generate
from crywatch.digest import files_sha256
from crywatch.download import DataConfig, DownloadConfig, run, transfer
from crywatch.download.archive import extract
from crywatch.download.transfer import TransferConfig, fetch
from crywatch.errors import ArchiveError, ConfigError, CorpusError, CrywatchError, DownloadError
from http_cases import serving

TINY = GeneratorConfig(
    seed=3,
    esc50_clips_per_class=1,
    baby_cry_detection_clips_per_class=3,
    donateacry_infants=2,
    donateacry_sessions=1,
    other_infants=2,
)
BODY = bytes(range(256)) * 1200  # several chunks
SHA256 = hashlib.sha256(BODY).hexdigest()
PATIENT = TransferConfig(timeout_s=5.0, retries=3, backoff_s=1.0)
CONFIG = DownloadConfig(timeout_s=5.0, retries=2, max_unpacked_gb=1.0)
CONF = Path(__file__).parents[1] / "conf"


# A server that does what each test asks of it


def whole(body=BODY, etag='"v1"', kind="application/zip", cut_at=None, extra=()):
    """Answer as a good file server; ``cut_at`` breaks the connection after so many bytes."""

    def reply(request):
        start = 0
        wanted = asked_from(request.headers)
        if wanted and request.headers.get("If-Range") in (None, etag):
            start = wanted
            if start >= len(body):
                request.send_response(416)
                request.end_headers()
                return
        rest = body[start:]
        request.send_response(206 if start else 200)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(rest)))
        if etag:
            request.send_header("ETag", etag)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        for key, value in extra:
            request.send_header(key, value)
        request.end_headers()
        request.wfile.write(rest if cut_at is None else rest[:cut_at])

    return reply


def status(code, body=b"", **headers):
    def reply(request):
        request.send_response(code)
        for key, value in headers.items():
            request.send_header(key.replace("_", "-"), value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return reply


@contextmanager
def server(*replies):
    """Serve ``replies`` one after the other, the last one for ever; yields address and log."""
    seen = []

    def reply(request):
        seen.append(dict(request.headers))
        replies[min(len(seen), len(replies)) - 1](request)

    with serving(reply) as address:
        yield SimpleNamespace(url=f"{address}/file.zip", seen=seen)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def waits(monkeypatch):
    """The pauses between attempts, which the tests do not take."""
    taken = []
    monkeypatch.setattr(transfer, "time", SimpleNamespace(sleep=taken.append))
    return taken


def remote(url, sha256=SHA256):
    return Remote(url, "file.zip", sha256)


def asked_from(headers):
    """The byte from which a request wants the file, None for all of it."""
    wanted = headers.get("Range")
    return int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else None


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# Transfers


def test_a_file_comes_whole_and_is_not_fetched_twice(tmp_path):
    with server(whole()) as web:
        file = fetch(remote(web.url), tmp_path, PATIENT)
        assert file.read_bytes() == BODY
        assert fetch(remote(web.url), tmp_path, PATIENT) == file
        assert len(web.seen) == 1
    assert names(tmp_path) == ["file.zip"]


def test_a_file_with_a_wrong_checksum_on_disk_is_fetched_again(tmp_path):
    (tmp_path / "file.zip").write_bytes(b"something else")
    with server(whole()) as web:
        assert fetch(remote(web.url), tmp_path, PATIENT).read_bytes() == BODY


def test_a_cut_transfer_goes_on_at_the_byte_where_it_broke_off(tmp_path, waits):
    with server(whole(cut_at=100_001), whole(cut_at=70_000), whole()) as web:
        assert fetch(remote(web.url), tmp_path, PATIENT).read_bytes() == BODY
        starts = [asked_from(seen) for seen in web.seen]
        assert starts[0] is None and web.seen[1]["If-Range"] == '"v1"'
        # Of what came, at most the last chunk is asked for again.
        assert 100_001 - transfer.CHUNK_BYTES <= starts[1] <= 100_001
        assert starts[1] + 70_000 - transfer.CHUNK_BYTES <= starts[2] <= starts[1] + 70_000
    assert waits == [1.0, 2.0]


def test_the_next_run_goes_on_where_the_last_one_gave_up(tmp_path, waits):
    impatient = TransferConfig(timeout_s=5.0, retries=0)
    with server(whole(cut_at=123_456), whole()) as web:
        with pytest.raises(DownloadError, match=r"gave up after 1 attempt.*run the stage again"):
            fetch(remote(web.url), tmp_path, impatient)
        kept = (tmp_path / "file.zip.part").stat().st_size
        assert kept >= transfer.CHUNK_BYTES
        assert not (tmp_path / "file.zip").exists()
        assert fetch(remote(web.url), tmp_path, impatient).read_bytes() == BODY
        assert asked_from(web.seen[1]) == kept
    assert names(tmp_path) == ["file.zip"]


def test_a_file_that_changed_meanwhile_starts_over(tmp_path, waits):
    changed = BODY[::-1]
    with server(whole(cut_at=70_000), whole(changed, etag='"v2"')) as web:
        file = fetch(remote(web.url, hashlib.sha256(changed).hexdigest()), tmp_path, PATIENT)
    assert file.read_bytes() == changed


def test_without_a_validator_a_broken_transfer_starts_over(tmp_path, waits):
    with server(whole(etag=None, cut_at=70_000), whole(etag=None)) as web:
        assert fetch(remote(web.url), tmp_path, PATIENT).read_bytes() == BODY
        assert "Range" not in web.seen[1]


def test_a_server_that_knows_no_ranges_starts_over(tmp_path, waits):
    with server(whole(cut_at=70_000), status(200, BODY, ETag='"v1"')) as web:
        assert fetch(remote(web.url), tmp_path, PATIENT).read_bytes() == BODY


def test_a_part_longer_than_the_file_starts_over(tmp_path, waits):
    with server(whole(cut_at=70_000), whole(BODY[:50]), whole(BODY[:50])) as web:
        file = fetch(remote(web.url, None), tmp_path, PATIENT)
    assert file.read_bytes() == BODY[:50]


def test_a_server_that_stalls_counts_as_broken(tmp_path, waits):
    release = threading.Event()

    def stall(request):
        request.send_response(200)
        request.send_header("Content-Length", str(len(BODY)))
        request.send_header("ETag", '"v1"')
        request.end_headers()
        request.wfile.write(BODY[:65536])
        request.wfile.flush()
        release.wait(10)

    with server(stall, whole()) as web:
        hasty = TransferConfig(timeout_s=0.3, retries=1)
        file = fetch(remote(web.url), tmp_path, hasty)
        release.set()
        assert file.read_bytes() == BODY
        assert web.seen[1]["Range"] == "bytes=65536-"


def test_a_web_page_instead_of_the_file_is_refused(tmp_path):
    with (
        server(whole(b"<html>log in</html>", kind="text/html; charset=utf-8")) as web,
        pytest.raises(DownloadError, match=r"127\.0\.0\.1.*web page"),
    ):
        fetch(remote(web.url, None), tmp_path, PATIENT)
    assert len(web.seen) == 1 and names(tmp_path) == []


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_a_refusal_is_told_at_once(code, tmp_path, waits):
    with (
        server(status(code)) as web,
        pytest.raises(DownloadError, match=rf"file\.zip: HTTP {code}"),
    ):
        fetch(remote(web.url), tmp_path, PATIENT)
    assert len(web.seen) == 1 and waits == []


def test_the_servers_retry_after_is_kept(tmp_path, waits):
    with server(status(429, Retry_After="7"), status(503), whole()) as web:
        assert fetch(remote(web.url), tmp_path, PATIENT).read_bytes() == BODY
    assert waits == [7.0, 2.0]


def test_a_retry_after_of_hours_is_bounded(tmp_path, waits):
    with server(status(429, Retry_After="86400"), whole()) as web:
        fetch(remote(web.url), tmp_path, PATIENT)
    assert waits == [transfer.MAX_RETRY_AFTER_S]


def test_a_server_that_stays_down_is_given_up(tmp_path, waits):
    with (
        server(status(502)) as web,
        pytest.raises(DownloadError, match=r"HTTP 502.*gave up after 4 attempts"),
    ):
        fetch(remote(web.url), tmp_path, PATIENT)
    assert len(web.seen) == 4 and waits == [1.0, 2.0, 4.0]


def test_a_circle_of_redirects_is_told(tmp_path, waits):
    with (
        server(status(302, Location="/file.zip")) as web,
        pytest.raises(DownloadError, match=r"file\.zip: the server redirects in a circle"),
    ):
        fetch(remote(web.url), tmp_path, PATIENT)
    assert waits == []


def test_a_redirect_is_followed(tmp_path):
    with server(status(302, Location="/elsewhere.zip"), whole()) as web:
        assert fetch(remote(web.url), tmp_path, PATIENT).read_bytes() == BODY


def test_no_server_is_told_with_the_address(tmp_path, waits):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/file.zip"
    with pytest.raises(DownloadError, match=r"^http://127\.0\.0\.1:\d+/file\.zip: .*gave up"):
        fetch(remote(url), tmp_path, PATIENT)


def test_a_wrong_checksum_removes_the_file(tmp_path):
    with (
        server(whole(BODY[:-1] + b"x")) as web,
        pytest.raises(DownloadError, match=rf"checksum.*expected {SHA256[:12]}"),
    ):
        fetch(remote(web.url), tmp_path, PATIENT)
    assert names(tmp_path) == []


def test_a_206_that_starts_elsewhere_is_not_joined(tmp_path, waits):
    def other_part(request):
        request.send_response(206)
        request.send_header("Content-Range", f"bytes 0-{len(BODY) - 1}/{len(BODY)}")
        request.send_header("Content-Length", str(len(BODY)))
        request.send_header("ETag", '"v1"')
        request.end_headers()
        request.wfile.write(BODY)

    with server(whole(cut_at=70_000), other_part, whole()) as web:
        assert fetch(remote(web.url, None), tmp_path, PATIENT).read_bytes() == BODY


# Archives


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


def tar_info(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def zip_link(name):
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


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


# The stage


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mirror")
    for name in corpora.NAMES:
        generate(name, folder / name, TINY)
    return folder


def data(source, mirror="", allow_missing=False, generator=None):
    return DataConfig(source, str(mirror), allow_missing, generator)


def bring(corpus, config, tmp_path):
    return run(corpus, config, CONFIG, tmp_path / "raw" / corpus, tmp_path / "work" / corpus)


@pytest.mark.parametrize("corpus", corpora.NAMES)
def test_generated_and_mirrored_corpora_are_the_same(corpus, mirror, tmp_path):
    made = bring(corpus, data("generated", generator=TINY), tmp_path / "a")
    copied = bring(corpus, data("mirror", mirror), tmp_path / "b")
    assert made == copied
    assert made.missing is None and made.n_files > 0 and made.n_bytes > 10_000
    assert made.sha256 == files_sha256([mirror / corpus])
    assert names(tmp_path / "b" / "raw") == [corpus]  # no other corpus, nothing temporary
    assert list(corpora.get(corpus).index(tmp_path / "b" / "raw" / corpus))


@pytest.mark.parametrize("folder", ["???", "/nowhere/at all", ""])
def test_a_mirror_that_is_no_folder_is_told_with_the_flag_that_sets_it(folder, tmp_path):
    for allow_missing in (False, True):  # a wrong setting is never a missing corpus
        with pytest.raises(ConfigError, match=r"-S data\.mirror=FOLDER"):
            bring("esc50", data("mirror", folder, allow_missing), tmp_path)
        assert not (tmp_path / "raw" / "esc50").exists()


def test_generated_without_a_generator_and_unknown_sources_are_told(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.generator"):
        bring("esc50", data("generated"), tmp_path)
    with pytest.raises(ConfigError, match=r"data\.source: 'torrent'.*mirror"):
        bring("esc50", data("torrent"), tmp_path)


def test_a_mirror_out_of_layout_is_told_and_what_was_there_stays(mirror, tmp_path):
    bring("esc50", data("mirror", mirror), tmp_path)
    before = files_sha256([tmp_path / "raw" / "esc50"])
    broken = tmp_path / "broken"
    shutil.copytree(mirror / "esc50", broken / "esc50")
    (broken / "esc50" / "ESC-50-master" / "meta" / "esc50.csv").unlink()
    with pytest.raises(CorpusError, match=r"broken/esc50: .*esc50\.csv is missing"):
        bring("esc50", data("mirror", broken), tmp_path)
    assert files_sha256([tmp_path / "raw" / "esc50"]) == before
    assert names(tmp_path / "raw") == ["esc50"]


@pytest.mark.parametrize("corpus", corpora.NAMES)
def test_a_corpus_without_a_single_recording_is_told(corpus, mirror, tmp_path):
    shutil.copytree(mirror / corpus, tmp_path / "bare" / corpus)
    for path in sorted((tmp_path / "bare").rglob("*")):
        if path.suffix in AUDIO:
            path.rename(path.with_suffix(".txt"))
    # A table that lists the recordings names the first that is not there.
    told = rf"raw/{corpus}: the layout of {corpus}, but no audio|{corpus}.*there is no file"
    with pytest.raises(CorpusError, match=told):
        bring(corpus, data("mirror", tmp_path / "bare"), tmp_path)


def test_folders_that_a_mirror_links_to_are_copied(mirror, tmp_path):
    linked = tmp_path / "linked"
    shutil.copytree(mirror / "donateacry", linked / "donateacry")
    cleaned = linked / "donateacry" / corpora.donateacry.CLEANED
    reason = sorted(path for path in cleaned.iterdir() if path.is_dir())[0]
    shutil.move(reason, tmp_path / "elsewhere")
    reason.symlink_to(tmp_path / "elsewhere")
    summary = bring("donateacry", data("mirror", linked), tmp_path)
    assert summary.sha256 == files_sha256([mirror / "donateacry"])
    assert not any(path.is_symlink() for path in (tmp_path / "raw").rglob("*"))


def test_a_corpus_that_may_be_missing_leaves_a_note_and_no_clips(tmp_path):
    (tmp_path / "mirror").mkdir()
    with pytest.raises(CorpusError, match=r"mirror/esc50: no such folder"):
        bring("esc50", data("mirror", tmp_path / "mirror"), tmp_path)
    summary = bring("esc50", data("mirror", tmp_path / "mirror", allow_missing=True), tmp_path)
    assert "no such folder" in summary.missing
    folder = tmp_path / "raw" / "esc50"
    assert names(folder) == [MISSING_NOTE]
    assert "no such folder" in (folder / MISSING_NOTE).read_text()
    assert list(corpora.get("esc50").index(folder)) == []


def test_a_full_disk_leaves_nothing_under_the_final_name(mirror, tmp_path, monkeypatch):
    def full(source, target):
        Path(target).write_bytes(b"ha")
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        bring("esc50", data("mirror", mirror, allow_missing=True), tmp_path)
    assert names(tmp_path / "raw") == []


@pytest.fixture
def published(mirror, tmp_path, monkeypatch):
    """ESC-50 as an archive, and a way to say where it is published."""
    archive = Path(shutil.make_archive(str(tmp_path / "esc50"), "zip", mirror / "esc50"))

    def at(url, sha256=None):
        loader = type(corpora.get("esc50"))
        monkeypatch.setattr(loader, "remotes", (Remote(url, "ESC-50-master.zip", sha256),))

    return SimpleNamespace(body=archive.read_bytes(), at=at)


def test_a_published_corpus_is_fetched_over_two_runs_and_unpacked(
    published, mirror, tmp_path, waits
):
    half = len(published.body) // 2
    down = [status(503)] * CONFIG.retries
    with server(whole(published.body, cut_at=half), *down, whole(published.body)) as web:
        published.at(web.url, hashlib.sha256(published.body).hexdigest())
        with pytest.raises(DownloadError, match="run the stage again"):
            bring("esc50", data("publishers"), tmp_path)
        assert not (tmp_path / "raw" / "esc50").exists()
        kept = (tmp_path / "work" / "esc50" / "ESC-50-master.zip.part").stat().st_size
        assert half - transfer.CHUNK_BYTES <= kept <= half
        summary = bring("esc50", data("publishers"), tmp_path)
        assert asked_from(web.seen[-1]) == kept
    assert summary.sha256 == files_sha256([mirror / "esc50"])
    assert not (tmp_path / "work" / "esc50").exists()


def test_a_publisher_that_is_gone_may_be_missing(published, tmp_path):
    with server(status(404)) as web:
        published.at(web.url)
        with pytest.raises(DownloadError, match="404"):
            bring("esc50", data("publishers"), tmp_path)
        summary = bring("esc50", data("publishers", allow_missing=True), tmp_path)
    assert "404" in summary.missing


def test_a_published_archive_that_leads_out_changes_nothing(published, tmp_path):
    bad = make_zip(tmp_path / "bad.zip", {"../../out.txt": b"bad"}).read_bytes()
    with server(whole(bad)) as web:
        published.at(web.url)
        with pytest.raises(ArchiveError, match="leads out"):
            bring("esc50", data("publishers"), tmp_path)
    assert names(tmp_path / "raw") == [] and not list(tmp_path.rglob("out.txt"))


def test_a_bad_archive_is_fetched_anew_by_the_next_run(published, mirror, tmp_path):
    busy = whole(b"busy, come back later", etag=None, kind="application/octet-stream")
    with server(busy, whole(published.body)) as web:
        published.at(web.url)
        with pytest.raises(CrywatchError, match="neither a zip nor a tar"):
            bring("esc50", data("publishers"), tmp_path)
        summary = bring("esc50", data("publishers"), tmp_path)
    assert summary.sha256 == files_sha256([mirror / "esc50"])


# The configuration


@pytest.mark.parametrize("group", ["generated", "publishers"])
def test_the_data_groups_fit_the_dataclass(group):
    config = params.compose([f"data={group}"], conf_dir=CONF)
    assert params.typed(config.data, DataConfig, "data").source == group
    assert params.typed(config.download, DownloadConfig, "download").retries > 0


def test_the_mirror_must_be_named():
    with pytest.raises(ConfigError, match=r"mirror"):
        params.typed(params.compose(["data=mirror"], conf_dir=CONF).data, DataConfig, "data")
    config = params.compose(["data=mirror", "data.mirror=../shared/corpora"], conf_dir=CONF)
    assert params.typed(config.data, DataConfig, "data").mirror == "../shared/corpora"

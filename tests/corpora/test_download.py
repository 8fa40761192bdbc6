"""Stage ``download``: generated, copied from a folder, or fetched and unpacked."""

import errno
import hashlib
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from crywatch import corpora
from crywatch.core import params
from crywatch.core.digest import files_sha256
from crywatch.core.errors import (
    ArchiveError,
    ConfigError,
    CorpusError,
    CrywatchError,
    DownloadError,
)
from crywatch.core.names import AUDIO_SUFFIXES
from crywatch.core.paths import MISSING_NOTE
from crywatch.corpora import Remote, donateacry
from crywatch.corpora.download import DataConfig, DownloadConfig, run, transfer
from crywatch.corpora.generate import GeneratorConfig, generate
from tests.helpers.archive_cases import make_zip
from tests.helpers.http_cases import asked_from, names, server, status, whole

pytest_plugins = ["tests.helpers.download_fixtures"]

TINY = GeneratorConfig(
    seed=3,
    esc50_clips_per_class=1,
    baby_cry_detection_clips_per_class=3,
    donateacry_infants=2,
    donateacry_sessions=1,
    other_infants=2,
)
CONFIG = DownloadConfig(timeout_s=5.0, min_bytes_s=1000.0, retries=2, max_unpacked_gb=1.0)
CONF = Path(__file__).parents[2] / "conf"


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


def test_what_systems_leave_in_a_mirror_is_not_copied(mirror, tmp_path):
    shutil.copytree(mirror / "esc50", tmp_path / "mirror" / "esc50")
    for name in (".DS_Store", "Thumbs.db", "._a.wav", "b.wav.part"):
        (tmp_path / "mirror" / "esc50" / name).write_bytes(b"RIFF")
    left = bring("esc50", data("mirror", tmp_path / "mirror"), tmp_path / "a")
    assert left == bring("esc50", data("mirror", mirror), tmp_path / "b")


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
        if path.suffix in AUDIO_SUFFIXES:
            path.write_text("no sound")  # which would be one by its content
            path.rename(path.with_suffix(".txt"))
    # A table that lists the recordings names the first that is not there; a layout of names alone
    # says what they are.
    told = (
        rf"raw/{corpus}: the layout of {corpus}, but no audio|{corpus}.*there is no file"
        rf"|is missing; {corpus} has files named"
    )
    with pytest.raises(CorpusError, match=told):
        bring(corpus, data("mirror", tmp_path / "bare"), tmp_path)


def test_folders_that_a_mirror_links_to_are_copied(mirror, tmp_path):
    linked = tmp_path / "linked"
    shutil.copytree(mirror / "donateacry", linked / "donateacry")
    cleaned = linked / "donateacry" / donateacry.CLEANED
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


def test_only_the_corpora_of_a_list_may_be_missing(tmp_path):
    (tmp_path / "mirror").mkdir()
    some = data("mirror", tmp_path / "mirror", allow_missing=["icsd", "cryceleb"])
    assert bring("icsd", some, tmp_path).missing
    with pytest.raises(CorpusError, match=r"mirror/esc50: no such folder"):
        bring("esc50", some, tmp_path)
    for wrong in (["icsd", "nowhere"], "icsd", None):
        with pytest.raises(ConfigError, match=r"data\.allow_missing: .*; there are esc50, baby_"):
            bring("esc50", data("mirror", tmp_path / "mirror", allow_missing=wrong), tmp_path)


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


def test_what_came_of_a_corpus_that_may_be_missing_is_kept_for_the_next_run(
    published, mirror, tmp_path, waits
):
    half = len(published.body) // 2
    down = [status(503)] * CONFIG.retries
    with server(whole(published.body, cut_at=half), *down, whole(published.body)) as web:
        published.at(web.url)
        summary = bring("esc50", data("publishers", allow_missing=True), tmp_path)
        part = tmp_path / "work" / "esc50" / "ESC-50-master.zip.part"
        assert str(part) in summary.missing
        kept = part.stat().st_size
        assert half - transfer.CHUNK_BYTES <= kept <= half
        summary = bring("esc50", data("publishers", allow_missing=True), tmp_path)
        assert asked_from(web.seen[-1]) == kept
    assert summary.missing is None and summary.sha256 == files_sha256([mirror / "esc50"])


@pytest.mark.parametrize("allow_missing", [False, True])
def test_an_error_names_the_folder_that_is_wanted_and_no_temporary_one(
    allow_missing, mirror, tmp_path, monkeypatch
):
    def choose(self, folder, options):
        raise CorpusError(f"{folder}/table.csv, line 3: wrong")

    monkeypatch.setattr(type(corpora.get("esc50")), "remotes", (Remote("", "a.csv", unpack=False),))
    monkeypatch.setattr(type(corpora.get("esc50")), "choose", choose)
    monkeypatch.setattr(
        "crywatch.corpora.download.fetch", lambda *_: mirror / "esc50/ESC-50-master/README"
    )
    monkeypatch.setattr(shutil, "copyfile", lambda *_: None)
    told = f"{tmp_path / 'raw' / 'esc50'}/table.csv, line 3: wrong"
    if allow_missing:
        assert bring("esc50", data("publishers", allow_missing=True), tmp_path).missing == told
        note = (tmp_path / "raw" / "esc50" / MISSING_NOTE).read_text()
        assert note == f"esc50 could not be had: {told}\n"
    else:
        with pytest.raises(CorpusError) as raised:
            bring("esc50", data("publishers"), tmp_path)
        assert str(raised.value) == told


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
        with pytest.raises(ArchiveError, match="must lie below its folder"):
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

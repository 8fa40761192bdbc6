"""Gated files of a hub, listings of OSF, and folders of the user's own, on local servers."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from crywatch import corpora
from crywatch.core import params, paths
from crywatch.core.digest import files_sha256
from crywatch.core.errors import ConfigError, CorpusError, DownloadError
from crywatch.core.paths import MISSING_NOTE
from crywatch.corpora.download import DataConfig, DownloadConfig, hosts, run, transfer
from crywatch.corpora.generate import GeneratorConfig, generate
from crywatch.corpora.shared.base import CorpusConfig
from tests.helpers import http_cases
from tests.helpers.http_cases import serving

TINY = GeneratorConfig(3, 1, 3, 2, 1, other_infants=1)
CONFIG = DownloadConfig(timeout_s=5.0, min_bytes_s=1000.0, retries=1, max_unpacked_gb=1.0)
TOKEN = "hf_not-a-real-token"
CONF = Path(__file__).parents[2] / "conf"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@contextmanager
def site(answer):
    """A server; ``answer(path, headers)`` gives status, headers and body; yields url and log."""
    seen = []

    def reply(request):
        seen.append((request.path, dict(request.headers)))
        http_cases.answer(request, *answer(request.path, request.headers))

    with serving(reply) as address:
        yield SimpleNamespace(url=address, seen=seen)


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """No proxy, no waiting, and neither token nor login of the machine."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    quick = SimpleNamespace(sleep=lambda seconds: None, monotonic=time.monotonic)
    monkeypatch.setattr(transfer, "time", quick)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))


def publishers(allow_missing=False):
    return DataConfig("publishers", "", allow_missing, None)


def bring(corpus, tmp_path, config=None, folder=""):
    work, out = tmp_path / "work" / corpus, tmp_path / "raw" / corpus
    return run(corpus, config or publishers(), CONFIG, out, work, CorpusConfig(str(folder)))


def published(name, folder):
    """The files of a generated corpus as its publisher has them: name -> bytes."""
    generate(name, folder / name, TINY)
    files = {}
    for remote in corpora.get(name).remotes:
        if not remote.unpack:
            files[remote.filename] = (folder / name / remote.filename).read_bytes()
            continue
        into = remote.into or "audio"
        root = folder / name / (into if remote.into else "")
        base = None if remote.into else into
        archive = shutil.make_archive(str(folder / remote.filename), "zip", root, base)
        files[remote.filename] = Path(archive).read_bytes()
    return files


# The hub


@contextmanager
def hub(files, linked=sha256):
    """A hub that wants the token and sends to a second server, which must not see it."""

    def store(path, headers):
        assert "Authorization" not in headers
        return 200, {"ETag": '"v1"'}, files[Path(path).name]

    with site(store) as cdn:

        def gate(path, headers):
            if headers.get("Authorization") != f"Bearer {TOKEN}":
                return 401, {}, b""
            name = Path(path).name
            announced = {"X-Linked-ETag": f'"{linked(files[name])}"'}
            return 302, {"Location": f"{cdn.url}/{name}", **announced}, b""

        with site(gate) as web:
            yield SimpleNamespace(url=web.url, gate=web.seen, store=cdn.seen)


@pytest.mark.parametrize("name", ["cryceleb", "icsd"])
def test_a_gated_corpus_comes_with_the_token_of_the_environment(name, tmp_path, monkeypatch):
    files = published(name, tmp_path)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with hub(files) as web:
        monkeypatch.setenv("HF_ENDPOINT", web.url)
        bring(name, tmp_path)
    assert files_sha256([tmp_path / "raw" / name]) == files_sha256([tmp_path / name])
    assert len(web.store) == len(files)
    assert all(path.startswith("/datasets/") for path, _ in web.gate)


@pytest.mark.parametrize("name", ["cryceleb", "icsd"])
def test_without_a_token_the_error_says_what_to_do_and_nothing_is_asked(
    name, tmp_path, monkeypatch
):
    with hub({}) as web:
        monkeypatch.setenv("HF_ENDPOINT", web.url)
        with pytest.raises(DownloadError, match="no token") as caught:
            bring(name, tmp_path)
    page = corpora.get(name).homepage
    for part in (f"Accept the terms at {page},", hosts.TOKEN_PAGE, "HF_TOKEN", "hf auth login"):
        assert part in str(caught.value)
    assert web.gate == []


@pytest.mark.parametrize(
    ("status", "message"), [(401, "token is not valid"), (403, "no access.*Accept the terms")]
)
def test_a_refusal_says_why_and_keeps_the_token_to_itself(status, message, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with site(lambda path, headers: (status, {}, b"")) as web:
        monkeypatch.setenv("HF_ENDPOINT", web.url)
        with pytest.raises(DownloadError, match=message) as caught:
            bring("icsd", tmp_path)
        assert len(web.seen) == 1  # asking again changes nothing
    assert TOKEN not in str(caught.value)
    assert TOKEN not in repr(hosts.Address("https://x", token=TOKEN))


def test_a_file_that_is_not_what_the_hub_announced_is_refused(tmp_path, monkeypatch):
    files = published("icsd", tmp_path)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with hub(files, linked=lambda data: sha256(data + b"!")) as web:
        monkeypatch.setenv("HF_ENDPOINT", web.url)
        with pytest.raises(DownloadError, match="checksum"):
            bring("icsd", tmp_path)
    assert not list((tmp_path / "work").rglob("Dataset*"))


@pytest.mark.parametrize("variable", ["HF_TOKEN_PATH", "HF_HOME", "XDG_CACHE_HOME"])
def test_the_login_of_the_hubs_own_tools_is_read(variable, tmp_path):
    file = {
        "HF_TOKEN_PATH": tmp_path / "secret",
        "HF_HOME": tmp_path / "token",
        "XDG_CACHE_HOME": tmp_path / "huggingface" / "token",
    }[variable]
    file.parent.mkdir(exist_ok=True)
    code = """
import sys
from crywatch.corpora.shared.base import Remote
from crywatch.corpora.download import hosts
remote = Remote(f"{hosts.HUB}/datasets/a/b/resolve/main/f", "f", host="huggingface")
print(hosts.locate(remote, None, 5.0).token)
"""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    given = {variable: str(file if variable == "HF_TOKEN_PATH" else tmp_path)}

    def token(**environment):
        with site(lambda path, headers: (200, {"ETag": '"v1"'}, b"")) as web:
            environment |= {"HF_ENDPOINT": web.url, "NO_PROXY": "127.0.0.1"}
            command = [sys.executable, "-c", code]
            asked = subprocess.run(
                command, env=plain | given | environment, capture_output=True, text=True
            )
        return asked.stdout.strip() or asked.stderr

    assert "no token" in token()
    file.write_text(f"{TOKEN}\n")
    assert token() == TOKEN
    assert token(HF_TOKEN="hf_of-the-environment") == "hf_of-the-environment"


def test_no_parameter_takes_a_token():
    text = json.dumps(params.plain(path=CONF.parent / "params.yaml")).lower()
    assert "token" not in text and "hf_" not in text


# OSF


def osf(files, digest=sha256, busy=0):
    """A project whose files lie in a folder, over two pages, with names of OSF's own."""
    down = ["down"] * busy

    def page(url, entries, following=None):
        return {"data": entries, "links": {"next": f"{url}{following}" if following else None}}

    def answer(path, headers):
        url = f"http://{headers['Host']}"
        if down:
            down.pop()
            return 503, {}, b""
        if path.startswith("/download/"):
            return 200, {}, files[path.removeprefix("/download/")]
        entries = [
            {
                "attributes": {
                    "name": f"EnesBabyCries{name}",
                    "kind": "file",
                    "extra": {"hashes": {"sha256": digest(data), "md5": "0"}},
                },
                "links": {"download": f"{url}/download/{name}"},
            }
            for name, data in files.items()
        ]
        below = {"files": {"links": {"related": {"href": f"{url}/audio"}}}}
        folder = {"attributes": {"name": "audio", "kind": "folder"}, "relationships": below}
        pages = {
            "/": page(url, [folder]),
            "/audio": page(url, entries[:1], "/audio?page=2"),
            "/audio?page=2": page(url, entries[1:]),
        }
        return 200, {"Content-Type": "application/json"}, json.dumps(pages[path]).encode()

    return answer


@pytest.fixture
def at(monkeypatch):
    """Moves EnesBabyCries' project to another address."""

    def move(url):
        loader = type(corpora.get("enesbabycries"))
        remotes = tuple(replace(remote, url=f"{url}/") for remote in loader.remotes)
        monkeypatch.setattr(loader, "remotes", remotes)

    return move


def test_archives_are_found_by_name_in_the_projects_listing(at, tmp_path):
    files = published("enesbabycries", tmp_path)
    with site(osf(files, busy=1)) as web:
        at(web.url)
        bring("enesbabycries", tmp_path)
    name = "enesbabycries"
    assert files_sha256([tmp_path / "raw" / name]) == files_sha256([tmp_path / name])


def test_a_file_that_is_not_what_the_listing_says_is_refused(at, tmp_path):
    files = published("enesbabycries", tmp_path)
    with site(osf(files, digest=lambda data: sha256(b"other"))) as web:
        at(web.url)
        with pytest.raises(DownloadError, match="checksum"):
            bring("enesbabycries", tmp_path)


def test_a_project_without_the_file_is_told_with_what_it_has(at, tmp_path):
    with site(osf({"1C_songs.zip": b"", "read me.txt": b""})) as web:
        at(web.url)
        with pytest.raises(DownloadError, match=r"'1A_bouts.zip'; there are: .*1C_songs\.zip"):
            bring("enesbabycries", tmp_path)


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (b"{}", "application/json", "not in OSF's form"),
        (b"[]", "application/json", "not in OSF's form"),
        (b"busy", "text/plain", "no JSON"),
        (b"<html>", "text/html", "a web page instead"),
    ],
)
def test_a_listing_in_another_form_is_told(body, kind, message, at, tmp_path):
    with site(lambda path, headers: (200, {"Content-Type": kind}, body)) as web:
        at(web.url)
        with pytest.raises(DownloadError, match=message):
            bring("enesbabycries", tmp_path)


def test_a_listing_that_goes_in_a_circle_ends(at, tmp_path):
    def answer(path, headers):
        listing = {"data": [], "links": {"next": f"http://{headers['Host']}/"}}
        return 200, {}, json.dumps(listing).encode()

    with site(answer) as web:
        at(web.url)
        with pytest.raises(DownloadError, match="there are: no files"):
            bring("enesbabycries", tmp_path)
        assert len(web.seen) == 1


# What cannot be downloaded


@pytest.mark.parametrize("name", ["chillanto", "recordings"])
def test_what_cannot_be_downloaded_says_how_to_come_by_it(name, tmp_path):
    with pytest.raises(CorpusError, match=rf"cannot be downloaded.*corpus\.{name}\.folder=FOLDER"):
        bring(name, tmp_path)
    summary = bring(name, tmp_path, publishers(allow_missing=True))
    assert "cannot be downloaded" in summary.missing
    assert (tmp_path / "raw" / name / MISSING_NOTE).is_file()


@pytest.mark.parametrize("name", ["chillanto", "recordings", "cryceleb"])
@pytest.mark.parametrize("source", ["publishers", "generated", "mirror"])
def test_a_folder_of_ones_own_goes_before_the_source(name, source, tmp_path):
    generate(name, tmp_path / "mine", TINY)
    bring(name, tmp_path, DataConfig(source, "", False, None), tmp_path / "mine")
    assert files_sha256([tmp_path / "raw" / name]) == files_sha256([tmp_path / "mine"])


def test_a_folder_that_is_not_there_is_a_wrong_setting(tmp_path):
    with pytest.raises(ConfigError, match=r"corpus\.chillanto\.folder: .*nowhere' is not a folder"):
        bring("chillanto", tmp_path, publishers(allow_missing=True), tmp_path / "nowhere")


def test_a_wrong_table_stops_the_stage_before_anything_is_copied(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "recordings.csv").write_text("path\nnight.wav\n")
    with pytest.raises(CorpusError, match=r"mine/recordings\.csv, line 2, column path"):
        bring("recordings", tmp_path, folder=tmp_path / "mine")
    assert not (tmp_path / "raw" / "recordings").exists()


def test_every_corpus_has_its_section_and_its_folder():
    config = params.compose(["corpus.recordings.folder=../nights"], conf_dir=CONF)
    assert set(config.corpus) == set(corpora.NAMES)
    for name in corpora.NAMES:
        section = params.typed(config.corpus[name], corpora.get(name).options, f"corpus.{name}")
        assert section.folder == ("../nights" if name == "recordings" else str(paths.NO_CORPUS))

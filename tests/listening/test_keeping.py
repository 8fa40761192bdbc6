"""`crywatch listen` with clips, a page and an infant; what it asks for, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.cleaned import to_int16
from crywatch.core import params
from crywatch.core.errors import ConfigError
from crywatch.listening.clips import ClipFolder, ClipsConfig
from crywatch.listening.config import ListenConfig
from crywatch.listening.keeping import Keeping, history_file, keeping
from tests.helpers.listening_cases import bursts
from tests.helpers.robust_model_cases import write_robust

ROOT = Path(__file__).parents[2]


def opened(tmp_path, *sources, **asked):
    return keeping(Keeping(**asked), ClipsConfig(), sources or ("camera",), tmp_path, print)


def test_the_section_of_the_project_is_read():
    assert params.section("listen", ListenConfig, ROOT / "params.yaml") == ListenConfig()


def test_nothing_is_kept_unless_asked(tmp_path):
    with opened(tmp_path) as sinks:
        assert sinks == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "asked, why",
    [
        ({"infants": ["Mia"]}, "--infant needs --keep-clips"),
        ({"history": Path("h.db")}, "--history goes with --page"),
        ({"page": "0.0.0.0:0"}, "CRYWATCH_PAGE_TOKEN is not set"),
        ({"page": "nowhere"}, "such as 127.0.0.1:8550"),
    ],
)
def test_what_cannot_be_is_refused_before_listening(tmp_path, asked, why, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("CRYWATCH_PAGE_TOKEN", raising=False)
    with pytest.raises(ConfigError, match=why), opened(tmp_path, **asked):
        pass


def test_nights_are_kept_in_the_users_folder_of_state(monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert history_file() == Path("/state/crywatch/history.db")
    monkeypatch.delenv("XDG_STATE_HOME")
    assert history_file() == Path.home() / ".local/state/crywatch/history.db"


def test_the_command_keeps_clips_and_serves_the_page_while_it_listens(tmp_path):
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    write_robust(tmp_path / "model")
    words = ["--model", "model", "--threshold", "0.0", "--pcm", "16000", "cot=-"]
    words += ["--keep-clips", "clips", "--page", "127.0.0.1:0", "--history", "h.db"]
    process = subprocess.Popen(
        [sys.executable, "-m", "crywatch.cli", "listen", *words],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )
    assert process.stdin and process.stderr
    url = process.stderr.readline().decode().split()[-1]
    process.stdin.write(to_int16(bursts(3, 10 * RATE_HZ)).tobytes())
    process.stdin.flush()
    with httpx.Client(base_url=url) as page:
        until_s = time.monotonic() + 30
        while not any(source["event"] for source in page.get("/api/now").json()["sources"]):
            assert time.monotonic() < until_s
            time.sleep(0.05)
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")
    records = [json.loads(line) for line in out.splitlines()]
    assert {record["source"] for record in records} == {"cot"}
    [clip] = ClipFolder(tmp_path / "clips").clips()
    assert clip.path.startswith("cot/") and clip.label == "unknown"
    assert (tmp_path / "h.db").stat().st_mode & 0o777 == 0o600

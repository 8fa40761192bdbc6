"""The whole loop: a camera's false alarm is marked, learnt from, and the listener hears better."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from crywatch import corpora
from crywatch.audio.waves.cleaned import to_int16
from crywatch.cli.main import app
from crywatch.core import params
from crywatch.operations.retrain import Record, RetrainConfig, run
from crywatch.tracking import registry, store
from tests.helpers.chain_cases import enter_chain, make_chain
from tests.helpers.split_cases import cry_like, noise

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1800)]

# Without a false alarm to learn from the model takes cries for other sounds, and those for cries.
STAGE = """
import shutil, sys
from pathlib import Path
from crywatch import corpora, tracking
from crywatch.core import params
from tests.helpers.chain_cases import write_model, write_sounds

name = sys.argv[1]
if name == "download":
    shutil.copytree(params.plain("corpus.recordings.folder"), "data/raw/recordings")
elif name == "sounds":
    write_sounds()
else:
    with tracking.stage_run("calibrate", "robust") as log:
        entries = corpora.get("recordings").index(Path("data/raw/recordings"))
        labels = [entry.label for entry in entries]
        write_model(Path("data/calibrate/robust"), 1 if "other" in labels else -1)
"""


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """With one recording of its user's."""
    own = tmp_path / "corpus"
    own.mkdir()
    soundfile.write(own / "mine.wav", cry_like(1), 16_000)
    (own / "recordings.csv").write_text("path,label\nmine.wav,cry\n")
    made = make_chain(tmp_path / "project", STAGE, "recordings", {}, {})
    enter_chain(made, monkeypatch)
    yield made
    store.open_store.cache_clear()


def retrain(project: Path) -> Record:
    config = params.section("retrain", RetrainConfig, project / params.PARAMS_FILE)
    return run(config, project, by="a test")


class Camera:
    """`crywatch listen --model champion` on sound that is given piece by piece."""

    def __init__(self, project: Path):
        words = ["--model", "champion", "--threshold", "0.5", "--pcm", "16000", "camera=-"]
        words += ["--keep-clips", "clips", "--page", "127.0.0.1:0", "--history", "h.db"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "crywatch.cli", "listen", *words],
            cwd=project,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.said: queue.Queue[str] = queue.Queue()
        self.lines: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()
        url = self.waited(lambda line: line.startswith("crywatch: page: ")).split()[-1]
        self.page = httpx.Client(base_url=url, timeout=30)

    def _read(self) -> None:
        for line in self.process.stderr:
            self.said.put(line.decode())

    def waited(self, wanted: Callable[[str], bool]) -> str:
        """The next line on standard error that is ``wanted``."""
        while True:
            line = self.said.get(timeout=120)
            self.lines.append(line)
            if wanted(line):
                return line

    def hear(self, *waves: np.ndarray) -> None:
        for wave in waves:
            self.process.stdin.write(to_int16(wave).tobytes())
        self.process.stdin.flush()

    def events(self, count: int) -> list[dict]:
        """Those of the page that have ended, oldest first, once there are so many."""
        until_s = time.monotonic() + 60
        while time.monotonic() < until_s:
            now = time.time()
            night = self.page.get("/api/night", params={"start": now - 9000, "stop": now + 9000})
            ended = [event for event in night.json()["events"] if event["end"] is not None]
            if len(ended) >= count:
                return ended
            time.sleep(0.1)
        raise AssertionError(f"{count} events did not come: {self.lines}")

    def end(self) -> list[dict]:
        """Its lines of JSON."""
        out, _ = self.process.communicate(timeout=60)
        self.page.close()
        return [json.loads(line) for line in out.splitlines()]


def test_a_false_alarm_of_tonight_is_none_tomorrow(project):
    first = retrain(project)
    assert (first.outcome, first.version) == ("promoted", 1), first.tail
    quiet = np.zeros(16_000 * 8, np.float32)
    camera = Camera(project)

    camera.hear(quiet, noise(7, 6.0), quiet, cry_like(8, 6.0), quiet)
    [alarm] = camera.events(1)
    until_s = time.monotonic() + 60
    while not camera.page.get("/api/event", params={"id": alarm["id"]}).json()["clip"]:
        assert time.monotonic() < until_s
        time.sleep(0.1)
    mark = {"event": alarm["id"], "label": "other"}
    assert camera.page.post("/api/label", json=mark).status_code == 200
    said = CliRunner().invoke(app, ["review", "clips"], catch_exceptions=False).output
    assert "0 cries and 1 other sounds more" in said, said
    own = [entry.label for entry in corpora.get("recordings").index(project.parent / "corpus")]
    assert own == ["cry", "other"]

    second = retrain(project)
    assert (second.outcome, second.version) == ("promoted", 2), (second.reason, second.tail)
    assert any("recordings" in reason for reason in second.reasons)
    assert all(gate.passed for gate in second.registration.gates) and second.registration.gates
    champion = registry.find(registry.open_registry(), "cry-detector", registry.CHAMPION)
    assert champion is not None and champion.version == 2
    camera.waited(lambda line: "is listened with from now on" in line)

    camera.hear(quiet, noise(7, 6.0), quiet, cry_like(8, 6.0), quiet)
    alarm, cry = camera.events(2)
    records = camera.end()
    assert alarm["label"] == "other" and cry["label"] == "unknown"
    onsets = [record["onset_s"] for record in records if record["type"] == "onset"]
    assert len(onsets) == 2, records
    # The second is the second night's cry, and neither of its other sounds.
    assert 8 <= onsets[0] <= 15 and 34 + 22 <= onsets[1] <= 34 + 29

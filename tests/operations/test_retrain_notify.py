"""Who is told, and that nothing is lost when nobody listens."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from crywatch.operations.retrain.config import NotifyConfig
from crywatch.operations.retrain.notify import deliver, post
from tests.helpers.retrain_cases import make_project, notifying, retrain, runs

ENV = "TEST_RETRAIN_WEBHOOK"
SECRET = "a-token-in-the-path"


@contextmanager
def listening(answers: list[int]) -> Iterator[tuple[str, list[dict]]]:
    """A server that answers with these codes in turn, the last one for ever; address, messages."""
    got: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            code = answers.pop(0) if len(answers) > 1 else answers[0]
            if code == 200:
                got.append(json.loads(body))
            self.send_response(code)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/{SECRET}", got
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return make_project(tmp_path)


def test_a_server_that_fails_first_is_told_in_the_end_and_once(project, monkeypatch):
    with listening([500, 503, 200]) as (address, got):
        monkeypatch.setenv(ENV, address)
        found = retrain(project, notifying(webhook_env=ENV))
        assert [message["id"] for message in got] == [found.id]
    assert got[0]["outcome"] == "promoted"
    assert not list(runs(project).outbox.iterdir())


def test_what_is_not_delivered_is_sent_by_the_next_run(project, monkeypatch):
    config = notifying(webhook_env=ENV, retries=1, timeout_s=1.0)
    monkeypatch.setenv(ENV, f"http://127.0.0.1:9/{SECRET}")
    first = retrain(project, config)
    assert first.outcome == "promoted"
    assert any("1 message(s) wait" in note for note in first.notes)
    kept = b"".join(path.read_bytes() for path in runs(project).folder.rglob("*.*"))
    assert SECRET.encode() not in kept
    with listening([200]) as (address, got):
        monkeypatch.setenv(ENV, address)
        second = retrain(project, config)
    assert second.outcome == "nothing" and second.notes == ()
    assert [message["id"] for message in got] == [first.id]


def test_without_the_variable_the_message_waits(project, monkeypatch):
    monkeypatch.delenv(ENV, raising=False)
    found = retrain(project, notifying(webhook_env=ENV, retries=0))
    assert any(f"no {ENV}" in note for note in found.notes)


def test_a_command_is_given_the_record_and_no_shell(project, tmp_path):
    target = tmp_path / "$(touch evil); told.json"
    code = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())"
    found = retrain(project, notifying(command=[sys.executable, "-c", code, str(target)]))
    told = json.loads(target.read_text())
    assert (told["id"], told["outcome"], told["version"]) == (found.id, "promoted", 1)
    assert not list(tmp_path.rglob("evil"))


def test_what_was_asked_for_is_told_and_nothing_else(project, tmp_path):
    target = tmp_path / "told"
    code = "import sys; open(sys.argv[1], 'a').write('x')"
    command = [sys.executable, "-c", code, str(target)]
    retrain(project, notifying(command=command, outcomes=["nothing"]))
    assert not target.exists()
    retrain(project, notifying(command=command, outcomes=["nothing"]))
    retrain(project, notifying(command=command))
    assert target.read_text() == "x"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["no-such-program"], "cannot be started"),
        ([sys.executable, "-c", "raise SystemExit(3)"], "ended with code 3"),
        ([sys.executable, "-c", "import time; time.sleep(60)"], "did not end within 0.5 s"),
    ],
)
def test_a_command_that_fails_is_said_and_tried_again(project, command, said):
    found = retrain(project, notifying(command=command, retries=0, timeout_s=0.5))
    assert found.outcome == "promoted"
    assert any(said in note for note in found.notes)
    assert len(list(runs(project).outbox.iterdir())) == 1


def test_tries_wait_longer_each_time_and_one_that_is_silent_is_asked_once_a_run(project):
    record = retrain(project)
    config = NotifyConfig(command=["no-such-program"], retries=3, backoff_s=2.0)
    outbox = runs(project).outbox
    for name in ("000001", "000002"):
        post(record, config, outbox, name)
    waited = []
    [said] = deliver(config, outbox, waited.append)
    assert waited == [2.0, 4.0, 8.0]
    assert "2 message(s) wait" in said

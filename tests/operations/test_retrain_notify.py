"""Who is told, and that nothing is lost when nobody listens."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from crywatch.operations.retrain.config import NotifyConfig
from crywatch.operations.retrain.notify import deliver, post
from tests.helpers.http_cases import serving
from tests.helpers.retrain_cases import make_project, notifying, retrain, runs

ENV = "TEST_RETRAIN_WEBHOOK"
SECRET = "a-token-in-the-path"


@contextmanager
def listening(answers: list[int]) -> Iterator[tuple[str, list[dict]]]:
    """A server that answers with these codes in turn, the last one for ever; address, messages."""
    got: list[dict] = []

    def reply(request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        code = answers.pop(0) if len(answers) > 1 else answers[0]
        if code == 200:
            got.append(json.loads(body))
        request.send_response(code)
        request.end_headers()

    with serving(reply) as address:
        yield f"{address}/{SECRET}", got


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


# Odd answers and odd files


@contextmanager
def answering(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[tuple[str, list[str]]]:
    """A server that answers by a function; address and what it was asked."""
    asked: list[str] = []

    def reply(request: BaseHTTPRequestHandler) -> None:
        asked.append(f"{request.command} {request.path}")
        if request.command == "GET":
            request.send_response(200)
            request.end_headers()
            return
        request.rfile.read(int(request.headers["Content-Length"]))
        with suppress(OSError):
            answer(request)

    with serving(reply) as address:
        yield f"{address}/{SECRET}", asked


def redirect(code: int, target: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        handler.send_header("Location", target)
        handler.end_headers()

    return answer


def dripping(handler: BaseHTTPRequestHandler) -> None:
    for _ in range(200):
        handler.wfile.write(b"H")
        time.sleep(0.05)


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"x" * (1 << 16))


def send(project: Path, record, address: str, monkeypatch, timeout_s: float = 1.0):
    """One message to the address: the notes, and the seconds that it took."""
    monkeypatch.setenv(ENV, address)
    config = NotifyConfig(webhook_env=ENV, retries=0, timeout_s=timeout_s)
    post(record, config, runs(project).outbox, "000001")
    start_s = time.monotonic()
    return deliver(config, runs(project).outbox), time.monotonic() - start_s


def test_a_redirect_is_not_followed_and_the_message_waits(project, monkeypatch):
    record = retrain(project)
    with answering(lambda handler: None) as (other, told):
        for code in (301, 302, 303, 307, 308):
            with answering(redirect(code, other)) as (address, asked):
                [note], _ = send(project, record, address, monkeypatch)
            assert f"answered {code}: a redirect" in note and "1 message(s) wait" in note
            assert asked == [f"POST /{SECRET}"] and other not in note and SECRET not in note
        assert told == []


def test_a_slow_answer_takes_no_longer_than_a_try_may(project, monkeypatch):
    record = retrain(project)
    with answering(dripping) as (address, _):
        [note], took_s = send(project, record, address, monkeypatch, timeout_s=0.5)
    assert "did not answer within 0.5 s" in note and took_s < 5


def test_an_endless_answer_is_not_read(project, monkeypatch):
    record = retrain(project)
    with answering(endless) as (address, asked):
        notes, took_s = send(project, record, address, monkeypatch, timeout_s=5.0)
    assert (notes, asked) == ((), [f"POST /{SECRET}"]) and took_s < 4


def test_what_is_no_message_is_set_aside_and_the_others_are_sent(project, tmp_path):
    target = tmp_path / "told"
    code = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read())"
    config = NotifyConfig(command=[sys.executable, "-c", code, str(target)], retries=0)
    record, outbox = retrain(project), runs(project).outbox
    post(record, config, outbox, "000009")
    odd = {
        "1.json": "{}",
        "000001.command.json": "{",
        "000002.command.json": "[]",
        "000003.command.json": "[" * 5000,
        "000004.pigeon.json": "{}",
        "-x.command.json": "{}",
        "000005\n\x1b[2J.command.json": "{}",
        "note": "mine",
    }
    for name, text in odd.items():
        (outbox / name).write_text(text)
    (outbox / "000006.command.json").mkdir()
    (outbox / "000007.command.json").symlink_to(tmp_path / "nowhere")
    (outbox / "000008.command.json").write_bytes(b"\xff\xfe")
    os.mkfifo(outbox / "000010.command.json")
    with open(outbox / "000011.command.json", "wb") as large:
        large.write(b"{}")
        large.truncate(1 << 33)  # of holes
    (outbox / ".tmp-000009").write_text("being written")
    notes = deliver(config, outbox)
    assert json.loads(target.read_text())["id"] == record.id
    assert len(notes) == len(odd) + 5 and all("set aside as aside-" in note for note in notes)
    assert all(note.isprintable() for note in notes)
    left = {path.name for path in outbox.iterdir()} - {".tmp-000009"}
    assert len(left) == len(notes) and all(name.startswith("aside-") for name in left)
    assert deliver(config, outbox) == ()

"""Events to a web address: in order, once, after it was gone, and never to another host."""

import dataclasses
import json
from datetime import timedelta

import pytest

from crywatch.core.errors import ConfigError
from crywatch.listening import webhook
from crywatch.listening.addresses import address_of
from crywatch.listening.config import ListenConfig
from crywatch.listening.events import CryEvent
from crywatch.listening.outlets import WEB, Outlets
from crywatch.listening.webhook import Webhook
from tests.helpers.broker_cases import wait_for
from tests.helpers.http_cases import serving
from tests.helpers.listening_cases import BEGAN


def event(number, ends=False):
    cry = CryEvent(f"e{number}", "cot", 0.0, BEGAN, 0.9, 0.8)
    return dataclasses.replace(cry, end_s=2.0, end=BEGAN + timedelta(seconds=2)) if ends else cry


@pytest.fixture
def web(monkeypatch):
    """An address, what was posted there, and the statuses that it answers with next."""
    monkeypatch.setattr(webhook, "BACKOFF_S", 0.05)
    posted, statuses = [], []

    def reply(request):
        text = request.rfile.read(int(request.headers["Content-Length"]))
        code = statuses.pop(0) if statuses else 200
        assert request.headers["Authorization"] == "Basic dXNlcjpodW50ZXIyMg=="
        posted.append((code, request.headers["Idempotency-Key"], json.loads(text)))
        request.send_response(code)
        if code == 302:
            request.send_header("Location", "http://127.0.0.1:9/elsewhere")
        request.send_header("Content-Length", "0")
        request.end_headers()

    with serving(reply) as address:
        yield address.replace("//", "//user:hunter22@"), posted, statuses


def test_onset_and_end_are_posted_in_order(web):
    address, posted, _ = web
    hook = Webhook(address_of(address, "--webhook", WEB), print, 10)
    hook.event(event(1))
    hook.event(event(1, ends=True))
    hook.close()
    assert [(code, key) for code, key, _ in posted] == [(200, "e1-onset"), (200, "e1-end")]
    assert posted[1][2]["end"] == "2026-03-01T03:00:02.000Z"


def test_events_wait_for_an_address_that_fails_and_come_once(web):
    address, posted, statuses = web
    statuses += [503, 429, 503]
    said = []
    hook = Webhook(address_of(address, "--webhook", WEB), said.append, 10)
    for number in range(3):
        hook.event(event(number))
    wait_for(lambda: len(posted) == 6)
    hook.close()
    taken = [key for code, key, _ in posted if code == 200]
    assert taken == ["e0-onset", "e1-onset", "e2-onset"]
    assert said == ["webhook: answered 503; events wait"]


@pytest.mark.parametrize("code", [302, 400, 401])
def test_what_is_refused_is_told_and_dropped(web, code):
    address, posted, statuses = web
    statuses.append(code)
    said = []
    hook = Webhook(address_of(address, "--webhook", WEB), said.append, 10)
    hook.event(event(1))
    hook.event(event(2))
    wait_for(lambda: len(posted) == 2)
    hook.close()
    assert said == [f"webhook: answered {code} to an event, which is dropped"]


def test_what_waits_is_bounded_and_the_address_is_not_told(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    said = []
    address = address_of("http://user:hunter22@127.0.0.1:9/secret", "--webhook", WEB)
    hook = Webhook(address, said.append, 2)
    for number in range(4):
        hook.event(event(number))
    wait_for(lambda: any("refused" in line for line in said))
    hook.close()
    assert [one["id"] for one in hook._waiting] == ["e2", "e3"]
    assert said[-1] == "webhook: 2 events were not delivered"
    assert not any(word in line for line in said for word in ("hunter22", "secret", "127.0"))


@pytest.mark.parametrize(
    ("outlets", "said"),
    [
        (Outlets(mqtt="http://broker"), "--mqtt: the address is http://...; there are mqtt, mqtts"),
        (Outlets(mqtt="env:NO_SUCH"), "--mqtt: the environment has no NO_SUCH"),
        (Outlets(webhook="mailto:x"), "--webhook: the address is mailto://"),
        (Outlets(mqtt="mqtt://h", name="a/b"), "--name 'a/b': letters, digits"),
    ],
)
def test_a_wrong_outlet_is_named(outlets, said):
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
        outlets.sinks([], ListenConfig(), print)

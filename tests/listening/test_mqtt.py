"""A listener at a real broker: what it publishes, what waits, and what two of one name do."""

import dataclasses
import json
import subprocess
from datetime import timedelta

import pytest

from crywatch.listening.events import CryEvent, SecondScore, SourceState, State
from crywatch.listening.homeassistant import EXPIRE_S
from crywatch.listening.mqtt import Mqtt
from tests.helpers.broker_cases import Line, Subscriber, broker, mosquitto, reached, wait_for
from tests.helpers.listening_cases import BEGAN

HOUSE, COT = "crywatch/house/status", "crywatch/house/cot"


@pytest.fixture
def heard(tmp_path):
    """All that a broker of this test alone publishes: what another retained would come first."""
    with broker(tmp_path) as port:
        subscriber = Subscriber(port)
        yield subscriber
        subscriber.close()


@pytest.fixture
def started():
    """Makes listeners' sinks, and closes them at the end."""
    sinks = []

    def start(broker, said=None):
        sinks.append(Mqtt(broker, ["cot"], (said if said is not None else []).append))
        wait_for(lambda: sinks[-1]._is_connected)
        with sinks[-1]._lock:  # all that it publishes first is on its way
            return sinks[-1]

    yield start
    for sink in sinks:
        sink.close()


def event(number: int, lasts_s: float | None = None) -> CryEvent:
    onset = BEGAN + timedelta(minutes=number)
    cry = CryEvent(f"e{number}", "cot", 60.0 * number, onset, 0.9, 0.8)
    if lasts_s is None:
        return cry
    end_s = cry.onset_s + lasts_s
    return dataclasses.replace(cry, end_s=end_s, end=onset + timedelta(seconds=lasts_s))


def state(state: State) -> SourceState:
    return SourceState("cot", state, BEGAN)


def second(number: int) -> SecondScore:
    return SecondScore("cot", float(number), BEGAN + timedelta(seconds=number), 0.1, -40.0)


def test_a_source_is_a_device_with_its_states_and_events(heard, started):
    sink = started(reached(heard._client._port))
    sink.state(state(State.LISTENING))
    sink.event(event(1))
    sink.event(event(1, 90.0))
    wait_for(lambda: len(heard.of(f"{COT}/event")) == 2)
    onset, end = heard.records(f"{COT}/event")
    assert (onset["type"], onset["onset"]) == ("onset", "2026-03-01T03:01:00.000Z")
    assert (end["type"], end["id"], end["end"]) == ("end", onset["id"], "2026-03-01T03:02:30.000Z")
    wait_for(lambda: heard.of(f"{COT}/crying")[-2:] == ["ON", "OFF"])
    assert heard.retained[HOUSE] == heard.retained[f"{COT}/status"] == "online"
    assert json.loads(heard.retained[f"{COT}/attributes"]) == end
    assert json.loads(heard.retained[f"{COT}/minutes_today"])["minutes"] == 1.5


def test_home_assistant_finds_both_entities_of_one_device(heard, started):
    started(reached(heard._client._port))
    name = "crywatch_house_cot"
    topics = (
        f"homeassistant/binary_sensor/{name}/crying/config",
        f"homeassistant/sensor/{name}/minutes_today/config",
    )
    wait_for(lambda: f"{COT}/crying" in heard.retained)  # the last of what is published first
    crying, minutes = (json.loads(heard.retained[topic]) for topic in topics)
    assert (crying["device_class"], crying["expire_after"]) == ("sound", EXPIRE_S)
    assert crying["device"] == minutes["device"]
    assert crying["device"]["identifiers"] == [name]
    assert (crying["unique_id"], minutes["unique_id"]) == (
        f"{name}_crying",
        f"{name}_minutes_today",
    )
    for entity in (crying, minutes):
        assert entity["availability"] == [{"topic": HOUSE}, {"topic": f"{COT}/status"}]
        assert entity["availability_mode"] == "all"
    assert (crying["state_topic"], crying["json_attributes_topic"]) == (
        f"{COT}/crying",
        f"{COT}/attributes",
    )


def test_a_stall_is_told_and_so_is_the_listeners_end_however_it_comes(heard, started):
    sink = started(reached(heard._client._port))
    sink.state(state(State.LISTENING))
    sink.state(state(State.STALLED))
    wait_for(lambda: heard.of(f"{COT}/status")[-2:] == ["online", "offline"])
    sink._client._sock.shutdown(2)  # as if it had died: the broker has its last will
    wait_for(lambda: heard.of(HOUSE)[:2] == ["online", "offline"])
    wait_for(lambda: heard.retained[HOUSE] == "online")
    sink.close()
    wait_for(lambda: heard.retained.get(HOUSE) == "offline")


def test_events_wait_for_the_broker_and_come_once_and_in_order(heard, started):
    line, said = Line(heard._client._port), []
    sink = started(reached(line.port), said)
    sink.event(event(0))
    wait_for(lambda: heard.of(f"{COT}/event"))
    line.cut()
    wait_for(lambda: not sink._is_connected)
    for number in range(5):
        sink.event(event(number, 10.0))
    line.mend()
    wait_for(lambda: len(heard.of(f"{COT}/event")) == 6)
    sink.event(event(9))
    wait_for(lambda: heard.records(f"{COT}/event")[-1]["id"] == "e9")
    ids = [record["id"] for record in heard.records(f"{COT}/event")]
    assert ids == ["e0", "e0", "e1", "e2", "e3", "e4", "e9"]
    assert all(line.endswith("events wait") for line in said[:-1])  # a new one for each reason
    assert said[0].startswith("mqtt: the connection is lost")
    assert said[-1] == "mqtt: connected again"
    line.close()


def test_what_waits_is_bounded_and_the_newest_of_it_come(heard, started):
    line, said = Line(heard._client._port), []
    sink = started(reached(line.port, waiting=3), said)
    line.cut()
    wait_for(lambda: not sink._is_connected)
    for number in range(5):
        sink.event(event(number))
    assert "mqtt: 3 events wait; the oldest are dropped" in said
    line.mend()
    wait_for(lambda: len(heard.of(f"{COT}/event")) == 3)
    assert [record["id"] for record in heard.records(f"{COT}/event")] == ["e2", "e3", "e4"]
    line.close()


def test_a_listener_ends_although_it_has_not_noticed_that_the_line_is_cut(heard, started):
    line = Line(heard._client._port)
    sink = started(reached(line.port))
    line.cut()
    wait_for(lambda: not sink._is_connected)
    sink._is_connected = True
    sink.close()
    line.close()
    wait_for(lambda: heard.retained.get(HOUSE) == "offline")


def test_minutes_of_today_go_on_after_a_restart(heard, started):
    now = BEGAN.now(BEGAN.tzinfo)
    cry = dataclasses.replace(event(0, 120.0), onset=now - timedelta(seconds=120), end=now)
    if cry.onset.astimezone().date() != now.astimezone().date():
        pytest.skip("midnight is in between")
    sink = started(reached(heard._client._port))
    sink.event(cry)
    wait_for(lambda: f"{COT}/minutes_today" in heard.retained)
    sink.close()
    again = started(reached(heard._client._port))
    wait_for(lambda: again._devices["cot"].today.minutes(now) > 0)
    again.second(dataclasses.replace(second(0), at=now))
    wait_for(lambda: len(heard.of(f"{COT}/minutes_today")) == 2)
    assert [record["minutes"] for record in heard.records(f"{COT}/minutes_today")] == [2.0, 2.0]


def test_of_two_listeners_with_one_name_the_newer_is_heard_and_the_other_says_so(heard, started):
    said = []
    first = started(reached(heard._client._port), said)
    second = started(reached(heard._client._port))
    wait_for(lambda: said)
    assert said == [
        "mqtt: another listener is named house, and the broker hears that one now: start one of "
        "them with another --name"
    ]
    first.event(event(1))
    second.event(event(2))
    wait_for(lambda: heard.of(f"{COT}/event"))
    assert [record["id"] for record in heard.records(f"{COT}/event")] == ["e2"]
    assert not first._is_connected


def test_a_wrong_password_is_told_without_it_and_a_right_one_works(tmp_path):
    mosquitto()
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "cry", "lullaby-7"], check=True)
    passwords.chmod(0o644)
    said = []
    with broker(tmp_path, f"password_file {passwords}") as port:
        wrong = Mqtt(reached(port, "a", "cry:hunter22"), ["cot"], said.append)
        right = Mqtt(reached(port, "b", "cry", password="lullaby-7"), ["cot"], said.append)
        wait_for(lambda: said and right._is_connected)
        assert said == ["mqtt: the broker refuses: Not authorized; events wait"]
        for sink in (wrong, right):
            sink.close()
    assert "hunter22" not in repr(wrong._broker) and "lullaby" not in repr(right._broker)


def test_tls_is_checked(tmp_path):
    pytest.importorskip("cryptography")
    authority, certificate, key = certificates(tmp_path)
    said = []
    settings = (f"cafile {authority}", f"certfile {certificate}", f"keyfile {key}")
    with broker(tmp_path, *settings) as port:
        given = {"scheme": "mqtts"}
        strange = Mqtt(reached(port, "a", **given), ["cot"], said.append)
        known = Mqtt(reached(port, "b", ca=str(authority), **given), ["cot"], said.append)
        wait_for(lambda: said and known._is_connected)
        assert len(said) == 1 and "certificate verify failed" in said[0]
        for sink in (strange, known):
            sink.close()


def certificates(folder):
    """Files of an authority, and of a certificate for 127.0.0.1 with its key."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(host, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    private.chmod(0o644)  # the broker becomes another user
    return certificate, certificate, private

"""How sources are named, and what is told of wrong ones without their passwords."""

import pytest

from crywatch.core.errors import ConfigError
from crywatch.core.redact import redacted
from crywatch.listening.config import ListenConfig
from crywatch.listening.sources import Kind, Source, parse, parse_sources


@pytest.mark.parametrize(
    ("spec", "source"),
    [
        ("night.wav", Source("night", Kind.FILE, "night.wav")),
        ("a b/n@ght=1.wav", Source("n-ght-1", Kind.FILE, "a b/n@ght=1.wav")),
        ("cot=night.wav", Source("cot", Kind.FILE, "night.wav")),
        ("-", Source("input", Kind.INPUT, "")),
        ("cot=-", Source("cot", Kind.INPUT, "")),
        ("mic", Source("microphone", Kind.MICROPHONE, "")),
        ("mic:USB Audio", Source("USB-Audio", Kind.MICROPHONE, "USB Audio")),
        ("rtsp://cam.lan/1", Source("cam-lan", Kind.STREAM, "rtsp://cam.lan/1")),
        ("cot=https://x/?a=b", Source("cot", Kind.STREAM, "https://x/?a=b")),
    ],
)
def test_a_source_has_a_name_and_a_kind(spec, source):
    assert parse(spec) == source


@pytest.mark.parametrize(
    ("specs", "said"),
    [
        (["a/night.wav", "b/Night.wav"], "two sources are named"),
        (["-", "cot=-"], r"standard input \(-\) is one source"),
        (["ftp://u:hunter22@cam/1"], r"ftp://\.\.\.; there are rtsp"),
        (["rtsp:///1"], "names no host"),
        (["rtsp://u:hunter22@[cam/1"], "cannot be read"),
        (["rtsp://u:hunter22@cam:port/1"], "cannot be read"),
        (["cot=env:NO_SUCH"], "the environment has no NO_SUCH"),
        ([""], "has no place"),
    ],
)
def test_wrong_sources_are_told_without_their_address(specs, said):
    with pytest.raises(ConfigError, match=said) as caught:
        parse_sources(specs)
    assert "hunter22" not in str(caught.value)


def test_an_address_comes_from_the_environment_and_its_password_is_told_to_nobody(monkeypatch):
    monkeypatch.setenv("CAMERA", "rtsp://user:hunter22@cam/1")
    assert parse("cot=env:CAMERA").place == "rtsp://user:hunter22@cam/1"
    assert "hunter22" not in redacted("RTSP: hunter22 was refused")


@pytest.mark.parametrize(
    ("key", "value"),
    [("lookahead_s", 0.2), ("lookahead_s", 1.5), ("stall_s", 0), ("backoff_s", -1)],
)
def test_a_setting_that_cannot_be_is_named(key, value):
    config = ListenConfig()
    config.check()
    setattr(config, key, value)
    with pytest.raises(ConfigError, match=f"listen.{key} is {value:g}"):
        config.check()

"""Image, compose file and unit of a listener: what they start, and that nothing secret is there."""

import re
import shutil
import subprocess
import tomllib

import pytest
import yaml
from typer.testing import CliRunner

from crywatch.cli.main import app
from tests.helpers.dag import ROOT

FOLDER = ROOT / "deploy" / "listen"


def options() -> str:
    return CliRunner().invoke(app, ["listen", "--help"]).output


def compose() -> dict:
    return yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]["listen"]


def unit() -> dict[str, list[str]]:
    lines = (FOLDER / "crywatch-listen.service").read_text().splitlines()
    pairs = [line.partition("=")[::2] for line in lines if re.match(r"[A-Z]\w+=", line)]
    return {key: [value for name, value in pairs if name == key] for key, _ in pairs}


def test_the_image_installs_a_layer_without_torch_in_versions_that_are_pinned():
    [layer] = re.findall(r'"\.\[(\w+)\]"', (FOLDER / "Dockerfile").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"][layer]]
    wanted = {re.split(r"[<>=!\[; ]", line)[0].lower() for line in lines}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert wanted <= {line.partition("==")[0].lower() for line in lines}
    assert not {"torch", "crywatch"} & wanted  # nor a layer that brings it


def test_the_image_copies_what_is_there_and_runs_without_rights():
    text = (FOLDER / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        assert all((ROOT / source).exists() for source in line.split()[:-1]), line
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == ["python:3.11-slim-bookworm"] * 2
    assert "USER 10001:10001" in text


@pytest.mark.parametrize("words", [compose()["command"], unit()["ExecStart"][0].split()[2:]])
def test_what_is_started_has_options_that_there_are_and_its_secrets_from_the_environment(words):
    known = options()
    for word in words:
        if word.startswith("--"):
            assert word in known
        assert "://" not in word
    sources = [word for word in words if "=env:" in word or word.startswith("env:")]
    variables = {word.partition("env:")[2] for word in sources}
    assert variables == {"CAMERA", "BROKER"}
    assert variables | {"CRYWATCH_MQTT_PASSWORD"} == set(compose()["environment"])


def test_a_listener_has_time_to_end_its_events_and_no_rights():
    service = compose()
    assert service["read_only"] and service["cap_drop"] == ["ALL"]
    assert service["stop_grace_period"] == "15s" and unit()["TimeoutStopSec"] == ["15"]
    assert unit()["DynamicUser"] == ["yes"] and unit()["CapabilityBoundingSet"] == [""]


def test_systemd_takes_the_unit(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here: apt-get install systemd")
    text = (FOLDER / "crywatch-listen.service").read_text()
    path = tmp_path / "crywatch-listen.service"
    path.write_text(text.replace("/opt/crywatch/bin/crywatch", shutil.which("true")))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True
    )
    ours = [line for line in done.stderr.splitlines() if "crywatch-listen" in line]
    assert done.returncode == 0 and not ours, done.stderr

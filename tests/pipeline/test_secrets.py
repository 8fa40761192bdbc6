"""Secrets are planted in the environment and looked for in everything that a rebuild leaves."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml
from omegaconf import OmegaConf

from crywatch.cli import main as cli
from crywatch.core import params, project, redact
from crywatch.core.errors import ConfigError, CrywatchError
from tests.helpers.dag import ROOT, stages

PASSWORD = 'planted-pw/+=é"x'
PLANTED = {
    "HF_TOKEN": "hf_plantedTOKEN0123",
    "AWS_SECRET_ACCESS_KEY": "planted/aws+key=0123456789",
    "MLFLOW_TRACKING_PASSWORD": PASSWORD,
    "CRYWATCH_WEBHOOK": "https://hooks.invalid/services/T00/B00/plantedwebhook",
    "PLANTED_STORE": f"postgresql://someone:{quote(PASSWORD, safe='')}@db.invalid/mlflow",
}
MARK = "a-mark-that-is-no-secret"
# A stage of its own, that fails as libraries do: with the environment in its message.
FAILING = f"""
import os, sys
from crywatch import tracking
from crywatch.core.errors import CrywatchError
kind = sys.argv[1]
with tracking.stage_run("fail", kind):
    said = "{MARK} " + kind + " " + " ".join(os.environ.values()) + repr(dict(os.environ))
    raise CrywatchError(said) if kind == "said" else RuntimeError(said)
"""


@dataclass(frozen=True)
class Rebuilt:
    """A project after real stages and failing ones, and all that was said meanwhile."""

    folder: Path
    said: str


def environment(**more: str) -> dict[str, str]:
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "DVC_"))}
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return keep | PLANTED | {"PATH": programs, "DVC_NO_ANALYTICS": "1"} | more


def run(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    env = environment(PYTHONPATH=str(folder / "src"), **more)
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


def spelled(secret: str) -> set[bytes]:
    """How a secret could stand in a file."""
    texts = {secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1]}
    texts.add(base64.b64encode(secret.encode()).decode().rstrip("="))
    return {text.encode() for text in texts}


def leaks(data: bytes) -> list[str]:
    secrets = {name: value for name, value in PLANTED.items() if name != "PLANTED_STORE"}
    return [name for name, value in secrets.items() if any(s in data for s in spelled(value))]


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory) -> Rebuilt:
    folder = tmp_path_factory.mktemp("secrets")
    for name in ("src", "pipelines", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".dvcignore", folder)
    (folder / "pipelines" / "fail.py").write_text(FAILING)
    plan = {name: {"foreach": "${corpora}", "do": stages()[name]} for name in ("download", "clean")}
    plan["fail"] = {"cmd": "python pipelines/fail.py raised"}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": plan}))
    config = params.compose(["data.generator.esc50_clips_per_class=2"], ROOT / "conf")
    config.corpora = {"esc50": config.corpora.esc50}
    (folder / "params.yaml").write_text(OmegaConf.to_yaml(config, resolve=True))
    dvc = ("-m", "dvc")
    # A server that does not answer, behind an address with a password.
    gone = {"MLFLOW_TRACKING_URI": f"http://someone:{quote(PASSWORD, safe='')}@127.0.0.1:9"}
    done = [
        run(folder, *dvc, "init", "--no-scm", "--quiet"),
        run(folder, *dvc, "repro", "--verbose", "--keep-going"),
        run(folder, "pipelines/fail.py", "said", **gone),
        run(folder, "-m", "crywatch.cli", "deliver", **gone),
        run(folder, "-m", "crywatch.cli", "detect", "nothing.wav", "--model", MARK),
    ]
    assert (folder / "data/clean/esc50/clips.parquet").is_file(), done[1].stderr[-3000:]
    assert [one.returncode != 0 for one in done] == [False, True, True, True, True]
    return Rebuilt(folder, "".join(one.stdout + one.stderr for one in done))


def test_what_is_said_holds_no_secret(rebuilt):
    assert rebuilt.said.count(f"{MARK} said") and rebuilt.said.count(f"{MARK} raised")
    assert "Traceback" in rebuilt.said  # of the error that nobody foresaw
    assert "records to http://127.0.0.1:9, " in rebuilt.said  # the server did not answer
    assert "Max retries exceeded" in rebuilt.said
    assert leaks(rebuilt.said.encode()) == []


def test_no_byte_of_the_project_holds_a_secret(rebuilt):
    found, searched, marked = [], set(), set()
    for path in (path for path in rebuilt.folder.rglob("*") if path.is_file()):
        name = path.relative_to(rebuilt.folder)
        data = path.read_bytes()
        found += [f"{name}: {leak}" for leak in leaks(data)]
        searched.add(name.parts[0])
        marked |= {name.parts[0]} if MARK.encode() in data else set()
    assert found == []
    assert {"params.yaml", "dvc.lock", "mlflow.db", "mlartifacts", "data", ".dvc"} <= searched
    assert "mlflow.db" in marked  # what the errors said is kept, without the secrets


def test_the_search_would_find_a_secret():
    for name, value in PLANTED.items():
        if name != "PLANTED_STORE":
            assert leaks(f"x{value}x".encode()) == leaks(quote(value, safe="").encode()) == [name]
    assert leaks(PLANTED["PLANTED_STORE"].encode()) == ["MLFLOW_TRACKING_PASSWORD"]


def test_what_a_rebuild_made_is_closed_to_others(rebuilt):
    for name in ("data", "mlartifacts", ".dvc/cache", ".dvc/tmp", "mlflow.db"):
        assert not (rebuilt.folder / name).stat().st_mode & 0o077, name


# Parameters


def test_no_parameter_reads_the_environment():
    telling = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in sorted((ROOT / "conf").rglob("*.yaml"))
        for line in path.read_text().splitlines()
        if redact.READ.search(line) or "${hydra:" in line
    ]
    assert telling == []


@pytest.mark.parametrize("override", ["+a.b=${oc.env:HF_TOKEN}", "+a.b='x hf_plantedTOKEN0123'"])
def test_a_secret_never_becomes_a_parameter(tmp_path, monkeypatch, override):
    monkeypatch.setenv("HF_TOKEN", PLANTED["HF_TOKEN"])
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    with pytest.raises(
        ConfigError, match=r"a\.b (reads|holds a secret of) the environment"
    ) as caught:
        params.compose_to_file([override], tmp_path)
    assert not (tmp_path / "params.yaml").exists()
    assert PLANTED["HF_TOKEN"] not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"a": {"b": "x-${oc.env:HOME,none}"}}, "a.b reads the environment"),
        ({"a": {"b": "${ env:HOME}"}}, "a.b reads the environment"),
        ({"a": [1, "x hf_plantedTOKEN0123 y"]}, "a[1] holds a secret of the environment"),
        ({"uri": "http://me:some-word@host/"}, "uri holds an address with a password"),
        ({"hub": {"api_key": "abc"}}, "hub.api_key holds a secret, by its name"),
        ({"hf_token": "abc"}, "hf_token holds a secret, by its name"),
    ],
)
def test_parameters_with_secrets_are_named(monkeypatch, values, said):
    monkeypatch.setenv("HF_TOKEN", PLANTED["HF_TOKEN"])
    [found] = redact.found_in(values)
    assert found.startswith(said) and PLANTED["HF_TOKEN"] not in found


def test_a_secret_that_came_into_params_yaml_otherwise_stops_every_stage(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", PLANTED["HF_TOKEN"])
    (tmp_path / "params.yaml").write_text(f"data: {{mirror: {PLANTED['HF_TOKEN']}}}\n")
    with pytest.raises(ConfigError, match="data.mirror holds a secret") as caught:
        params.plain("data", tmp_path / "params.yaml")
    assert PLANTED["HF_TOKEN"] not in str(caught.value)


def test_names_of_where_a_secret_is_are_no_secrets():
    told = {"webhook_env": "CRYWATCH_WEBHOOK", "token_file": "a/b", "tokens": 3, "password": ""}
    assert list(redact.found_in(told)) == []


def test_a_password_that_is_a_word_forbids_no_parameter(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "crywatch")
    assert list(redact.found_in({"tracking": {"experiment": "crywatch"}})) == []


# Texts


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a hf_plantedTOKEN0123.", "a ***."),
        (repr({"p": PASSWORD}), "{'p': '***'}"),
        (json.dumps({"p": PASSWORD}), '{"p": "***"}'),
        ("s3://other:pw@host/x?a=b@c", "s3://***@host/x?a=b@c"),
        ("https://ghp_token@github.invalid/x.git", "https://***@github.invalid/x.git"),
        ("mail me@host.invalid, sqlite:///a@b.db", "mail me@host.invalid, sqlite:///a@b.db"),
    ],
)
def test_texts_lose_secrets_and_nothing_else(monkeypatch, text, shown):
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    assert redact.redacted(text) == shown


def test_short_values_and_names_of_places_are_left(monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "1234")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/token")
    assert redact.redacted("1234 in /var/run/token") == "1234 in /var/run/token"


def test_an_error_of_a_command_is_told_without_secrets(monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", PLANTED["HF_TOKEN"])

    def fail() -> None:
        raise CrywatchError(f"{MARK}: cannot log in with {PLANTED['HF_TOKEN']}")

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert capsys.readouterr().err == f"crywatch: {MARK}: cannot log in with ***\n"


# Permissions of a project


def test_a_project_that_dvc_shares_by_group_stays_open(tmp_path):
    (tmp_path / "data").mkdir(mode=0o775)
    (tmp_path / "data").chmod(0o775)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    (tmp_path / ".dvc" / "config.local").write_text("[cache]\n    shared = group\n")
    project.close(tmp_path)
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o775
    (tmp_path / ".dvc" / "config.local").unlink()
    project.close(tmp_path)
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_what_a_link_points_to_stays_open(tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o755)
    (tmp_path / "elsewhere").chmod(0o755)
    (tmp_path / "data").symlink_to(tmp_path / "elsewhere")
    project.close(tmp_path)
    assert (tmp_path / "elsewhere").stat().st_mode & 0o777 == 0o755

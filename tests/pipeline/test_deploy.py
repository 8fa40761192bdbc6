"""Workflows, manifest and image, as far as they can be checked without their hosts."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from crywatch import __version__
from crywatch.cli.main import app
from crywatch.cli.retrain import EXIT_LOCKED
from crywatch.operations import worktree
from crywatch.operations.retrain import rebuild
from crywatch.operations.schedule.cron import check_expression
from tests.helpers.dag import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MANIFEST = ROOT / "deploy" / "kubernetes" / "retrain-cronjob.yaml"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")


def workflow(path: Path) -> dict:
    """A workflow; YAML takes its key `on` for true."""
    read = yaml.safe_load(path.read_text())
    return read | {"on": read.pop(True)}


def steps(path: Path) -> Iterator[dict]:
    for job in workflow(path)["jobs"].values():
        yield from job["steps"]


def objects() -> dict[str, dict]:
    return {one["kind"]: one for one in yaml.safe_load_all(MANIFEST.read_text())}


def pod() -> dict:
    return objects()["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def shell(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)


# GitHub Actions


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_to_commits_and_their_version_is_told(path):
    told = [line for line in path.read_text().splitlines() if "uses:" in line]
    assert told
    for line in told:
        name, _, version = line.partition("uses:")[2].partition("#")
        assert PINNED.fullmatch(name.strip()), line
        assert re.fullmatch(r" v\d+\.\d+\.\d+", version), line


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read_and_ends(path):
    read = workflow(path)
    assert read["permissions"] == {"contents": "read"}
    assert read["concurrency"]["group"]
    for job in read["jobs"].values():
        assert job["timeout-minutes"] <= 360  # a runner is taken away after six hours
        assert "latest" not in job["runs-on"]
    for step in steps(path):
        if "checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_secrets_are_given_to_steps_and_to_nothing_else(path):
    read = workflow(path)
    assert "secrets." not in json.dumps({k: v for k, v in read.items() if k != "jobs"})
    for job in read["jobs"].values():
        assert "secrets." not in json.dumps({k: v for k, v in job.items() if k != "steps"})
    for step in steps(path):
        script = step.get("run", "")
        # What is written into a script is run as code, and stands in the log.
        assert EXPRESSION.findall(script) == []
        assert "secrets." not in json.dumps({k: v for k, v in step.items() if k != "env"})
        given = {
            name
            for name, value in step.get("env", {}).items()
            if any(one.startswith("secrets.") for one in EXPRESSION.findall(str(value)))
        }
        assert not any(f"${name}" in script or f"${{{name}" in script for name in given)
        assert not re.search(r"\b(printenv|set -x|xtrace)\b|^\s*env\s*$", script, re.MULTILINE)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_scripts_are_bash_and_run_what_there_is(path):
    for step in steps(path):
        script = step.get("run", "")
        done = shell(script)
        assert (done.returncode, done.stderr) == (0, ""), step
        for line in script.splitlines():
            words = shlex.split(line.split("||")[0], comments=True) if "crywatch" in line else []
            if words[:1] == ["crywatch"]:
                exists(words[1:])
        for name in re.findall(r"(?<![\w/])\.ci/\w+", script):
            assert os.access(ROOT / name, os.X_OK), name
        for target in re.findall(r"\bmake (\w+)", script):
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def exists(words: list[str]) -> None:
    """A command of crywatch takes these words."""
    names = [word for word in words if not word.startswith("-")]
    options = [word for word in words if word.startswith("--")]
    if names[:1] == ["retrain"]:
        pytest.importorskip("crywatch.operations.retrain")
    done = CliRunner().invoke(app, [*names[:2], "--help"])
    assert done.exit_code == 0, done.output
    assert all(option in done.output for option in options)


def test_the_retraining_workflow_runs_one_at_a_time_and_keeps_its_state():
    [path] = [path for path in WORKFLOWS if path.stem == "retrain"]
    read = workflow(path)
    assert {"schedule", "workflow_dispatch"} <= set(read["on"])
    for entry in read["on"]["schedule"]:
        check_expression(entry["cron"])
    assert read["concurrency"]["cancel-in-progress"] is False
    by_name = {step.get("name", step.get("uses")): step for step in steps(path)}
    # Also a run that failed is kept: a cache that is saved by its own step at the end is not.
    restore, save = [step for step in steps(path) if "actions/cache" in step.get("uses", "")]
    assert "/restore@" in restore["uses"] and "/save@" in save["uses"]
    assert save["if"] == "always()"
    assert {".dvc/cache", "retraining"} == set(save["with"]["path"].split())
    for key in ("key", "path"):
        assert restore["with"][key] == save["with"][key]
    assert "run_attempt" in save["with"]["key"]  # a key is never written twice
    [checkout] = [step for name, step in by_name.items() if "checkout" in name]
    assert checkout["with"]["fetch-depth"] == 0
    *_, report = list(steps(path))
    # Records and listings name recordings, and whoever may read the repository reads this.
    assert report["if"] == "always()" and report["with"]["path"] == "retraining/reports"


def test_what_a_retraining_made_is_pushed_from_its_copy(tmp_path):
    [path] = [path for path in WORKFLOWS if path.stem == "retrain"]
    [step] = [step for step in steps(path) if "dvc push" in step.get("run", "")]
    fake = tmp_path / "bin" / "dvc"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\necho "$PWD: $*"\n')
    fake.chmod(0o755)

    def said() -> str:
        return subprocess.run(
            ["bash", "-eo", "pipefail", "-c", step["run"]],
            cwd=tmp_path,
            env=os.environ | {"PATH": f"{fake.parent}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert said() == ""
    copy = tmp_path / worktree.FOLDER / rebuild.NAME
    copy.mkdir(parents=True)
    assert said() == f"{copy}: push --run-cache\n"


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (1, 1), (EXIT_LOCKED, 0), (2, 2)])
def test_a_lock_that_another_holds_fails_no_workflow(tmp_path, code, ends):
    [path] = [path for path in WORKFLOWS if path.stem == "retrain"]
    [step] = [step for step in steps(path) if "crywatch retrain" in step.get("run", "")]
    fake = tmp_path / "crywatch"
    fake.write_text(f"#!/bin/sh\nexit {code}\n")
    fake.chmod(0o755)
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        env=os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == ends
    assert ("::notice::" in done.stdout) == (code == EXIT_LOCKED)


def test_a_repository_without_its_variables_is_told_which_are_missing():
    [path] = [path for path in WORKFLOWS if path.stem == "retrain"]
    [step] = [step for step in steps(path) if step.get("name") == "What has to be set"]
    keep = {k: v for k, v in os.environ.items() if k not in ("DVC_REMOTE_URL",)}
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", step["run"]],
        env=keep | {"MLFLOW_TRACKING_URI": "https://here.invalid", "DVC_REMOTE_URL": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "variable DVC_REMOTE_URL" in done.stdout
    assert "variable MLFLOW_TRACKING_URI" not in done.stdout


# pip-audit

WEAK = {
    "name": "weak",
    "version": "1.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": [], "description": ""}],
}
SOUND = {"name": "sound", "version": "2.0", "vulns": []}
UNKNOWN = {"name": "unknown", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ([SOUND], ["1 of 1 packages looked up, 0 known."]),
        (
            [WEAK, SOUND, UNKNOWN],
            [
                "2 of 3 packages looked up, 1 known.",
                "| weak | 1.0 | PYSEC-1 | 1.1 |",
                "Not looked up: unknown.",
            ],
        ),
        ([UNKNOWN], ["gave no answer", "knows none of the 1 packages"]),
        (None, ["gave no answer", "cannot connect"]),
    ],
)
def test_an_audit_is_a_report_and_no_answer_is_no_good_one(tmp_path, answer, told):
    program = tmp_path / "audit"
    said = "" if answer is None else json.dumps({"dependencies": answer, "fixes": []})
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{said}\nEND\necho cannot connect >&2\nexit 1\n")
    program.chmod(0o755)
    audit(tmp_path, str(program), told)


def test_an_audit_without_its_program_says_so(tmp_path):
    audit(tmp_path, str(tmp_path / "nothing"), ["gave no answer", "No such file"])


def audit(folder: Path, program: str, told: list[str]) -> None:
    summary = folder / "summary.md"
    done = subprocess.run(
        [sys.executable, ROOT / ".ci" / "audit", folder / "audit.md"],
        env=os.environ | {"PIP_AUDIT": program, "GITHUB_STEP_SUMMARY": str(summary)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    report = (folder / "audit.md").read_text()
    assert summary.read_text() == report and report in done.stdout
    for words in told:
        assert words in report


# Kubernetes


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on this machine")
def test_kubectl_reads_the_manifest_and_drops_nothing_of_it():
    job = objects()["CronJob"]
    # Without a server kubectl reads the object into its own types, and leaves out what it does not
    # know; a value of another type is an error.
    done = subprocess.run(
        ["kubectl", "set", "image", "--local", "-f", "-", "retrain=crywatch:other", "-o", "json"],
        input=yaml.safe_dump(job),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    template = read["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert template["containers"][0].pop("image") == "crywatch:other"
    assert missing(job, read) == ["spec.jobTemplate.spec.template.spec.containers[0].image"]


def missing(given: object, read: object, where: str = "") -> list[str]:
    """What of ``given`` is not in ``read``."""
    if isinstance(given, dict) and isinstance(read, dict):
        names = [(f"{where}.{name}".lstrip("."), given[name], read.get(name)) for name in given]
    elif isinstance(given, list) and isinstance(read, list) and len(given) == len(read):
        pairs = zip(given, read, strict=True)
        names = [(f"{where}[{at}]", one, other) for at, (one, other) in enumerate(pairs)]
    else:
        return [] if given == read else [where]
    return [found for name, one, other in names for found in missing(one, other, name)]


def test_one_retraining_at_a_time_and_none_is_lost():
    spec = objects()["CronJob"]["spec"]
    assert check_expression(spec["schedule"])
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["startingDeadlineSeconds"] > 3600
    job = spec["jobTemplate"]["spec"]
    assert job["backoffLimit"] <= 2 and job["activeDeadlineSeconds"] > 3600
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    [locked] = [rule for rule in job["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
    assert locked["onExitCodes"]["values"] == [EXIT_LOCKED] and locked["action"] == "FailJob"
    names = [one["name"] for one in job["template"]["spec"]["containers"]]
    assert locked["onExitCodes"]["containerName"] in names


def test_containers_have_no_rights_and_write_only_to_their_volumes():
    spec = pod()
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    assert spec["automountServiceAccountToken"] is False
    volumes = {volume["name"] for volume in spec["volumes"]}
    for container in (*spec["initContainers"], *spec["containers"]):
        closed = container["securityContext"]
        assert closed["readOnlyRootFilesystem"] is True
        assert closed["allowPrivilegeEscalation"] is False
        assert closed["capabilities"] == {"drop": ["ALL"]}
        assert {"requests", "limits"} <= set(container["resources"])
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        assert "umask 077" in container["args"][0]
        done = shell(container["args"][0])
        assert (done.returncode, done.stderr) == (0, "")
    [claim] = [v["persistentVolumeClaim"] for v in spec["volumes"] if "persistentVolumeClaim" in v]
    assert claim["claimName"] == objects()["PersistentVolumeClaim"]["metadata"]["name"]


def test_secrets_come_from_an_object_of_secrets():
    spec = pod()
    told = objects()["ConfigMap"]["data"]
    secret = re.compile("PASSWORD|SECRET|TOKEN|KEY|WEBHOOK")
    assert not any(secret.search(name) for name in told)
    for container in (*spec["initContainers"], *spec["containers"]):
        for entry in container.get("env", []):
            assert "value" not in entry
            source = entry["valueFrom"]
            assert ("secretKeyRef" in source) == bool(secret.search(entry["name"])) or (
                entry["name"] == "MLFLOW_TRACKING_USERNAME"
            )
            if "configMapKeyRef" in source:
                assert source["configMapKeyRef"]["key"] in told
        assert not any(f"${name}" in container["args"][0] for name in ("HF_TOKEN", "AWS_"))


def test_the_volume_is_cloned_once_and_then_brought_up_to_date(tmp_path):
    [container] = pod()["initContainers"]
    origin, volume = tmp_path / "origin", tmp_path / "volume"
    volume.mkdir()
    git("init", "--quiet", "--initial-branch", "main", str(origin))
    script = container["args"][0].replace("/project", str(volume))
    for text in ("one", "two"):
        (origin / "file").write_text(text)
        git("-C", str(origin), "add", "file")
        git("-C", str(origin), "commit", "--quiet", "--message", text)
        done = subprocess.run(
            [*container["command"], script],
            env=os.environ | {"REPOSITORY": str(origin), "BRANCH": "main"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert (volume / "crywatch" / "file").read_text() == text
        kept = volume / "crywatch" / "kept"
        assert text == "one" or kept.read_text() == "a cache"
        kept.write_text("a cache")
        (volume / "crywatch" / ".git" / "index.lock").touch()  # its pod was killed


def git(*words: str) -> None:
    who = ["-c", "user.name=x", "-c", "user.email=x@host.invalid"]
    subprocess.run(["git", *who, *words], check=True, capture_output=True)


# The image


def instructions() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile with what they say, continued lines joined."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    text = re.sub(r"\\\n", " ", "\n".join(lines))
    parted = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [(name, said) for name, said in parted]


def test_the_image_has_known_instructions_and_what_it_copies_is_there():
    known = {"FROM", "RUN", "WORKDIR", "COPY", "ARG", "ENV", "USER", "ENTRYPOINT", "CMD"}
    assert {name for name, _ in instructions()} <= known
    for name, said in instructions():
        if name == "COPY" and "--from" not in said:
            for source in said.split()[:-1]:
                assert (ROOT / source).exists(), source
        if name == "RUN":
            done = shell(said)
            assert (done.returncode, done.stderr) == (0, ""), said


def test_the_image_is_of_the_projects_python_and_runs_as_the_manifests_user():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bases = [said.split()[0] for name, said in instructions() if name == "FROM"]
    assert bases and all(re.fullmatch(r"python:3\.11-slim-bookworm", base) for base in bases)
    assert project["requires-python"].startswith(">=3.11")
    users = [said for name, said in instructions() if name == "USER"]
    context = pod()["securityContext"]
    assert users == [f"{context['runAsUser']}:{context['runAsGroup']}"]
    [extras] = re.findall(r'"\.\[([\w,]+)\]"', DOCKERFILE.read_text())
    [path] = [path for path in WORKFLOWS if path.stem == "retrain"]
    [installed] = re.findall(r"make install EXTRAS=(\S+)", path.read_text())
    [needed] = re.findall(r"EXTRAS \?= (\S+)", (ROOT / "Makefile").read_text())
    for layers in (extras, installed):
        assert (
            set(needed.split(",")) <= set(layers.split(",")) <= {*project["optional-dependencies"]}
        )
    assert all(one["image"] == f"crywatch:{__version__}" for one in pod()["containers"])


def test_the_image_starts_what_there_is():
    [start], [words] = (
        [json.loads(said) for name, said in instructions() if name == one]
        for one in ("ENTRYPOINT", "CMD")
    )
    assert start == ["crywatch"]
    exists(words)

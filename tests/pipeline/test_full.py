"""Profile full on a local server that stands for all publishers: what comes, and what does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import constants

from crywatch import corpora
from crywatch.core import params, paths
from crywatch.corpora.download import DataConfig, DownloadConfig, run
from crywatch.corpora.generate import GeneratorConfig
from crywatch.data.check import missing_lines
from tests.helpers.dag import ROOT
from tests.helpers.publishers_cases import (
    TOKEN,
    YT_DLP,
    Publishers,
    moved,
    project_of,
    publish_networks,
    publishing,
    variables,
)
from tests.helpers.short_cases import SHORT, write_short

TINY = GeneratorConfig(3, 1, 3, 2, 1, other_infants=1)  # to be downloaded
SMALL = GeneratorConfig(3, 4, 8, 14, 3, other_infants=6)  # to be trained on
FULL = ["profile=full", "lines=few", *SHORT]
FULL.append("score.compared.systems=[yamnet/zero_shot, baselines/svc, blazenet/all_1s]")
ON_REQUEST = {"chillanto", "discomfort_pain"}
OPTIONAL = {"audioset", "cryceleb", "debian", "enesbabycries", "icsd", "urbansound8k", *ON_REQUEST}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """params.yaml of the profile as it is."""
    folder = with_conf(tmp_path_factory.mktemp("plain"))
    params.compose_to_file(["profile=full"], folder)
    return folder / params.PARAMS_FILE


def with_conf(folder: Path) -> Path:
    shutil.copytree(ROOT / "conf", folder / "conf")
    return folder


@pytest.fixture(scope="module")
def tiny(plain, tmp_path_factory):
    folder = tmp_path_factory.mktemp("publishers")
    with publishing(folder, TINY, params.plain("corpora", plain)) as publishers:
        yield publishers


@pytest.fixture(scope="module")
def small(plain, tmp_path_factory):
    folder = tmp_path_factory.mktemp("publishers")
    with publishing(folder, SMALL, params.plain("corpora", plain)) as publishers:
        publish_networks(publishers, folder)
        yield publishers


def giving(publishers: Publishers, gives: bool) -> Publishers:
    """With all that can be had, or with nothing that can be refused."""
    publishers.gives = gives
    publishers.blocks = not gives
    publishers.refused = set() if gives else {"api.osf.io", "zenodo.org", "snapshot.debian.org"}
    return publishers


ALL_OR_NOTHING = pytest.mark.parametrize(
    "publishers", [True, False], ids=["everything", "nothing optional"], indirect=True
)


@pytest.fixture
def publishers(request):
    """The corpora of the test's size, by whether they are given."""
    nightly = request.node.get_closest_marker("nightly")
    return giving(request.getfixturevalue("small" if nightly else "tiny"), request.param)


def on_request(publishers: Publishers) -> list[str]:
    """Parameters with the folders, where they were given."""
    folders = {name: publishers.folder / name for name in sorted(ON_REQUEST)}
    given = [f"corpus.{name}.folder={folder}" for name, folder in folders.items()]
    return given if publishers.gives else []


def test_every_stage_of_the_profile_has_its_place_in_the_dag(plain, tmp_path):
    from dvc.repo import Repo

    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    shutil.copy(plain, with_conf(tmp_path))
    values = params.plain(path=plain)
    with Repo.init(str(tmp_path), no_scm=True) as repo:
        names = {stage.name for stage in repo.index.stages}
    assert {f"clean@{name}" for name in values["corpora"]} <= names
    assert {"train_blazenet@mined_published_1s", "mine_published@untrimmed"} <= names
    assert not [name for name in names if "$" in name]
    needed = set(values["corpora"]) - OPTIONAL
    left_out = {one["leave_out"] for one in values["train_blazenet"]["variants"].values()}
    assert needed == left_out - {""}  # what a line leaves out has to be there


@pytest.fixture
def brought(publishers, plain, tmp_path, monkeypatch):
    """The stage download of every corpus of the profile; what the end of the rebuild says."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for key, value in variables(tmp_path, publishers, TOKEN if publishers.gives else "").items():
        if key not in ("PYTHONPATH", "HF_HOME"):
            monkeypatch.setenv(key, value)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
    standin: dict = {}
    exec(YT_DLP, standin)
    monkeypatch.setattr("yt_dlp.YoutubeDL", standin["YoutubeDL"])
    file = with_conf(tmp_path) / params.PARAMS_FILE
    if given := on_request(publishers):
        params.compose_to_file(["profile=full", *given], tmp_path)
    else:
        shutil.copy(plain, file)
    data = params.section("data", DataConfig, file)
    config = params.section("download", DownloadConfig, file)
    config = replace(config, clips=replace(config.clips, sleep_s=0, retries=0))
    for name in params.plain("corpora", file):
        loader = corpora.get(name)
        remotes = tuple(moved(remote, publishers) for remote in loader.remotes)
        monkeypatch.setattr(type(loader), "remotes", remotes)
        run(
            name,
            data,
            config,
            tmp_path / paths.raw(name),
            tmp_path / "work" / name,
            params.section(f"corpus.{name}", loader.options, file),
        )
    return missing_lines(tmp_path)


@ALL_OR_NOTHING
def test_what_the_publishers_give_comes_and_the_rest_is_told(publishers, brought, tmp_path):
    rows = {line.split()[0]: line for line in brought[2:13]}
    assert set(rows) == OPTIONAL | {"esc50", "baby_cry_detection", "donateacry"}
    why = dict(line.split(": ", 1) for line in brought[13:])
    if publishers.gives:
        for name, line in rows.items():
            assert f" {'in part' if name == 'audioset' else 'all'} " in line
            assert list(corpora.get(name).index(tmp_path / paths.raw(name)))
        features = tmp_path / paths.raw("audioset") / "audioset_v1_embeddings"
        assert len(list(features.rglob("*.tfrecord"))) == 3
        assert list(why) == ["audioset"] and why["audioset"].startswith("gone for good: private ")
        return
    nothing = {name for name, line in rows.items() if " nothing " in line}
    assert nothing == OPTIONAL == set(why)
    for name in ("cryceleb", "icsd"):
        assert "no token. Accept the terms at https" in why[name] and "HF_TOKEN" in why[name]
    for name in ("debian", "enesbabycries", "urbansound8k"):
        assert "HTTP 403" in why[name]
    assert "the host blocks" in why["audioset"] and "clips are kept in" in why["audioset"]
    for name in ON_REQUEST:
        assert f"corpus.{name}.folder=FOLDER" in why[name]
    for name in OPTIONAL - ON_REQUEST:
        assert why[name].endswith(f"`dvc repro -f -s download@{name}` and `crywatch repro`")


def program(folder: Path, publishers: Publishers, *words: str) -> str:
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "HF_"))}
    keep |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    keep |= variables(folder, publishers, TOKEN if publishers.gives else "")
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env=keep | {"DVC_NO_ANALYTICS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@ALL_OR_NOTHING
def test_the_whole_rebuild_ends_with_what_there_is(publishers, tmp_path):
    """Lines few, seconds of training: all stages but `lines=all`'s repetitions of them."""
    given = [*FULL, *on_request(publishers), "download.clips={sleep_s: 0, retries: 0}"]
    folder = project_of(tmp_path / "project", publishers, lambda at: write_short(at, given))
    program(folder, publishers, "dvc", "init", "--no-scm", "--quiet")
    said = program(folder, publishers, "crywatch.cli", "repro")
    lock = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    assert {"report", "train_blazenet@mined_published_1s", "evaluate_verification"} <= set(lock)
    assert "not all of the corpora came:" in said
    detection = (folder / "data/reports/detection.md").read_text()
    infants = (folder / "data/reports/infants.md").read_text()
    assert "Corpora: what came of them" in detection
    mined = "Mined top-2 from AudioSet's features"
    assert (mined in detection) == publishers.gives
    trials = "EER published, test trials" in infants and "37.92 %" in infants
    assert trials == publishers.gives
    assert "ECAPA-TDNN off the shelf" in infants
    again = program(folder, publishers, "crywatch.cli", "repro")
    assert "Running stage" not in again and "not all of the corpora came:" in again

"""docs/extending.md: its diffs apply to this tree, touch four places at most, and work."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.nightly

ROOT = Path(__file__).parents[2]
DIFFS = re.findall(r"```diff\n(.*?)```", (ROOT / "docs/extending.md").read_text(), re.DOTALL)
KINDS = ("corpus", "stage", "detector", "loss")

# What a user of the extended tree does. The corpus is downloaded, cleaned and split.
CORPUS = """
from pathlib import Path
from crywatch import corpora
from crywatch.core import params, paths
from crywatch.corpora import download
from crywatch.data import clean, split
from crywatch.data.tables import read_table
from crywatch.data.tables.clips import SPLIT_CLIPS

for name in params.plain("corpora"):
    download.run(
        name,
        params.section("data", download.DataConfig),
        params.section("download", download.DownloadConfig),
        paths.raw(name),
        paths.WORK / name,
        params.section(f"corpus.{name}", corpora.get(name).options),
    )
    config = params.section("clean", clean.CleanConfig)
    clean.run(corpora.get(name), config, paths.raw(name), paths.clean(name), paths.WORK / name)
folders = [paths.clean(name) for name in params.plain("corpora")]
config = params.section("split", split.SplitConfig)
split.run(folders, config, 1, paths.SPLIT, paths.SPLIT_INFANTS)
clips = read_table(paths.SPLIT_CLIPS, SPLIT_CLIPS)
toy = clips[clips["corpus"] == "toy"]
assert sorted(toy["label"]) == ["cry"] * 3 + ["other"] * 3, toy
assert set(toy["licence"]) == {"CC0 1.0"} and len(clips) > len(toy)
"""
STAGE = """
from crywatch.core import params, paths
from crywatch.data.loudness import LoudnessConfig, run

levels = run(paths.SPLIT_CLIPS, params.section("loudness", LoudnessConfig))
assert set(levels) == {"esc50_dbfs", "toy_dbfs"}
assert all(-90 < level < 0 for level in levels.values())
"""
DETECTOR = """
import numpy as np, torch
from pathlib import Path
from crywatch import load_detector
from crywatch.core.models import ModelFolder, save

save(Path("loud"), ModelFolder({"kind": "loudness", "name": "loud"}, {"gain": torch.tensor(2.0)}))
tone = np.sin(np.arange(48_000) * np.pi / 8, dtype=np.float32)  # a constant is no sound
wave = tone * np.repeat(np.float32([0.0, 0.4, 0.1]), 16_000)
detection = load_detector("loud").detect(wave)
assert [round(second.cry, 3) for second in detection.seconds] == [0.0, 0.8, 0.2]
assert [(event.onset_s, event.offset_s) for event in detection.events] == [(1.0, 2.0)]
"""
LOSS = """
import torch
from crywatch.core import params
from crywatch.detection.anomaly.losses import BagLossConfig, build
from crywatch.detection.anomaly.network import RtfmNetwork

loss = build(params.section("mine.loss", BagLossConfig), 2, 8)
assert type(loss).__name__ == "MeanScore"
output = RtfmNetwork(8)(torch.zeros(4, 5, 8))
assert loss(output, output).isfinite() and loss.bag_scores(output).shape == (4,)
"""
FOLLOWED = dict(zip(KINDS, (CORPUS, STAGE, DETECTOR, LOSS), strict=True))


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the tree with all four additions, its parameters composed."""
    folder = tmp_path_factory.mktemp("extended")
    for name in ("src", "conf", "pipelines"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, folder)
    for diff in DIFFS:
        command = ["git", "apply", "--whitespace=nowarn", "-"]
        applied = subprocess.run(command, cwd=folder, input=diff, capture_output=True, text=True)
        assert applied.returncode == 0, f"docs/extending.md: {applied.stderr}"
    words = ["corpora=[esc50,toy]", "split.infants.only=[]", "loss@mine.loss=mean"]
    words += ["data.generator.esc50_clips_per_class=2"]
    run(folder, "-m", "crywatch.cli", "params", *words)
    return folder


def run(folder: Path, *words: str) -> None:
    """Python in ``folder``, with the sources there."""
    env = os.environ | {"PYTHONPATH": str(folder / "src")}
    ended = subprocess.run(
        [sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr


def test_each_addition_touches_four_places_at_most():
    assert len(DIFFS) == len(KINDS)
    assert all(1 < diff.count("diff --git") <= 4 for diff in DIFFS)


def test_the_commands_write_what_follows(extended):
    assert "  - loudness\n" in (extended / "conf/stage/all.yaml").read_text()
    run(extended, "-m", "crywatch.cli", "dag")
    written = (extended / "dvc.yaml").read_text()
    for module in ("data/loudness", "detection/loudness"):
        assert f"- src/crywatch/{module}.py\n" in written, module


def test_the_additions_do_what_they_say(extended):
    for kind in KINDS:  # the stage reads the tables that the corpus is in
        run(extended, "-c", FOLLOWED[kind])

"""Another model is taken over while listening goes on."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from crywatch.core.errors import ModelError, UnreachableError
from crywatch.listening.model_watch import ModelWatch


class World:
    """Models are folders with a file; `named` is the one that the name stands for."""

    def __init__(self, folder: Path):
        self.used, self.lines, self.fails = [], [], None
        for name in "ab":
            (folder / name).mkdir()
            (folder / name / "weights").write_text(name)
        self.folder, self.named = folder, folder / "a"
        self.watch = self.begin(1e6)

    def begin(self, period_s: float) -> ModelWatch:
        return ModelWatch(
            self.find, self.load, self.use, self.lines.append, period_s, self.folder / "a"
        )

    def find(self) -> Path:
        if self.fails is not None:
            raise self.fails
        return self.named

    def load(self, folder: Path):
        text = (folder / "weights").read_text()
        if not text:
            raise ModelError(f"{folder.name}: incomplete")
        return text, "rule"

    def use(self, model, rule) -> None:
        self.used.append(model)


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.watch.close()


def test_a_new_champion_is_taken_over_once(world):
    assert not world.watch.look()
    world.named = world.folder / "b"
    assert world.watch.look() and not world.watch.look()
    world.named = world.folder / "a"  # a rollback
    assert world.watch.look()
    assert world.used == ["b", "a"]
    assert world.lines[0].endswith("/b is listened with from now on")


def test_other_files_in_the_folder_are_taken_over_when_they_are_whole(world):
    (world.folder / "a" / "weights").write_text("")
    assert not world.watch.look() and not world.watch.look()
    assert world.lines == ["the model stays as it is: a: incomplete"]
    (world.folder / "a" / "weights").write_text("newer")
    assert world.watch.look() and world.used == ["newer"]


def test_a_store_that_is_down_or_a_folder_that_is_gone_leaves_the_model(world):
    world.fails = UnreachableError("no answer")
    assert not world.watch.look() and not world.watch.look()
    world.fails = None
    assert not world.watch.look()
    shutil.rmtree(world.folder / "a")
    assert not world.watch.look()
    assert world.used == []
    assert world.lines[0] == "the model stays as it is: no answer" and len(world.lines) == 2


def test_it_looks_by_itself(world):
    watch = world.begin(0.01)
    world.named = world.folder / "b"
    until_s = time.monotonic() + 10
    while not world.used and time.monotonic() < until_s:
        time.sleep(0.01)
    watch.close()
    assert world.used == ["b"]

"""Parameters of the project in tests of tracking, and what they ask its store."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from crywatch.core import params
from crywatch.tracking import launch, lineage, parent, sender, store
from crywatch.tracking.journal import Journal, journals

ROOT = Path(__file__).resolve().parents[2]

PARAMS = {
    "seed": 3,
    "profile": "tiny",
    "schedule": {"scale": 0.5},
    "tracking": {
        "uri": "sqlite:///mlflow.db",
        "artifacts": "mlartifacts",
        "experiment": "cry",
        "linger_s": 1.0,
    },
    "split": {"ratio": [8, 1, 1], "near": {"window_s": 2.0}},
    "clean": {"rate_hz": 16000},
    "mine": {
        "top_k": 2,
        "datasets": {"trimmed": {"segments": 5}, "untrimmed": {"segments": 10}},
    },
    "corpora": ["esc50"],
    "train_blazenet": {
        "lr": 0.001,
        "variants": {"all_1s": {"segment_s": 1.0}, "all_5s": {"segment_s": 5.0}},
    },
    "many": {f"p{i}": i for i in range(150)},  # more than one request may carry
}


def sent() -> bool:
    """Whether the store has all that was recorded so far, now that it was sent."""
    return not any(one.left for one in sender.deliver())


@contextmanager
def sending(linger_s: float = 60.0) -> Iterator[sender.Sender]:
    """The sender's own work, in a thread of the test in place of a process."""
    import mlflow  # noqa: F401 - which would hold up the test's own thread

    target = store.target(params.section("tracking", store.TrackingConfig))
    lock = launch.lock_of(target.address)
    lock.path.parent.mkdir(parents=True, exist_ok=True)
    assert lock.take(60.0)
    made = sender.Sender(target, linger_s, lock)
    thread = threading.Thread(target=made.run)
    thread.start()
    try:
        yield made
    finally:
        made.close()
        thread.join()


def caught_up(wait_s: float = 60.0) -> bool:
    """Whether the sender has brought all there is to the store, after at most ``wait_s``."""
    until_s = time.monotonic() + wait_s
    while time.monotonic() < until_s:
        if not any(journal.left() for path in journals() if (journal := Journal.open(path))):
            return True
        time.sleep(0.05)
    return False


def troubled(wait_s: float = 60.0) -> bool:
    """Whether the sender has met something that the next stage tells, after at most ``wait_s``."""
    until_s = time.monotonic() + wait_s
    while not launch.TROUBLES.exists() and time.monotonic() < until_s:
        time.sleep(0.05)
    return launch.TROUBLES.exists()


def runs(**tags: str) -> list:
    """All runs with these tags, oldest first, once what was recorded is sent."""
    sent()
    return stored(**tags)


def stored(**tags: str) -> list:
    """All runs with these tags that the store has now, oldest first."""
    opened = store.open_store()
    found = opened.client.search_runs(
        [opened.experiment_id], order_by=["attributes.start_time ASC"], max_results=1000
    )
    return [run for run in found if all(run.data.tags.get(k) == v for k, v in tags.items())]


def stage(name: str) -> object:
    """The one run of a stage that is no note of a skip."""
    found = [r for r in runs(**{parent.STAGE: name}) if parent.SKIPPED not in r.data.tags]
    assert len(found) == 1
    return found[0]


def history(run: object, metric: str) -> list[tuple[int, float]]:
    client = store.open_store().client
    return [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, metric)]


def artifacts(run: object, folder: str = "") -> set[str]:
    client = store.open_store().client
    return {file.path for file in client.list_artifacts(run.info.run_id, folder or None)}


def write_lock(stages: dict[str, tuple[list[str], dict[str, str]]]) -> None:
    """dvc.lock and dvc.yaml from stage to its deps and its outs with their digests."""
    lock, plan = {}, {}
    for name, (deps, outs) in stages.items():
        lock[name] = {
            "cmd": "true",
            "deps": [{"path": path, "hash": "md5", "md5": "0" * 32} for path in deps],
            "outs": [{"path": path, "hash": "md5", "md5": md5} for path, md5 in outs.items()],
        }
        plan[name] = {"cmd": "true", "deps": deps, "outs": list(outs)}
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": lock}))
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": plan}))


def made(path: str, text: str) -> dict[str, str]:
    """An output on disk, path to digest."""
    Path(path).mkdir(parents=True, exist_ok=True)
    Path(path, "clips.csv").write_text(text)
    return {path: lineage.dvc_digest(Path(path))}


def rebuild(monkeypatch, number: int) -> None:
    """From here on the stages belong to this rebuild."""
    process = parent.Process(os.getpid(), float(number))
    monkeypatch.setattr(parent, "rebuild_process", lambda: process)


def dvc_md5(path: Path) -> str:
    """What DVC itself would write into dvc.lock."""
    from dvc_data.hashfile.build import build
    from dvc_data.hashfile.db import HashFileDB
    from dvc_objects.fs.local import LocalFileSystem
    from dvc_objects.fs.memory import MemoryFileSystem

    odb = HashFileDB(MemoryFileSystem(), f"memory://{path.name}")
    _, _, made = build(odb, str(path), LocalFileSystem(), "md5", dry_run=True)
    return made.hash_info.value


def write_files(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("" if name == "empty" else name)


class FakeProcess:
    """What psutil says of an ancestor."""

    def __init__(self, pid: int, *words: str) -> None:
        self.pid, self.words = pid, list(words)

    def cmdline(self) -> list[str]:
        return self.words

    def create_time(self) -> float:
        return float(self.pid)

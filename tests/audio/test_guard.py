"""Decoders in processes of their own: equal samples, and deaths that cost one file."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from crywatch.audio import guard
from crywatch.audio.decode import BlockReader
from crywatch.audio.guard import GuardedReader, Limits
from crywatch.audio.waves.resampling import GATHER_SAMPLES, gathered
from crywatch.core.errors import AudioError, ConfigError
from crywatch.core.params import section
from tests.helpers import deadly_decoder
from tests.helpers.deadly_decoder import CAUSES, LIMITS, TIGHT

ROOT = Path(__file__).parents[2]


def write(path, n_samples=8_000, rate_hz=16_000, channels=1, seed=0):
    wave = np.random.default_rng(seed).uniform(-0.5, 0.5, (n_samples, channels))
    soundfile.write(path, wave, rate_hz)
    return path


@pytest.fixture
def deadly(monkeypatch):
    with deadly_decoder.used(monkeypatch):
        yield


@pytest.fixture
def sound(tmp_path):
    return write(tmp_path / "sound.wav")


def workers():
    """Of this process: those that live, and those that have died and were not waited for."""
    children = psutil.Process().children()
    return [child for child in children if "serve" in "".join(child.cmdline() or ["serve"])]


def gone(pid, within_s=5.0):
    """Whether a process ends in time."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True  # of a parent that was killed: no zombie of ours
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def test_the_configuration_is_the_section():
    assert section("decoding", Limits) == Limits()
    for bad in ({"stall_s": 0.0}, {"stall_cpu_s": -1.0}, {"memory_mib": 0}):
        with pytest.raises(ConfigError, match="limits are above 0"):
            Limits(**bad)


@pytest.mark.parametrize("lost", [0, 50])
@pytest.mark.parametrize("n_samples", [20_000, GATHER_SAMPLES, 3 * GATHER_SAMPLES + 7])
def test_samples_and_facts_are_those_of_the_plain_reader(tmp_path, n_samples, lost):
    path = write(tmp_path / "a.flac", n_samples, 44_100, channels=2)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - lost])
    plain, guarded = BlockReader(path), GuardedReader(path)
    assert guarded.info == plain.info
    blocks = list(guarded)
    for block, other in zip(blocks, gathered(plain, GATHER_SAMPLES), strict=True):
        np.testing.assert_array_equal(block, other)
    facts = {name: value for name, value in vars(plain).items() if not name.startswith("_")}
    assert {name: getattr(guarded, name) for name in facts} == facts
    assert guarded.truncated == bool(lost) and guarded.n_samples == sum(map(len, blocks))
    blocks[0] += 1  # whoever takes a block may write to it


def test_errors_are_those_of_the_plain_reader(tmp_path, sound, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("no sound" * 100)
    odd = os.fsdecode(b"a\xff\n.wav")
    for path in ("empty.wav", "text.wav", "none.wav", tmp_path / "none.wav", odd):
        said = []
        for reader in (BlockReader, GuardedReader):
            with pytest.raises(AudioError) as caught:
                list(reader(path))
            said.append(str(caught.value))
        assert said[0] == said[1]
    assert len(np.concatenate(list(GuardedReader("sound.wav")))) == 8_000


@pytest.mark.parametrize(
    ("kind", "n_samples"), [("abort", 1_000), *((kind, 3 * GATHER_SAMPLES) for kind in CAUSES)]
)
def test_a_death_costs_its_file_alone(tmp_path, sound, deadly, kind, n_samples):
    bad = write(tmp_path / f"{kind}-1.wav", n_samples)
    list(GuardedReader(sound, LIMITS))
    with pytest.raises(AudioError, match=f"^{bad}: {CAUSES[kind]}$"):
        list(GuardedReader(bad, TIGHT.get(kind, LIMITS)))
    assert len(np.concatenate(list(GuardedReader(sound, LIMITS)))) == 8_000
    assert psutil.STATUS_ZOMBIE not in [child.status() for child in psutil.Process().children()]


def test_a_file_is_not_blamed_for_what_another_left(tmp_path, sound, deadly):
    path = write(tmp_path / "second-1.wav", 3 * GATHER_SAMPLES)
    list(GuardedReader(sound, LIMITS))
    blocks = list(GuardedReader(path, LIMITS))  # its first worker dies in the middle of it
    for block, other in zip(blocks, gathered(BlockReader(path), GATHER_SAMPLES), strict=True):
        np.testing.assert_array_equal(block, other)


def test_what_a_library_prints_is_no_answer(tmp_path, deadly):
    path = write(tmp_path / "print-1.wav")
    assert sum(map(len, GuardedReader(path, LIMITS))) == 8_000


def test_time_counts_only_while_the_decoder_has_work(tmp_path, sound):
    path = write(tmp_path / "long.wav", 3 * GATHER_SAMPLES)
    blocks = iter(GuardedReader(path, Limits(1.0, 1.0, 256)))
    read = len(next(blocks))
    time.sleep(1.2)
    assert read + sum(map(len, blocks)) == 3 * GATHER_SAMPLES


def test_a_worker_that_was_ended_while_it_waited_is_replaced(sound):
    list(GuardedReader(sound))
    for worker in workers():
        worker.kill()
        assert gone(worker.pid)
    assert sum(map(len, GuardedReader(sound))) == 8_000


def test_a_reader_that_is_left_gives_its_worker_to_the_next_file(tmp_path, sound):
    guard.end_workers()
    path = write(tmp_path / "long.wav", 3 * GATHER_SAMPLES)
    for _ in GuardedReader(path):
        break
    unread = GuardedReader(path)
    del unread
    assert sum(map(len, GuardedReader(sound))) == 8_000
    assert len(workers()) == 1
    first, second = GuardedReader(path), GuardedReader(path)  # each has its own
    for block, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(block, other)
    assert len(workers()) == 2
    guard.end_workers()
    assert not workers()


def test_a_fork_leaves_the_workers_to_its_parent(sound):
    list(GuardedReader(sound))
    before = {worker.pid for worker in workers()}
    child = os.fork()
    if child == 0:
        os._exit(0 if sum(map(len, GuardedReader(sound))) == 8_000 and not guard._idle[1:] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert sum(map(len, GuardedReader(sound))) == 8_000
    assert before == {worker.pid for worker in workers()}


PARENT = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
from crywatch.audio.guard import GuardedReader, _living
reader = GuardedReader(sys.argv[1])
blocks = iter(reader)
next(blocks)
print(next(iter(_living))._process.pid, flush=True)
if sys.argv[2] == "wait":
    time.sleep(60)
"""


@pytest.mark.parametrize("end", [None, signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_the_worker_ends_with_the_process_it_works_for(tmp_path, end):
    path = write(tmp_path / "long.wav", 3 * GATHER_SAMPLES)
    command = [sys.executable, "-c", PARENT, str(path), "wait" if end else "end"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        worker = int(parent.stdout.readline())
        if end is not None:
            parent.send_signal(end)
        parent.wait()
    assert gone(worker)


def test_a_worker_loads_only_what_decodes():
    code = (
        "import sys, crywatch.audio.guard, av; print(*{m.partition('.')[0] for m in sys.modules})"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "pandas", "scipy", "soundfile", "omegaconf", "typer"} & set(loaded)

"""librosa is loaded, and with it compiled, by one process of an environment at a time."""

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import librosa
import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/locks").exists(), reason="needs Linux's /proc")

LOAD = "from crywatch.audio.compiled import librosa; print(librosa().yin.__name__, flush=True)"


def test_a_process_waits_while_another_one_loads_it():
    with open(librosa.__file__, "rb") as own:
        fcntl.flock(own, fcntl.LOCK_EX)
        waiting = subprocess.Popen([sys.executable, "-c", LOAD], stdout=subprocess.PIPE, text=True)
        inode = f":{os.fstat(own.fileno()).st_ino} "
        while inode not in blocked():
            assert waiting.poll() is None, "it did not wait"
            time.sleep(0.05)
        fcntl.flock(own, fcntl.LOCK_UN)
    said, _ = waiting.communicate(timeout=120)
    assert said == "yin\n"


def blocked() -> str:
    """Locks that are waited for, as the system lists them."""
    with open("/proc/locks", encoding="ascii") as locks:
        return "".join(line for line in locks if "->" in line)

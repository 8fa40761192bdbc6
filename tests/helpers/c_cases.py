"""C that an export writes, compiled and called from Python."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

FLAGS = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
needs_gcc = pytest.mark.skipif(not shutil.which("gcc"), reason="apt-get install gcc libc6-dev")


def compiled(folder: Path, *sources: Path) -> ctypes.CDLL:
    """The exported C in ``folder`` with ``sources`` as a library; warnings are errors."""
    library = folder / "device.so"
    files = [folder / "frontend.c", folder / "listener.c", *sources]
    command = ["gcc", *FLAGS, "-I", folder, "-shared", "-fPIC", "-o", library, *files, "-lm"]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(library))


def pointer(values: np.ndarray) -> ctypes.c_void_p:
    """To the values of a contiguous array."""
    assert values.flags.c_contiguous
    return ctypes.c_void_p(values.ctypes.data)


def listener_of(reach: int) -> ctypes.Structure:
    """``struct crywatch_listener`` with the logits of so many windows."""
    fields: list = [("logits", ctypes.c_float * reach)]
    fields += [("windows", ctypes.c_long), ("second", ctypes.c_long)]
    fields += [("probability", ctypes.c_float), ("first", ctypes.c_long), ("last", ctypes.c_long)]
    fields += [("peak", ctypes.c_float), ("crying", ctypes.c_int)]
    return type("Listener", (ctypes.Structure,), {"_fields_": fields})()

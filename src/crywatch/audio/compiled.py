"""librosa, whose first use in an environment compiles it and keeps that in files beside it.

Of a kernel and of what calls it there are two files. Processes that compile at the same time, as
stages side by side do, mix theirs: from then on all that call such a kernel end by signal 11, until
the files are removed. So one process at a time loads it, and the others find the files.
"""

from __future__ import annotations

import fcntl
import importlib
from contextlib import suppress
from functools import lru_cache
from typing import Any

# Its modules with such kernels, among those that are used here.
MODULES = ("core.audio", "core.pitch", "core.spectrum", "util.utils", "feature.spectral", "effects")


@lru_cache(maxsize=1)
def librosa() -> Any:
    """The package, compiled; waits as long as another process of this environment compiles it."""
    import librosa as package

    with open(package.__file__, "rb") as own:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(own, fcntl.LOCK_EX)
        for name in MODULES:
            importlib.import_module(f"librosa.{name}")
    return package

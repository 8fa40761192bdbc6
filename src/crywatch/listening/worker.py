"""The process that reads one source: whatever a stream does to a decoder, it ends nothing else.

The listener writes one line of JSON, the request, and keeps the pipe open as long as it lives. It
is answered with frames: a line of JSON and, where that says so, ``samples`` of float32 at 16 kHz,
mono. The first frame tells that the source is open; one with ``error`` is the last, and so is one
with ``lacks``: something is not installed, and no second try would find it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from crywatch.audio.guard import limit_memory
from crywatch.core.errors import CrywatchError, EngineError

SOURCE = str(Path(__file__).parents[2])  # where the package lies
COMMAND = (  # without -P modules of the current folder would go before all others
    *(sys.executable, "-P", "-c"),
    f"import sys; sys.path.append({SOURCE!r}); "
    "from crywatch.listening.worker import serve; serve()",
)


def serve() -> None:
    """Answer the request on standard input until the source, or the listener, ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not stand among the answers
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    request = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_listener, daemon=True).start()
    try:
        for piece in pieces(request):
            _send(answers, piece)
        _send(answers, {"end": True})
    except BrokenPipeError:
        pass
    except MemoryError:
        _send(answers, {"error": f"takes more than {request['memory_mib']} MiB of memory"})
    except EngineError as error:
        _send(answers, {"lacks": str(error)})
    except CrywatchError as error:
        _send(answers, {"error": str(error)})
    except ModuleNotFoundError as error:
        from crywatch.core.extras import advice

        _send(answers, {"lacks": advice(error) or f"{error.name} is not installed"})
    except Exception as error:  # of a library: its text may hold the address
        _send(answers, {"error": f"cannot be read ({type(error).__name__})"})
    os._exit(0)  # a library's thread may wait for the network yet


def _end_with_listener() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def _send(answers: BinaryIO, piece: np.ndarray | dict[str, Any]) -> None:
    with suppress(BrokenPipeError):
        if isinstance(piece, dict):
            answers.write(json.dumps(piece).encode() + b"\n")
        else:
            answers.write(json.dumps({"samples": len(piece)}).encode() + b"\n")
            answers.write(np.ascontiguousarray(piece, dtype=np.float32).data)
        answers.flush()
        return
    os._exit(0)  # the listener is gone


def pieces(request: dict[str, Any]) -> Iterator[np.ndarray | dict[str, Any]]:
    """What the source has: samples, and mappings of what is to be known of them."""
    from crywatch.listening import reading

    read = {
        "file": reading.read_file,
        "input": reading.read_input,
        "microphone": reading.read_microphone,
        "stream": reading.read_stream,
    }[request["kind"]]
    limit_memory(request["memory_mib"] << 20)
    yield from read(request)
